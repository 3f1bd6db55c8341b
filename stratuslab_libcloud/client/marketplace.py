"""Image metadata over REST (marketplace-rest): the current entries, and one in full."""

import json
import logging
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from stratuslab_libcloud import metadata, safe_xml
from stratuslab_libcloud.client.errors import (
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    ServiceError,
)
from stratuslab_libcloud.client.transport import Answer, HTTPOptions, Service
from stratuslab_libcloud.metadata import Entry

__all__ = ["Marketplace"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_CACHED = 300.0  # seconds
_LARGEST_ENTRY = 2**20
_LONGEST_DECLARATION = 200

_COLUMNS = 11  # in a row of the JSON listing (marketplace-rest 2.1)
_NOTHING = ("null", "")  # what it says of a field that the entry does not have (3.4)


class Marketplace:
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
        """The URL of an image, which is its name in a machine's template."""
        return f"{self.endpoint}/metadata/{_checked(identifier)}"

    def images(self) -> list[dict[str, Any]]:
        """
        The current images.

        A Marketplace that can answers JSON, which has the fields of the listing only; otherwise
        entries are whole.

        :return: for each what its newest endorsement says, by the names of :class:`Entry`'s fields,
            with lists for tuples, and the addresses of all its ``endorsers``, the newest first.
        """
        try:
            listed = self._service.send(
                "GET",
                "/metadata",
                _read_listing,
                accept="application/json, application/xml;q=0.5",
                streamed=True,
            )
        except NotFoundError:
            return []  # the XML listing has no empty form
        images: dict[str, dict[str, Any]] = {}
        several: dict[str, list[dict[str, Any]]] = {}
        for values in listed:
            first = images.setdefault(values["identifier"], values)
            if first is not values:
                several.setdefault(values["identifier"], [first]).append(values)
        for identifier, endorsements in several.items():
            endorsements.sort(key=lambda v: _endorsed(v["endorsed"], v["endorser"]), reverse=True)
            endorsers = [endorser for values in endorsements for endorser in values["endorsers"]]
            images[identifier] = {**endorsements[0], "endorsers": endorsers}
        return list(images.values())

    def get(self, identifier: str) -> list[Entry]:
        """
        The current entries of one image, the newest endorsement first.

        :raises NotFoundError: there is none: unknown, expired or deprecated.
        """
        try:
            entries = self._service.send(
                "GET",
                f"/metadata/{_checked(identifier)}",
                partial(_read_entries, identifier),
                accept="application/xml",
            )
        except NotFoundError as error:
            raise self._unknown(identifier) from error
        if not entries:
            raise self._unknown(identifier)
        entries.sort(key=lambda entry: _endorsed(entry.endorsed, entry.endorser), reverse=True)
        with self._lock:
            self._cache[identifier] = (time.monotonic(), entries[0])
        return entries

    def newest(self, identifier: str) -> Entry:
        """The newest endorsement of one image; remembered for five minutes."""
        with self._lock:
            cached = self._cache.get(identifier)
        if cached and time.monotonic() - cached[0] < _CACHED:
            return cached[1]
        return self.get(identifier)[0]

    def _unknown(self, identifier: str) -> NotFoundError:
        error = NotFoundError(
            f"there is no current image {identifier}: it is unknown, expired or deprecated",
            http_code=404,
        )
        error.endpoint = self.endpoint
        return error


def _endorsed(date: str | None, endorser: str | None) -> tuple[str, str]:
    return date or "", endorser or ""


def _checked(identifier: str) -> str:
    if not isinstance(identifier, str) or not metadata.is_identifier(identifier):
        raise InvalidValueError(f"{identifier!r} is not the identifier of an image")
    return identifier


# -- reading answers ---------------------------------------------------------------------------


def _read_listing(answer: Answer) -> list[dict[str, Any]]:
    if answer.content_type == "application/json":
        return _read_json(answer)
    return list(_read_xml(answer, _read_image))


def _read_entries(identifier: str, answer: Answer) -> list[Entry]:
    """The entries of one image; others are not believed, if there are any."""
    found = list(_read_xml(answer, metadata.read_entry))
    entries = [entry for entry in found if entry.identifier == identifier]
    if found and not entries:
        raise MalformedAnswerError(
            f"was asked about image {identifier}, and answered about {found[0].identifier}"
        )
    return entries


def _read_image(rdf: ET.Element) -> dict[str, Any]:
    values = metadata.read_values(rdf)
    values["endorsers"] = [values["endorser"]] if values["endorser"] else []
    return values


def _read_json(answer: Answer) -> list[dict[str, Any]]:
    """Marketplace-rest 3.4."""
    try:
        document = json.loads(answer.body())
    except (ValueError, RecursionError):
        raise MalformedAnswerError("answered JSON that cannot be read") from None
    rows = document.get("aaData") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise MalformedAnswerError("answered JSON without a listing; is this the Marketplace?")
    message = str(document.get("rMsg", ""))
    if message.startswith("ERROR"):
        raise ServiceError(f"could not list the images: {message}")
    return [values for row in _uniform(rows) if (values := _from_row(row))]


def _uniform(rows: list[Any]) -> list[list[str]]:
    """Eleven texts in each row, whatever came; it is all there already but for odd servers."""
    if not all(isinstance(row, list) and len(row) >= _COLUMNS for row in rows):
        raise MalformedAnswerError("answered a listing with an incomplete row")
    if {*map(len, rows), *map(type, chain.from_iterable(rows))} <= {_COLUMNS, str}:
        return rows
    return [[text if isinstance(text, str) else "" for text in row[:_COLUMNS]] for row in rows]


def _from_row(row: Sequence[str | None]) -> dict[str, Any] | None:
    """Of the columns the first is always empty."""
    if "null" in row or row.count("") > 1:
        row = [text if text not in _NOTHING else None for text in row]
    _, os, os_version, os_arch, endorser, kind, endorsed, identifier, location, text, title = row
    if not metadata.is_identifier(identifier or ""):
        _LOG.warning("left out of a Marketplace listing: a row without an image identifier")
        return None
    return {
        **metadata.ABSENT,
        "identifier": identifier,
        "checksums": {},
        "endorser": endorser,
        "endorsed": endorsed,
        "kind": kind,
        "os": os,
        "os_version": os_version,
        "os_arch": os_arch,
        "locations": [location] if location else [],
        "title": title,
        "description": text,
        "inbound_ports": [],
        "endorsers": [endorser] if endorser else [],
    }


def _read_xml(answer: Answer, read: Callable[[ET.Element], T]) -> Iterator[T]:
    """A listing or a single entry (marketplace-rest 3.2, 3.3), each entry by ``read``."""
    if answer.content_type == "text/html":
        # Marketplaces answer unknown paths with a page, and 200.
        raise MalformedAnswerError(
            "answered a web page; is marketplace_endpoint right? Its path is '/marketplace' on "
            "newer sites"
        )
    pieces = _one_declaration(answer.pieces)
    for rdf in safe_xml.stream(pieces, metadata.RDF, ("metadata", metadata.RDF), _LARGEST_ENTRY):
        try:
            yield read(rdf)
        except metadata.MetadataError as error:
            _LOG.warning("left out of a Marketplace listing: %s", error)


def _one_declaration(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """
    Drop XML declarations after the first byte.

    Old Marketplaces leave those of stored documents in their listings, which are then not
    well-formed (marketplace-rest 3.2).
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
