"""The WSGI application: requests in, documents out."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from werkzeug import Request, Response, exceptions
from werkzeug.datastructures import MultiDict, WWWAuthenticate

from stratuslab_libcloud import Cloud, errors
from stratuslab_libcloud.cimi.documents import JSON, XML, Document, read, values, write
from stratuslab_libcloud.cimi.queries import Query
from stratuslab_libcloud.cimi.table import ACTION, NS, PLACES, TYPES
from stratuslab_libcloud.parallel import lazy

__all__ = ["Caller", "Known", "Provider"]

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
_WHOLE = Query(MultiDict(), "Reference")
Known = Mapping[str, Any]
Place = tuple[str, ...]


@dataclass
class Provider:
    """
    Answer requests about the cloud that ``connect`` makes of a user name and a password.

    What is known of a thing are its attributes, a key for ``id``, and words for ``operations``; a
    collection is an iterable of what is known of its members.

    :ivar root: gives what is known of the entry point.
    :ivar changes: what can be done, by method and names of collections: a function of the caller,
        the keys in the path, and the document that was sent, or the new name. It returns the key of
        what it has made.
    :ivar database: SQLite file for what no cloud keeps.
    :ivar screen: gives the answer to a request that must go no further.
    """

    connect: Callable[[str, str], Cloud]
    root: Callable[["Caller"], Known]
    changes: Mapping[tuple[str, str], Callable[..., Any]]
    database: Path
    screen: Callable[[Request], Response | None]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        caller = Caller(environ)
        caller.provider = self
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


class Caller(Request):
    """
    A request, and what there is for its sender.

    In a place, the keys of things and the names of their collections take turns: the entry point is
    ``("cimi",)``, a machine ``("cimi", "machines", "7")``.
    """

    provider: Provider

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
        return self.provider.connect(*self.login)

    def confirmed(self) -> str:
        """Return the user name, once the cloud has accepted it: for what it is not asked itself."""
        return self._confirmed

    @lazy
    def _confirmed(self) -> str:
        self.cloud.machines()
        return self.login[0]

    def document(self, kind: str) -> Document:
        """Read the body, a document of a type."""
        if self.mimetype not in (JSON, XML):
            raise exceptions.UnsupportedMediaType(f"a body must be {JSON} or {XML}")
        return read(self.get_data(), self.mimetype, kind)

    def url_of(self, *place: str) -> str:
        """Return the URL of a place."""
        return self.host_url + "/".join(quote(part, safe="") for part in place)

    def place(self, href: str) -> Place:
        """Return the place of a reference, which is absolute or relative to the base."""
        try:
            path = urlsplit(urljoin(self.url_of("cimi", ""), href)).path
        except ValueError:
            raise errors.NotFoundError(f"{href!r} is no reference") from None
        return tuple(map(unquote, path.strip("/").split("/")))

    def known(self, place: Place) -> Known:
        """Return what is known of a thing, or raise a NotFoundError."""
        for one in self.members(place[:-1]) if place[1:] else [self.provider.root(self)]:
            if one["id"] == place[-1]:
                return one
        raise errors.NotFoundError(f"there is no {place[-1]!r} here")

    def members(self, place: Place) -> Iterable[Known]:
        """Return what is known of the things in a collection, or raise a NotFoundError."""
        if _names(place) not in PLACES:
            raise errors.NotFoundError("there is nothing here")
        members: Iterable[Known] = self.known(place[:-1])[place[-1]]
        return members

    def get(self, place: Place, query: Query = _WHOLE) -> Document:
        """Make the document of a place, as far as a query asks for it."""
        kind = PLACES.get(_names(place), "")
        if len(place) % 2:
            return self._expanded(self._document(kind, place, self.known(place)), query)
        made = [self._document(kind, (*place, one["id"]), one) for one in self.members(place)]
        count, found = query.members(made)
        (plural,) = (name for name, one in TYPES[f"{kind}Collection"].items() if one.kind == kind)
        known = {"id": "", "count": count, plural: [self._expanded(one, query) for one in found]}
        known["operations"] = ["add"] * (("POST", _names(place)) in self.provider.changes)
        return self._document(f"{kind}Collection", place, known)

    def find(self, name: str, given: Document) -> tuple[str, Document]:
        """Look up the member of a collection that a reference names: its key and its document."""
        with contextlib.suppress(errors.NotFoundError):
            place = self.place(given["href"])
            if place[:2] == ("cimi", name) and len(place) == 3:
                return place[2], self.get(place)
        raise exceptions.BadRequest(f"{given['href']!r} is no reference to one of the {name}")

    def whole(self, name: str, given: Document) -> Document:
        """Complete an object that is a reference; what it says itself counts more."""
        return Document({**self.find(name, given)[1], **given}) if "href" in given else given

    def _expanded(self, found: Document, query: Query) -> Document:
        """Put what references lead to beside them, if it is there, and leave out the rest."""
        for name, one in TYPES[found["resourceURI"].rpartition("/")[2]].items():
            if one.kind in TYPES and query.expand & {name, "*"}:
                for item in values(one, found):
                    with contextlib.suppress(errors.NotFoundError, errors.NotPermittedError):
                        more = self.get(self.place(item.get("href", "/")))
                        item.update({it: more[it] for it in more if it in TYPES[one.kind]} | item)
        return query.selected(found)

    def _document(self, kind: str, place: Place, known: Known) -> Document:
        """Complete a document: links to its collections and operations; nothing that is empty."""
        url = self.url_of(*place)
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


def _names(place: Place) -> str:
    """Return the names of the collections on the way to a place."""
    return "/".join(place[1::2])


def _answer(caller: Caller) -> Response:
    if len(caller.get_data()) > _MAX_BODY_BYTES:
        raise exceptions.RequestEntityTooLarge(f"a body may have {_MAX_BODY_BYTES} bytes")
    if caller.accept_mimetypes and not caller.accept_mimetypes.best_match((JSON, XML)):
        raise exceptions.NotAcceptable(f"answers are {JSON} or {XML}")
    versions = caller.headers.get("CIMI-Specification-Version", _VERSION).split(",")
    if not {version.strip() for version in versions} & {"1.0", "1.0.0", _VERSION}:
        raise exceptions.BadRequest(f"this provider speaks CIMI {_VERSION}")
    place, changes = caller.place(caller.environ["REQUEST_URI"]), caller.provider.changes
    names, is_member = _names(place), bool(len(place) % 2)
    possible = ("PUT", "DELETE") if is_member else ("POST",)
    allowed = [method for method in possible if (method, names) in changes]
    allowed += ["GET", "HEAD"] if names in PLACES else []
    if not allowed:
        raise errors.NotFoundError("there is nothing here")
    if caller.method not in allowed:
        raise exceptions.MethodNotAllowed(allowed)
    query = Query(caller.args, PLACES.get(names, "Action"), many=not is_member)
    if caller.method in ("GET", "HEAD"):
        return _response(caller, 200, caller.get(place, query))
    return _change(caller, place, changes[caller.method, names], query)


def _change(caller: Caller, place: Place, call: Callable[..., Any], query: Query) -> Response:
    """Do what a request asks for, and answer with what there is then."""
    kind, keys, headers = PLACES.get(_names(place), "Action"), place[2::2], {}
    before = caller.get(place if len(place) % 2 else place[:-1])
    if caller.method == "DELETE":
        call(caller, *keys)
    elif caller.method == "PUT":
        call(caller, *keys, _name(before, caller.document(kind), query))
    elif kind != "Action":
        body = caller.document(f"{kind}Create" if f"{kind}Create" in TYPES else kind)
        place = (*place, call(caller, *keys, body))
        headers = {"Location": caller.url_of(*place)}
    elif caller.document(kind)["action"] == ACTION + place[-1]:
        call(caller, *keys)
        place = place[:-1]
    else:
        raise exceptions.BadRequest(f"the action here is {ACTION}{place[-1]}")
    try:
        after = caller.get(place, query)
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
    media_type = caller.accept_mimetypes.best_match((JSON, XML), JSON)
    return Response(write(document, media_type), status, headers, content_type=media_type)


def _refusal(caller: Caller, error: Exception) -> Response:
    """Say what went wrong in a Job that has failed, as the standard suggests."""
    if not isinstance(error, exceptions.HTTPException):
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        if status == 500:
            _LOG.exception("%s %s", caller.method, caller.path)
        reason = "the provider has failed" if status == 500 else str(error)
        error = exceptions.default_exceptions[status](reason)
    job = Document(resourceURI=f"{NS}/Job", state="FAILED")
    job |= {"targetResource": {"href": caller.base_url}, "returnCode": error.code}
    job |= {"statusMessage": error.description}
    response = _response(caller, error.code or 500, job, error.get_headers())
    if response.status_code == 401:
        response.www_authenticate = WWWAuthenticate("basic", {"realm": "CIMI", "charset": "UTF-8"})
    return response
