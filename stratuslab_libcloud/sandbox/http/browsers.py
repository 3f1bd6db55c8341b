"""
What web pages may not do here: a browser that has logged in sends its password with the requests
of any page, and lets a page read what its own host name answers, wherever that name leads to.

Programs send neither Origin nor Sec-Fetch-Site, and call the site by a name that it has.
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
    What a site may be called. A name that anybody can point here (DNS rebinding) is none of them.

    The port counts for nothing, as ports are forwarded, and pages do not choose it.

    :param given: the host that it was told to listen on, an address or a name.
    :param bound: the address that it listens on.
    """

    def __init__(self, given: str, bound: str) -> None:
        self._names = {"localhost", _plain(given)}
        self._bound = ipaddress.ip_address(bound)

    def __contains__(self, authority: str) -> bool:
        """Whether ``host:port`` or ``host`` means this site."""
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            return False
        name = _plain(match[1].strip("[]"))
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names or (not self._bound.is_loopback and name in self._of_machine)
        # All of them lead to this machine, if to anything; one that is bound to any may have
        # addresses that it does not know of.
        return address == self._bound or address.is_loopback or self._bound.is_unspecified

    @cached_property
    def _of_machine(self) -> set[str]:
        return {_plain(socket.gethostname()), _plain(socket.getfqdn())}


def is_foreign(headers: Headers, authority: str) -> bool:
    """
    Whether a page of another origin makes this request.

    :param authority: the host and port that are asked.
    """
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("Origin")
    return origin is not None and _authority(origin) != authority.lower()


def _authority(origin: str) -> str | None:
    """None for ``null``, and for what is no origin."""
    match = re.fullmatch("https?://([^/?#@]+)", origin, re.IGNORECASE)
    return match[1].lower() if match else None


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
