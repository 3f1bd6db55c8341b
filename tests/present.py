"""For what may be None, and where a test is about it is not."""

from typing import TypeVar

__all__ = ["present"]

_T = TypeVar("_T")


def present(value: _T | None) -> _T:
    assert value is not None
    return value
