"""
The Marketplace over HTTP: its routes, and the choice of a media type, as the original makes it.

See marketplace-rest 1.3, 1.4, 2.1 to 2.4 and 3. Nothing here needs a password.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from werkzeug import Request, Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, NotFound
from werkzeug.exceptions import NotImplemented as NotOffered
from werkzeug.http import parse_accept_header

from stratuslab_libcloud.sandbox.marketplace import pages
from stratuslab_libcloud.sandbox.marketplace.listing import (
    MalformedQueryError,
    read_number,
    read_selection,
)
from stratuslab_libcloud.sandbox.marketplace.pages import HTML, JSON, RDF_XML, XML
from stratuslab_libcloud.sandbox.marketplace.registry import Registry
from stratuslab_libcloud.sandbox.routes import Routes

__all__ = ["answer"]

_NO_ENTRY = "metadata entry not found.\n"
_NO_ROUTE = "The server has not found anything matching the request URI"
_NO_METHOD = (
    "The method specified in the request is not allowed for the resource identified by the "
    "request URI"
)
_NO_UPLOAD = "this Marketplace takes no uploads"
_TYPES = {XML: XML, "text/xml": XML, RDF_XML: XML, JSON: JSON, HTML: HTML}
_MEDIA = {"xml": XML, "json": JSON, "html": HTML}


class _Asked(NamedTuple):
    registry: Registry
    request: Request


def answer(registry: Registry, request: Request, segments: Sequence[str]) -> Response:
    """
    Answer a request.

    :param segments: of the path after ``metadata``, decoded.
    """
    try:
        try:
            respond, variables = _ROUTES.match(request.method, segments)
        except NotFound:
            raise NotFound(_NO_ROUTE) from None
        response: Response = respond(_Asked(registry, request), **variables)
        return response
    except MethodNotAllowed as error:
        response = pages.error(_error_type(request), 405, _NO_METHOD)
        # POST has routes only so that it can be refused.
        allowed = [method for method in error.valid_methods or () if method != "POST"]
        response.headers["Allow"] = ", ".join(allowed)
        return response
    except HTTPException as error:
        return pages.error(_error_type(request), error.code or 500, error.description or "")


def _list(asked: _Asked, **filters: str) -> Response:
    """List the entries that the segments, in any order, and the query select (2.1, 3.1)."""
    query, media_type = asked.request.args, _preferred_type(asked.request)
    try:
        selection = read_selection(filters.values(), query)
        echo = read_number(query, "sEcho", 0)
    except MalformedQueryError as error:
        raise BadRequest(str(error)) from None
    if media_type == XML:
        documents = asked.registry.documents(selection)
        if not documents:
            raise NotFound(pages.NO_MATCH)
        return pages.xml_listing(documents)
    rows = asked.registry.rows(selection)
    return pages.html_listing(rows) if media_type == HTML else pages.json_listing(rows, echo)


def _show(asked: _Asked, identifier: str, email: str, created: str) -> Response:
    """Show an entry, given its coordinates (2.4, 3.3)."""
    document = asked.registry.document(identifier, email, created)
    if document is None:
        raise NotFound(_NO_ENTRY)
    return pages.entry(_preferred_type(asked.request), identifier, document)


def _refuse_upload(asked: _Asked, **filters: str) -> Response:
    raise NotOffered(_NO_UPLOAD)


_ROUTES = Routes(
    ("GET", "/", _list),
    ("GET", "/<first>", _list),
    ("GET", "/<first>/<second>", _list),
    ("GET", "/<identifier>/<email>/<created>", _show),
    ("POST", "/", _refuse_upload),
    ("POST", "/<first>", _refuse_upload),
    ("POST", "/<first>/<second>", _refuse_upload),
)


def _accept(request: Request) -> str:
    """Return the media types asked for; ``media`` replaces the header (marketplace-rest 1.3)."""
    media = request.args.get("media")
    return _MEDIA.get(media, media) if media else request.headers.get("Accept", "")


def _preferred_type(request: Request) -> str:
    """Choose the media type of highest quality; XML in a tie, or if none fits."""
    qualities = {XML: 0.0, JSON: 0.0, HTML: 0.0}
    for accepted, quality in parse_accept_header(_accept(request), MIMEAccept):
        media_type = _TYPES.get(accepted.partition(";")[0].strip().lower())
        if media_type:
            qualities[media_type] = max(quality, qualities[media_type])
    return max(qualities, key=lambda media_type: qualities[media_type])


def _error_type(request: Request) -> str:
    """Choose the media type named first, whatever its quality (marketplace-rest 1.4)."""
    first = re.split("[,;]", _accept(request))[0].strip().lower()
    return _TYPES.get(first, HTML)
