"""The Marketplace's answers, in the media types that clients ask for (marketplace-rest 1.3)."""

import html
import json

from werkzeug import Response

from stratuslab_libcloud.sandbox.marketplace.registry import Rows
from stratuslab_libcloud.sandbox.phrases import reason_phrase

__all__ = ["HTML", "JSON", "NO_MATCH", "RDF_XML", "XML", "entry", "error", "xml_listing"]
__all__ += ["html_listing", "json_listing", "message"]

XML, JSON, HTML = "application/xml", "application/json", "text/html"
RDF_XML = "application/rdf+xml"
NO_MATCH = "no metadata matching query found"
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>'


def entry(media_type: str, identifier: str, document: bytes) -> Response:
    """Answer with one entry, as XML or HTML (2.4, 3.3)."""
    if media_type == HTML:
        return _page(identifier, f"<pre>{html.escape(document.decode())}</pre>")
    response = _respond(_DECLARATION + document + b"\n", RDF_XML)
    response.headers["Content-Disposition"] = f"attachment; filename={identifier}.xml"
    return response


def xml_listing(documents: list[bytes]) -> Response:
    """Answer with a listing of whole entries (3.2)."""
    parts = [_DECLARATION, b"<metadata>"]
    for document in documents:
        parts += document, b"\n"
    return _respond(b"".join([*parts, b"</metadata>"]), XML)


def html_listing(rows: Rows) -> Response:
    """Answer with a page of rows as an HTML table."""
    lines = (
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in json.loads(row)[1:]) + "</tr>"
        for row in rows.shown
    )
    return _page("Marketplace", f"<table>{''.join(lines)}</table>")


def json_listing(rows: Rows, echo: int) -> Response:
    """
    Answer with a page of rows as JSON, for the table of a web page (2.1).

    :param echo: the number of the request, which the answer repeats.
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
    Answer with a text that says what was done (2.6).

    :param accepted: the media type that the request names first.
    """
    if accepted == HTML:
        return _page(text, "")
    return _respond(text.encode(), "text/plain")


def error(media_type: str, status: int, message: str) -> Response:
    """Answer with an error (1.4)."""
    escaped = html.escape(message, quote=False)
    if media_type == XML:
        response = _respond(_DECLARATION + f"<error>{escaped}</error>".encode(), XML)
    elif media_type == JSON:
        response = _respond(f'{{"{status}" : {json.dumps(message)}}}'.encode(), JSON)
    else:
        response = _page(reason_phrase(status), f"<table><tr><td>{escaped}</td></tr></table>")
    response.status_code = status
    return response


def _page(title: str, body: str) -> Response:
    text = f"<!DOCTYPE html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{body}"
    return _respond(text.encode(), HTML)


def _respond(body: bytes, media_type: str) -> Response:
    response = Response(body, content_type=f"{media_type}; charset=UTF-8")
    response.headers["Vary"] = "Accept"
    return response
