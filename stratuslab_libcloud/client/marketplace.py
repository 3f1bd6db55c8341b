"""Image metadata over REST (marketplace-rest): the current entries, and one in full."""

import json
import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

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

_LOG = logging.getLogger(__name__)

_CACHED = 300.0  # seconds
_LARGEST_ENTRY = 2**20
_LONGEST_DECLARATION = 200

# What the columns of the JSON listing are (marketplace-rest 2.1); the first is always empty.
_COLUMNS = (
    None,
    "os",
    "os_version",
    "os_arch",
    "endorser",
    "kind",
    "endorsed",
    "identifier",
    "locations",
    "description",
    "title",
)


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

    def images(self) -> list[list[Entry]]:
        """
        The current entries by image: for each its endorsements, the newest first.

        A Marketplace that can answers JSON, which has the fields of the listing only; otherwise
        entries are whole.
        """
        try:
            entries = self._service.send(
                "GET",
                "/metadata",
                _read_listing,
                accept="application/json, application/xml;q=0.5",
                streamed=True,
            )
        except NotFoundError:
            return []  # the XML listing has no empty form
        images: dict[str, list[Entry]] = {}
        for entry in entries:
            images.setdefault(entry.identifier, []).append(entry)
        for endorsements in images.values():
            endorsements.sort(key=_endorsed, reverse=True)
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
                lambda answer: list(_read_xml(answer)),
                accept="application/xml",
            )
        except NotFoundError as error:
            raise self._unknown(identifier) from error
        entries = [entry for entry in entries if entry.identifier == identifier]
        if not entries:
            raise self._unknown(identifier)
        entries.sort(key=_endorsed, reverse=True)
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


def _endorsed(entry: Entry) -> tuple[str, str]:
    return entry.endorsed or "", entry.endorser or ""


def _checked(identifier: str) -> str:
    if not isinstance(identifier, str) or not metadata.is_identifier(identifier):
        raise InvalidValueError(f"{identifier!r} is not the identifier of an image")
    return identifier


# -- reading answers ---------------------------------------------------------------------------


def _read_listing(answer: Answer) -> list[Entry]:
    if answer.content_type == "application/json":
        return _read_json(answer)
    return list(_read_xml(answer))


def _read_json(answer: Answer) -> list[Entry]:
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
    return [entry for row in rows if (entry := _from_row(row))]


def _from_row(row: Any) -> Entry | None:
    if not isinstance(row, list) or len(row) < len(_COLUMNS):
        raise MalformedAnswerError("answered a listing with an incomplete row")
    values: dict[str, Any] = {
        name: text
        for name, text in zip(_COLUMNS, row, strict=False)
        if name and isinstance(text, str) and text not in ("null", "")
    }
    if not metadata.is_identifier(values.get("identifier", "")):
        _LOG.warning("left out of a Marketplace listing: a row without an image identifier")
        return None
    if "locations" in values:
        values["locations"] = (values["locations"],)
    return Entry(**values)


def _read_xml(answer: Answer) -> Iterator[Entry]:
    """A listing or a single entry (marketplace-rest 3.2, 3.3)."""
    if answer.content_type == "text/html":
        # Marketplaces answer unknown paths with a page, and 200.
        raise MalformedAnswerError(
            "answered a web page; is marketplace_endpoint right? Its path is '/marketplace' on "
            "newer sites"
        )
    size = _Size()
    pieces = _one_declaration(size.counted(answer.pieces))
    for rdf in safe_xml.stream(pieces, metadata.RDF, ("metadata", metadata.RDF)):
        size.since_entry = 0
        try:
            yield metadata.read_entry(rdf)
        except metadata.MetadataError as error:
            _LOG.warning("left out of a Marketplace listing: %s", error)


class _Size:
    """Bounds what has come since the last complete entry."""

    def __init__(self) -> None:
        self.since_entry = 0

    def counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            for start in range(0, len(piece), _LARGEST_ENTRY):
                part = piece[start : start + _LARGEST_ENTRY]
                if self.since_entry > _LARGEST_ENTRY:
                    raise MalformedAnswerError("answered an entry of more than 1 MiB")
                self.since_entry += len(part)
                yield part


_DECLARATION = re.compile(rb"<\?xml\s[^>]*\?>")


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
        text = _DECLARATION.sub(b"", text)
        begun = text.rfind(b"<?", max(0, len(text) - _LONGEST_DECLARATION))
        if begun < 0 and text.endswith(b"<"):
            begun = len(text) - 1
        cut = begun if begun >= 0 and b"?>" not in text[begun:] else len(text)
        kept = text[cut:]
        first = False
        yield head + text[:cut]
    yield kept
