"""The Marketplace's answers: each in the forms that clients ask for (marketplace-rest 1.3)."""

import html
import json

from werkzeug import Response
from werkzeug.http import HTTP_STATUS_CODES

from stratuslab_libcloud.sandbox.marketplace.registry import Rows

__all__ = ["HTML", "JSON", "NO_MATCH", "RDF_XML", "XML", "entry", "error", "xml_listing"]
__all__ += ["html_listing", "json_listing", "message"]

XML, JSON, HTML = "application/xml", "application/json", "text/html"
RDF_XML = "application/rdf+xml"
NO_MATCH = "no metadata matching query found"
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>'


def entry(form: str, identifier: str, document: bytes) -> Response:
    """One entry (2.4, 3.3); JSON is left out."""
    if form == HTML:
        return _page(identifier, f"<pre>{html.escape(document.decode())}</pre>")
    response = _respond(_DECLARATION + document + b"\n", RDF_XML)
    response.headers["Content-Disposition"] = f"attachment; filename={identifier}.xml"
    return response


def xml_listing(documents: list[bytes]) -> Response:
    """Whole entries (3.2)."""
    parts = [_DECLARATION, b"<metadata>"]
    for document in documents:
        parts += document, b"\n"
    return _respond(b"".join([*parts, b"</metadata>"]), XML)


def html_listing(rows: Rows) -> Response:
    """A page's rows as a table."""
    lines = (
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in json.loads(row)[1:]) + "</tr>"
        for row in rows.shown
    )
    return _page("Marketplace", f"<table>{''.join(lines)}</table>")


def json_listing(rows: Rows, echo: int) -> Response:
    """
    A page's rows, for the table of a web page (2.1).

    :param echo: the number that the page gave its request.
    """
    numbers = {
        "sEcho": echo,
        "iTotalRecords": rows.total if rows.shown else 0,
        "iTotalDisplayRecords": rows.matching if rows.shown else 0,
        "rMsg": NO_MATCH,  # always
    }
    text = f'{json.dumps(numbers)[:-1]}, "aaData": [{",".join(rows.shown)}]}}'
    return _respond(text.encode(), JSON)


def message(accepted: str, text: str) -> Response:
    """
    A text that says what was done (2.6).

    :param accepted: the type that is named first.
    """
    if accepted == HTML:
        return _page(text, "")
    return _respond(text.encode(), "text/plain")


def error(form: str, status: int, message: str) -> Response:
    """An error (1.4)."""
    escaped = html.escape(message, quote=False)
    if form == XML:
        response = _respond(_DECLARATION + f"<error>{escaped}</error>".encode(), XML)
    elif form == JSON:
        response = _respond(f'{{"{status}" : {json.dumps(message)}}}'.encode(), JSON)
    else:
        response = _page(HTTP_STATUS_CODES[status], f"<table><tr><td>{escaped}</td></tr></table>")
    response.status_code = status
    return response


def _page(title: str, body: str) -> Response:
    text = f"<!DOCTYPE html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{body}"
    return _respond(text.encode(), HTML)


def _respond(body: bytes, form: str) -> Response:
    response = Response(body, content_type=f"{form}; charset=UTF-8")
    response.headers["Vary"] = "Accept"
    return response
