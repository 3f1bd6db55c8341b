"""
The state of a sandbox: one SQLite file, durable at the end of each transaction.

It holds accounts, machines, addresses, disks, mounts and Marketplace entries; the services have the
rules about them.
"""

import contextlib
import pathlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from stratuslab_libcloud.sandbox.errors import SandboxError

__all__ = ["SUPER_USER", "Account", "Settings", "Store"]

_SCHEMA_VERSION = 2
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
    tag TEXT, subject TEXT, issuer TEXT, row TEXT,
    PRIMARY KEY (identifier, email, created));
CREATE INDEX entries_latest ON entries (created, identifier, email) WHERE latest;

CREATE TABLE unconfirmed (  -- uploads whose endorsers have been mailed
    uuid TEXT PRIMARY KEY, document BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Account:
    """An account, named by a user name or by the subject of a certificate."""

    uid: int
    name: str

    @property
    def is_super(self) -> bool:
        """The storage service's own account, which may do everything there (pdisk-rest 1.4)."""
        return self.name == SUPER_USER


class Settings:
    """
    The settings of a site: texts by name.

    :param db: the connection of a transaction, within which they are read and changed.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, name: str) -> str | None:
        """Return the text with this name, or None."""
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["value"])

    def set(self, name: str, value: str) -> None:
        """Store a text, replacing the previous one."""
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))


class Store:
    """
    The SQLite file at ``path``, created if it is missing. Threads may share a store.

    :param durable: whether written data must survive a power cut.
    :raises SandboxError: it was written by another version, or is not a SQLite file.
    """

    def __init__(self, path: pathlib.Path, *, durable: bool = True) -> None:
        self._path = path
        self._synchronous = "FULL" if durable else "OFF"
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # fairer and quicker than waiting in SQLite
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        try:
            path.touch(mode=0o600)  # SQLite would let others read it
            with self.transaction() as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                elif version != _SCHEMA_VERSION:
                    raise SandboxError(
                        f"{path} was written by another version (schema {version}, this version "
                        f"knows {_SCHEMA_VERSION}): use another directory or remove the file"
                    )
        except (OSError, sqlite3.DatabaseError) as error:
            self.close()
            raise SandboxError(f"{path} cannot be used: {error}") from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections; those in use are closed when they are returned."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """
        Write, without other writers. The block's end commits, an exception rolls back.

        :raises sqlite3.Error: nothing was written.
        """
        with self._writing, self._within("BEGIN IMMEDIATE") as db:
            yield db

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read one consistent snapshot, without delaying writers."""
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
