"""
The Marketplace over HTTP: its routes.

See marketplace-rest 1.3, 1.4, 2 and 3. Nothing here needs a password.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from werkzeug import Request, Response
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
)

from stratuslab_libcloud.sandbox.marketplace import pages, sparql
from stratuslab_libcloud.sandbox.marketplace.listing import (
    MalformedQueryError,
    read_number,
    read_selection,
)
from stratuslab_libcloud.sandbox.marketplace.negotiation import (
    HTML,
    JSON,
    RDF_XML,
    XML,
    error_type,
    first_accepted,
    preferred_type,
)
from stratuslab_libcloud.sandbox.marketplace.registry import Registry
from stratuslab_libcloud.sandbox.marketplace.rows import EMAIL, Coordinates
from stratuslab_libcloud.sandbox.marketplace.uploads import RefusedUploadError
from stratuslab_libcloud.sandbox.routes import Routes

__all__ = ["DOORS", "answer"]

DOORS = ("metadata", "tag", "endorsers", "query", "upload", "action")
"""What the paths of a Marketplace begin with."""

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
_MAILED = "confirmation email sent for new metadata entry\n"
_REPORTED = (
    "administrators have been notified of the problem and may contact you during the "
    "investigation\n"
)
_RECENT_DAYS = 30


class _Asked(NamedTuple):
    registry: Registry
    request: Request


def answer(registry: Registry, request: Request, segments: Sequence[str]) -> Response:
    """
    Answer a request.

    :param segments: of the path, decoded, from one of :data:`DOORS` on.
    """
    try:
        try:
            respond, variables = _ROUTES.match(request.method, segments)
        except NotFound:
            raise NotFound(_NO_ROUTE) from None
        response: Response = respond(_Asked(registry, request), **variables)
        return response
    except MethodNotAllowed as error:
        response = pages.error(error_type(request), 405, _NO_METHOD)
        response.headers["Allow"] = ", ".join(error.valid_methods or ())
        return response
    except HTTPException as error:
        return pages.error(error_type(request), error.code or 500, error.description or "")


def _list(asked: _Asked, **filters: str) -> Response:
    return _listing(asked, filters, asked.request.args, preferred_type(asked.request))


def _list_or_tagged(asked: _Asked, first: str) -> Response:
    args = asked.request.args
    if EMAIL.fullmatch(first) and args.keys() - {"media"} == {"tag"}:
        return _show_tagged(asked, first, args["tag"])
    return _list(asked, first=first)


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
    return pages.entry(preferred_type(asked.request), identifier, document)


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
    return _take(asked, body)


def _take(asked: _Asked, document: bytes) -> Response:
    """Store an upload, or ask its endorser first (2.6)."""
    registry, request = asked
    try:
        if registry.confirmations is None:
            return _created(request, registry.upload(document), "")
        coordinates = Coordinates.of(registry.check(document))
    except RefusedUploadError as refused:
        raise BadRequest(str(refused)) from None
    try:
        registry.confirmations.ask(document, coordinates, _base(request))
    except OSError:
        raise InternalServerError("error sending confirmation email") from None
    return pages.message(first_accepted(request), 202, _MAILED)


def _created(request: Request, coordinates: Coordinates, end: str) -> Response:
    response = pages.message(first_accepted(request), 201, f"metadata entry created{end}")
    url = f"{_base(request)}/metadata/{'/'.join(coordinates)}"
    response.headers["Content-Location"] = response.headers["Location"] = url
    return response


def _act(asked: _Asked, name: str, command: str) -> Response:
    """Do what the endorser of an upload says (2.8)."""
    waiting = asked.registry.confirmations
    document = waiting.waiting(name) if waiting else None
    if waiting is None or document is None:
        raise NotFound(f"no upload {name} waits for a confirmation")
    accepted = first_accepted(asked.request)
    if command == "confirm":
        try:
            coordinates = asked.registry.upload(document)
        except RefusedUploadError as refused:
            raise BadRequest(str(refused)) from None
        waiting.forget(name)
        return _created(asked.request, coordinates, "\n")
    if command == "abort":
        waiting.forget(name)
        return pages.message(accepted, 200, f"aborted addition of metadata entry {name}\n")
    if command == "abuse":
        waiting.report(name, document)
        return pages.message(accepted, 200, _REPORTED)
    return Response(status=204)


def _refuse_action(asked: _Asked, rest: Sequence[str] = ()) -> Response:
    raise NotFound(f"invalid action: {asked.request.url}")


def _show_tagged(asked: _Asked, email: str, tag: str) -> Response:
    """Show an endorser's newest entry with a tag (2.3)."""
    found = asked.registry.tagged(email, tag.removeprefix('"').removesuffix('"'))
    if found is None:
        raise NotFound(_NO_ENTRY)
    return pages.entry(preferred_type(asked.request), *found)


def _list_endorsers(asked: _Asked) -> Response:
    variables = ("email", "subject", "issuer")
    return pages.results(preferred_type(asked.request), variables, asked.registry.endorsers())


def _list_endorsed(asked: _Asked, email: str) -> Response:
    """List an endorser's recent entries, once for each of their locations (2.9)."""
    try:
        days = read_number(asked.request.args, "range", _RECENT_DAYS)
    except MalformedQueryError:
        days = _RECENT_DAYS
    variables = ("identifier", "created", "description", "location", "deprecated", "email")
    rows = [
        (one.identifier, one.endorsed, one.description, location, one.deprecated, one.endorser)
        for one in asked.registry.endorsed(email, days)
        for location in one.locations or (None,)
    ]
    return pages.results(preferred_type(asked.request), variables, rows)


def _list_tags(asked: _Asked, email: str) -> Response:
    tags = [(tag,) for tag in asked.registry.tags(email)]
    return pages.results(preferred_type(asked.request), ("tag",), tags)


def _query(asked: _Asked) -> Response:
    """Answer a query in SPARQL (2.11)."""
    query, media_type = asked.request.args.get("query", ""), preferred_type(asked.request)
    if not query.strip():
        return pages.query_form() if media_type == HTML else Response(status=204)
    form = "json" if media_type == JSON else "xml"
    status, text = sparql.answer(query, asked.registry.everything(), form)
    if status == 204:
        return Response(status=204)
    if status != 200:
        return pages.error(error_type(asked.request), status, text)
    return pages.sparql_results(media_type, text)


def _show_form(asked: _Asked) -> Response:
    return pages.upload_form()


def _first_file(request: Request) -> bytes:
    with request:  # closes the files
        for _, file in request.files.items(multi=True):
            if file.filename:
                data: bytes = file.read()
                return data
    raise BadRequest("no valid file uploaded")


_ROUTES = Routes(
    ("GET", "/metadata", _list),
    ("GET", "/metadata/<first>", _list_or_tagged),
    ("GET", "/metadata/<first>/<second>", _list),
    ("GET", "/metadata/<identifier>/<email>/<created>", _show),
    ("POST", "/metadata", _post),
    ("POST", "/metadata/<first>", _post),
    ("POST", "/metadata/<first>/<second>", _post),
    ("GET", "/tag/<email>/<tag>", _show_tagged),
    ("GET", "/endorsers", _list_endorsers),
    ("GET", "/endorsers/<email>", _list_endorsed),
    ("GET", "/endorsers/<email>/tags", _list_tags),
    ("GET", "/query", _query),
    ("GET", "/upload", _show_form),
    ("GET", "/action", _refuse_action),
    ("GET", "/action/<name>/<command>", _act),
    ("GET", "/action/<rest:rest>", _refuse_action),
)


def _base(request: Request) -> str:
    """Return the URL of this Marketplace as its client calls it (2.6)."""
    scheme = request.headers.get("X-Forwarded-Proto", "")
    scheme = scheme if scheme in ("http", "https") else request.scheme
    newer = request.path.lstrip("/").startswith("marketplace/")
    return f"{scheme}://{request.host}{'/marketplace' if newer else ''}"
