"""
A service's routes: one table each, of methods, paths and what answers there.

Paths come as their segments, decoded: however many slashes were between them, and what was ``%2F``
is no separator.
"""

import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import BaseConverter, Map, Rule

__all__ = ["Routes"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")  # in the order of an Allow header


class _Segment(BaseConverter):
    """One segment: ``<name>``."""

    def to_python(self, value: str) -> str:
        return urllib.parse.unquote(value)


class _Rest(BaseConverter):
    """All further segments, one at least: ``<rest:name>``."""

    regex = "[^/].*"
    weight = 200  # tried last

    def to_python(self, value: str) -> list[str]:
        return [urllib.parse.unquote(segment) for segment in value.split("/")]


class Routes:
    """
    A table of routes.

    :param rows: method, path and what answers there. HEAD goes wherever GET does; None is any
        method. In a path ``<name>`` is any segment, ``<rest:name>`` all further ones, and
        ``<any(a, b):name>`` one of these; the answer gets them under these names.
    """

    def __init__(self, *rows: tuple[str | None, str, Callable[..., Any]]) -> None:
        self._map = Map(
            [
                Rule(path, methods=[method] if method else None, endpoint=endpoint)
                for method, path, endpoint in rows
            ],
            converters={"default": _Segment, "rest": _Rest},
            strict_slashes=False,
            merge_slashes=False,
        ).bind("")

    def match(
        self, method: str, segments: Iterable[str]
    ) -> tuple[Callable[..., Any], dict[str, Any]]:
        """
        Find what answers a request, and the variable segments of its path.

        :raises NotFound: no row has that path.
        :raises MethodNotAllowed: one has, but for another method; says for which.
        """
        path = "/".join(urllib.parse.quote(segment, safe="") for segment in segments)
        try:
            answer, variables = self._map.match(f"/{path}", method)
            return answer, dict(variables)
        except MethodNotAllowed as error:
            allowed = error.valid_methods or ()
            raise MethodNotAllowed([name for name in _METHODS if name in allowed]) from None
