"""Redirects: a GET follows one, within the same origin."""

from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import requests

from stratuslab_libcloud.configuration import endpoints

__all__ = ["Request", "same_origin_target", "shown"]


@dataclass(frozen=True)
class Request:
    """A request, which may be sent several times."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    streamed: bool


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
