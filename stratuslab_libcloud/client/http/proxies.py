"""Which proxy a request goes through."""

import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

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
    found = getproxies_environment()
    if endpoints.is_loopback(host) or proxy_bypass(parts.netloc) or _excepted(host, found):
        return {}
    proxy = found.get(parts.scheme)
    try:
        return {parts.scheme: endpoints.proxy(proxy)} if proxy else {}
    except ValueError as error:
        raise ConfigurationError(
            f"the proxy that {parts.scheme}_proxy names in the environment {error}"
        ) from None


def _excepted(host: str, found: dict[str, str]) -> bool:
    """Whether ``no_proxy`` has the host's address, or a network that it is in."""
    address = endpoints.address(host)
    for entry in found.get("no", "").split(",") if address else ():
        try:
            if address in ipaddress.ip_network(entry.strip().strip("[]"), strict=False):
                return True
        except ValueError:  # a name
            continue
    return False
