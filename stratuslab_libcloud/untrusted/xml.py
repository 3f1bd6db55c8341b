"""
XML from strangers: bytes in, elements out.

A document with a DOCTYPE is refused before its root is read, so that there is no entity to expand
and nothing to fetch. Sizes are the caller's to bound.

Nothing here rests on when expat reports what it was fed: from 2.6 on, and in older builds that
distributions have patched, it looks at an incomplete tag again only when there is twice as much of
it, or at the end.

The standard library's elements, not lxml's: finding something in them takes a fifth of the time.
"""

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from xml.parsers import expat

__all__ = ["Scanner", "TooMuchError", "UnsafeXMLError", "parse", "stream"]


# Bytes. The elements of a small piece are gone before the garbage collector, which looks whenever
# there are 700 more objects, has come to know them: with 64 KiB all takes a third longer.
_PIECE = 8192
# Some builds of expat read an incomplete tag again from its beginning whenever they are fed: that
# is not done before there is an eighth more.
_PATIENCE = 8
_LARGEST_TAG = 2**20  # a larger one may be refused, depending on the build
_LARGEST = 4 * 2**20
_MOST_TAGS = 100_000  # in such an element: each takes up to fifty times its own size in memory
_STEPS = (b"<", b"&", b"=", b"\n", b"\r")
_MOST_STEPS = 60_000_000  # half a minute of expat's; 100,000 machines take 20 million


class UnsafeXMLError(ValueError):
    """Not well-formed, or XML of a kind that is not read from strangers. One line, no content."""


class TooMuchError(UnsafeXMLError):
    """More than anybody means well by."""


class _RootReached(Exception):  # noqa: N818 - no error
    pass


class Scanner:
    """
    expat, which refuses a DOCTYPE, and a tag that has no end within two MiB.

    :param namespace_separator: between namespace and name, where names are to have both.
    :ivar parser: to set handlers on.
    """

    def __init__(self, namespace_separator: str | None = None) -> None:
        self.parser = expat.ParserCreate(namespace_separator=namespace_separator)
        self.parser.StartDoctypeDeclHandler = self._doctype
        self._waiting = bytearray()
        self._fed = 0
        self._seen = 0

    def feed(self, piece: bytes, last: bool = False) -> None:
        """
        Read on.

        :raises UnsafeXMLError: it is not well-formed, or refused.
        """
        self._waiting += piece
        if len(self._waiting) * _PATIENCE < self._fed - self._seen and not last:
            return
        piece = bytes(self._waiting)
        self._waiting.clear()
        try:
            self.parser.Parse(piece, last)
        except UnsafeXMLError:
            raise
        except (expat.ExpatError, LookupError, ValueError) as error:  # an encoding expat lacks
            raise UnsafeXMLError(f"not well-formed XML ({error})") from None
        self._fed += len(piece)
        self._seen = max(self._seen, self.parser.CurrentByteIndex)  # -1 where it did not look
        if self._fed - self._seen > 2 * _LARGEST_TAG:
            raise TooMuchError(f"it has a tag of more than {_LARGEST_TAG >> 20} MiB")

    def _doctype(self, *_: object) -> None:
        raise UnsafeXMLError("XML with a DOCTYPE is refused")


class _Prologue(Scanner):
    """Reads up to the root's start tag, and refuses what must not come before it."""

    def __init__(self) -> None:
        super().__init__(namespace_separator="}")
        self.parser.StartElementHandler = self._element
        self.root = ""  # in Clark notation, once it was reached

    def feed(self, piece: bytes, last: bool = False) -> None:
        with contextlib.suppress(_RootReached):
            super().feed(piece, last)

    def _element(self, name: str, _: object) -> None:
        self.root = "{" + name if "}" in name else name
        raise _RootReached


def parse(document: bytes) -> ET.Element:
    """
    Parse a whole document.

    :raises UnsafeXMLError: it is not well-formed, or has a DOCTYPE.
    """
    _Prologue().feed(document, last=True)
    if document.count(b"<") > _MOST_TAGS:
        raise TooMuchError(f"it has more than {_MOST_TAGS:,} tags")
    try:
        return ET.fromstring(document)  # noqa: S314 - it has no DOCTYPE
    except (ET.ParseError, LookupError, ValueError) as error:
        raise UnsafeXMLError(f"not well-formed XML ({error})") from None


def stream(
    chunks: Iterable[bytes], tag: str, roots: Collection[str], largest: int = _LARGEST
) -> Iterator[ET.Element]:
    """
    Yield each child of the root named ``tag`` (or the root, if that is its name) once complete.

    Names are in Clark notation. The root lets go of its children, so that a listing is never held
    whole.

    :param roots: names that the root may have.
    :param largest: bytes that one such element may have, or what comes before the root; another
        MiB may be read before that is noticed.
    :raises UnsafeXMLError: not well-formed, has a DOCTYPE, another root, or too large an element.
    """
    builder = ET.TreeBuilder()
    above = builder.start("above the root", {})
    parser = ET.XMLParser(target=builder)  # noqa: S314 - what it is fed has no DOCTYPE
    waiting = bytearray()
    size = tags = steps = 0
    try:
        for piece in _after_prologue(chunks, roots, largest):
            waiting += piece
            size += len(piece)
            tags += piece.count(b"<")
            steps += sum(map(piece.count, _STEPS))
            if len(waiting) * _PATIENCE < size <= largest:
                continue
            parser.feed(bytes(waiting))
            waiting.clear()
            if len(above) and above[0].tag != tag:
                root = above[0]
                complete = root[:-1]
                del root[:-1]
                for child in complete:
                    if child.tag == tag:
                        size = tags = 0
                        yield child
            if size > largest + _LARGEST_TAG:
                raise TooMuchError(f"it has an element of more than {largest >> 20} MiB")
            if tags > _MOST_TAGS:
                raise TooMuchError(f"it has an element of more than {_MOST_TAGS:,} tags")
            if steps > _MOST_STEPS:
                raise TooMuchError(f"it has more than {_MOST_STEPS:,} tags, lines and attributes")
        parser.feed(bytes(waiting))
        parser.close()
    except ET.ParseError as error:
        raise UnsafeXMLError(f"not well-formed XML ({error})") from None
    root = above[0]
    yield from [root] if root.tag == tag else root.findall(tag)


def _after_prologue(
    chunks: Iterable[bytes], roots: Collection[str], largest: int
) -> Iterator[bytes]:
    """The same in small pieces, none of them before the prologue is known to be harmless."""
    prologue = _Prologue()
    chunks = iter(chunks)
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        prologue.feed(chunk)
        if prologue.root:
            break
        if len(waiting) > largest + _LARGEST_TAG:
            raise TooMuchError(f"it has no element in more than {largest >> 20} MiB")
    else:
        prologue.feed(b"", last=True)
    if prologue.root not in roots:
        raise UnsafeXMLError(f"the root element is {prologue.root!r}")
    for chunk in chain((bytes(waiting),), chunks):
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]
