"""
Parse untrusted XML.

A document with a DOCTYPE is refused before its root is read, so that there is no entity to expand
and nothing to fetch. The caller limits the total size.

Nothing here depends on when expat reports what it was fed: version 2.6, and older builds that
distributions have patched, look at an incomplete tag again only once it is twice as long, or at the
end.

The elements are the standard library's, not lxml's, as finding a child takes a fifth of the time.
"""

import contextlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from xml.parsers import expat

__all__ = ["NOT_XML", "Scanner", "TooMuchError", "UnsafeXMLError", "parse", "stream"]

# A character that XML 1.0 cannot hold, not even as a reference.
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

# Bytes. The elements of a small piece are freed before the garbage collector, which runs after 700
# new objects, gets to them: with 64 KiB parsing takes a third longer.
_PIECE = 8192
# Some builds of expat read an incomplete tag again from its beginning whenever they are fed, so
# they are fed only once there is an eighth more.
_PATIENCE = 8
_LARGEST_TAG = 2**20  # bytes; whether a larger one is refused depends on the build
_LARGEST = 4 * 2**20
_MOST_TAGS = 100_000  # in one element; each takes up to fifty times its size in memory
_FEW = 2 * _PIECE  # bytes of an element whose tags are not counted, as that takes time
_STEPS = b"<&=\n\r"
_MOST_STEPS = 60_000_000  # half a minute of parsing; 100,000 machines take 20 million
_UNCOUNTED = 30_000_000  # bytes whose steps are not counted, and taken to be as many


class UnsafeXMLError(ValueError):
    """XML that is malformed or refused. The text is one line without any of the content."""


class TooMuchError(UnsafeXMLError):
    """The document exceeds a limit."""


class _RootReached(Exception):  # noqa: N818 - no error
    pass


class Scanner:
    """
    An expat parser that refuses a DOCTYPE, and a tag without an end within 2 MiB.

    :param namespace_separator: separates namespace and name; ``None``: names are as written.
    :ivar parser: the parser, to set handlers on.
    """

    def __init__(self, namespace_separator: str | None = None) -> None:
        self.parser = expat.ParserCreate(namespace_separator=namespace_separator)
        self.parser.StartDoctypeDeclHandler = self._doctype
        self._waiting = bytearray()
        self._fed = 0
        self._seen = 0

    def feed(self, piece: bytes, last: bool = False) -> None:
        """
        Parse another piece.

        :raises UnsafeXMLError: it is malformed, or refused.
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
        except (expat.ExpatError, LookupError, ValueError) as error:  # an encoding that expat lacks
            raise UnsafeXMLError(f"not well-formed XML ({error})") from None
        self._fed += len(piece)
        self._seen = max(self._seen, self.parser.CurrentByteIndex)  # -1 if it has not looked yet
        if self._fed - self._seen > 2 * _LARGEST_TAG:
            raise TooMuchError(f"it has a tag of more than {_LARGEST_TAG >> 20} MiB")

    def _doctype(self, *_: object) -> None:
        raise UnsafeXMLError("XML with a DOCTYPE is refused")


class _Prologue(Scanner):
    """
    Reads up to the start tag of the root, and refuses what must not precede it.

    :raises _RootReached: it has been read; by ``feed``.
    """

    def __init__(self) -> None:
        super().__init__(namespace_separator="}")
        self.parser.StartElementHandler = self._element
        self.root = ""  # in Clark notation, once it has been reached

    def _element(self, name: str, _: object) -> None:
        self.root = "{" + name if "}" in name else name
        raise _RootReached


def parse(document: bytes) -> ET.Element:
    """
    Parse a whole document.

    :raises UnsafeXMLError: it is malformed, has a DOCTYPE, or has too many tags.
    """
    with contextlib.suppress(_RootReached):
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

    Names are in Clark notation. Children are removed from the root, so that a listing is never held
    in memory as a whole.

    :param roots: the names that the root may have.
    :param largest: size limit of one child, and of what precedes the root, in bytes; up to 1 MiB
        more may be read before it takes effect.
    :raises UnsafeXMLError: it is malformed, has a DOCTYPE or another root, or exceeds a limit.
    """
    builder = ET.TreeBuilder()
    above = builder.start("above the root", {})
    parser = ET.XMLParser(target=builder)  # noqa: S314 - it is fed nothing with a DOCTYPE
    waiting = bytearray()
    size = tags = read = 0
    steps = _UNCOUNTED
    try:
        for piece in _after_prologue(chunks, roots, largest):
            waiting += piece
            size += len(piece)
            if size > _FEW:
                tags += piece.count(b"<")
            read += len(piece)
            if read > _UNCOUNTED:
                # To count each by itself takes three times as long.
                steps += len(piece) - len(piece.translate(None, _STEPS))
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
    """Yield the document in small pieces, once its prologue has proved harmless."""
    prologue = _Prologue()
    chunks = iter(chunks)
    waiting = bytearray()
    with contextlib.suppress(_RootReached):
        for chunk in chunks:
            waiting += chunk
            prologue.feed(chunk)
            if len(waiting) > largest + _LARGEST_TAG:
                raise TooMuchError(f"it has no element in more than {largest >> 20} MiB")
        prologue.feed(b"", last=True)
    if prologue.root not in roots:
        raise UnsafeXMLError(f"the root element is {prologue.root!r}")
    for chunk in chain((bytes(waiting),), chunks):
        if len(chunk) <= _PIECE:
            yield chunk
            continue
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]
