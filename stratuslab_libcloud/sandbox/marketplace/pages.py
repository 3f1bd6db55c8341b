"""TODO."""

import html

from werkzeug import Response

__all__ = ["HTML", "JSON", "RDF_XML", "XML"]


XML, JSON, HTML = "application/xml", "application/json", "text/html"


RDF_XML = "application/rdf+xml"


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
