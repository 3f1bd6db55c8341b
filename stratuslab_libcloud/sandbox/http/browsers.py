"""
Protection from web pages of other sites.

A browser that has logged in sends its password with the requests of any page, and lets a page read
the answers of its own host name, whatever address that name has. Programs send neither Origin nor
Sec-Fetch-Site, and use a name of this site.
"""

import ipaddress
import re
import socket
from functools import cached_property

from werkzeug.datastructures import Headers

__all__ = ["Names", "is_foreign"]

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]@/?#\s]+)(?::[0-9]*)?", re.IGNORECASE)


class Names:
    """
    The host names of a site; not those that anybody could point at it (DNS rebinding).

    Ports are ignored: they may be forwarded, and a page gains nothing by choosing one.

    :param given: the host to listen on, as the user gave it: an address or a name.
    :param bound: the address that the site listens on.
    """

    def __init__(self, given: str, bound: str) -> None:
        self._names = {"localhost", _plain(given)}
        self._bound = ipaddress.ip_address(bound)

    def __contains__(self, authority: str) -> bool:
        """Return whether ``host:port`` or ``host`` means this site."""
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            return False
        name = _plain(match[1].strip("[]"))
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names or (not self._bound.is_loopback and name in self._of_machine)
        # These can only lead to this machine. A site bound to all addresses cannot know them all.
        return address == self._bound or address.is_loopback or self._bound.is_unspecified

    @cached_property
    def _of_machine(self) -> set[str]:
        return {_plain(socket.gethostname()), _plain(socket.getfqdn())}


def is_foreign(headers: Headers, authority: str) -> bool:
    """
    Return whether a page of another origin sent this request.

    :param authority: the host and port that the request is for.
    """
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("Origin")
    return origin is not None and _authority(origin) != authority.lower()


def _authority(origin: str) -> str | None:
    """Return the host and port of an origin; None for ``null`` and malformed ones."""
    match = re.fullmatch("https?://([^/?#@]+)", origin, re.IGNORECASE)
    return match[1].lower() if match else None


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
