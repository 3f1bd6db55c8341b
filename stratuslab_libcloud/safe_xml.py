"""
XML from strangers: bytes in, lxml elements out.

No entity is expanded, nothing is fetched, and a document with a DOCTYPE is refused before its
root is read. Sizes are the caller's to bound: libxml2's own limit on a text node (10 MB) is
lifted, as it is too small for a pool of 3,000 machines in one XML-RPC string.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, cast
from xml.parsers import expat

from lxml import etree

__all__ = ["UnsafeXMLError", "parse", "stream"]


class UnsafeXMLError(ValueError):
    """Not well-formed, or XML of a kind that is not read from strangers. One line, no content."""


class _RootReached(Exception):  # noqa: N818 - no error
    pass


class _Prologue:
    """Reads up to the root's start tag, and refuses what must not come before it."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate(namespace_separator="}")
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._element
        self.root = ""  # in Clark notation, once it was reached

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.Parse(chunk, False)
        except _RootReached:
            pass
        except (expat.ExpatError, LookupError, ValueError) as error:
            if isinstance(error, UnsafeXMLError):
                raise
            raise UnsafeXMLError(f"not well-formed XML ({error})") from None

    def _doctype(self, *_: object) -> None:
        raise UnsafeXMLError("XML with a DOCTYPE is refused")

    def _element(self, name: str, _: object) -> None:
        self.root = "{" + name if "}" in name else name
        raise _RootReached


_PARSER_OPTIONS: dict[str, Any] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": True,
    "remove_comments": True,
    "remove_pis": True,
}


def parse(document: bytes) -> etree._Element:
    """
    Parse a whole document.

    :raises UnsafeXMLError: it is not well-formed, or has a DOCTYPE.
    """
    _Prologue().feed(document)
    try:
        return etree.fromstring(document, etree.XMLParser(**_PARSER_OPTIONS))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnsafeXMLError(f"not well-formed XML ({error})") from None


def stream(chunks: Iterable[bytes], tag: str, roots: Collection[str]) -> Iterator[etree._Element]:
    """
    Yield each child of the root named ``tag`` (or the root, if that is its name) once complete.

    Names are in Clark notation. An element is emptied after it was yielded, so that a listing is
    never held whole.

    :param roots: names that the root may have.
    :raises UnsafeXMLError: not well-formed, has a DOCTYPE, or has another root.
    """
    prologue = _Prologue()
    parser = etree.XMLPullParser(events=("end",), tag=tag, **_PARSER_OPTIONS)
    waiting = b""
    try:
        for chunk in chunks:
            if not prologue.root:
                # Nothing reaches libxml2 before the prologue is known to be harmless.
                waiting += chunk
                prologue.feed(chunk)
                if not prologue.root:
                    continue
                if prologue.root not in roots:
                    raise UnsafeXMLError(f"the root element is {prologue.root!r}")
                chunk = waiting
            parser.feed(chunk)
            for _, ended in parser.read_events():
                element = cast(etree._Element, ended)
                parent = element.getparent()
                if parent is not None and parent.getparent() is not None:
                    continue  # of the same name, but deeper down
                yield element
                element.clear()
                while parent is not None and element.getprevious() is not None:
                    del parent[0]
        if not prologue.root:
            raise UnsafeXMLError("not well-formed XML (no element found)")
        parser.close()
    except etree.XMLSyntaxError as error:
        raise UnsafeXMLError(f"not well-formed XML ({error})") from None
