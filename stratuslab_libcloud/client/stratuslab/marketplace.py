"""Image metadata over REST (marketplace-rest): all current entries, or one in full."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from operator import attrgetter
from sys import getsizeof
from typing import Any, NamedTuple

from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.listing import JSONText, bounded
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.errors import (
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    ServiceError,
)
from stratuslab_libcloud.metadata import rdf as metadata
from stratuslab_libcloud.metadata.entry import ABSENT, Entry, MetadataError, is_identifier, name_of
from stratuslab_libcloud.metadata.rdf import SharedTexts
from stratuslab_libcloud.untrusted import xml

__all__ = ["EndorsedImage", "ListedEntry", "MarketplaceClient"]

_LOG = logging.getLogger(__name__)

_SHORT_OR_WHOLE = "application/json, application/xml;q=0.5"
_CACHED = 300.0  # seconds
_LARGEST_ENTRY = 2**20
_LONGEST_DECLARATION = 200

_COLUMNS = 11  # in a row of the JSON listing (marketplace-rest 2.1)
_NO_VALUES = ("null", "")  # how a row writes a field that the entry lacks (3.4)
_ENTRY, _PORT = 600, 40  # bytes of memory of an entry without its texts, and of a port
_values_of = attrgetter(*ABSENT)


class ListedEntry(NamedTuple):
    """An entry as a JSON listing has it (marketplace-rest 2.1), with the names of its fields."""

    os: str | None
    os_version: str | None
    os_arch: str | None
    endorser: str | None
    kind: str | None
    endorsed: str | None
    identifier: str
    location: str | None
    description: str | None
    title: str | None

    def values(self) -> dict[str, Any]:
        """Return the fields of :class:`Entry`; those that a listing lacks are None."""
        values = self._asdict()
        location = values.pop("location")
        locations = (location,) if location else ()
        return {**ABSENT, "checksums": {}, **values, "locations": locations}


class EndorsedImage(list[ListedEntry | Entry]):
    """
    An image as the list of its endorsements, the newest first.

    Only the newest describes the image; the data of the others is not mixed in.
    """

    __slots__ = ()

    @property
    def id(self) -> str:
        """Its identifier."""
        return self[0].identifier

    @property
    def name(self) -> str:
        """Its title or description, if it has one."""
        return name_of(self[0].identifier, self[0].title, self[0].description)

    def details(self) -> dict[str, Any]:
        """Return the fields of the newest endorsement; ``endorsers`` lists all addresses."""
        newest = self[0]
        values = newest.values() if isinstance(newest, ListedEntry) else asdict(newest)
        del values["identifier"]
        values["locations"] = list(values["locations"])
        values["inbound_ports"] = list(values["inbound_ports"] or ())
        values["endorsers"] = [e.endorser for e in self if e.endorser]
        return values


class MarketplaceClient:
    """The Marketplace that one site uses."""

    def __init__(self, endpoint: str, options: HTTPOptions) -> None:
        self.endpoint = endpoint
        self._service = Service(endpoint, None, options)
        self._cache: dict[str, tuple[float, Entry]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close idle connections."""
        self._service.close()

    def url(self, identifier: str) -> str:
        """Write the URL of an image, which names it in a machine's template."""
        return f"{self.endpoint}/metadata/{_checked_identifier(identifier)}"

    def images(self, whole: bool = False) -> list[EndorsedImage]:
        """
        List the current images.

        A Marketplace that offers JSON answers with the few fields of its listing; others answer
        with whole entries in XML.

        :param whole: ask for XML only.
        """
        try:
            listed = self._service.send(
                "GET",
                "/metadata",
                _read_listing,
                accept="application/xml" if whole else _SHORT_OR_WHOLE,
                streamed=True,
            )
        except NotFoundError:
            return []  # the XML listing has no empty form
        images: dict[str, EndorsedImage] = {}
        for endorsement in listed:
            images.setdefault(endorsement.identifier, EndorsedImage()).append(endorsement)
        for endorsements in images.values():
            if len(endorsements) > 1:
                endorsements.sort(key=_endorsed, reverse=True)
        return list(images.values())

    def get(self, identifier: str) -> EndorsedImage:
        """
        Look up the current entries of one image, the newest endorsement first.

        :raises NotFoundError: there is none: the image is unknown, expired or deprecated.
        """
        return EndorsedImage(self._current(identifier))

    def newest(self, identifier: str) -> Entry:
        """Look up the newest endorsement of one image; cached for five minutes."""
        with self._lock:
            cached = self._cache.get(identifier)
        if cached and time.monotonic() - cached[0] < _CACHED:
            return cached[1]
        return self._current(identifier)[0]

    def _current(self, identifier: str) -> list[Entry]:
        try:
            entries = self._service.send(
                "GET",
                f"/metadata/{_checked_identifier(identifier)}",
                partial(_read_entries, identifier),
                accept="application/xml",
            )
        except NotFoundError as error:
            raise self._unknown(identifier) from error
        if not entries:
            raise self._unknown(identifier)
        entries.sort(key=_endorsed, reverse=True)
        with self._lock:
            self._cache[identifier] = (time.monotonic(), entries[0])
        return entries

    def _unknown(self, identifier: str) -> NotFoundError:
        return NotFoundError(
            f"there is no current image {identifier}: it is unknown, expired or deprecated",
            endpoint=self.endpoint,
            http_code=404,
        )


def _endorsed(endorsement: ListedEntry | Entry) -> tuple[str, str]:
    return endorsement.endorsed or "", endorsement.endorser or ""


def _checked_identifier(identifier: str) -> str:
    if not isinstance(identifier, str) or not is_identifier(identifier):
        raise InvalidValueError(f"{identifier!r} is not the identifier of an image")
    return identifier


# -- reading answers ---------------------------------------------------------------------------


def _read_listing(answer: Answer) -> Sequence[ListedEntry] | Sequence[Entry]:
    if answer.content_type == "application/json":
        return _read_json(answer)
    shared = SharedTexts()
    return list(bounded(_read_xml(answer, shared), partial(_weight, shared)))


def _read_entries(identifier: str, answer: Answer) -> list[Entry]:
    """Read the entries of one image, and ignore those of others."""
    found = list(_read_xml(answer))
    entries = [entry for entry in found if entry.identifier == identifier]
    if found and not entries:
        raise MalformedAnswerError(
            f"was asked about image {identifier}, but answered about {found[0].identifier}"
        )
    return entries


def _weight(shared: SharedTexts, entry: Entry) -> int:
    """Estimate the memory of an entry, in bytes."""
    texts = (*_values_of(entry), *entry.locations, *entry.checksums, *entry.checksums.values())
    own = (text for text in texts if isinstance(text, str) and text not in shared)
    return _ENTRY + sum(map(getsizeof, own)) + _PORT * len(entry.inbound_ports)


def _read_json(answer: Answer) -> list[ListedEntry]:
    """Read a JSON listing (marketplace-rest 3.4)."""
    text = JSONText(answer.pieces)
    rows: list[ListedEntry] | None = None
    message = ""
    try:
        for name in text.names():
            if name == "aaData" and text.next() == "[":
                rows = list(_read_rows(bounded(text.array())))
            elif name == "rMsg":
                message = str(text.value())
            else:
                text.value()
        text.end()
    except (ValueError, RecursionError):
        raise MalformedAnswerError("answered JSON that cannot be read") from None
    if rows is None:
        raise MalformedAnswerError("answered JSON without a listing; is this the Marketplace?")
    if message.startswith("ERROR"):
        raise ServiceError(f"could not list the images: {message}")
    return rows


def _read_rows(rows: Iterable[Any]) -> Iterator[ListedEntry]:
    """Read the columns of each row; the first column is always empty."""
    unnamed = 0
    for row in rows:
        if not isinstance(row, list) or len(row) < _COLUMNS:
            raise MalformedAnswerError("answered a listing with an incomplete row")
        columns: list[Any] = row[1:_COLUMNS]
        try:
            unusual = "null" in columns or "" in columns or not "".join(columns)
        except TypeError:  # not all of them are strings
            unusual = True
        if unusual:
            columns = [
                text if isinstance(text, str) and text not in _NO_VALUES else None
                for text in columns
            ]
        found = ListedEntry._make(columns)
        if is_identifier(found.identifier or ""):
            yield found
        else:
            unnamed += 1
    if unnamed:
        _LOG.warning("left out of a Marketplace listing: %s", _rows_without_identifier(unnamed))


def _rows_without_identifier(count: int) -> str:
    if count == 1:
        return "a row without an image identifier"
    return f"{count:,} rows without an image identifier"


def _read_xml(answer: Answer, shared: SharedTexts | None = None) -> Iterator[Entry]:
    """Read a listing or a single entry (marketplace-rest 3.2, 3.3)."""
    if answer.content_type == "text/html":
        # Marketplaces answer unknown paths with a page and status 200.
        raise MalformedAnswerError(
            "answered a web page; is marketplace_endpoint right? Its path is '/marketplace' on "
            "newer sites"
        )
    pieces = _one_declaration(answer.pieces)
    entries = xml.stream(pieces, metadata.RDF, ("metadata", metadata.RDF), _LARGEST_ENTRY)
    left_out, first = 0, ""
    for rdf in bounded(entries):
        try:
            yield metadata.read_entry(rdf, shared)
        except MetadataError as error:
            left_out, first = left_out + 1, first or str(error)
    if left_out:
        text = first if left_out == 1 else f"{left_out:,} entries, the first: {first}"
        _LOG.warning("left out of a Marketplace listing: %s", text)


def _one_declaration(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """
    Drop all XML declarations but one at the very beginning.

    Old Marketplaces copy those of stored documents into their listings, which makes the listings
    malformed (marketplace-rest 3.2).
    """
    kept = b""
    first = True
    for piece in pieces:
        text = kept + piece
        head, text = (text[:1], text[1:]) if first else (b"", text)
        text = metadata.STRAY_DECLARATION.sub(b"", text)
        begun = text.rfind(b"<?", max(0, len(text) - _LONGEST_DECLARATION))
        if begun < 0 and text.endswith(b"<"):
            begun = len(text) - 1
        cut = begun if begun >= 0 and b"?>" not in text[begun:] else len(text)
        kept = text[cut:]
        first = False
        yield head + text[:cut]
    yield kept
