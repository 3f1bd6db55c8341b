"""The entries of a site's Marketplace: registers, withdraws, finds and lists them."""

import json
import sqlite3
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.metadata.rdf import read_entry
from stratuslab_libcloud.sandbox.endorsing import endorse
from stratuslab_libcloud.sandbox.marketplace import uploads
from stratuslab_libcloud.sandbox.marketplace.confirmations import Confirmations
from stratuslab_libcloud.sandbox.marketplace.examples import example_entries
from stratuslab_libcloud.sandbox.marketplace.listing import STATUS, Selection
from stratuslab_libcloud.sandbox.marketplace.rows import Coordinates, Row, StoredEntry, stored
from stratuslab_libcloud.sandbox.store import Store
from stratuslab_libcloud.untrusted import xml

__all__ = ["Endorsement", "Registry", "Rows", "insert_entries"]


class Endorsement(NamedTuple):
    """
    An entry about an image.

    :ivar valid: until when, if it says so.
    :ivar latest: whether it is the endorser's latest about the image.
    :ivar status: ``valid``, ``expired`` or ``deprecated``; None if it does not say until when it is
        valid.
    """

    email: str
    created: str
    valid: str | None
    latest: bool
    status: str | None


class Rows(NamedTuple):
    """
    A page of a listing.

    :ivar shown: the rows of the page, as JSON.
    :ivar matching: the number of rows on all pages.
    :ivar total: the number of rows without search and filters.
    """

    shown: list[str]
    matching: int
    total: int


class Registry:
    """
    The entries of a site.

    :param clock: returns the time as :func:`time.time` does; it decides which entries have expired.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.time,
        confirmations: Confirmations | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self.confirmations = confirmations

    def check(self, document: bytes) -> Row:
        """
        Check an upload, and return its columns; nothing is stored.

        :raises RefusedUploadError: it is refused.
        """
        row = uploads.checked(document)
        with self._store.reading() as db:
            uploads.check_newest(db, row)
        return row

    def upload(self, document: bytes) -> Coordinates:
        """
        Store an entry that somebody uploaded.

        :raises RefusedUploadError: it is refused.
        """
        row = uploads.checked(document)
        with self._store.transaction() as db:
            uploads.check_newest(db, row)
            insert_entries(db, [row])
        return Coordinates.of(row)

    def add(self, *documents: bytes) -> None:
        """
        Store all of these entries of the site's own, or none. Nothing in them is checked.

        An entry replaces a stored one with the same coordinates.

        :param documents: ``rdf:RDF`` documents in UTF-8.
        :raises MetadataError: one is not an entry, or has no endorser or endorsement date.
        :raises UnsafeXMLError: one is not well-formed, or has a DOCTYPE.
        """
        rows = [stored(document) for document in documents]
        with self._store.transaction() as db:
            insert_entries(db, rows)

    def withdraw(self, endorser: str, keep: Collection[str]) -> None:
        """
        Remove the entries of an endorser.

        :param keep: identifiers of images whose entries stay.
        """
        with self._store.transaction() as db:
            db.execute(
                "DELETE FROM entries WHERE email = ? "
                "AND identifier NOT IN (SELECT value FROM json_each(?))",
                (endorser, json.dumps([*keep])),
            )

    def add_examples(self, key: SigningKey) -> None:
        """Add the example entries of a new site, endorsed by its key, or replace them."""
        self.add(*(endorse(entry, key) for entry in example_entries()))

    def has(self, identifier: str) -> bool:
        """Return whether there is an entry of this image, whatever its status."""
        with self._store.reading() as db:
            query = "SELECT 1 FROM entries WHERE identifier = ?"
            return db.execute(query, (identifier,)).fetchone() is not None

    def newest(self, identifier: str) -> bytes | None:
        """Return the newest entry of an image, whatever its status, or None."""
        with self._store.reading() as db:
            query = "SELECT document FROM entries WHERE identifier = ? ORDER BY created DESC"
            found = db.execute(query, (identifier,)).fetchone()
        return found["document"] if found else None

    def document(self, identifier: str, email: str, created: str) -> bytes | None:
        """Return the entry with these coordinates, whatever its status (2.4), or None."""
        with self._store.reading() as db:
            found = db.execute(
                "SELECT document FROM entries WHERE identifier = ? AND email = ? AND created = ?",
                (identifier, email, created),
            ).fetchone()
        return found["document"] if found else None

    def tagged(self, email: str, tag: str) -> tuple[str, bytes] | None:
        """
        Find an endorser's newest entry with a tag, valid or not, of an image that never was
        deprecated under it (2.3).

        :return: its identifier and its document; None if there is none.
        """
        with self._store.reading() as db:
            found = db.execute(
                "SELECT identifier, document FROM entries WHERE email = :email AND tag = :tag "
                "AND identifier NOT IN (SELECT identifier FROM entries "
                "WHERE email = :email AND tag = :tag AND deprecated) "
                "ORDER BY created DESC, identifier LIMIT 1",
                {"email": email, "tag": tag},
            ).fetchone()
        return (found["identifier"], found["document"]) if found else None

    def endorsers(self) -> list[tuple[str, str, str]]:
        """List the e-mail address, subject and issuer of everybody who endorsed anything (2.9)."""
        with self._store.reading() as db:
            query = "SELECT DISTINCT email, subject, issuer FROM entries ORDER BY 1, 2, 3"
            return [tuple(row) for row in db.execute(query)]

    def endorsed(self, email: str, days: int) -> list[Entry]:
        """List an endorser's entries of the last days, of any status, the newest first (2.9)."""
        since = _date(max(0.0, self._clock() - days * 86_400))
        with self._store.reading() as db:
            found = db.execute(
                "SELECT document FROM entries WHERE email = ? AND created >= ? "
                "ORDER BY created DESC, identifier",
                (email, since),
            ).fetchall()
        return [read_entry(xml.parse(row["document"])) for row in found]

    def tags(self, email: str) -> list[str]:
        """List the tags that an endorser has used (2.9)."""
        with self._store.reading() as db:
            query = "SELECT DISTINCT tag FROM entries WHERE email = ? AND tag NOT NULL ORDER BY 1"
            return [row["tag"] for row in db.execute(query, (email,))]

    def endorsements(self, identifier: str) -> list[Endorsement]:
        """List all entries ever stored about an image, of any status, the newest first."""
        with self._store.reading() as db:
            found = db.execute(
                f"SELECT email, created, valid, latest, {STATUS} FROM entries "  # noqa: S608
                "WHERE identifier = :identifier ORDER BY created DESC, email",
                {"identifier": identifier, "now": _date(self._clock())},
            )
            return [
                Endorsement(email, created, valid, bool(latest), status)
                for email, created, valid, latest, status in found
            ]

    def everything(self) -> list[StoredEntry]:
        """List all entries ever stored, of any status."""
        with self._store.reading() as db:
            query = "SELECT identifier, email, created, latest, document FROM entries"
            return [StoredEntry(*row) for row in db.execute(query)]

    def documents(self, selection: Selection) -> list[bytes]:
        """Return the entries that a listing shows, as documents."""
        with self._store.reading() as db:
            db.create_function("searched", 1, selection.searched)
            found = db.execute(selection.sql("document"), self._values(selection)).fetchall()
        return [row["document"] for row in found]

    def rows(self, selection: Selection) -> Rows:
        """Return the rows that a listing shows, and their numbers."""
        with self._store.reading() as db:
            db.create_function("searched", 1, selection.searched)
            values = self._values(selection)
            shown = selection.sql("json_remove(row, '$[11]') AS shown")
            found = db.execute(shown, values).fetchall()
            ((matching,),) = db.execute(selection.sql_matching, values)
            ((total,),) = db.execute(selection.sql_total, values)
        return Rows([row["shown"] for row in found], matching, total)

    def _values(self, selection: Selection) -> dict[str, str | int]:
        return {"now": _date(self._clock()), **selection.values}


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def insert_entries(db: sqlite3.Connection, rows: list[Row]) -> None:
    """Store entries in a transaction; each replaces one with the same coordinates."""
    db.executemany(
        "INSERT OR REPLACE INTO entries "
        "(identifier, email, created, document, valid, deprecated, tag, subject, issuer, row) "
        "VALUES (:identifier, :email, :created, :document, :valid, :deprecated, "
        ":tag, :subject, :issuer, :row)",
        rows,
    )
    db.executemany(
        "UPDATE entries SET latest = (created = (SELECT MAX(created) FROM entries "
        "WHERE identifier = :identifier AND email = :email)) "
        "WHERE identifier = :identifier AND email = :email",
        rows,
    )
