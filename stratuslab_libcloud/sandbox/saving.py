"""
Machines that become images when they are shut down (compute-xmlrpc 4.7).

What was on a machine's first disk becomes a persistent disk, and the Marketplace gets an entry of
it, which a throw-away key signs: its owner should endorse the image for good. Disk and entry are
recorded at the same time as that the machine was saved, so an interrupted save can be repeated.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import sqlite3
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

from stratuslab_libcloud.metadata.entry import Entry, MetadataError, identifier, sha1_of
from stratuslab_libcloud.metadata.rdf import read_entry
from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.compute.documents import phase_of
from stratuslab_libcloud.sandbox.endorsing import endorse, throwaway_key
from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.machines import Phase
from stratuslab_libcloud.sandbox.marketplace import uploads
from stratuslab_libcloud.sandbox.marketplace.registry import Registry, insert_entries
from stratuslab_libcloud.sandbox.marketplace.rows import Row
from stratuslab_libcloud.sandbox.references import named_image
from stratuslab_libcloud.sandbox.storage.forms import MAX_GIB
from stratuslab_libcloud.sandbox.storage.records import ORIGIN, insert_disk
from stratuslab_libcloud.sandbox.store import Account, Store
from stratuslab_libcloud.sandbox.template import Template, Vector
from stratuslab_libcloud.untrusted import xml

__all__ = ["SavedImages", "unsaved"]

_GIB = 1 << 30
_PIECE = 1 << 20
_VALID_SECONDS = 2 * 86_400
_SAVED = "SAVED"  # among the times of a machine


class SavedImages:
    """
    The images on the persistent disks of a site.

    :param directory: the directory of the disks' files.
    :param marketplace: gets the entries, whatever ``NEWIMAGE_MARKETPLACE`` says.
    :param url: the site's, for the location in an entry.
    """

    def __init__(
        self, store: Store, directory: pathlib.Path, marketplace: Registry, url: str
    ) -> None:
        self._store = store
        self._directory = directory
        self._marketplace = marketplace
        self._url = urllib.parse.urlsplit(url)

    def save(
        self,
        machine_id: int,
        write: Callable[[pathlib.Path], object],
        stop: threading.Event,
        look_up: Callable[[str], Entry],
    ) -> None:
        """Save a machine: see :class:`.machines.Images`."""
        with self._store.reading() as db:
            row = db.execute("SELECT * FROM machines WHERE id = ?", (machine_id,)).fetchone()
        if not _is_due(row):
            return
        template = Template.loads(row["template"])
        asked = {key: _bare(text) for key, text in template.vectors("CREATE_IMAGE")[0].items()}
        disk = str(uuid.uuid4())
        with self._new_file(disk) as path:
            write(path)
            size, image_id = _measure(path, stop)
            try:
                origin = self._origin(template, look_up)
                entry = self._describe(origin, asked, image_id, size, disk)
                published: Row | None = _signed(entry)
                problem = ""
            except MachineError as error:
                published, problem = None, str(error)
            columns = {
                "type": ORIGIN,
                "tag": asked.get("NEWIMAGE_TITLE", ""),
                "identifier": image_id,
            }
            self._record(row["id"], disk, -(-size // _GIB), columns, published)
        if problem:
            raise MachineError(f"it is saved on disk {disk}, but not in the Marketplace: {problem}")

    def find(self, machine_id: int, image_id: str) -> pathlib.Path:
        """Find the disk with an image: see :class:`.machines.Images`."""
        query = (
            "SELECT uuid FROM disks JOIN machines ON machines.id = ? WHERE identifier = ? "
            "AND (disks.owner = machines.owner OR visibility = 'PUBLIC') ORDER BY disks.rowid"
        )
        with self._store.reading() as db:
            found = db.execute(query, (machine_id, image_id)).fetchone()
        if found is None:
            raise MachineError(
                f"there is no persistent disk with image {image_id} that the machine's owner may "
                "use"
            )
        return self._directory / str(found["uuid"])

    def _origin(self, template: Template, look_up: Callable[[str], Entry]) -> Entry:
        """Find the entry that the machine started by, which may have ended meanwhile."""
        source = template.vectors("DISK")[0].get("SOURCE", "")
        document = self._marketplace.newest(named_image(source))
        return read_entry(xml.parse(document)) if document else look_up(source)

    def _describe(self, origin: Entry, asked: Vector, image_id: str, size: int, disk: str) -> Entry:
        now = int(time.time())
        return replace(
            origin,
            identifier=image_id,
            size=size,
            checksums={"SHA-1": sha1_of(image_id)},
            endorser=asked.get("CREATOR_EMAIL", ""),
            endorsed=_date(now),
            created=_date(now),
            valid=_date(now + _VALID_SECONDS),
            creator=asked.get("CREATOR_NAME") or None,
            version=asked.get("NEWIMAGE_VERSION") or _next(origin.version or ""),
            title=asked.get("NEWIMAGE_TITLE") or None,
            description=asked.get("NEWIMAGE_COMMENT") or None,
            locations=(f"pdisk:{self._url.hostname}:{self._url.port}:{disk}",),
            format="raw",
            compression=None,
            deprecated=None,
        )

    @contextlib.contextmanager
    def _new_file(self, disk: str) -> Iterator[pathlib.Path]:
        """Create a disk's file, which stays only if the block succeeds."""
        path = self._directory / disk
        try:
            durable.create_sparse(path, 0)
            yield path
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise MachineError(f"it cannot be saved: {error.strerror or error}") from error
            raise

    def _record(
        self, machine_id: int, disk: str, size: int, columns: dict[str, str], entry: Row | None
    ) -> None:
        """Record a disk, its entry, and that the machine was saved: all of it or nothing."""
        with self._store.transaction() as db:
            row = db.execute("SELECT * FROM machines WHERE id = ?", (machine_id,)).fetchone()
            if not _is_due(row):
                raise MachineError("it was killed before it was saved")
            uid = db.execute("SELECT uid FROM accounts WHERE name = ?", (row["owner"],)).fetchone()
            insert_disk(db, Account(uid[0], row["owner"]), disk, size, columns)
            if entry:
                insert_entries(db, [entry])
            times = {**json.loads(row["times"]), _SAVED: int(time.time())}
            db.execute(
                "UPDATE machines SET times = ? WHERE id = ?", (json.dumps(times), machine_id)
            )


def unsaved(store: Store, directory: pathlib.Path) -> bool:
    """
    Whether a real machine has yet to be saved, or to be removed, since an earlier sandbox ended.

    :param directory: holds the machines' directories.
    """
    with store.reading() as db:
        query = "SELECT id FROM machines WHERE state = ? AND lcm_state = ?"
        ended = db.execute(query, Phase.EPILOG.value).fetchall()
    return any((directory / str(row["id"])).exists() for row in ended)


def _is_due(row: sqlite3.Row | None) -> bool:
    """Whether a machine has shut down, and was neither saved nor killed since."""
    return row is not None and phase_of(row) is Phase.EPILOG and _SAVED not in row["times"]


def _measure(path: pathlib.Path, stop: threading.Event) -> tuple[int, str]:
    """
    Fill an image up to whole GiB.

    :return: its size before that, in bytes, and its identifier.
    """
    sha1 = hashlib.sha1(usedforsecurity=False)
    with path.open("r+b") as file:
        while data := file.read(_PIECE):
            sha1.update(data)
            if stop.is_set():
                raise MachineError("saving it was stopped")
        size = file.tell()
        if not 0 < size <= MAX_GIB * _GIB:
            raise MachineError(f"a persistent disk cannot have {size} bytes")
        file.truncate(-(-size // _GIB) * _GIB)
        os.fsync(file.fileno())
    return size, identifier(sha1.hexdigest())


def _signed(entry: Entry) -> Row:
    """
    Sign an entry, and check it as any upload is.

    :raises MachineError: it breaks a rule.
    """
    try:
        return uploads.checked(endorse(entry, throwaway_key(_VALID_SECONDS)))
    except (MetadataError, uploads.RefusedUploadError) as error:
        raise MachineError(str(error)) from None


def _bare(text: str) -> str:
    """Return a value as image-saving scripts read it: unset ones are two quotation marks."""
    return text.strip(" \t\r\n\"'")


def _next(version: str) -> str:
    """Return the version after this one: another minor one."""
    match = re.fullmatch(r"(.*\.)([0-9]{1,9})", version)
    return f"{match[1]}{int(match[2]) + 1}" if match else f"{version or '1'}.1"


def _date(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
