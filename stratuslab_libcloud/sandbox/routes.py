"""
Routing: one table for each service, from methods and paths to functions.

Paths are given as decoded segments, so that repeated slashes do not matter and ``%2F`` is not taken
for a separator.
"""

import urllib.parse
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import BaseConverter, Map, MapAdapter, Rule

__all__ = ["Routes"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")  # in the order of an Allow header


class _Segment(BaseConverter):
    """One segment: ``<name>``."""

    def to_python(self, value: str) -> str:
        return urllib.parse.unquote(value)


class _Rest(BaseConverter):
    """All remaining segments, at least one: ``<rest:name>``."""

    regex = "[^/].*"
    weight = 200  # tried last

    def to_python(self, value: str) -> list[str]:
        return [urllib.parse.unquote(segment) for segment in value.split("/")]


class Routes:
    """
    A table of routes.

    :param rows: method, path and the function that answers. GET includes HEAD; None is any method.
        In a path, ``<name>`` stands for any segment, ``<rest:name>`` for all remaining ones, and
        ``<any(a, b):name>`` for one of those listed; the function gets them by these names.
    """

    def __init__(self, *rows: tuple[str | None, str, Callable[..., Any]]) -> None:
        self._rows = rows

    @cached_property
    def _map(self) -> MapAdapter:
        """Made when something is first asked for: it takes milliseconds of each start."""
        return Map(
            [
                Rule(path, methods=[method] if method else None, endpoint=endpoint)
                for method, path, endpoint in self._rows
            ],
            converters={"default": _Segment, "rest": _Rest},
            strict_slashes=False,
            merge_slashes=False,
        ).bind("")

    def match(
        self, method: str, segments: Iterable[str]
    ) -> tuple[Callable[..., Any], dict[str, Any]]:
        """
        Find the function that answers a request, and the variable segments of the path.

        :raises NotFound: no row has this path.
        :raises MethodNotAllowed: rows have this path, but for the methods that the error lists.
        """
        path = "/".join(urllib.parse.quote(segment, safe="") for segment in segments)
        try:
            answer, variables = self._map.match(f"/{path}", method)
            return answer, dict(variables)
        except MethodNotAllowed as error:
            allowed = error.valid_methods or ()
            raise MethodNotAllowed([name for name in _METHODS if name in allowed]) from None
