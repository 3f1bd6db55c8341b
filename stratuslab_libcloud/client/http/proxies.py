"""Choose the proxy of a request."""

import ipaddress
import os
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.errors import ConfigurationError

__all__ = ["proxies"]


def proxies(url: str, given: str | None) -> dict[str, str]:
    """
    Choose the proxies for a URL, in the form that requests takes.

    A proxy that is given is always used. Otherwise the environment decides; its proxies are not
    used for this machine itself, nor for the hosts that ``no_proxy`` names.

    :raises ConfigurationError: the environment names an invalid proxy.
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
    Read ``http_proxy``, ``https_proxy`` and ``no_proxy`` as urllib does.

    urllib itself iterates over the whole environment, and fails if another thread changes it.
    """
    found = {}
    for name in ("http", "https", "no"):
        # In a CGI script, HTTP_PROXY is a header that a client sent.
        sent = name == "http" and "REQUEST_METHOD" in os.environ
        upper = "" if sent else os.environ.get(f"{name}_proxy".upper(), "")
        if text := os.environ.get(f"{name}_proxy", upper):
            found[name] = text
    return found


def _is_excluded(host: str, found: dict[str, str]) -> bool:
    """Whether ``no_proxy`` names the host's address, or a network that contains it."""
    address = endpoints.address(host)
    for entry in found.get("no", "").split(",") if address else ():
        try:
            if address in ipaddress.ip_network(entry.strip().strip("[]"), strict=False):
                return True
        except ValueError:  # a name
            continue
    return False
