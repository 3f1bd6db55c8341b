"""Image metadata over REST (marketplace-rest): read, verified and published."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from sys import getsizeof
from typing import Any
from urllib.parse import quote

from stratuslab_libcloud.client.data import Endorsement
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.listing import JSONText, bounded
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.client.stratuslab.listed import EndorsedImage, JudgedImage, ListedEntry
from stratuslab_libcloud.client.stratuslab.publishing import (
    LARGEST_ENTRY,
    checked,
    deprecated,
    endorser_of,
    read_stored,
)
from stratuslab_libcloud.client.stratuslab.trust import Found, Judged, Trust
from stratuslab_libcloud.configuration.options import Options
from stratuslab_libcloud.errors import (
    ConfigurationError,
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    ServiceError,
)
from stratuslab_libcloud.metadata import rdf as metadata
from stratuslab_libcloud.metadata.entry import ABSENT, Entry, MetadataError, is_identifier
from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.metadata.rdf import SharedTexts
from stratuslab_libcloud.untrusted import xml

__all__ = ["EndorsedImage", "ListedEntry", "MarketplaceClient"]

_LOG = logging.getLogger(__name__)

_SHORT_OR_WHOLE = "application/json, application/xml;q=0.5"
_CACHED = 300.0  # seconds
_MOST_ENTRIES = 10_000  # of one image; each may have to be verified
_LONGEST_DECLARATION = 200

_COLUMNS = 11  # in a row of the JSON listing (marketplace-rest 2.1)
_NO_VALUES = ("null", "")  # how a row writes a field that the entry lacks (3.4)
_ENTRY, _PORT = 600, 40  # bytes of memory of an entry without its texts, and of a port
_values_of = attrgetter(*ABSENT)


class MarketplaceClient:
    """The Marketplace that one site uses."""

    def __init__(self, endpoint: str, options: HTTPOptions, trust: Trust | None = None) -> None:
        """
        Nothing is sent.

        :param trust: the policy; default: nothing is verified.
        """
        self.endpoint = endpoint
        self._service = Service(endpoint, None, options)
        self._trust = trust or Trust(Options(verify_images="off"), "")
        self._cache: dict[str, tuple[float, Judged]] = {}
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

    def get(self, identifier: str) -> JudgedImage:
        """
        Look up the current entries of one image: the one that counts, then the newest first.

        :raises NotFoundError: there is none: the image is unknown, expired or deprecated.
        """
        found, chosen = self._current(identifier)
        mine = _endorsed(chosen.entry)
        others = [one.entry for one in found if _endorsed(one.entry) != mine]
        verdict = chosen.endorsement() if self._trust.verifies else None
        return JudgedImage([chosen.entry, *others], verdict)

    def newest(self, identifier: str) -> Entry:
        """Look up the entry of one image that counts; cached for five minutes."""
        return self._remembered(identifier).entry

    def started(self, identifier: str) -> tuple[Entry, str]:
        """
        Look up the entry that a machine starts by, and its URL for the machine's template.

        :raises UntrustedImageError: no entry is signed as the configuration requires.
        """
        chosen = self._remembered(identifier)
        self._trust.admit(identifier, chosen)
        # Front ends of 2014 know images, not entries (marketplace-rest 7.2).
        named = self._trust.required
        return chosen.entry, self._coordinates(chosen.entry) if named else self.url(identifier)

    def attached(self, identifier: str) -> str:
        """Return the URL of an image that is only read; it is looked up only with ``require``."""
        return self.started(identifier)[1] if self._trust.required else self.url(identifier)

    def verified(self, identifier: str) -> Endorsement:
        """Verify the current entry that counts, even with ``verify_images = off``."""
        found = self._found(f"/metadata/{_checked_identifier(identifier)}", identifier)
        return self._trust.chosen(identifier, found).endorsement()

    def endorsements(self, identifier: str) -> list[Endorsement]:
        """Verify the latest entry of every endorser, the newest first, whatever its status."""
        path = f"/metadata/{_checked_identifier(identifier)}?status=all"
        found = self._found(path, identifier)
        self._forget(identifier)
        return [self._trust.judged(identifier, one).endorsement() for one in found]

    def upload(self, document: bytes) -> str:
        """
        Publish an entry (marketplace-rest 2.6).

        :return: its URL.
        :raises InvalidValueError: the document is not an entry; nothing was sent.
        """
        entry = checked(document)
        self._service.send(
            "POST",
            "/metadata",
            read_stored,
            accept="application/xml",
            body=document,
            content_type="application/xml",
            if_lost=f"the entry may have been stored: see the endorsements of {entry.identifier}",
            if_not_found="is marketplace_endpoint right?",
        )
        self._forget(entry.identifier)
        with contextlib.suppress(ConfigurationError):  # the entry is published already
            self._trust.judged(entry.identifier, Found(entry, document))  # remembers its date
        return self._coordinates(entry)

    def deprecate(
        self,
        identifier: str,
        key: SigningKey,
        reason: str,
        *,
        email: str | None = None,
        created: str | None = None,
    ) -> str:
        """Deprecate an entry: see :meth:`.Cloud.deprecate_image` (marketplace-rest 7.6)."""
        endorser = endorser_of(key, email)
        path = "/".join(["/metadata", _checked_identifier(identifier), _in_path(endorser)])
        found = self._found(f"{path}/{_in_path(created)}" if created else path, identifier)
        return self.upload(deprecated(identifier, found[0].document, key, endorser, reason))

    def _remembered(self, identifier: str) -> Judged:
        with self._lock:
            cached = self._cache.get(identifier)
        if cached and time.monotonic() - cached[0] < _CACHED:
            return cached[1]
        return self._current(identifier)[1]

    def _forget(self, identifier: str) -> None:
        with self._lock:
            self._cache.pop(identifier, None)

    def _current(self, identifier: str) -> tuple[list[Found], Judged]:
        found = self._found(f"/metadata/{_checked_identifier(identifier)}", identifier)
        trust = self._trust
        chosen = trust.chosen(identifier, found) if trust.verifies else Judged(found[0].entry)
        self._forget(identifier)
        if not (trust.required and chosen.reasons):  # so that a corrected entry counts at once
            with self._lock:
                self._cache[identifier] = (time.monotonic(), chosen)
        return found, chosen

    def _found(self, path: str, identifier: str) -> list[Found]:
        """Fetch entries of one image, the newest first."""
        try:
            found = self._service.send(
                "GET", path, partial(_read_found, identifier), accept="application/xml"
            )
        except NotFoundError as error:
            self._forget(identifier)
            raise self._unknown(identifier) from error
        if not found:
            raise self._unknown(identifier)
        found.sort(key=lambda one: _endorsed(one.entry), reverse=True)
        return found

    def _coordinates(self, entry: Entry) -> str:
        """Return the URL of one entry (marketplace-rest 2.4)."""
        parts = entry.endorser or "", entry.endorsed or ""
        return "/".join([self.url(entry.identifier), *map(_in_path, parts)])

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


def _in_path(text: str) -> str:
    """Quote a segment of a path; the original server decodes neither ``@`` nor ``:`` (2.1)."""
    return quote(text, safe="@:")


# -- reading answers ---------------------------------------------------------------------------


def _read_listing(answer: Answer) -> Sequence[ListedEntry] | Sequence[Entry]:
    if answer.content_type == "application/json":
        return _read_json(answer)
    shared = SharedTexts()
    return list(bounded(_read_xml(answer, shared), partial(_weight, shared)))


def _read_found(identifier: str, answer: Answer) -> list[Found]:
    """Read the entries of one image, and ignore those of others."""
    body = answer.body()
    entries = list(_numbered(replace(answer, pieces=iter((body,)))))
    if len(entries) > _MOST_ENTRIES:
        raise MalformedAnswerError(f"answered more than {_MOST_ENTRIES:,} entries of one image")
    documents = metadata.cut_entries(body)
    found = [
        Found(entry, documents[number])
        for number, entry in entries
        if entry.identifier == identifier
    ]
    if entries and not found:
        raise MalformedAnswerError(
            f"was asked about image {identifier}, but answered about {entries[0][1].identifier}"
        )
    return found


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
    return (entry for _, entry in _numbered(answer, shared))


def _numbered(answer: Answer, shared: SharedTexts | None = None) -> Iterator[tuple[int, Entry]]:
    """Read the same, with the place of each in the answer."""
    if answer.content_type == "text/html":
        # Marketplaces answer unknown paths with a page and status 200.
        raise MalformedAnswerError(
            "answered a web page; is marketplace_endpoint right? Its path is '/marketplace' on "
            "newer sites"
        )
    pieces = _one_declaration(answer.pieces)
    entries = xml.stream(pieces, metadata.RDF, ("metadata", metadata.RDF), LARGEST_ENTRY)
    left_out, first = 0, ""
    for number, rdf in enumerate(bounded(entries)):
        try:
            yield number, metadata.read_entry(rdf, shared)
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
