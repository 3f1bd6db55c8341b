"""
Everything a sandbox remembers: one SQLite file, durable when a transaction has ended.

Accounts, machines, addresses, disks, mounts and Marketplace entries; the rules about them are in
the services.
"""

import contextlib
import pathlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from stratuslab_libcloud.sandbox.errors import SandboxError

__all__ = ["SUPER_USER", "Account", "Settings", "Store"]

_SCHEMA_VERSION = 1
_BUSY_SECONDS = 30.0
SUPER_USER = "pdisk"

_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE accounts (  -- without a hash: logs in with a certificate, or no longer
    uid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, salt BLOB, hash BLOB);

CREATE TABLE machines (  -- never deleted, so that an id is never given twice
    id INTEGER PRIMARY KEY, owner TEXT NOT NULL REFERENCES accounts (name), name TEXT NOT NULL,
    template TEXT NOT NULL, state INTEGER NOT NULL, lcm_state INTEGER NOT NULL,
    times TEXT NOT NULL);
CREATE INDEX machines_of ON machines (owner, state);

CREATE TABLE addresses (
    address TEXT PRIMARY KEY, network TEXT NOT NULL,
    machine INTEGER NOT NULL REFERENCES machines (id));

CREATE TABLE disks (
    uuid TEXT PRIMARY KEY, owner TEXT NOT NULL, tag TEXT NOT NULL, size INTEGER NOT NULL,
    visibility TEXT NOT NULL, type TEXT NOT NULL, identifier TEXT NOT NULL,
    quarantine TEXT NOT NULL, created TEXT NOT NULL);

CREATE TABLE mounts (
    disk TEXT NOT NULL REFERENCES disks (uuid), machine INTEGER NOT NULL REFERENCES machines (id),
    device TEXT NOT NULL, PRIMARY KEY (disk, machine));

CREATE TABLE entries (
    identifier TEXT NOT NULL, email TEXT NOT NULL, created TEXT NOT NULL, document BLOB NOT NULL,
    valid TEXT, deprecated INTEGER NOT NULL DEFAULT 0, latest INTEGER NOT NULL DEFAULT 0,
    row TEXT,
    PRIMARY KEY (identifier, email, created));
CREATE INDEX entries_latest ON entries (created, identifier, email) WHERE latest;
"""


@dataclass(frozen=True)
class Account:
    """Who asks: a user name, or the subject of a certificate."""

    uid: int
    name: str

    @property
    def is_super(self) -> bool:
        """The storage service's own account, which may do everything there (pdisk-rest 1.4)."""
        return self.name == SUPER_USER


class Settings:
    """
    What a site remembers about itself: names and texts.

    :param db: of a transaction of the store's; it is read, and changed, within that.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, name: str) -> str | None:
        """The text of that name; None if there is none."""
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["value"])

    def set(self, name: str, value: str) -> None:
        """Remember a text, in place of the one before."""
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))


class Store:
    """
    The SQLite file at ``path``, made when it is missing. May be shared between threads.

    :param durable: what was written is there whatever happens to the machine.
    :raises SandboxError: it was written by another version, or is no SQLite file.
    """

    def __init__(self, path: pathlib.Path, *, durable: bool = True) -> None:
        self._path = path
        self._synchronous = "FULL" if durable else "OFF"
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # fairer, and quicker, than SQLite's own waiting
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        try:
            path.touch(mode=0o600)  # SQLite would make it readable for others
            with self.transaction() as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                elif version != _SCHEMA_VERSION:
                    raise SandboxError(
                        f"{path} was written by another version (schema {version}, this version "
                        f"knows {_SCHEMA_VERSION}): take another directory or remove it"
                    )
        except (OSError, sqlite3.DatabaseError) as error:
            self.close()
            raise SandboxError(f"{path} cannot be used: {error}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; those in use when they are given back."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """
        Write: alone, and on disk once left without an exception. Rolled back otherwise.

        :raises sqlite3.Error: nothing was written.
        """
        with self._writing, self._within("BEGIN IMMEDIATE") as db:
            yield db

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read: all of it sees the same moment, and no writer waits for it."""
        with self._within("BEGIN") as db:
            yield db

    @contextlib.contextmanager
    def _within(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute(begin)
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError("the store is closed")
            db = self._idle.pop() if self._idle else None
        db = db or self._connect()
        try:
            yield db
        finally:
            with self._lock:
                if self._closed:
                    db.close()
                else:
                    self._idle.append(db)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            db.close()
            raise
        return db
