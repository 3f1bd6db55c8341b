"""
The Marketplace: entries, listings of them, and the original's manner of answering.

After marketplace-rest 1.3, 1.4, 2.1 to 2.4 and 3. Nothing needs a password here.
"""

import html
import json
import re
import time
from collections.abc import Callable

from werkzeug import Request, Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.exceptions import NotImplemented as NotOffered
from werkzeug.http import HTTP_STATUS_CODES, parse_accept_header

from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.sandbox.marketplace import seeds
from stratuslab_libcloud.sandbox.marketplace.listing import _number, _Selection, _selection
from stratuslab_libcloud.sandbox.marketplace.pages import (
    HTML,
    JSON,
    RDF_XML,
    XML,
    _html_rows,
    _page,
    _response,
)
from stratuslab_libcloud.sandbox.marketplace.registry import (
    DECLARATION,
    _stored,
)
from stratuslab_libcloud.sandbox.store import Store

__all__ = ["Marketplace"]

NO_MATCH = "no metadata matching query found"
NO_ENTRY = "metadata entry not found.\n"
NO_ROUTE = "The server has not found anything matching the request URI"
NO_METHOD = (
    "The method specified in the request is not allowed for the resource identified by the "
    "request URI"
)
NO_UPLOAD = "this Marketplace takes no uploads"

FORMS = {XML: XML, "text/xml": XML, RDF_XML: XML, JSON: JSON, HTML: HTML}
MEDIA = {"xml": XML, "json": JSON, "html": HTML}


class Marketplace:
    """
    The entries of a site.

    :param clock: tells the time, as :func:`time.time` does; entries expire by it.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def add(self, *documents: bytes) -> None:
        """
        Store entries: all of them, or none. Nobody checks their signatures yet.

        One with the coordinates of a stored entry takes its place.

        :param documents: ``rdf:RDF`` documents in UTF-8.
        :raises MetadataError: one is no entry, or has no endorser or endorsement date.
        :raises safe_xml.UnsafeXMLError: one is not well-formed, or has a DOCTYPE.
        """
        rows = [_stored(document) for document in documents]
        with self._store.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO entries "
                "(identifier, email, created, document, valid, deprecated, row) "
                "VALUES (:identifier, :email, :created, :document, :valid, :deprecated, :row)",
                rows,
            )
            db.executemany(
                "UPDATE entries SET latest = (created = (SELECT MAX(created) FROM entries "
                "WHERE identifier = :identifier AND email = :email)) "
                "WHERE identifier = :identifier AND email = :email",
                rows,
            )

    def withdraw(self, endorser: str) -> None:
        """Remove all entries of this endorser's."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM entries WHERE email = ?", (endorser,))

    def seed(self, base_url: str | None = None) -> None:
        """
        Put the entries of a new site in; again is harmless.

        :param base_url: where their locations pretend to be.
        """
        self.add(*map(write_entry, seeds.entries(base_url or "https://images.example.org")))

    def respond(self, request: Request, segments: list[str]) -> Response:
        """
        Answer a request.

        :param segments: of the path after ``metadata``, decoded.
        """
        try:
            return self._answer(request, segments)
        except HTTPException as error:
            return _error(request, error)

    def _answer(self, request: Request, segments: list[str]) -> Response:
        if len(segments) > 3:
            raise NotFound(NO_ROUTE)
        if request.method == "POST" and len(segments) < 3:
            raise NotOffered(NO_UPLOAD)
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(["GET", "HEAD"], NO_METHOD)
        form = _form(request)
        if len(segments) == 3:
            return self._single(form, segments)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        selection = _selection(segments, request.args, now)
        echo = _number(request.args, "sEcho", 0)
        if form == XML:
            return self._xml_listing(selection)
        return self._row_listing(form, selection, echo)

    def _single(self, form: str, coordinates: list[str]) -> Response:
        """An entry by its coordinates, whatever its status (2.4, 3.3); JSON is left out."""
        with self._store.reading() as db:
            found = db.execute(
                "SELECT document FROM entries WHERE identifier = ? AND email = ? AND created = ?",
                coordinates,
            ).fetchone()
        if not found:
            raise NotFound(NO_ENTRY)
        if form == HTML:
            text = html.escape(found["document"].decode())
            return _page(coordinates[0], f"<pre>{text}</pre>")
        response = _response(DECLARATION + found["document"] + b"\n", RDF_XML)
        response.headers["Content-Disposition"] = f"attachment; filename={coordinates[0]}.xml"
        return response

    def _xml_listing(self, selection: "_Selection") -> Response:
        with self._store.reading() as db:
            db.create_function("searched", 1, selection.searched)
            found = db.execute(selection.sql("document"), selection.values).fetchall()
        if not found:
            raise NotFound(NO_MATCH)
        parts = [DECLARATION, b"<metadata>"]
        for row in found:
            parts += row["document"], b"\n"
        return _response(b"".join([*parts, b"</metadata>"]), XML)

    def _row_listing(self, form: str, selection: "_Selection", echo: int) -> Response:
        with self._store.reading() as db:
            db.create_function("searched", 1, selection.searched)
            shown = selection.sql("json_remove(row, '$[11]') AS shown")
            found = db.execute(shown, selection.values).fetchall()
            ((matching,),) = db.execute(selection.sql_matching, selection.values)
            ((total,),) = db.execute(selection.sql_total, selection.values)
        if form == HTML:
            return _page("Marketplace", _html_rows([json.loads(row["shown"]) for row in found]))
        numbers = {
            "sEcho": echo,
            "iTotalRecords": total if found else 0,
            "iTotalDisplayRecords": matching if found else 0,
            "rMsg": NO_MATCH,  # always
        }
        rows = ",".join(row["shown"] for row in found)
        return _response(f'{json.dumps(numbers)[:-1]}, "aaData": [{rows}]}}'.encode(), JSON)


def _accept(request: Request) -> str:
    """What is asked for: ``media`` takes the place of the header (marketplace-rest 1.3)."""
    media = request.args.get("media")
    return MEDIA.get(media, media) if media else request.headers.get("Accept", "")


def _form(request: Request) -> str:
    """The best of our forms by quality; XML in a tie and where nothing fits."""
    qualities = {XML: 0.0, JSON: 0.0, HTML: 0.0}
    for accepted, quality in parse_accept_header(_accept(request), MIMEAccept):
        form = FORMS.get(accepted.partition(";")[0].strip().lower())
        if form:
            qualities[form] = max(quality, qualities[form])
    return max(qualities, key=lambda form: qualities[form])


def _error(request: Request, error: HTTPException) -> Response:
    """In the form that is named first, whatever its quality (marketplace-rest 1.4)."""
    status, message = error.code or 500, error.description or ""
    first = re.split("[,;]", _accept(request))[0].strip().lower()
    form = FORMS.get(first, HTML)
    escaped = html.escape(message, quote=False)
    if form == XML:
        response = _response(DECLARATION + f"<error>{escaped}</error>".encode(), XML)
    elif form == JSON:
        response = _response(f'{{"{status}" : {json.dumps(message)}}}'.encode(), JSON)
    else:
        title = HTTP_STATUS_CODES[status]
        response = _page(title, f"<table><tr><td>{escaped}</td></tr></table>")
    response.status_code = status
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = "GET, HEAD"
    return response
