"""The WSGI application: requests in, documents out."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug import Request, Response
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
)

from stratuslab_libcloud import Cloud, errors
from stratuslab_libcloud.cimi.caller import Caller, Place, Resource
from stratuslab_libcloud.cimi.documents import JSON, XML, Document, write
from stratuslab_libcloud.cimi.queries import Query
from stratuslab_libcloud.cimi.table import ACTION, NS, TYPES

__all__ = ["Application"]

_VERSION = "1.0.1"
_MAX_BODY_BYTES = 1 << 20
_LOG = logging.getLogger(__name__)
_STATUS: dict[type[Exception], int] = {
    errors.InvalidValueError: 400,
    errors.CredentialsError: 401,
    errors.NotPermittedError: 403,
    errors.UntrustedImageError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.NotSupportedError: 501,
    NotImplementedError: 501,
    errors.UnavailableError: 503,
    errors.ConnectionFailedError: 504,
    errors.StratusLabError: 502,
}


class Application:
    """
    Answer requests about the cloud that ``connect`` makes of a login.

    :param connect: makes the cloud of a user name and a password.
    :param resources: all, by path.
    :param screen: gives the answer to a request that must go no further, as its body is malformed,
        or a page of another site sent it.
    """

    def __init__(
        self,
        connect: Callable[[str, str], Cloud],
        resources: Mapping[str, Resource],
        screen: Callable[[Request], Response | None],
    ) -> None:
        self._connect, self._resources, self._screen = connect, resources, screen

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        caller = Caller(environ)
        caller.connect, caller.resources = self._connect, self._resources
        try:
            response = self._screen(caller) or _answer(caller)
        except Exception as error:
            response = _refusal(caller, error)
        finally:
            if "cloud" in vars(caller):
                caller.cloud.close()
        response.headers["CIMI-Specification-Version"] = _VERSION
        response.headers["Cache-Control"] = "no-store"
        return response(environ, start_response)

    def admit(self, head: bytes, certificate: bytes | None) -> None:
        """Refuse bodies that would have to be kept in files: there are no uploads here."""


def _answer(caller: Caller) -> Response:
    if len(caller.get_data()) > _MAX_BODY_BYTES:
        raise RequestEntityTooLarge(f"a body may have {_MAX_BODY_BYTES} bytes")
    if not _media_type(caller):
        raise NotAcceptable(f"answers are {JSON} or {XML}")
    versions = caller.headers.get("CIMI-Specification-Version", _VERSION).split(",")
    if not {version.strip() for version in versions} & {"1.0", "1.0.0", _VERSION}:
        raise BadRequest(f"this provider speaks CIMI {_VERSION}")
    place = caller.place(caller.environ["REQUEST_URI"])
    call = _call(caller.method, place)
    query = Query(caller.args, place.resource.type, many=not place.key)
    if caller.method in ("GET", "HEAD"):
        return _response(caller, 200, caller.get(place, query))
    after = _change(caller, place, call, query)
    location = {} if place.key else {"Location": after.href}
    try:
        (found,) = caller.members(after)
    except errors.StratusLabError:  # it has been done all the same
        return Response(status=202 if location else 204, headers=location)
    status = 200 if caller.method == "PUT" else 202
    if location and found.get("state") != "CREATING":
        status = 201
    response = _response(caller, status, caller.expanded(found, query))
    response.headers.update(location)
    return response


def _call(method: str, place: Place) -> Callable[..., Any]:
    """Return the function of a resource that a request calls."""
    resource = place.resource
    calls: dict[str, Callable[..., Any] | None] = {"GET": resource.members, "POST": resource.add}
    if place.key:
        calls = {"GET": resource.members, "PUT": resource.edit, "DELETE": resource.delete}
    if place.act:
        calls = {"POST": resource.acts.get(place.act)}
    known = {method: call for method, call in calls.items() if call}
    if not known:
        raise errors.NotFoundError("there is nothing here")
    if "GET" in known:
        known["HEAD"] = known["GET"]
    if method not in known:
        raise MethodNotAllowed(known)
    return known[method]


def _change(caller: Caller, place: Place, call: Callable[..., Any], query: Query) -> Place:
    """Do what a request asks for; return the place of what there is then."""
    resource, _, machine, key, act = place
    if not key:
        kind = f"{resource.type}Create"
        body = caller.document(kind if kind in TYPES else resource.type)
        return place._replace(key=call(caller, *machine, body))
    (before,) = caller.members(place)
    given = []
    if caller.method == "PUT":
        body = caller.document(resource.type)
        names = {name for name in query.select or body if body.get(name) != before.get(name)}
        if names - {"name", "id", "operations"}:
            raise errors.NotSupportedError("only the name can be changed")
        given = [body.get("name", "")]
    if act and caller.get_data() and caller.document("Action")["action"] != ACTION + act:
        raise BadRequest(f"the action here is {ACTION}{act}")
    call(caller, *machine, key, *given)
    return place


def _media_type(caller: Caller) -> str | None:
    """Choose the media type of the answer; ``None`` if neither will do."""
    known = {JSON: JSON, XML: XML, "text/xml": XML}
    best = caller.accept_mimetypes.best_match(known) if caller.headers.get("Accept") else JSON
    return known.get(best or "")


def _response(caller: Caller, status: int, document: Document) -> Response:
    media_type = _media_type(caller) or JSON
    return Response(write(document, media_type), status, content_type=media_type)


def _refusal(caller: Caller, error: Exception) -> Response:
    """Say what went wrong in a Job that has failed, as the standard suggests."""
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    reason = str(error)
    if isinstance(error, HTTPException):
        status, reason = error.code or 500, error.description or error.name
    elif status == 500:
        _LOG.exception("%s %s", caller.method, caller.path)
        reason = "the provider has failed"
    job = Document(
        resourceURI=f"{NS}/Job", state="FAILED", targetResource={"href": caller.base_url}
    )
    job |= {"returnCode": status, "statusMessage": reason}
    response = _response(caller, status, job)
    if isinstance(error, MethodNotAllowed):
        response.allow.update(error.valid_methods or ())
    if status == 401:
        response.www_authenticate = WWWAuthenticate("basic", {"realm": "CIMI", "charset": "UTF-8"})
    return response
