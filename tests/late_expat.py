"""
expat as it is from 2.6 on, and in older builds that distributions have patched, for Pythons that
have another: an incomplete token is looked at again only when there is twice as much of it.
"""

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from xml.parsers import expat

import pytest

__all__ = ["BUILDS", "as_it_is", "late"]

_create, _XMLParser = expat.ParserCreate, ET.XMLParser


class _Deferral:
    """What expat looks at, and when."""

    def __init__(self) -> None:
        self._gauge = _create()
        if hasattr(self._gauge, "SetReparseDeferralEnabled"):
            self._gauge.SetReparseDeferralEnabled(False)
        self._fed = self._incomplete = 0
        self._waiting = b""

    def released(self, piece: bytes) -> bytes:
        self._waiting += piece
        if len(self._waiting) < self._incomplete:
            return b""
        with contextlib.suppress(expat.ExpatError, LookupError, ValueError):  # the real one's
            self._gauge.Parse(self._waiting, False)
        self._fed += len(self._waiting)
        self._incomplete = self._fed - max(0, self._gauge.CurrentByteIndex)
        return self.rest()

    def rest(self) -> bytes:
        released, self._waiting = self._waiting, b""
        return released


class _Parser:
    """``pyexpat``'s."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        vars(self).update(_parser=_create(*arguments, **named), _deferral=_Deferral())

    def Parse(self, piece: bytes, last: bool = False) -> int:  # noqa: N802 - its name
        released = self._deferral.released(piece)
        if last:
            released += self._deferral.rest()
        elif not released:
            return 1
        return int(self._parser.Parse(released, last))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._parser, name, value)


class _TreeParser:
    """ElementTree's."""

    def __init__(self, *, target: Any = None) -> None:
        self._parser, self._deferral = _XMLParser(target=target), _Deferral()

    def feed(self, piece: bytes) -> None:
        self._parser.feed(self._deferral.released(piece))

    def close(self) -> Any:
        self._parser.feed(self._deferral.rest())
        return self._parser.close()


@contextlib.contextmanager
def late() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expat, "ParserCreate", _Parser)
        patch.setattr(ET, "XMLParser", _TreeParser)
        yield


as_it_is = contextlib.nullcontext
BUILDS: dict[str, Callable[[], AbstractContextManager[None]]] = {"as it is": as_it_is, "late": late}
