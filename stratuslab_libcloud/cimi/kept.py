"""What a cloud cannot keep for its users: their templates, configurations and public keys."""

import contextlib
import json
import os
import secrets
import sqlite3
from pathlib import Path

from stratuslab_libcloud.cimi.documents import Document

__all__ = ["Kept"]


class Kept:
    """
    Documents by owner and type, in an SQLite file that only its user may read.

    :raises OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        columns = "owner, type, id, document, PRIMARY KEY (owner, type, id)"
        self._run(f"CREATE TABLE IF NOT EXISTS kept ({columns})")

    def all(self, owner: str, kind: str) -> dict[str, Document]:
        """Return an owner's documents of a type, by id."""
        rows = self._run("SELECT id, document FROM kept WHERE owner=? AND type=?", owner, kind)
        return {key: json.loads(text) for key, text in rows}

    def put(self, owner: str, kind: str, document: Document, key: str = "") -> str:
        """Keep a document, in the place of the one with this id if it is given; return its id."""
        key = key or secrets.token_hex(8)
        text = json.dumps(document)
        self._run("INSERT OR REPLACE INTO kept VALUES (?,?,?,?)", owner, kind, key, text)
        return key

    def remove(self, owner: str, kind: str, key: str) -> None:
        """Forget a document."""
        self._run("DELETE FROM kept WHERE owner=? AND type=? AND id=?", owner, kind, key)

    def _run(self, statement: str, *values: str) -> list[tuple[str, str]]:
        with contextlib.closing(sqlite3.connect(self._path, timeout=30)) as db, db:
            return db.execute(statement, values).fetchall()
