"""Redirects: a GET follows one, within the same origin."""

from dataclasses import dataclass, field
from typing import IO
from urllib.parse import urljoin, urlsplit

import requests

from stratuslab_libcloud.configuration import endpoints

__all__ = ["Request", "same_origin_target", "shown"]


@dataclass(frozen=True)
class Request:
    """
    A request, which may be sent several times.

    :ivar largest: bytes that a streamed answer may have; 0 for the usual.
    """

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | IO[bytes] | None = field(repr=False)
    streamed: bool
    largest: int = 0

    @property
    def uploads(self) -> bool:
        """Whether a file is sent, which takes as long as it takes."""
        return self.body is not None and not isinstance(self.body, bytes)


def same_origin_target(request: Request, response: requests.Response) -> str | None:
    """Return the URL that an answer redirects to, or ``None`` if it must not be followed."""
    location = response.headers.get("Location")
    if request.method != "GET" or not location or not 300 < response.status_code < 309:
        return None
    try:
        target = urljoin(request.url, location)
        same = endpoints.origin(request.url) == endpoints.origin(target)
    except ValueError:
        return None
    return target if same else None


def shown(url: str) -> str:
    """Shorten a foreign URL to the parts that hold no secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path
