"""The entries of a site's Marketplace: what is registered, withdrawn, found and listed."""

import sqlite3
import time
from collections.abc import Callable
from typing import NamedTuple

from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.sandbox.marketplace import examples, uploads
from stratuslab_libcloud.sandbox.marketplace.listing import Selection
from stratuslab_libcloud.sandbox.marketplace.rows import Row, stored
from stratuslab_libcloud.sandbox.store import Store

__all__ = ["Coordinates", "Registry", "Rows"]


class Coordinates(NamedTuple):
    """What an entry is found by; nothing in them needs to be quoted in a path."""

    identifier: str
    email: str
    created: str


class Rows(NamedTuple):
    """
    A page of a listing.

    :ivar shown: the rows of the page, as JSON.
    :ivar matching: how many there are on all pages.
    :ivar total: how many there would be without the search and the filters.
    """

    shown: list[str]
    matching: int
    total: int


class Registry:
    """
    The entries of a site.

    :param clock: says the time, as :func:`time.time` does; entries expire by it.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def upload(self, document: bytes) -> Coordinates:
        """
        Store an entry that somebody uploaded.

        :raises RefusedUploadError: it is not taken, and says why.
        """
        row = uploads.checked(document)
        with self._store.transaction() as db:
            uploads.check_newest(db, row)
            _insert(db, [row])
        return Coordinates(*(str(row[name]) for name in Coordinates._fields))

    def add(self, *documents: bytes) -> None:
        """
        Store entries of the site's own, whatever is in them: all of them, or none.

        One with the coordinates of a stored entry takes its place.

        :param documents: ``rdf:RDF`` documents in UTF-8.
        :raises MetadataError: one is no entry, or has no endorser or endorsement date.
        :raises UnsafeXMLError: one is not well-formed, or has a DOCTYPE.
        """
        rows = [stored(document) for document in documents]
        with self._store.transaction() as db:
            _insert(db, rows)

    def withdraw(self, endorser: str) -> None:
        """Remove all entries of this endorser's."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM entries WHERE email = ?", (endorser,))

    def add_examples(self, base_url: str | None = None) -> None:
        """
        Put the entries of a new site in; again is harmless.

        :param base_url: where their locations pretend to be.
        """
        self.add(*map(write_entry, examples.entries(base_url or "https://images.example.org")))

    def has(self, identifier: str) -> bool:
        """Whether any entry of this image is here, whatever its status."""
        with self._store.reading() as db:
            query = "SELECT 1 FROM entries WHERE identifier = ?"
            return db.execute(query, (identifier,)).fetchone() is not None

    def document(self, identifier: str, email: str, created: str) -> bytes | None:
        """The entry with these coordinates, whatever its status (2.4); None if there is none."""
        with self._store.reading() as db:
            found = db.execute(
                "SELECT document FROM entries WHERE identifier = ? AND email = ? AND created = ?",
                (identifier, email, created),
            ).fetchone()
        return found["document"] if found else None

    def documents(self, selection: Selection) -> list[bytes]:
        """The entries that a listing shows."""
        with self._store.reading() as db:
            db.create_function("searched", 1, selection.searched)
            found = db.execute(selection.sql("document"), self._values(selection)).fetchall()
        return [row["document"] for row in found]

    def rows(self, selection: Selection) -> Rows:
        """The rows that a listing shows, and how many there are."""
        with self._store.reading() as db:
            db.create_function("searched", 1, selection.searched)
            values = self._values(selection)
            shown = selection.sql("json_remove(row, '$[11]') AS shown")
            found = db.execute(shown, values).fetchall()
            ((matching,),) = db.execute(selection.sql_matching, values)
            ((total,),) = db.execute(selection.sql_total, values)
        return Rows([row["shown"] for row in found], matching, total)

    def _values(self, selection: Selection) -> dict[str, str | int]:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        return {"now": now, **selection.values}


def _insert(db: sqlite3.Connection, rows: list[Row]) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO entries "
        "(identifier, email, created, document, valid, deprecated, row) "
        "VALUES (:identifier, :email, :created, :document, :valid, :deprecated, :row)",
        rows,
    )
    db.executemany(
        "UPDATE entries SET latest = (created = (SELECT MAX(created) FROM entries "
        "WHERE identifier = :identifier AND email = :email)) "
        "WHERE identifier = :identifier AND email = :email",
        rows,
    )
