"""
The Marketplace over HTTP: its routes, and the choice of a media type, as the original makes it.

See marketplace-rest 1.3, 1.4, 2.1 to 2.4 and 3. Nothing here needs a password.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from werkzeug import Request, Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
)
from werkzeug.http import parse_accept_header

from stratuslab_libcloud.sandbox.marketplace import pages
from stratuslab_libcloud.sandbox.marketplace.listing import (
    MalformedQueryError,
    read_number,
    read_selection,
)
from stratuslab_libcloud.sandbox.marketplace.pages import HTML, JSON, RDF_XML, XML
from stratuslab_libcloud.sandbox.marketplace.registry import Registry
from stratuslab_libcloud.sandbox.marketplace.uploads import RefusedUploadError
from stratuslab_libcloud.sandbox.routes import Routes

__all__ = ["answer"]

_NO_ENTRY = "metadata entry not found.\n"
_NO_ROUTE = "The server has not found anything matching the request URI"
_NO_METHOD = (
    "The method specified in the request is not allowed for the resource identified by the "
    "request URI"
)
_NO_SUCH_TYPE = (
    "The server is refusing to service the request because the entity of the request is in a "
    "format not supported by the requested resource for the requested method"
)
_CREATED = "metadata entry created"
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
        response.headers["Allow"] = ", ".join(error.valid_methods or ())
        return response
    except HTTPException as error:
        return pages.error(_error_type(request), error.code or 500, error.description or "")


def _list(asked: _Asked, **filters: str) -> Response:
    return _listing(asked, filters, asked.request.args, _preferred_type(asked.request))


def _listing(
    asked: _Asked, filters: Mapping[str, str], query: Mapping[str, str], media_type: str
) -> Response:
    """List the entries that the segments, in any order, and the query select (2.1, 3.1)."""
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


def _post(asked: _Asked, **filters: str) -> Response:
    """Take an upload (2.6), or answer the table of a web page (2.7)."""
    request = asked.request
    body = request.get_data()
    if not body:
        raise BadRequest("post with null entity")
    if request.mimetype == "application/x-www-form-urlencoded":
        return _listing(asked, filters, request.form, JSON)
    if request.mimetype == "multipart/form-data":
        body = _first_file(request)
    elif request.mimetype not in (XML, RDF_XML):
        raise UnsupportedMediaType(_NO_SUCH_TYPE)
    try:
        coordinates = asked.registry.upload(body)
    except RefusedUploadError as refused:
        raise BadRequest(str(refused)) from None
    response = pages.message(_first_accepted(request), _CREATED)
    response.status_code = 201
    url = f"{_base(request)}/metadata/{'/'.join(coordinates)}"
    response.headers["Content-Location"] = response.headers["Location"] = url
    return response


def _first_file(request: Request) -> bytes:
    with request:  # closes the files
        for _, file in request.files.items(multi=True):
            if file.filename:
                data: bytes = file.read()
                return data
    raise BadRequest("no valid file uploaded")


_ROUTES = Routes(
    ("GET", "/", _list),
    ("GET", "/<first>", _list),
    ("GET", "/<first>/<second>", _list),
    ("GET", "/<identifier>/<email>/<created>", _show),
    ("POST", "/", _post),
    ("POST", "/<first>", _post),
    ("POST", "/<first>/<second>", _post),
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
    return _TYPES.get(_first_accepted(request), HTML)


def _first_accepted(request: Request) -> str:
    return re.split("[,;]", _accept(request))[0].strip().lower()


def _base(request: Request) -> str:
    """Return the URL of this Marketplace as its client calls it (2.6)."""
    scheme = request.headers.get("X-Forwarded-Proto", "")
    scheme = scheme if scheme in ("http", "https") else request.scheme
    newer = request.path.lstrip("/").startswith("marketplace/")
    return f"{scheme}://{request.host}{'/marketplace' if newer else ''}"
