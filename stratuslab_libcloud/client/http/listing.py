"""
Read long listings item by item, within limits.

The limits leave room for half as much again as 100,000 typical items; a larger listing is refused
before it has cost 256 MiB of memory.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from json.scanner import make_scanner
from sys import getsizeof
from typing import Any, TypeVar

from stratuslab_libcloud.errors import MalformedAnswerError

__all__ = ["MOST_ITEMS", "JSONText", "bounded", "weight_of"]

T = TypeVar("T")

MOST_ITEMS = 150_000
_LARGEST = 232 * 2**20  # bytes of memory
_LARGEST_TEXT = 160 * 2**20  # bytes of memory, of what JSON is read from
_LARGEST_VALUE = 2**20  # characters
_PIECE = 2**16
_MOST_NAMES = 1000
_WIDEST = 4  # bytes of a character
_BLANKS = re.compile(r"[ \t\r\n]*")

_scan = make_scanner(json.JSONDecoder())  # type: ignore[arg-type] # typeshed's mistake


def bounded(items: Iterable[T | None], weight: Callable[[T], int] = lambda _: 0) -> Iterator[T]:
    """
    Pass items on, up to a limit.

    :param items: ``None`` stands for one that cannot be read: it counts, but is left out.
    :param weight: the approximate memory of an item, in bytes.
    :raises MalformedAnswerError: there are too many items, or they take too much memory.
    """
    total = 0
    for number, item in enumerate(items):
        if number == MOST_ITEMS:
            raise MalformedAnswerError(
                f"answered a listing of more than {MOST_ITEMS:,} items", passing=False
            )
        if item is None:
            continue
        total += weight(item)
        if total > _LARGEST:
            raise MalformedAnswerError(
                f"answered a listing of more than {_LARGEST >> 20} MiB in memory", passing=False
            )
        yield item


def weight_of(*groups: Iterable[object]) -> int:
    """Estimate the memory that the characters of the texts in some groups take, in bytes."""
    total = 0
    for group in groups:
        for value in group:
            if isinstance(value, str):  # getsizeof() takes as long as all the rest
                total += len(value) if value.isascii() else _WIDEST * len(value)
    return total


class JSONText:
    """
    JSON that is parsed while it arrives.

    Each method raises ``ValueError`` if the text is not the JSON that it expects, and
    :class:`.MalformedAnswerError` if it is too large.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0
        self._size = 0
        self._ended = False

    def array(self) -> Iterator[Any]:
        """Yield each value of the array that is next."""
        self.expect("[")
        if self.next() == "]":
            self.expect("]")
            return
        while True:
            yield self.value()
            if self._text[self._at] == ",":  # nearly always, and cheaper
                self._at += 1
            elif self.expect(",]") == "]":
                return

    def names(self) -> Iterator[str]:
        """Yield each name of the object that is next; the caller then reads its value."""
        self.expect("{")
        if self.next() == "}":
            self.expect("}")
            return
        for _ in range(_MOST_NAMES):
            name = self.value()
            if not isinstance(name, str):
                raise ValueError("not a name")
            self.expect(":")
            yield name
            if self.expect(",}") == "}":
                return
        raise ValueError("too many names")

    def value(self) -> Any:
        """Return the value that is next, complete."""
        while True:
            if self._text[self._at : self._at + 1] <= " ":
                self.next()
            try:
                value, end = _scan(self._text, self._at)
            except (StopIteration, ValueError):
                pass  # perhaps it is not complete yet
            else:
                if end < len(self._text):  # at the end a number could go on
                    self._at = end
                    return value
            if len(self._text) - self._at > _LARGEST_VALUE or not self._more():
                raise ValueError("not a value")

    def end(self) -> None:
        """Check that there is nothing more."""
        if self.next():
            raise ValueError("more than one value")

    def next(self) -> str:
        """Return the next character but blanks, without consuming it; ``""`` at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def expect(self, characters: str) -> str:
        """Consume and return the next character, which must be one of these."""
        found = self.next()
        if not found or found not in characters:
            raise ValueError(f"none of {characters}")
        self._at += 1
        return found

    def _more(self) -> bool:
        """Read at least as much again as is unread, and return whether there was anything."""
        kept = self._text[self._at :]
        wanted = max(_PIECE, len(kept))
        texts, length = [kept], 0
        for piece in self._pieces:
            text = self._decoder.decode(piece)
            # A single escaped character can make a text four times as large in memory.
            self._size += max(getsizeof(text), 4 * len(text) * ("\\u" in text))
            if self._size > _LARGEST_TEXT:
                raise MalformedAnswerError(
                    f"answered JSON that is larger than {_LARGEST_TEXT >> 20} MiB", passing=False
                )
            texts.append(text)
            length += len(text)
            if length >= wanted:
                break
        else:
            self._decoder.decode(b"", final=True)
            if not self._ended:
                texts.append(" ")  # so that something comes after the last value
                length = 1
                self._ended = True
        self._text, self._at = "".join(texts), 0
        return length > 0
