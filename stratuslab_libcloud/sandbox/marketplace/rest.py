"""
The Marketplace: entries, listings of them, and the original's manner of answering.

After marketplace-rest 1.3, 1.4, 2.1 to 2.4 and 3. Nothing needs a password here.
"""

import html
import json
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from werkzeug import Request, Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, NotFound
from werkzeug.exceptions import NotImplemented as NotOffered
from werkzeug.http import HTTP_STATUS_CODES, parse_accept_header

from stratuslab_libcloud.metadata.rdf import RDF, MetadataError, read_entry, write_entry
from stratuslab_libcloud.sandbox.marketplace.rest import seeds
from stratuslab_libcloud.sandbox.store import Store
from stratuslab_libcloud.untrusted import xml

__all__ = ["Marketplace"]

NO_MATCH = "no metadata matching query found"
NO_ENTRY = "metadata entry not found.\n"
NO_ROUTE = "The server has not found anything matching the request URI"
NO_METHOD = (
    "The method specified in the request is not allowed for the resource identified by the "
    "request URI"
)
NO_UPLOAD = "this Marketplace takes no uploads"

XML, JSON, HTML = "application/xml", "application/json", "text/html"
RDF_XML = "application/rdf+xml"
FORMS = {XML: XML, "text/xml": XML, RDF_XML: XML, JSON: JSON, HTML: HTML}
MEDIA = {"xml": XML, "json": JSON, "html": HTML}

DECLARATION = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
ANY_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*\?>")
EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
NUMBER = re.compile(r"[0-9]{1,9}")

# Their places in a listing's row are 1 to 10 (marketplace-rest 2.1); 0 is a dummy.
ENDORSER, ENDORSED, IDENTIFIER = 4, 6, 7
COLUMNS = {
    1: "slterms:os",
    2: "slterms:os-version",
    3: "slterms:os-arch",
    5: "slterms:kind",
    8: "slterms:location",
    9: "dcterms:description",
    10: "dcterms:title",
}
LAST_COLUMN = 10
LOCATIONS = LAST_COLUMN + 1  # kept behind the row that is shown: all of them, to select by
NAMESPACES = {
    "dcterms": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "slterms": "http://mp.stratuslab.eu/slterms#",
}

STATUS = {
    "valid": "valid > :now AND NOT deprecated",
    "expired": "valid < :now AND NOT deprecated",
    "deprecated": "deprecated",
}
ACCESS = {
    "web": "(json_array_length(row, '$[11]') = 0 OR EXISTS (SELECT 1 FROM json_each(row, '$[11]') "
    "WHERE value GLOB 'http://*' OR value GLOB 'https://*' OR value GLOB 'ftp://*'))",
    "pdisk": "EXISTS (SELECT 1 FROM json_each(row, '$[11]') WHERE value GLOB 'pdisk*')",
}
DIRECTIONS = {
    "asc": "json_extract(row, :sort) ASC, ",
    "desc": "json_extract(row, :sort) DESC, ",
}


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


@dataclass
class _Selection:
    """Which entries a listing shows, in which order: constant SQL, and values for it."""

    status: str
    values: dict[str, str | int]
    conditions: list[str] = field(default_factory=list)
    order: str = ""
    page: str = ""
    words: set[str] = field(default_factory=set)
    columns: dict[int, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return " AND ".join([self.status, *self.conditions])

    def sql(self, wanted: str) -> str:
        order = f"{self.order}created DESC, identifier, email"
        return f"SELECT {wanted} FROM entries WHERE {self.where} ORDER BY {order} {self.page}"  # noqa: S608

    @property
    def sql_matching(self) -> str:
        return f"SELECT COUNT(*) FROM entries WHERE {self.where}"  # noqa: S608

    @property
    def sql_total(self) -> str:
        return f"SELECT COUNT(*) FROM entries WHERE latest AND {self.status}"  # noqa: S608

    def searched(self, row: str) -> bool:
        """
        Whether the row matches the search.

        Words are substrings here, not the original's regular expressions: of those, one of 30
        characters can keep a server busy for hours.
        """
        texts = [text.casefold() for text in json.loads(row)[: LAST_COLUMN + 1]]
        return all(text in texts[column] for column, text in self.columns.items()) and all(
            any(word in text for text in texts) for word in self.words
        )


def _selection(segments: list[str], query: Mapping[str, str], now: str) -> _Selection:
    """
    Read a listing's path and query (marketplace-rest 2.1, 3.1).

    :raises BadRequest: a number is none.
    """
    # Without dcterms:valid an entry is never listed.
    status = STATUS.get(query.get("status", "valid"), "valid IS NOT NULL")
    selection = _Selection(f"valid IS NOT NULL AND {status}", {"now": now})
    named = [query[name] for name in ("identifier", "email", "created") if name in query]
    dated = False
    for number, text in enumerate([*segments, *named]):
        column = "created" if DATE.fullmatch(text) else "identifier"
        column = "email" if EMAIL.fullmatch(text) else column
        dated = dated or column == "created"
        selection.conditions.append(f"{column} = :filter{number}")
        selection.values[f"filter{number}"] = text
    if not dated:
        selection.conditions.append("latest")
    if query.get("location") in ACCESS:
        selection.conditions.append(ACCESS[query["location"]])
    selection.words = set(query.get("sSearch", "").casefold().split())
    selection.columns = {
        column: query[f"sSearch_{column}"].casefold()
        for column in range(1, 6)
        if query.get(f"sSearch_{column}")
    }
    if selection.words or selection.columns:
        selection.conditions.append("searched(row)")
    _read_page(selection, query)
    return selection


def _read_page(selection: _Selection, query: Mapping[str, str]) -> None:
    start, length = _number(query, "iDisplayStart", -1), _number(query, "iDisplayLength", -1)
    column = _number(query, "iSortCol_0", ENDORSED)
    if start < 0 or length < 0:
        return
    direction = query.get("sSortDir_0")
    if direction not in DIRECTIONS or not 1 <= column <= LAST_COLUMN:
        raise BadRequest("paging needs sSortDir_0, asc or desc, and iSortCol_0 from 1 to 10")
    selection.order = DIRECTIONS[direction]
    selection.page = "LIMIT :length OFFSET :start"
    selection.values |= {"sort": f"$[{column}]", "length": length, "start": start}


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    if name not in query:
        return default
    if not NUMBER.fullmatch(query[name]):
        raise BadRequest(f"{name} is not a number, or too large")
    return int(query[name])


def _stored(document: bytes) -> dict[str, object]:
    """
    The columns of an entry. Its document is kept as it came, less the declaration: that says
    nothing that we do not know, and makes a listing ill-formed (marketplace-rest 3.2).
    """
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MetadataError("a Marketplace entry that is not UTF-8") from None
    declaration = ANY_DECLARATION.match(text)
    bare = text[declaration.end() :] if declaration else text
    if ANY_DECLARATION.match(bare):
        raise MetadataError("a Marketplace entry with two declarations")
    rdf = xml.parse(bare.encode())
    if rdf.tag != RDF:
        raise MetadataError("not a Marketplace entry")
    entry = read_entry(rdf)
    if not (EMAIL.fullmatch(entry.endorser or "") and DATE.fullmatch(entry.endorsed or "")):
        raise MetadataError("a Marketplace entry without an endorser's address and a date")
    row: list[object] = [""] * (LAST_COLUMN + 1)
    row[ENDORSER], row[ENDORSED], row[IDENTIFIER] = entry.endorser, entry.endorsed, entry.identifier
    for column, name in COLUMNS.items():
        value = _value(rdf, name)
        row[column] = "null" if value is None else value
    return {
        "identifier": entry.identifier,
        "email": entry.endorser,
        "created": entry.endorsed,
        "document": bare.strip().encode(),
        "valid": _value(rdf, "dcterms:valid"),
        "deprecated": entry.deprecated is not None,
        "row": json.dumps([*row, entry.locations]),
    }


def _value(rdf: ET.Element, name: str) -> str | None:
    """A text, empty where its element is, None where there is none: rows show which."""
    element = rdf.find(f"rdf:Description/{name}", NAMESPACES)
    return None if element is None else element.text or ""


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


def _response(body: bytes, form: str) -> Response:
    response = Response(body, content_type=f"{form}; charset=UTF-8")
    response.headers["Vary"] = "Accept"
    return response


def _page(title: str, body: str) -> Response:
    text = f"<!DOCTYPE html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{body}"
    return _response(text.encode(), HTML)


def _html_rows(rows: list[list[str]]) -> str:
    lines = (
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row[1:]) + "</tr>"
        for row in rows
    )
    return f"<table>{''.join(lines)}</table>"
