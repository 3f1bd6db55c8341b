"""The WSGI application: who asks, what for, and the answer as a document."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from werkzeug import Request, Response
from werkzeug.datastructures import Headers, WWWAuthenticate
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
from stratuslab_libcloud.cimi.resources import COLLECTIONS, PARTS, Collection, View
from stratuslab_libcloud.cimi.table import ACTION, CREATED_BY, NS, TYPES

__all__ = ["VERSION", "Application"]

VERSION = "1.0.1"
_PATH = "/cimi/"
_ENTRY = "cloudEntryPoint"
_MAX_BODY_BYTES = 1 << 20
_VERBS = ("start", "stop", "restart")
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
        if not self._is_ours(request.headers.get("Host", "")):
            raise MisdirectedRequest("no provider on this port has the requested name")
        if self._is_foreign(request.headers, request.headers.get("Host", "")):
            raise Forbidden("web pages of other sites may not send requests to this one")
        versions = request.headers.get("CIMI-Specification-Version", VERSION).split(",")
        if not any(version.strip() in ("1", "1.0", "1.0.0", VERSION, "*") for version in versions):
            raise BadRequest(f"this provider speaks CIMI {VERSION}")
        _media_type(request)
        path = request.environ["REQUEST_URI"].partition("?")[0]  # raw: %2F is no separator
        if path.rstrip("/") + "/" == _PATH or path == _PATH + _ENTRY:
            return self._entry_point(request)
        if not path.startswith(_PATH):
            raise NotFound("there is nothing here")
        with self._log_in(request) as view:
            return _Asked(view, request, body).answer(view.place(path))

    @contextlib.contextmanager
    def _log_in(self, request: Request) -> Iterator[View]:
        """Give the caller's view of the cloud; the logins of the configuration are not used."""
        login = request.authorization
        if not login or login.type != "basic" or not login.username or not login.password:
            raise Unauthorized("log in to the cloud by HTTP Basic", www_authenticate=_LOGIN)
        cloud = self._connect(login.username, login.password)
        for found in (cloud.settings.credentials, cloud.settings.storage_credentials):
            have = getattr(found, "username", None), getattr(found, "password", None)
            if have != (login.username, login.password):
                raise Unauthorized("no cloud takes this login", www_authenticate=_LOGIN)
        with contextlib.closing(cloud):
            yield View(cloud, login.username, self._kept, _base(request))

    def _entry_point(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(["GET", "HEAD"])
        base = _base(request)
        by_type = {f"{kind.type}Collection": name for name, kind in COLLECTIONS.items()}
        links = {
            one.name: {"href": base + by_type[one.kind]}
            for one in TYPES["CloudEntryPoint"]
            if one.kind in by_type
        }
        uri = f"{NS}/CloudEntryPoint"
        found = {"resourceURI": uri, "id": base + _ENTRY, "name": "StratusLab", "baseURI": base}
        query = Query(request.args.items(multi=True), "CloudEntryPoint", many=False)
        document = found | links
        if query.expand:
            with self._log_in(request) as view:
                _expand(view, document, query.expand)
        return _response(request, query.selected(document))


class _Asked:
    """One request for a collection, a member or an operation."""

    def __init__(self, view: View, request: Request, body: bytes) -> None:
        self.view, self.request, self.body = view, request, body

    def answer(self, path: list[str]) -> Response:
        collection, rest = _collection(self.view, path)
        if collection.own:
            self.view.check_login()
        if not rest:
            return self._method(collection, GET=self._list, POST=self._add)
        if len(rest) == 1:
            self._key = rest[0]
            return self._method(collection, GET=self._show, PUT=self._edit, DELETE=self._delete)
        if len(rest) == 2 and rest[1] in _VERBS and hasattr(collection, "act"):
            self._key, self._verb = rest
            return self._method(collection, POST=self._act)
        raise NotFound("there is nothing here")

    def _method(self, collection: Any, **methods: Callable[[Any], Response]) -> Response:
        needed = {"POST": "add", "PUT": "edit", "DELETE": "delete"}
        allowed = [
            name for name in methods
            if name == "GET" or hasattr(collection, needed[name]) or methods[name] == self._act
        ]  # fmt: skip
        method = "GET" if self.request.method == "HEAD" else self.request.method
        if method not in allowed:
            raise MethodNotAllowed([*allowed, *(["HEAD"] if "GET" in allowed else [])])
        return methods[method](collection)

    def _query(self, collection: Collection, *, many: bool = False) -> Query:
        return Query(self.request.args.items(multi=True), collection.type, many=many)

    def _list(self, collection: Collection) -> Response:
        query = self._query(collection, many=True)
        document = _listed(self.view, collection, query)
        return _response(self.request, document)

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


def _collection(view: View, path: list[str]) -> tuple[Collection, list[str]]:
    """Find the collection that a path leads to, and what comes after it."""
    if path[0] not in COLLECTIONS:
        raise NotFound("there is nothing here")
    collection = COLLECTIONS[path[0]](view)
    if path[0] == "machines" and len(path) > 2 and path[2] in PARTS:
        machine = collection.one(path[1])
        return PARTS[path[2]](view, machine[path[2]]["href"], path[1]), path[3:]
    return collection, path[1:]


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
        value = document.get(one.name)
        if names & {one.name, "*"} and one.kind in TYPES and value and one.name != "operations":
            for item in value if one.each else [value]:
                if "href" in item:
                    with contextlib.suppress(
                        NotFound, errors.NotFoundError, errors.NotPermittedError
                    ):
                        item.update({**_found(view, item["href"]), **item})


def _found(view: View, href: str) -> Document:
    collection, rest = _collection(view, view.place(href))
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


def _base(request: Request) -> str:
    return f"{request.scheme}://{request.headers['Host']}{_PATH}"


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
