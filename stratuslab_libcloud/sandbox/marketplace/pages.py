"""The Marketplace's answers, in the media types that clients ask for (marketplace-rest 1.3)."""

import html
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

from werkzeug import Response

from stratuslab_libcloud.sandbox.marketplace.negotiation import HTML, JSON, RDF_XML, XML
from stratuslab_libcloud.sandbox.marketplace.registry import Rows
from stratuslab_libcloud.sandbox.phrases import reason_phrase

__all__ = ["NO_MATCH", "entry", "error", "html_listing", "json_listing", "message", "query_form"]
__all__ += ["results", "sparql_results", "upload_form", "xml_listing"]

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
    return _table((), (json.loads(row)[1:] for row in rows.shown))


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


def results(
    media_type: str, variables: Sequence[str], rows: Iterable[Sequence[str | None]]
) -> Response:
    """Answer with rows in the form of SPARQL results; as XML, or as an HTML table (2.9)."""
    if media_type == HTML:
        return _table(variables, rows)
    root = ET.Element("sparql", xmlns="http://www.w3.org/2005/sparql-results#")
    head, body = ET.SubElement(root, "head"), ET.SubElement(root, "results")
    for variable in variables:
        ET.SubElement(head, "variable", name=variable)
    for row in rows:
        result = ET.SubElement(body, "result")
        for variable, value in zip(variables, row, strict=True):
            if value is not None:
                binding = ET.SubElement(result, "binding", name=variable)
                ET.SubElement(binding, "literal").text = value
    return _respond(ET.tostring(root, encoding="UTF-8", xml_declaration=True), XML)


def sparql_results(media_type: str, text: str) -> Response:
    """Answer with the results of a query, in JSON if that is the media type and else in XML."""
    if media_type == HTML:
        return _page("Results", f"<pre>{html.escape(text)}</pre>")
    kind = "json" if media_type == JSON else "xml"
    return _respond(text.encode(), f"application/sparql-results+{kind}")


def query_form() -> Response:
    """Answer with a page to write a query on (2.11)."""
    field = '<textarea name="query" rows="9" cols="80"></textarea>'
    return _page("Query", f'<form action="query">{field}<button>Ask</button></form>')


def upload_form() -> Response:
    """Answer with a page to upload an entry from (2.5)."""
    field = '<input type="file" name="metadata">'
    form = '<form action="metadata" method="post" enctype="multipart/form-data">'
    return _page("Upload", f"{form}{field}<button>Upload</button></form>")


def message(accepted: str, status: int, text: str) -> Response:
    """
    Answer with a text that says what was done (2.6).

    :param accepted: the media type that the request names first.
    """
    response = _page(text, "") if accepted == HTML else _respond(text.encode(), "text/plain")
    response.status_code = status
    return response


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


def _table(names: Sequence[str], rows: Iterable[Sequence[str | None]]) -> Response:
    lines = [
        "<tr>" + "".join(f"<td>{html.escape(text or '')}</td>" for text in row) + "</tr>"
        for row in ([names] if names else []) + list(rows)
    ]
    return _page("Marketplace", f"<table>{''.join(lines)}</table>")


def _page(title: str, body: str) -> Response:
    text = f"<!DOCTYPE html><title>{html.escape(title)}</title><h1>{html.escape(title)}</h1>{body}"
    return _respond(text.encode(), HTML)


def _respond(body: bytes, media_type: str) -> Response:
    response = Response(body, content_type=f"{media_type}; charset=UTF-8")
    response.headers["Vary"] = "Accept"
    return response
