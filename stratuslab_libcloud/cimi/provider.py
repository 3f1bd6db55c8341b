"""The WSGI application: requests in, documents out."""

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from werkzeug import Request, Response, exceptions
from werkzeug.datastructures import MultiDict, WWWAuthenticate

from stratuslab_libcloud import Cloud, errors
from stratuslab_libcloud.cimi.documents import JSON, XML, Document, read, values, write
from stratuslab_libcloud.cimi.queries import Query
from stratuslab_libcloud.cimi.table import ACTION, NS, PLACES, TYPES
from stratuslab_libcloud.parallel import lazy

__all__ = ["Caller", "Known", "Provider"]

_VERSION = "1.0.1"
_LOGIN = WWWAuthenticate("basic", {"realm": "CIMI", "charset": "UTF-8"})
_LOG = logging.getLogger(__name__)
_REFUSALS: dict[type[Exception], Callable[[str], exceptions.HTTPException]] = {
    errors.InvalidValueError: exceptions.BadRequest,
    errors.CredentialsError: partial(exceptions.Unauthorized, www_authenticate=_LOGIN),
    errors.NotPermittedError: exceptions.Forbidden,
    errors.UntrustedImageError: exceptions.Forbidden,
    errors.NotFoundError: exceptions.NotFound,
    errors.ConflictError: exceptions.Conflict,
    NotImplementedError: exceptions.NotImplemented,
    errors.UnavailableError: exceptions.ServiceUnavailable,
    errors.ConnectionFailedError: exceptions.GatewayTimeout,
    errors.StratusLabError: exceptions.BadGateway,
}
_WHOLE = Query(MultiDict(), "Reference")
Known = dict[str, Any]
Place = tuple[str, ...]


@dataclass
class Provider:
    """
    Answer requests about the cloud that ``connect`` makes of a user name and a password.

    What is known of a thing are its attributes, a key for ``id``, and words for ``operations``; a
    collection is an iterator over what is known of its members.

    :ivar root: gives what is known of the entry point.
    :ivar changes: what can be done, by method and place with ``*`` for any key: a function of the
        caller, the keys, and the document that was sent, or the new name. It returns the key of
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
    def cloud(self) -> Cloud:
        """The cloud, by the login of the request, which it has to check."""
        given = self.authorization
        if given and given.type == "basic" and given.username and given.password:
            return self.provider.connect(given.username, given.password)
        raise errors.CredentialsError("log in to the cloud by HTTP Basic")

    @lazy
    def confirmed(self) -> Cloud:
        """The cloud, once it has accepted the login: for what it is not asked itself."""
        self.cloud.machines()
        return self.cloud

    def url_of(self, *place: str) -> str:
        """Return the URL of a place."""
        return self.host_url + "/".join(quote(part, safe="") for part in place)

    def place(self, href: str) -> Place:
        """Return the place of a reference, which is absolute or relative to the base."""
        path = PurePosixPath("/cimi", re.sub(r"^\w+://[^/]*|[?#].*", "", href))
        return tuple(map(unquote, path.parts[1:])) or ("",)

    def get(self, place: Place, query: Query = _WHOLE) -> Document:
        """Make the document of a place, as far as a query asks for it, or raise a NotFoundError."""
        route, known = _route(place), self._known(place)
        kind = PLACES[route].removesuffix("Collection")
        if kind == PLACES[route]:
            made = self._document(kind, place, known)
            return query.selected(self.expand(kind, made, query.expand))
        every = [self._document(kind, (*place, one["id"]), one) for one in known]
        count, found = query.members(every)
        found = [query.selected(self.expand(kind, one, query.expand)) for one in found]
        (plural,) = (name for name, one in TYPES[PLACES[route]].items() if one.kind == kind)
        operations = ["add"] * (("POST", route) in self.provider.changes)
        known = {"count": count, plural: found, "operations": operations}
        return self._document(PLACES[route], place, known)

    def expand(self, kind: str, given: Document, names: Set[str], deep: bool = False) -> Document:
        """
        Complete the references in attributes by what they lead to; what they say counts more.

        :param names: of the attributes; ``*`` is all of them.
        :param deep: whether to go on within them.
        """
        for name, one in TYPES[kind].items():
            for item in values(one, given) if one.kind in TYPES and names & {name, "*"} else ():
                item.pop("id", None)  # which only a thing of the provider's can have
                more = self._led_to(one.kind, item)
                item.update({it: more[it] for it in more if it in TYPES[one.kind]} | item)
                if deep:
                    self.expand(one.kind, item, names, deep)
        return given

    def _led_to(self, kind: str, reference: Document) -> Document:
        """Make the document that a reference leads to; an empty one if it is of another type."""
        place = self.place(reference.get("href", "/"))
        # The volumes of a machine's template are MachineVolumes that refer to Volumes.
        if kind.endswith(PLACES.get(_route(place), "")):
            with contextlib.suppress(errors.NotFoundError, errors.NotPermittedError):
                return self.get(place)
        return Document()

    def key(self, given: Document) -> str:
        """Return the key of the thing that a reference has led to."""
        if "id" not in given:
            raise exceptions.BadRequest(f"{given['href']!r} does not lead to what is needed here")
        return self.place(given["id"])[-1]

    def _known(self, place: Place) -> Any:
        """Return what is known of a thing, or of all things in a collection."""
        found: Any = {"cimi": self.provider.root(self)} if _route(place) in PLACES else {}
        for part in place:
            if isinstance(found, Iterator):
                found = next(({part: one} for one in found if one["id"] == part), {})
            if part not in found:
                raise errors.NotFoundError(f"there is no {part!r} here")
            found = found[part]
        return found

    def _document(self, kind: str, place: Place, known: Known) -> Document:
        """Complete a document: links to its collections and operations; nothing that is empty."""
        url = self.url_of(*place)
        made = {"resourceURI": f"{NS}/{kind}", "id": url} | {**known, "id": url}
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


def _route(place: Place) -> str:
    """Return a place as the table has it, with ``*`` for keys."""
    parts = enumerate(place[1:])
    return "/".join("*" if number % 2 else quote(name, safe="") for number, name in parts)


def _answer(caller: Caller) -> Response:
    if caller.accept_mimetypes and not caller.accept_mimetypes.best_match((JSON, XML)):
        raise exceptions.NotAcceptable(f"answers are {JSON} or {XML}")
    versions = caller.headers.get("CIMI-Specification-Version", _VERSION).split(",")
    if not {version.strip() for version in versions} & {"1.0", "1.0.0", _VERSION}:
        raise exceptions.BadRequest(f"this provider speaks CIMI {_VERSION}")
    place, changes = caller.place(caller.environ["REQUEST_URI"]), caller.provider.changes
    route = _route(place)
    allowed = [method for method, where in changes if where == route]
    allowed += ["GET", "HEAD"] if route in PLACES else []
    if not allowed:
        raise errors.NotFoundError("there is nothing here")
    if caller.method not in allowed:
        raise exceptions.MethodNotAllowed(allowed)
    query = Query(caller.args, PLACES.get(route, "Action"))
    if caller.method in ("GET", "HEAD"):
        return _response(caller, 200, caller.get(place, query))
    return _change(caller, place, changes[caller.method, route], query)


def _change(caller: Caller, place: Place, call: Callable[..., Any], query: Query) -> Response:
    """Do what a request asks for, and answer with what there is then."""
    call = partial(call, caller, *place[2::2])
    document = partial(read, caller.get_data(), caller.mimetype)
    kind, headers = PLACES.get(_route(place), "Action").removesuffix("Collection"), {}
    before = caller.get(place if len(place) % 2 else place[:-1])
    if caller.method == "DELETE":
        call()
    elif caller.method == "PUT":
        call(_name(before, document(kind), query))
    elif kind != "Action":
        place = (*place, call(document(f"{kind}Create" if f"{kind}Create" in TYPES else kind)))
        headers = {"Location": caller.url_of(*place)}
    elif document(kind)["action"] == ACTION + place[-1]:
        call()
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
        found = [made(str(error)) for kind, made in _REFUSALS.items() if isinstance(error, kind)]
        if not found:
            _LOG.exception("%s %s", caller.method, caller.path)
        error = found[0] if found else exceptions.InternalServerError("the provider has failed")
    job = Document(resourceURI=f"{NS}/Job", state="FAILED", returnCode=error.code)
    job |= {"targetResource": {"href": caller.base_url}, "statusMessage": error.description}
    return _response(caller, error.code or 500, job, error.get_headers())
