"""
The storage service's rules about persistent disks (pdisk-rest). Where the original was unsafe,
they follow that reference's advice to new servers (NEW).

A disk is a sparse file, created before its record and removed after it.
"""

import contextlib
import os
import pathlib
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from typing import IO

from stratuslab_libcloud.metadata.entry import identifier
from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.machines import Machinery
from stratuslab_libcloud.sandbox.references import UUID
from stratuslab_libcloud.sandbox.storage import contents
from stratuslab_libcloud.sandbox.storage.forms import MAX_GIB, Form, read_columns, read_size
from stratuslab_libcloud.sandbox.storage.mounts import Mounts
from stratuslab_libcloud.sandbox.storage.records import (
    LIVE,
    ORIGIN,
    SELECT_DISK,
    UNKNOWN,
    Refusal,
    RequestRefusedError,
    find_disk,
    find_unused,
    insert_disk,
    may_edit,
    shown_disk,
)
from stratuslab_libcloud.sandbox.store import Account, Store

__all__ = ["Storage"]

_GIB = 1 << 30


class Storage(Mounts):
    """
    The rules about disks, and about their mounts.

    :param directory: the directory of the disks' files.
    :param machinery: plugs them into machines.
    """

    def __init__(self, store: Store, directory: pathlib.Path, machinery: Machinery) -> None:
        super().__init__(store, directory, machinery)
        directory.mkdir(mode=0o700, exist_ok=True)
        with store.reading() as db:
            known = {disk for (disk,) in db.execute("SELECT uuid FROM disks")}
        for path in directory.iterdir():
            # Created just before a crash, and never acknowledged. Foreign files stay.
            if path.name not in known and re.fullmatch(UUID, path.name):
                path.unlink()

    def disks(self, account: Account) -> list[dict[str, str]]:
        """List the caller's disks, newest first; all disks for the super user (2.1.1)."""
        return self._listed("owner = ? OR ?", account.name, account.is_super)

    def others(self, account: Account) -> list[dict[str, str]]:
        """List the public disks of others, newest first (guide 7.2); none for the super user."""
        condition = "owner <> ? AND NOT ? AND visibility = 'PUBLIC'"
        return self._listed(condition, account.name, account.is_super)

    def _listed(self, condition: str, *values: str | bool) -> list[dict[str, str]]:
        query = f"{SELECT_DISK} WHERE {condition} ORDER BY disks.rowid DESC"
        with self._store.reading() as db:
            rows = db.execute(query, values).fetchall()
        return [
            {**(shown := shown_disk(row)), "created": row["created"], "users": shown["count"]}
            for row in rows
        ]

    def disk(self, account: Account, disk: str) -> dict[str, str]:
        """Show a disk (2.2.1)."""
        with self._store.reading() as db:
            return shown_disk(find_disk(db, account, disk))

    def create(self, account: Account, form: Form) -> str:
        """
        Create an empty disk (2.1.2).

        :return: its UUID.
        """
        if form.get("url"):
            raise RequestRefusedError(Refusal.DENIED, "the sandbox does not fill disks from a url")
        size = read_size(form.get("size", "0"))
        values = read_columns(account, form)
        disk = str(uuid.uuid4())
        with self._new_file(disk, size), self._store.transaction() as db:
            same = "SELECT 1 FROM disks WHERE identifier = ?"
            known = values.get("identifier")
            if known and db.execute(same, (known,)).fetchone():
                raise RequestRefusedError(Refusal.CONFLICT, "Disk already registered")
            insert_disk(db, account, disk, size, values)
        return disk

    def copy(self, account: Account, disk: str) -> dict[str, str]:
        """
        Copy an image on write, or make an image of a machine's disk (2.2.3).

        Either is a whole copy: nothing that happens to one of the two disks shows in the other.

        :return: the new disk, which is the caller's (NEW).
        """
        with self._store.reading() as db:
            row = find_unused(db, account, disk, "copied")
        if row["type"] not in (ORIGIN, LIVE):
            reason = f"Invalid disk state: {row['type']}. Cannot create copy or save as new image."
            raise RequestRefusedError(Refusal.CONFLICT, reason)
        values = {"type": ORIGIN}
        if row["type"] == ORIGIN:
            values = {"type": LIVE, "identifier": f"snapshot:{disk}"}
        new = str(uuid.uuid4())
        with self._new_file(new, row["size"]) as path:
            with self._unchanged(account, disk, "copied") as source, _filling(path) as file:
                contents.copy(source, file)
            with self._store.transaction() as db:
                insert_disk(db, account, new, row["size"], values)
        return self.disk(account, new)

    def upload(self, account: Account, pieces: Iterable[bytes | None]) -> str:
        """
        Make a disk of an image in gzip (2.1.3).

        :param pieces: of the image, after a None; another None begins an image that replaces it.
        :return: its UUID.
        """
        disk = str(uuid.uuid4())
        with self._new_file(disk, 0) as path:
            with _filling(path) as file:
                image, sha1 = contents.unpack(pieces, file, MAX_GIB * _GIB)
                size = max(1, -(-image // _GIB))
                file.truncate(size * _GIB)
            values = {"type": "DATA_IMAGE_RAW_READONLY", "identifier": identifier(sha1)}
            with self._store.transaction() as db:
                # Only the caller's own: nobody learns what is on the disks of others.
                same = "SELECT 1 FROM disks WHERE identifier = ? AND owner = ?"
                if db.execute(same, (values["identifier"], account.name)).fetchone():
                    raise RequestRefusedError(Refusal.CONFLICT, "Disk already registered")
                insert_disk(db, account, disk, size, values)
        return disk

    def download(self, account: Account, disk: str) -> tuple[IO[bytes], int]:
        """
        Compress a disk (2.2.2).

        :return: an open file with its content in gzip, and when that last changed, in nanoseconds.
        """
        file = self.temporary_file()
        try:
            with self._unchanged(account, disk, "downloaded") as source:
                contents.compress(source, file)
                changed = source.stat().st_mtime_ns
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file, changed

    def temporary_file(self) -> IO[bytes]:
        """Open a file without a name, of which nothing is left once it is closed."""
        return tempfile.TemporaryFile(dir=self._directory)

    def update(self, account: Account, disk: str, form: Form) -> None:
        """Change the values that the form gives (2.2.4)."""
        if not form:
            raise RequestRefusedError(Refusal.MALFORMED, "post with null entity")
        with self._store.transaction() as db:
            row = find_disk(db, account, disk)
            if not may_edit(account, row):
                raise RequestRefusedError(
                    Refusal.DENIED, f"insufficient rights to update disk ({disk})"
                )
            if form.get("size", str(row["size"])) != str(row["size"]):
                raise RequestRefusedError(Refusal.MALFORMED, "The size of a disk cannot be changed")
            values = read_columns(account, form)
            if row["count"] and values.get("type", row["type"]) != row["type"]:
                reason = f"disk ({disk}) is in use and its type can't be changed"
                raise RequestRefusedError(Refusal.CONFLICT, reason)
            db.execute(
                "UPDATE disks SET tag = :tag, visibility = :visibility, type = :type, "
                "owner = :owner, identifier = :identifier, quarantine = :quarantine "
                "WHERE uuid = :uuid",
                {**dict(row), **values},
            )

    def delete(self, account: Account, disk: str) -> None:
        """Delete a disk that no machine uses (2.2.5)."""
        with self._store.transaction() as db:
            row = find_disk(db, account, disk)
            if not may_edit(account, row):
                raise RequestRefusedError(Refusal.DENIED, "Not enough rights to delete disk")
            if row["count"]:
                raise RequestRefusedError(
                    Refusal.CONFLICT, f"disk ({disk}) is in use and can't be deleted"
                )
            same = "SELECT 1 FROM disks WHERE identifier = ?"
            if db.execute(same, (f"snapshot:{disk}",)).fetchone():
                reason = f"disk ({disk}) has copies and can't be deleted before them"
                raise RequestRefusedError(Refusal.CONFLICT, reason)
            db.execute("DELETE FROM disks WHERE uuid = ?", (disk,))
        # Only after its record is gone for good. If this fails, the next start removes the file.
        with contextlib.suppress(OSError):
            (self._directory / disk).unlink()

    def turl(self, account: Account, disk: str) -> str:
        """Return the URL of the disk's content, for the super user only (2.5, NEW)."""
        with self._store.reading() as db:
            find_disk(db, account, disk, UNKNOWN)
        if not account.is_super:
            raise RequestRefusedError(
                Refusal.DENIED, f"insufficient access rights to the location of disk ({disk})"
            )
        return (self._directory / disk).as_uri()

    @contextlib.contextmanager
    def _new_file(self, disk: str, size: int) -> Iterator[pathlib.Path]:
        """Create a disk's file, which stays only if the block succeeds."""
        path = self._directory / disk
        try:
            try:
                durable.create_sparse(path, size * _GIB)
            except OSError as error:
                reason = f"There is no room for {size} GiB: {error.strerror}"
                raise RequestRefusedError(Refusal.NO_ROOM, reason) from None
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def _unchanged(self, account: Account, disk: str, what: str) -> Iterator[pathlib.Path]:
        """
        Give the file of a disk that no machine uses; the block must read it as it is.

        :param what: what the block does, for the refusal if a machine wrote to it meanwhile.
        """
        path = self._directory / disk
        with self._store.reading() as db:
            find_unused(db, account, disk, what)
        try:
            before = path.stat().st_mtime_ns
            yield path
            changed = path.stat().st_mtime_ns != before
        except FileNotFoundError:
            raise RequestRefusedError(Refusal.UNKNOWN, f"disk ({disk}) does not exist") from None
        with self._store.reading() as db:
            find_unused(db, account, disk, what)
        if changed:
            raise RequestRefusedError(Refusal.CONFLICT, f"disk ({disk}) changed as it was {what}")


@contextlib.contextmanager
def _filling(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """Open a new disk's file to be filled: once the block has ended, all of it is on the disk."""
    try:
        with path.open("r+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = f"There is no room for its content: {error.strerror}"
        raise RequestRefusedError(Refusal.NO_ROOM, reason) from None
