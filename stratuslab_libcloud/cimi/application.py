"""The WSGI application: who asks, what for, and the answer as a document."""

import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug import Request, Response
from werkzeug.datastructures import Authorization, Headers, WWWAuthenticate
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    HTTPException,
    MethodNotAllowed,
    MisdirectedRequest,
    NotAcceptable,
    NotFound,
    RequestEntityTooLarge,
    Unauthorized,
    UnsupportedMediaType,
)

from stratuslab_libcloud import Cloud, errors
from stratuslab_libcloud.cimi.documents import JSON, XML, Document, DocumentError, read, write
from stratuslab_libcloud.cimi.kept import Kept
from stratuslab_libcloud.cimi.queries import Query, QueryError
from stratuslab_libcloud.cimi.resources import Collection, View
from stratuslab_libcloud.cimi.table import ACTION, CREATED_BY, NS, TYPES

__all__ = ["VERSION", "Application"]

VERSION = "1.0.1"
_PATH = "/cimi/"
_MAX_BODY_BYTES = 1 << 20
_LOG = logging.getLogger(__name__)
_STATUS = {
    errors.CredentialsError: 401,
    errors.InvalidValueError: 400,
    errors.NotPermittedError: 403,
    errors.UntrustedImageError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.NotSupportedError: 501,
    errors.UnavailableError: 503,
    errors.LostAnswerError: 504,
    errors.ConnectionFailedError: 504,
    errors.ServiceError: 502,
    errors.MalformedAnswerError: 502,
}
_LOGIN = WWWAuthenticate("basic", {"realm": "CIMI", "charset": "UTF-8"})


class Application:
    """
    Answer requests about the cloud that ``connect`` makes of a login.

    :param connect: makes the cloud of a user name and a password.
    :param is_ours: whether the provider goes by an authority, ``host`` or ``host:port``.
    :param is_foreign: whether a web page of another site sent a request, by its headers and host.
    """

    def __init__(
        self,
        connect: Callable[[str, str], Cloud],
        kept: Kept,
        is_ours: Callable[[str], bool],
        is_foreign: Callable[[Headers, str], bool],
    ) -> None:
        self._connect, self._kept = connect, kept
        self._is_ours, self._is_foreign = is_ours, is_foreign

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        try:
            response = self._answer(request)
        except (DocumentError, QueryError) as error:
            response = _refusal(request, 400, str(error))
        except HTTPException as error:
            response = _refusal(request, error.code or 500, error.description or error.name)
            if isinstance(error, _MalformedBody):  # what follows it is no request
                response.headers["Connection"] = "close"
            for name in ("Allow", "WWW-Authenticate"):
                for value in error.get_response(environ).headers.getlist(name):
                    response.headers.add(name, value)
        except errors.StratusLabError as error:
            kinds = (status for kind, status in _STATUS.items() if isinstance(error, kind))
            response = _refusal(request, next(kinds, 500), str(error))
            if response.status_code == 401:
                response.www_authenticate = _LOGIN
        except Exception:
            _LOG.exception("%s %s", request.method, request.path)
            response = _refusal(request, 500, "the provider has failed")
        response.headers["CIMI-Specification-Version"] = VERSION
        response.headers["Cache-Control"] = "no-store"
        return response(environ, start_response)

    def admit(self, head: bytes, certificate: bytes | None) -> None:
        """Refuse bodies that would have to be kept in files: there are no uploads here."""

    def _answer(self, request: Request) -> Response:
        body = _body(request)
        host = request.headers.get("Host", "")
        if not self._is_ours(host):
            raise MisdirectedRequest("no provider on this port has the requested name")
        if self._is_foreign(request.headers, host):
            raise Forbidden("web pages of other sites may not send requests to this one")
        versions = request.headers.get("CIMI-Specification-Version", VERSION).split(",")
        if not {version.strip() for version in versions} & {"1.0", "1.0.0", VERSION}:
            raise BadRequest(f"this provider speaks CIMI {VERSION}")
        _media_type(request)
        path = request.environ["REQUEST_URI"].partition("?")[0]  # raw: %2F is no separator
        if not f"{path}/".startswith(_PATH):
            raise NotFound("there is nothing here")
        with contextlib.ExitStack() as stack:

            def log_in() -> tuple[Cloud, str]:
                cloud, user = self._log_in(request.authorization)
                return stack.enter_context(contextlib.closing(cloud)), user

            view = View(log_in, self._kept, f"{request.scheme}://{host}{_PATH}")
            return _Asked(view, request, body).answer(path[len(_PATH) :])

    def _log_in(self, login: Authorization | None) -> tuple[Cloud, str]:
        """Return the caller's cloud, and name; logins of the configuration are not used."""
        if login and login.type == "basic" and login.username and login.password:
            known = login.username, login.password
            cloud = self._connect(*known)
            logins = cloud.settings.credentials, cloud.settings.storage_credentials
            if all((getattr(o, "username", 0), getattr(o, "password", 0)) == known for o in logins):
                return cloud, login.username
        raise Unauthorized("log in to the cloud by HTTP Basic", www_authenticate=_LOGIN)


class _Asked:
    """One request for a collection, a member or an operation."""

    def __init__(self, view: View, request: Request, body: bytes) -> None:
        self.view, self.request, self.body = view, request, body

    def answer(self, path: str) -> Response:
        collection, rest = self.view.collection(self.view.place(path))
        if collection.own:
            self.view.cloud.machines()  # which checks the login
        ways: dict[str, tuple[str, Callable[[Any], Response]]]
        match rest:
            case []:
                ways = {"GET": ("all", self._list), "POST": ("add", self._add)}
            case [_]:
                ways = {"GET": ("one", self._show), "PUT": ("edit", self._edit)}
                ways["DELETE"] = ("delete", self._delete)
            case [_, "start" | "stop" | "restart"]:
                ways = {"POST": ("act", self._act)}
            case _:
                raise NotFound("there is nothing here")
        self._key, self._verb = [*rest, "", ""][:2]
        allowed = [method for method, (needed, _) in ways.items() if hasattr(collection, needed)]
        if not allowed:
            raise NotFound("there is nothing here")
        method = "GET" if self.request.method == "HEAD" else self.request.method
        if method not in allowed:
            raise MethodNotAllowed([*allowed, *(["HEAD"] if "GET" in allowed else [])])
        return ways[method][1](collection)

    def _query(self, collection: Collection, *, many: bool = False) -> Query:
        return Query(self.request.args.items(multi=True), collection.type, many=many)

    def _list(self, collection: Collection) -> Response:
        query = self._query(collection, many=True)
        return _response(self.request, _listed(self.view, collection, query))

    def _show(self, collection: Collection) -> Response:
        query = self._query(collection)
        document = collection.one(self._key)
        _expand(self.view, document, query.expand)
        return _response(self.request, query.selected(document))

    def _add(self, collection: Any) -> Response:
        self._query(collection, many=True)
        body = self._read(CREATED_BY.get(collection.type, (collection.type, ""))[0])
        made = collection.add(body)
        status = 202 if made.get("state") == "CREATING" else 201
        return _response(self.request, made, status, made["id"])

    def _edit(self, collection: Any) -> Response:
        query = self._query(collection)
        body = self._read(collection.type)
        before = collection.one(self._key)
        if query.select is not None:
            kept = {name: before[name] for name in before.keys() - query.select}
            body = kept | {name: body[name] for name in body.keys() & query.select}
        return _response(self.request, collection.edit(self._key, before, body))

    def _delete(self, collection: Any) -> Response:
        self._query(collection)
        collection.one(self._key)
        collection.delete(self._key)
        with contextlib.suppress(NotFound):
            return _response(self.request, collection.one(self._key), 202)
        return Response(status=204)

    def _act(self, collection: Any) -> Response:
        self._query(collection)
        collection.one(self._key)
        body = self._read("Action") if self.body else {}
        if body.get("action", ACTION + self._verb) != ACTION + self._verb:
            raise BadRequest(f"the action here is {ACTION}{self._verb}")
        if body.get("force"):
            raise errors.NotSupportedError("force is not supported; delete ends a machine at once")
        collection.act(self._key, self._verb)
        with contextlib.suppress(NotFound):
            return _response(self.request, collection.one(self._key), 202)
        return Response(status=204)

    def _read(self, kind: str) -> Document:
        media_type = {"text/xml": XML}.get(self.request.mimetype, self.request.mimetype)
        if media_type not in (JSON, XML):
            raise UnsupportedMediaType(f"a body must be {JSON} or {XML}")
        return read(self.body, media_type, [kind])


def _listed(view: View, collection: Collection, query: Query) -> Document:
    count, members = query.members(collection.all())
    for one in members:
        _expand(view, one, query.expand)
    kind = f"{collection.type}Collection"
    plural = next(one.name for one in TYPES[kind] if one.each == collection.type)
    add = [{"rel": "add", "href": collection.url}] if hasattr(collection, "add") else []
    return {
        "resourceURI": f"{NS}/{kind}",
        "id": collection.url,
        "count": count,
        plural: [query.selected(one) for one in members],
        **({"operations": add} if add else {}),
    }


def _expand(view: View, document: Document, names: set[str]) -> None:
    """Put what references lead to beside them; one that leads nowhere stays as it is."""
    for one in TYPES[document["resourceURI"].rpartition("/")[2]]:
        if one.kind in TYPES and one.name in document and names & {one.name, "*"}:
            value = document[one.name]
            for item in value if one.each else [value]:
                with contextlib.suppress(NotFound, errors.NotFoundError, errors.NotPermittedError):
                    item.update({**_found(view, item.get("href", "none")), **item})


def _found(view: View, href: str) -> Document:
    collection, rest = view.collection(view.place(href))
    if rest:
        found = collection.one(rest[0])
    else:
        found = _listed(view, collection, Query((), collection.type, many=True))
    return {name: value for name, value in found.items() if name != "resourceURI"}


class _MalformedBody(BadRequest):
    pass


def _body(request: Request) -> bytes:
    """Read the body in any case, since the next request follows it; the server limits it, too."""
    try:
        body = request.get_data()
    except Exception:  # cheroot and werkzeug raise many kinds
        _LOG.debug("%s %s", request.method, request.path, exc_info=True)
        raise _MalformedBody("the body is malformed or incomplete") from None
    if len(body) > _MAX_BODY_BYTES:
        raise RequestEntityTooLarge(f"a body may have {_MAX_BODY_BYTES} bytes")
    return body


def _media_type(request: Request) -> str:
    if not request.headers.get("Accept"):
        return JSON
    found = request.accept_mimetypes.best_match([JSON, XML, "text/xml"])
    if not found:
        raise NotAcceptable(f"answers are {JSON} or {XML}")
    return XML if found == "text/xml" else found


def _response(
    request: Request, document: Document, status: int = 200, location: str = ""
) -> Response:
    media_type = _media_type(request)
    response = Response(write(document, media_type), status, content_type=media_type)
    if location:
        response.headers["Location"] = location
    return response


def _refusal(request: Request, status: int, reason: str) -> Response:
    """Say what went wrong in a Job that has failed, as the standard suggests."""
    job = {
        "resourceURI": f"{NS}/Job",
        "state": "FAILED",
        "targetResource": {"href": request.base_url},
        "returnCode": status,
        "statusMessage": reason,
    }
    try:
        return _response(request, job, status)
    except NotAcceptable:
        return Response(write(job, JSON), status, content_type=JSON)
