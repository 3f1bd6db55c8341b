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

from stratuslab_libcloud.sandbox.marketplace import answers, sparql
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
from stratuslab_libcloud.sandbox.marketplace.pages import Pages, Show
from stratuslab_libcloud.sandbox.marketplace.paging import Paging
from stratuslab_libcloud.sandbox.marketplace.registry import Registry, Rows
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
    pages: Pages


def answer(registry: Registry, request: Request, segments: Sequence[str], show: Show) -> Response:
    """
    Answer a request.

    :param segments: of the path, decoded, from one of :data:`DOORS` on.
    :param show: makes a page for a browser.
    """
    asked = _Asked(registry, request, Pages(show, _prefix(request)))
    try:
        try:
            respond, variables = _ROUTES.match(request.method, segments)
        except NotFound:
            raise NotFound(_NO_ROUTE) from None
        response: Response = respond(asked, **variables)
        return response
    except MethodNotAllowed as error:
        response = _refuse(asked, 405, _NO_METHOD)
        response.headers["Allow"] = ", ".join(error.valid_methods or ())
        return response
    except HTTPException as error:
        return _refuse(asked, error.code or 500, error.description or "")


def _refuse(asked: _Asked, status: int, text: str) -> Response:
    if _names_pages(asked):
        return asked.pages.error(status, text)
    return answers.error(error_type(asked.request), status, text)


def _says(asked: _Asked, status: int, text: str, address: str = "") -> Response:
    """Say what was done; with the address of the entry that was stored, if one was."""
    if _names_pages(asked):
        return asked.pages.message(status, text, address)
    return answers.message(status, text)


def _prefers_pages(asked: _Asked) -> bool:
    return preferred_type(asked.request) == HTML


def _names_pages(asked: _Asked) -> bool:
    """Return whether pages are what the request names first: that decides where nothing is read."""
    return first_accepted(asked.request) == HTML


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
    segments = list(filters.values())
    if media_type == HTML:
        return asked.pages.listing(segments, *_page_of_rows(asked, segments))
    try:
        selection = read_selection(segments, query)
        echo = read_number(query, "sEcho", 0)
    except MalformedQueryError as error:
        raise BadRequest(str(error)) from None
    if media_type == JSON:
        return answers.json_listing(asked.registry.rows(selection), echo)
    documents = asked.registry.documents(selection)
    if not documents:
        raise NotFound(answers.NO_MATCH)
    return answers.xml_listing(documents)


def _page_of_rows(asked: _Asked, segments: Sequence[str], **defaults: str) -> tuple[Paging, Rows]:
    """
    Return a page of a listing.

    :param defaults: values of parameters that the query does not have.
    """
    try:
        paging = Paging(asked.request.args, **defaults)
        return paging, asked.registry.rows(read_selection(segments, paging.query))
    except MalformedQueryError as error:
        raise BadRequest(str(error)) from None


def _show(asked: _Asked, identifier: str, email: str, created: str) -> Response:
    """Show an entry, given its coordinates (2.4, 3.3)."""
    document = asked.registry.document(identifier, email, created)
    if document is None:
        raise NotFound(_NO_ENTRY)
    return _one(asked, identifier, document)


def _one(asked: _Asked, identifier: str, document: bytes) -> Response:
    if _prefers_pages(asked):
        return asked.pages.entry(document, asked.registry.endorsements(identifier))
    return answers.entry(identifier, document)


def _post(asked: _Asked, **filters: str) -> Response:
    """Take an upload (2.6), or answer the table of a web page (2.7)."""
    try:
        return _take(asked, filters)
    except HTTPException as refused:
        if _names_pages(asked):
            return asked.pages.upload(refused.code or 500, refused.description or "")
        raise


def _take(asked: _Asked, filters: Mapping[str, str]) -> Response:
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
    return _store(asked, body)


def _store(asked: _Asked, document: bytes) -> Response:
    """Store an upload, or ask its endorser first (2.6)."""
    registry, request, _ = asked
    try:
        if registry.confirmations is None:
            return _created(asked, registry.upload(document), "")
        coordinates = Coordinates.of(registry.check(document))
    except RefusedUploadError as refused:
        raise BadRequest(str(refused)) from None
    try:
        registry.confirmations.ask(document, coordinates, _base(request))
    except OSError:
        raise InternalServerError("error sending confirmation email") from None
    return _says(asked, 202, _MAILED)


def _created(asked: _Asked, coordinates: Coordinates, end: str) -> Response:
    path = "/".join(["/metadata", *coordinates])
    response = _says(asked, 201, f"metadata entry created{end}", path)
    url = _base(asked.request) + path
    response.headers["Content-Location"] = response.headers["Location"] = url
    return response


def _act(asked: _Asked, name: str, command: str) -> Response:
    """Do what the endorser of an upload says (2.8)."""
    waiting = asked.registry.confirmations
    document = waiting.waiting(name) if waiting else None
    if waiting is None or document is None:
        raise NotFound(f"no upload {name} waits for a confirmation")
    if command == "confirm":
        try:
            coordinates = asked.registry.upload(document)
        except RefusedUploadError as refused:
            raise BadRequest(str(refused)) from None
        waiting.forget(name)
        return _created(asked, coordinates, "\n")
    if command == "abort":
        waiting.forget(name)
        return _says(asked, 200, f"aborted addition of metadata entry {name}\n")
    if command == "abuse":
        waiting.report(name, document)
        return _says(asked, 200, _REPORTED)
    return Response(status=204)


def _refuse_action(asked: _Asked, rest: Sequence[str] = ()) -> Response:
    raise NotFound(f"invalid action: {asked.request.url}")


def _show_tagged(asked: _Asked, email: str, tag: str) -> Response:
    """Show an endorser's newest entry with a tag (2.3)."""
    found = asked.registry.tagged(email, tag.removeprefix('"').removesuffix('"'))
    if found is None:
        raise NotFound(_NO_ENTRY)
    return _one(asked, *found)


def _list_endorsers(asked: _Asked) -> Response:
    found = asked.registry.endorsers()
    if _prefers_pages(asked):
        return asked.pages.endorsers(found)
    return answers.results(("email", "subject", "issuer"), found)


def _list_endorsed(asked: _Asked, email: str) -> Response:
    """List an endorser's recent entries, once for each of their locations (2.9)."""
    if _prefers_pages(asked):
        return _show_endorser(asked, email)
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
    return answers.results(variables, rows)


def _list_tags(asked: _Asked, email: str) -> Response:
    if _prefers_pages(asked):
        return _show_endorser(asked, email)
    return answers.results(("tag",), [(tag,) for tag in asked.registry.tags(email)])


def _show_endorser(asked: _Asked, email: str) -> Response:
    found = asked.registry.endorsers()
    names = [(subject, issuer) for address, subject, issuer in found if address == email]
    if not names:
        raise NotFound(f"nobody has endorsed anything as {email}")
    listed = _page_of_rows(asked, [email], status="all")
    return asked.pages.endorser(email, names, asked.registry.tags(email), *listed)


def _query(asked: _Asked) -> Response:
    """Answer a query in SPARQL (2.11)."""
    query, media_type = asked.request.args.get("query", ""), preferred_type(asked.request)
    if not query.strip():
        return asked.pages.query() if media_type == HTML else Response(status=204)
    form = "xml" if media_type == XML else "json"
    status, text = sparql.answer(query, asked.registry.everything(), form)
    if media_type == HTML:
        return asked.pages.query(query, status, text)
    if status == 204:
        return Response(status=204)
    if status != 200:
        return _refuse(asked, status, text)
    return answers.sparql_results(media_type, text)


def _show_form(asked: _Asked) -> Response:
    return asked.pages.upload()


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
    return f"{scheme}://{request.host}{_prefix(request)}"


def _prefix(request: Request) -> str:
    """Return what the paths of this Marketplace begin with, as its client calls it."""
    return "/marketplace" if request.path.lstrip("/").startswith("marketplace/") else ""
