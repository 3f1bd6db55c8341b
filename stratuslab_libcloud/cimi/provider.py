"""The WSGI application: requests in, documents out."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from werkzeug import Request, Response, exceptions
from werkzeug.datastructures import MultiDict, WWWAuthenticate

from stratuslab_libcloud import Cloud, errors
from stratuslab_libcloud.cimi.documents import JSON, XML, Document, read, write
from stratuslab_libcloud.cimi.queries import Query
from stratuslab_libcloud.cimi.table import ACTION, NS, TYPES
from stratuslab_libcloud.parallel import lazy

__all__ = ["Caller", "Members", "Provider", "Resource"]

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
    NotImplementedError: 501,
    errors.UnavailableError: 503,
    errors.ConnectionFailedError: 504,
    errors.StratusLabError: 502,
}
_METHODS_OF_MEMBERS = {"GET": "members", "HEAD": "members", "PUT": "edit", "DELETE": "delete"}
_METHODS_OF_COLLECTIONS = {"GET": "members", "HEAD": "members", "POST": "add"}
Members = Iterable[Mapping[str, Any]]
Path = tuple[str, ...]


class Resource(NamedTuple):
    """
    A collection. Its functions take the caller, and the keys that are in a path.

    :ivar type: of its members.
    :ivar members: gives the attributes of each, with a key for ``id`` and words for ``operations``.
    :ivar add: makes a member of a document, and returns its key; ``""`` if that was an act.
    :ivar edit: gives a member another name.
    """

    type: str
    members: Callable[..., Members] | None = None
    add: Callable[..., str] | None = None
    edit: Callable[..., object] | None = None
    delete: Callable[..., object] | None = None


class Caller(Request):
    """
    A request, and what there is for its sender.

    In a path the names of collections and the keys of members take turns: ``cimi`` is the only
    member of the collection without a name.
    """

    connect: Callable[[str, str], Cloud]
    resources: Mapping[str, Resource]

    @lazy
    def login(self) -> tuple[str, str]:
        """User name and password, which the cloud has to check."""
        given = self.authorization
        if given and given.type == "basic" and given.username and given.password:
            return given.username, given.password
        raise errors.CredentialsError("log in to the cloud by HTTP Basic")

    @lazy
    def cloud(self) -> Cloud:
        """The cloud; nothing of it has been asked."""
        return self.connect(*self.login)

    @lazy
    def user(self) -> str:
        """The user name, once the cloud has accepted the login: for what it is not asked itself."""
        self.cloud.machines()
        return self.login[0]

    @property
    def media_type(self) -> str:
        """Of the answer."""
        return self.accept_mimetypes.best_match((JSON, XML), JSON)

    def document(self, kind: str) -> Document:
        """Read the body, a document of a type."""
        if self.mimetype not in (JSON, XML):
            raise exceptions.UnsupportedMediaType(f"a body must be {JSON} or {XML}")
        return read(self.get_data(), self.mimetype, kind)

    def url_of(self, *path: str) -> str:
        """Return the URL of a path."""
        return self.host_url + "/".join(quote(part, safe="") for part in path)

    def find_path(self, href: str) -> Path:
        """Return the path that a reference leads to, absolute or relative to the base."""
        with contextlib.suppress(ValueError):
            whole = urlsplit(urljoin(self.url_of("cimi", ""), href)).path.strip("/")
            path = tuple(map(unquote, whole.split("/")))
            if path[0] == "cimi" and "/".join(path[1::2]) in self.resources:
                return path
        raise errors.NotFoundError("there is nothing here")

    def resource(self, path: Path) -> Resource:
        """Return the resource of a path."""
        return self.resources["/".join(path[1::2])]

    def members(self, path: Path) -> dict[str, Document]:
        """Make the documents of a collection's members, by their keys."""
        kind, members, *_ = self.resource(path)
        found = members(self, *path[2::2]) if members else ()
        return {one["id"]: self._document(kind, (*path, one["id"]), one) for one in found}

    def get(self, path: Path, query: Query | None = None) -> Document:
        """Make the document of a path, as far as a query asks for it."""
        resource = self.resource(path)
        query = query or Query(MultiDict(), resource.type)
        if len(path) % 2:
            if found := self.members(path[:-1]).get(path[-1]):
                return self._expanded(found, query)
            raise errors.NotFoundError(f"there is no {path[-1]!r} here")
        count, members = query.members(self.members(path).values())
        kind = f"{resource.type}Collection"
        (plural,) = (name for name, one in TYPES[kind].items() if one.kind == resource.type)
        known = {"count": count, plural: [self._expanded(one, query) for one in members]}
        return self._document(kind, path, known | {"operations": ["add"] * bool(resource.add)})

    def find(self, name: str, given: Document) -> tuple[str, Document]:
        """Look up the member of a collection that a reference names: its key and its document."""
        with contextlib.suppress(errors.NotFoundError):
            path = self.find_path(given["href"])
            if path[:2] == ("cimi", name) and len(path) == 3:
                return path[2], self.get(path)
        raise exceptions.BadRequest(f"{given['href']!r} is no reference to one of the {name}")

    def whole(self, name: str, given: Document) -> Document:
        """Complete an object that is a reference; what it says itself counts more."""
        return Document({**self.find(name, given)[1], **given}) if "href" in given else given

    def _expanded(self, found: Document, query: Query) -> Document:
        """Put what references lead to beside them, if it is there, and leave out the rest."""
        for name, one in TYPES[found["resourceURI"].rpartition("/")[2]].items():
            if one.kind in TYPES and query.expand & {name, "*"} and name in found:
                for item in found[name] if one.many else [found[name]]:
                    with contextlib.suppress(errors.NotFoundError, errors.NotPermittedError):
                        item.update({**self.get(self.find_path(item.get("href", "/"))), **item})
        return query.selected(found)

    def _document(self, kind: str, path: Path, known: Mapping[str, Any]) -> Document:
        """Complete a document: links to its collections and operations; nothing that is empty."""
        url = self.url_of(*path)
        made = {"resourceURI": f"{NS}/{kind}", **known, "id": url}
        made["operations"] = [
            {"rel": word, "href": url}
            if word in ("add", "edit", "delete")
            else {"rel": ACTION + word, "href": f"{url}/{word}"}
            for word in known.get("operations", ())
        ]
        for name, one in TYPES[kind].items():
            if one.kind.endswith("Collection"):
                made[name] = {"href": f"{url}/{name}"}
        return Document({name: it for name, it in made.items() if it not in (None, "", [], {})})


@dataclass
class Provider:
    """
    Answer requests about the cloud that ``connect`` makes of a user name and a password.

    ``screen`` gives the answer to those that must go no further.
    """

    connect: Callable[[str, str], Cloud]
    resources: Mapping[str, Resource]
    screen: Callable[[Request], Response | None]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        caller = Caller(environ)
        caller.connect, caller.resources = self.connect, self.resources
        try:
            response = self.screen(caller) or _answer(caller)
        except Exception as error:
            response = _refusal(caller, error)
        finally:
            if "cloud" in vars(caller):
                caller.cloud.close()
        response.headers["CIMI-Specification-Version"] = _VERSION
        response.headers["Cache-Control"] = "no-store"
        return response(environ, start_response)


def _answer(caller: Caller) -> Response:
    if len(caller.get_data()) > _MAX_BODY_BYTES:
        raise exceptions.RequestEntityTooLarge(f"a body may have {_MAX_BODY_BYTES} bytes")
    if caller.accept_mimetypes and not caller.accept_mimetypes.best_match((JSON, XML)):
        raise exceptions.NotAcceptable(f"answers are {JSON} or {XML}")
    versions = caller.headers.get("CIMI-Specification-Version", _VERSION).split(",")
    if not {version.strip() for version in versions} & {"1.0", "1.0.0", _VERSION}:
        raise exceptions.BadRequest(f"this provider speaks CIMI {_VERSION}")
    path = caller.find_path(caller.environ["REQUEST_URI"])
    resource, is_member = caller.resource(path), bool(len(path) % 2)
    names = _METHODS_OF_MEMBERS if is_member else _METHODS_OF_COLLECTIONS
    calls = {method: call for method in names if (call := getattr(resource, names[method]))}
    if caller.method not in calls:
        raise exceptions.MethodNotAllowed(list(calls))
    query = Query(caller.args, resource.type, many=not is_member)
    if caller.method in ("GET", "HEAD"):
        return _response(caller, 200, caller.get(path, query))
    return _change(caller, calls[caller.method], path, query)


def _change(caller: Caller, call: Callable[..., Any], path: Path, query: Query) -> Response:
    """Do what a request asks for, and answer with what there is then."""
    kind, keys, headers = caller.resource(path).type, path[2::2], {}
    before = caller.get(path if len(path) % 2 else path[:-1])
    if caller.method == "POST":
        body = caller.document(f"{kind}Create" if f"{kind}Create" in TYPES else kind)
        key = call(caller, *keys, body)
        path = (*path, key) if key else path[:-1]
        headers = {"Location": caller.url_of(*path)} if key else {}
    elif caller.method == "PUT":
        call(caller, *keys, _name(before, caller.document(kind), query))
    else:
        call(caller, *keys)
    try:
        after = caller.get(path, query)
    except errors.StratusLabError:  # it has been done all the same
        return Response(status=202 if headers else 204, headers=headers)
    status = 200 if caller.method == "PUT" else 201 if headers else 202
    return _response(caller, 202 if after.get("state") == "CREATING" else status, after, headers)


def _name(before: Document, body: Document, query: Query) -> str:
    """Return the name that a document is given; nothing else of it can change."""
    changed = {name for name in query.select or body if body.get(name) != before.get(name)}
    if changed - {"name", "id", "operations"}:
        raise errors.NotSupportedError("only the name can be changed")
    return str(body.get("name", ""))


def _response(caller: Caller, status: int, document: Document, headers: Any = None) -> Response:
    body = write(document, caller.media_type)
    return Response(body, status, headers, content_type=caller.media_type)


def _refusal(caller: Caller, error: Exception) -> Response:
    """Say what went wrong in a Job that has failed, as the standard suggests."""
    if not isinstance(error, exceptions.HTTPException):
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        if status == 500:
            _LOG.exception("%s %s", caller.method, caller.path)
        reason = "the provider has failed" if status == 500 else str(error)
        error = exceptions.default_exceptions[status](reason)
    job = Document(resourceURI=f"{NS}/Job", state="FAILED", returnCode=error.code)
    job |= {"targetResource": {"href": caller.base_url}, "statusMessage": error.description}
    response = _response(caller, error.code or 500, job, error.get_headers())
    if response.status_code == 401:
        response.www_authenticate = WWWAuthenticate("basic", {"realm": "CIMI", "charset": "UTF-8"})
    return response
