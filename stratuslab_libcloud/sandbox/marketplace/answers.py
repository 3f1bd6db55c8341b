"""The Marketplace's answers, in the media types that clients ask for (marketplace-rest 1.3)."""

import html
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

from werkzeug import Response

from stratuslab_libcloud.sandbox.marketplace.negotiation import HTML, JSON, RDF_XML, XML
from stratuslab_libcloud.sandbox.marketplace.registry import Rows
from stratuslab_libcloud.sandbox.phrases import reason_phrase

__all__ = ["NO_MATCH", "entry", "error", "json_listing", "message", "results"]
__all__ += ["sparql_results", "xml_listing"]

NO_MATCH = "no metadata matching query found"
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>'


def entry(identifier: str, document: bytes) -> Response:
    """Answer with one entry (2.4, 3.3)."""
    response = _respond(_DECLARATION + document + b"\n", RDF_XML)
    response.headers["Content-Disposition"] = f"attachment; filename={identifier}.xml"
    return response


def xml_listing(documents: list[bytes]) -> Response:
    """Answer with a listing of whole entries (3.2)."""
    parts = [_DECLARATION, b"<metadata>"]
    for document in documents:
        parts += document, b"\n"
    return _respond(b"".join([*parts, b"</metadata>"]), XML)


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


def results(variables: Sequence[str], rows: Iterable[Sequence[str | None]]) -> Response:
    """Answer with rows in the form of SPARQL results (2.9)."""
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
    kind = "json" if media_type == JSON else "xml"
    return _respond(text.encode(), f"application/sparql-results+{kind}")


def message(status: int, text: str) -> Response:
    """Answer with a text that says what was done (2.6)."""
    response = _respond(text.encode(), "text/plain")
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
        reason = reason_phrase(status)
        cell = f"<table><tr><td>{escaped}</td></tr></table>"
        page = f"<!DOCTYPE html><title>{reason}</title><h1>{reason}</h1>{cell}"
        response = _respond(page.encode(), HTML)
    response.status_code = status
    return response


def _respond(body: bytes, media_type: str) -> Response:
    response = Response(body, content_type=f"{media_type}; charset=UTF-8")
    response.headers["Vary"] = "Accept"
    return response
