"""Redirects: one is followed for reading, within the same origin."""

from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import requests

from stratuslab_libcloud.configuration import endpoints

__all__ = ["Request", "same_origin_target", "shown"]


@dataclass(frozen=True)
class Request:
    """A request that is sent as often as that is of use."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    streamed: bool


def same_origin_target(request: Request, response: requests.Response) -> str | None:
    """Where an answer redirects to, if that is followed."""
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
    """A foreign URL without what may be secret in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path
