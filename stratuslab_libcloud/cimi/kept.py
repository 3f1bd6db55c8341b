"""What no cloud keeps for its users: their templates, configurations and public keys."""

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from stratuslab_libcloud import errors
from stratuslab_libcloud.cimi.caller import Caller, Members, Resource
from stratuslab_libcloud.cimi.documents import Document

__all__ = ["Kept"]

_MOST = 100  # of a type, for each user


class Kept:
    """
    An SQLite file, which only its owner may read.

    :raises OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._run("CREATE TABLE IF NOT EXISTS kept (user, type, key PRIMARY KEY, document)")

    def resource(
        self, kind: str, made: Callable[[Document], dict[str, Any]] = Document
    ) -> Resource:
        """
        Make the resource of a type.

        :param made: makes a member of what was sent to add it.
        """

        def members(caller: Caller) -> Members:
            select = "SELECT key, document FROM kept WHERE user=? AND type=?"
            for key, text in self._run(select, caller.user, kind):
                yield {"id": key, **json.loads(text), "operations": ["edit", "delete"]}

        def put(caller: Caller, key: str, document: dict[str, Any]) -> str:
            values = caller.user, kind, key, json.dumps(document)
            self._run("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", *values)
            return key

        def add(caller: Caller, body: Document) -> str:
            if len(list(members(caller))) >= _MOST:
                raise errors.ConflictError(f"{_MOST} are kept already: delete one first")
            return put(caller, secrets.token_hex(8), {**made(body), "created": _now()})

        def edit(caller: Caller, key: str, name: str) -> None:
            (found,) = (one for one in members(caller) if one["id"] == key)
            put(caller, key, {**found, "name": name, "updated": _now()})

        def delete(caller: Caller, key: str) -> None:
            self._run("DELETE FROM kept WHERE user=? AND key=?", caller.user, key)

        return Resource(kind, members, add, edit, delete)

    def _run(self, statement: str, *values: str) -> list[tuple[str, str]]:
        with contextlib.closing(sqlite3.connect(self._path, timeout=30)) as db, db:
            return db.execute(statement, values).fetchall()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
