"""Which proxy a request goes through."""

import ipaddress
import os
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.errors import ConfigurationError

__all__ = ["proxies"]


def proxies(url: str, given: str | None) -> dict[str, str]:
    """
    The proxies for a URL, as requests takes them: the one that was given, or the environment's,
    which are not for this machine itself, nor for what ``no_proxy`` names.

    :raises ConfigurationError: the environment's is none.
    """
    if given:
        return dict.fromkeys(("http", "https"), given)
    parts = urlsplit(url)
    host = parts.hostname or ""
    found = _environment()
    bypassed = proxy_bypass_environment(parts.netloc, found)
    if endpoints.is_loopback(host) or bypassed or _is_excluded(host, found):
        return {}
    proxy = found.get(parts.scheme)
    try:
        return {parts.scheme: endpoints.proxy(proxy)} if proxy else {}
    except ValueError as error:
        raise ConfigurationError(
            f"the proxy that {parts.scheme}_proxy names in the environment {error}"
        ) from None


def _environment() -> dict[str, str]:
    """
    What ``http_proxy``, ``https_proxy`` and ``no_proxy`` say, as urllib reads them.

    urllib itself looks through the whole environment, and fails if another thread changes it.
    """
    found = {}
    for name in ("http", "https", "no"):
        # To a CGI script, HTTP_PROXY is what a client sent in a header.
        sent = name == "http" and "REQUEST_METHOD" in os.environ
        upper = "" if sent else os.environ.get(f"{name}_proxy".upper(), "")
        if text := os.environ.get(f"{name}_proxy", upper):
            found[name] = text
    return found


def _is_excluded(host: str, found: dict[str, str]) -> bool:
    """Whether ``no_proxy`` has the host's address, or a network that it is in."""
    address = endpoints.address(host)
    for entry in found.get("no", "").split(",") if address else ():
        try:
            if address in ipaddress.ip_network(entry.strip().strip("[]"), strict=False):
                return True
        except ValueError:  # a name
            continue
    return False
