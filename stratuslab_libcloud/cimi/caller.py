"""Who asks for what: a request, and what there is for its sender."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from werkzeug import Request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from stratuslab_libcloud import Cloud, errors
from stratuslab_libcloud.cimi.documents import JSON, XML, Document, read
from stratuslab_libcloud.cimi.queries import Query
from stratuslab_libcloud.cimi.table import ACTION, NS, TYPES
from stratuslab_libcloud.parallel import lazy

__all__ = ["Caller", "Members", "Place", "Resource"]

Members = Iterable[Mapping[str, Any]]


class Resource(NamedTuple):
    """
    A collection. Its functions take the caller; for a part of a machine, the key of that; and the
    key of a member where they are about one.

    :ivar type: of its members.
    :ivar members: gives the attributes of each, with a key for ``id`` and words for ``operations``.
    :ivar add: makes a member of a document, and returns its key.
    :ivar edit: gives a member another name.
    :ivar acts: what else can be done with a member.
    """

    type: str
    members: Callable[..., Members]
    add: Callable[..., str] | None = None
    edit: Callable[..., object] | None = None
    delete: Callable[..., object] | None = None
    acts: Mapping[str, Callable[..., object]] = {}


class Place(NamedTuple):
    """What a path leads to: a collection, which a machine may have, a member, an act with it."""

    resource: Resource
    url: str
    machine: tuple[str, ...] = ()
    key: str = ""
    act: str = ""

    @property
    def href(self) -> str:
        """URL of the member."""
        return f"{self.url}/{quote(self.key, safe='')}"


class Caller(Request):
    """
    A request, with the cloud as its sender sees it.

    :ivar connect: makes the cloud of a user name and a password.
    :ivar resources: all, by path; a machine's parts are below ``machines/``.
    """

    connect: Callable[[str, str], Cloud]
    resources: Mapping[str, Resource]

    @lazy
    def base(self) -> str:
        """URL of the provider, with a slash at its end."""
        return f"{self.host_url}cimi/"

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

    def document(self, kind: str) -> Document:
        """Read the body, a document of a type."""
        media_type = {"text/xml": XML}.get(self.mimetype, self.mimetype)
        if media_type not in (JSON, XML):
            raise UnsupportedMediaType(f"a body must be {JSON} or {XML}")
        return read(self.get_data(), media_type, kind)

    def place(self, href: str) -> Place:
        """
        Find what a reference leads to, absolute or relative to the base.

        :raises NotFoundError: there is no such place.
        """
        known = self.resources
        with contextlib.suppress(ValueError):
            path = urlsplit(urljoin(self.base, href)).path
            match [unquote(segment) for segment in path.split("/")[1:]]:
                case ["cimi"] | ["cimi", ""]:
                    return Place(known[""], self.host_url[:-1], key="cimi")
                case ["cimi", "machines", key, part, *rest] if f"machines/{part}" in known:
                    url = f"{self.base}machines/{quote(key, safe='')}/{part}"
                    return Place(known[f"machines/{part}"], url, (key,), *rest[:2])
                case ["cimi", name, *rest] if name in known and len(rest) < 3:
                    return Place(known[name], self.base + name, (), *rest)
        raise errors.NotFoundError("there is nothing here")

    def find(self, path: str, given: Document) -> tuple[str, Document]:
        """Look up the member of a collection that a reference names: its key and its document."""
        with contextlib.suppress(errors.NotFoundError):
            place = self.place(given["href"])
            if place.resource is self.resources[path] and place.key:
                return place.key, self.members(place)[0]
        raise BadRequest(f"{given['href']!r} is no reference to one of the {path}")

    def whole(self, path: str, given: Document) -> Document:
        """Complete an object that is a reference; what it says itself counts more."""
        known = self.find(path, given)[1] if "href" in given else {}
        return Document({**known, **given})

    def members(self, place: Place) -> list[Document]:
        """
        List the members of a collection, or the only one of a key.

        :raises NotFoundError: it is not there.
        """
        found = [
            _document(place.resource.type, place._replace(key=one["id"]).href, one)
            for one in place.resource.members(self, *place.machine)
            if place.key in ("", one["id"])
        ]
        if place.key and not found:
            raise errors.NotFoundError(f"there is no {place.key!r} here")
        return found

    def get(self, place: Place, query: Query) -> Document:
        """Make the document of a place, as far as a query asks for it."""
        found = self.members(place)
        if place.key:
            return self.expanded(found[0], query)
        kind = f"{place.resource.type}Collection"
        count, found = query.members(found)
        (plural,) = (one.name for one in TYPES[kind] if one.each == place.resource.type)
        known = {"id": "", "count": count, plural: [self.expanded(one, query) for one in found]}
        return _document(
            kind, place.url, known | {"operations": ["add"] * bool(place.resource.add)}
        )

    def expanded(self, found: Document, query: Query) -> Document:
        """Put what references lead to beside them, if it is there, and leave out the rest."""
        kinds = {one.name: one.kind for one in TYPES[found["resourceURI"].rpartition("/")[2]]}
        names = set(kinds) if "*" in query.expand else query.expand
        for name in names & found.keys() - {"operations"}:
            value = found[name] if kinds[name] in TYPES else []
            for item in value if isinstance(value, list) else [value]:
                with contextlib.suppress(errors.NotFoundError, errors.NotPermittedError):
                    place = self.place(item.get("href", "-"))
                    more = self.get(place, Query(MultiDict(), place.resource.type))
                    item.update({**more, **item})
                    del item["resourceURI"]
        return query.selected(found)


def _document(kind: str, url: str, known: Mapping[str, Any]) -> Document:
    """Complete a document: links to its collections and operations; what is empty is left out."""
    made = {"resourceURI": f"{NS}/{kind}", **known, "id": url}
    for one in TYPES[kind]:
        if one.kind.endswith("Collection"):
            made[one.name] = {"href": f"{url}/{one.name}"}
    made["operations"] = [
        {"rel": word, "href": url}
        if word in ("add", "edit", "delete")
        else {"rel": ACTION + word, "href": f"{url}/{word}"}
        for word in known.get("operations", ())
    ]
    return Document({name: it for name, it in made.items() if it not in (None, "", [], {})})
