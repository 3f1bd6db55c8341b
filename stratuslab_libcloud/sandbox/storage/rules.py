"""
The storage service's rules about persistent disks (pdisk-rest), with that reference's advice to
new servers (NEW) wherever the original was unsafe. Its routes are in ``routes.py``.

A disk is a sparse file. It is there before its record, and goes after it.
"""

import contextlib
import pathlib
import re
import sqlite3
import string
import threading
import time
import uuid
import weakref
from collections.abc import Iterator

from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.errors import MachineError, UnsettledError
from stratuslab_libcloud.sandbox.machines import HOST, Machines, Phase
from stratuslab_libcloud.sandbox.references import UUID, referenced_disk
from stratuslab_libcloud.sandbox.store import Account, Store
from stratuslab_libcloud.sandbox.template import Template, Vector

__all__ = ["Form", "RequestRefusedError", "Storage", "claim"]

GIB = 1 << 30
MAX_GIB = 1024
STATIC = "static"  # the device of a disk that is there since the machine's start
NOT_PLUGGED = "Disk have not been hot-plugged"
DENIED = "Not enough rights to attach disk"
CHOICES = {
    "visibility": ("PRIVATE", "PUBLIC"),
    "type": (
        "DATA_IMAGE_RAW_READ_WRITE",
        "DATA_IMAGE_RAW_READONLY",
        "DATA_IMAGE_ORIGIN",
        "DATA_IMAGE_LIVE",
        "MACHINE_IMAGE_ORIGIN",
        "MACHINE_IMAGE_LIVE",
    ),
}
SUPER_FIELDS = ("owner", "identifier", "quarantine")

_UNKNOWN = "Unknown disk: {}"
_SELECT = "SELECT *, (SELECT COUNT(*) FROM mounts WHERE disk = uuid) AS count FROM disks"

Form = dict[str, str]


def claim(db: sqlite3.Connection, account: Account, vm_id: int, disks: list[Vector]) -> str:
    """
    Mount the persistent disks of a machine that begins, for its life (3.5).

    :param disks: the ``DISK`` vectors of its template.
    :return: why one of them cannot be transferred to it; empty if nothing is in the way.
    """
    query = "SELECT disk FROM mounts WHERE machine = ?"
    claimed = {disk for (disk,) in db.execute(query, (vm_id,))}  # by an earlier process
    for number, vector in enumerate(disks):
        source = vector.get("SOURCE", "")
        disk = referenced_disk(source)
        if disk is None:
            continue
        if disk in claimed:
            claimed.remove(disk)
            continue
        row = db.execute(f"{_SELECT} WHERE uuid = ?", (disk,)).fetchone()
        kind = "DATA_IMAGE_" if number else "MACHINE_IMAGE_"
        if row is None:
            return f"{source} does not exist"
        if not _may_view(account, row):
            return f"insufficient access rights to view disk ({disk})"
        if row["count"]:
            return f"disk ({disk}) is already mounted"
        if not row["type"].startswith(kind):
            return f"disk ({disk}) has the type {row['type']}, not {kind}..."
        db.execute("INSERT INTO mounts VALUES (?, ?, ?)", (disk, vm_id, STATIC))
    return ""


class RequestRefusedError(Exception):
    """An answer with an error status; the text is for the caller."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Storage:
    """
    The rules about disks.

    :param directory: where the disks' files are.
    :param machinery: what plugs them into machines.
    """

    def __init__(self, store: Store, directory: pathlib.Path, machinery: Machines) -> None:
        self._store = store
        self._directory = directory
        self._machinery = machinery
        # A machine gets one disk at a time: in the guest their names follow that order.
        self._plugging = weakref.WeakValueDictionary[int, threading.Lock]()
        self._lock = threading.Lock()
        directory.mkdir(mode=0o700, exist_ok=True)
        with store.reading() as db:
            known = {disk for (disk,) in db.execute("SELECT uuid FROM disks")}
        for path in directory.iterdir():
            # Made just before a crash, and never acknowledged. What is not ours stays.
            if path.name not in known and re.fullmatch(UUID, path.name):
                path.unlink()

    # Disks.

    def disks(self, account: Account) -> list[dict[str, str]]:
        """The caller's own disks, newest first; all for the super user (2.1.1)."""
        query = f"{_SELECT} WHERE owner = ? OR ? ORDER BY disks.rowid DESC"
        with self._store.reading() as db:
            rows = db.execute(query, (account.name, account.is_super)).fetchall()
        return [
            {**_shown(row), "created": row["created"], "users": str(row["count"])} for row in rows
        ]

    def disk(self, account: Account, disk: str) -> dict[str, str]:
        """One disk (2.2.1)."""
        with self._store.reading() as db:
            return _shown(_find(db, account, disk))

    def create(self, account: Account, form: Form) -> str:
        """
        Make an empty disk (2.1.2).

        :return: its UUID.
        """
        if form.get("url"):
            raise RequestRefusedError(403, "the sandbox does not fill disks from a url")
        size = _size(form.get("size", "0"))
        values = _settable(account, form)
        disk = str(uuid.uuid4())
        with self._new_file(disk, size), self._store.transaction() as db:
            identifier = values.get("identifier")
            same = "SELECT 1 FROM disks WHERE identifier = ?"
            if identifier and db.execute(same, (identifier,)).fetchone():
                raise RequestRefusedError(409, "Disk already registered")
            row = {
                "uuid": disk,
                "owner": account.name,
                "tag": "",
                "size": size,
                "visibility": "PRIVATE",
                "type": "DATA_IMAGE_RAW_READ_WRITE",
                "identifier": "",
                "quarantine": "",
                "created": time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime()),
                **values,
            }
            db.execute(
                "INSERT INTO disks VALUES (:uuid, :owner, :tag, :size, :visibility, :type, "
                ":identifier, :quarantine, :created)",
                row,
            )
        return disk

    def update(self, account: Account, disk: str, form: Form) -> None:
        """Change what is given (2.2.4)."""
        if not form:
            raise RequestRefusedError(400, "post with null entity")
        with self._store.transaction() as db:
            row = _find(db, account, disk)
            if not _may_edit(account, row):
                raise RequestRefusedError(403, f"insufficient rights to update disk ({disk})")
            if form.get("size", str(row["size"])) != str(row["size"]):
                raise RequestRefusedError(400, "The size of a disk cannot be changed")
            values = _settable(account, form)
            if row["count"] and values.get("type", row["type"]) != row["type"]:
                reason = f"disk ({disk}) is in use and its type can't be changed"
                raise RequestRefusedError(409, reason)
            db.execute(
                "UPDATE disks SET tag = :tag, visibility = :visibility, type = :type, "
                "owner = :owner, identifier = :identifier, quarantine = :quarantine "
                "WHERE uuid = :uuid",
                {**dict(row), **values},
            )

    def delete(self, account: Account, disk: str) -> None:
        """Remove a disk that no machine uses (2.2.5)."""
        with self._store.transaction() as db:
            row = _find(db, account, disk)
            if not _may_edit(account, row):
                raise RequestRefusedError(403, f"insufficient rights to delete disk ({disk})")
            if row["count"]:
                raise RequestRefusedError(409, f"disk ({disk}) is in use and can't be deleted")
            db.execute("DELETE FROM disks WHERE uuid = ?", (disk,))
        # Not before the record is gone for good; if this fails the next start removes it.
        with contextlib.suppress(OSError):
            (self._directory / disk).unlink()

    def turl(self, account: Account, disk: str) -> str:
        """Where a hypervisor finds the content; the super user's alone (2.5, NEW)."""
        with self._store.reading() as db:
            _find(db, account, disk, _UNKNOWN)
        if not account.is_super:
            raise RequestRefusedError(
                403, f"insufficient access rights to the location of disk ({disk})"
            )
        return (self._directory / disk).as_uri()

    # Mounts.

    def mounts(self, account: Account, disk: str) -> list[dict[str, str]]:
        """Where a disk is mounted (2.3.1)."""
        with self._store.reading() as db:
            _find(db, account, disk, _UNKNOWN)
            query = "SELECT machine, device FROM mounts WHERE disk = ? ORDER BY device"
            rows = db.execute(query, (disk,)).fetchall()
        return [{"vmId": str(row["machine"]), "device": row["device"]} for row in rows]

    def attach(self, account: Account, disk: str, form: Form) -> dict[str, object]:
        """Plug a disk into a machine that runs, or register that it is there (2.3.2)."""
        if not form:
            raise RequestRefusedError(400, "post with null entity")
        for name in ("node", "vm_id"):
            if not form.get(name):
                raise RequestRefusedError(400, f"missing {name} attribute")
        static = form.get("register_only", "").lower() == "true"
        if static and not account.is_super:
            raise RequestRefusedError(403, DENIED)
        with self._store.reading() as db:
            _find(db, account, disk, _UNKNOWN, DENIED)
            vm_id = _find_machine(db, account, form["vm_id"])["id"]
        with self._plugging_into(vm_id):
            device = self._mount(account, disk, form, static=static)
            if not static:
                self._plug(disk, vm_id, device)
        return {"node": form["node"], "vm_id": form["vm_id"], "target": device, "uuid": [disk]}

    def _plugging_into(self, vm_id: int) -> threading.Lock:
        with self._lock:
            return self._plugging.setdefault(vm_id, threading.Lock())

    def _mount(self, account: Account, disk: str, form: Form, *, static: bool) -> str:
        """Remember a mount before it is made, so that nobody else makes it. :return: the device."""
        with self._store.transaction() as db:
            row = _find(db, account, disk, _UNKNOWN, DENIED)
            machine = _find_machine(db, account, form["vm_id"])
            if form["node"] != HOST and not static:
                raise RequestRefusedError(
                    400, f"machine {form['vm_id']} is not on node {form['node']}"
                )
            phase = Phase((machine["state"], machine["lcm_state"]))
            if phase in (Phase.DONE, Phase.FAILED) or (phase is not Phase.RUNNING and not static):
                raise RequestRefusedError(409, f"VM {form['vm_id']} is not running")
            if row["count"]:
                raise RequestRefusedError(409, f"disk ({disk}) is already mounted")
            device = STATIC if static else _free_device(db, machine)
            db.execute("INSERT INTO mounts VALUES (?, ?, ?)", (disk, machine["id"], device))
        return device

    def _plug(self, disk: str, vm_id: int, device: str) -> None:
        try:
            self._machinery.plug(vm_id, device, self._directory / disk)
        except UnsettledError as error:  # the mount stays, so that no other machine gets the disk
            reason = f"disk ({disk}) may be attached to VM {vm_id} as {device}: {error}"
            raise RequestRefusedError(504, reason) from None
        except MachineError as error:
            self._forget(disk, vm_id)
            raise RequestRefusedError(409, f"disk ({disk}) cannot be attached: {error}") from None

    def _forget(self, disk: str, vm_id: int) -> None:
        with self._store.transaction() as db:
            db.execute("DELETE FROM mounts WHERE disk = ? AND machine = ?", (disk, vm_id))

    def mount(self, account: Account, disk: str, mount: str) -> dict[str, str]:
        """One mount (2.4.1)."""
        with self._store.reading() as db:
            row = _find_mount(db, account, disk, mount)
        return _mount_shown(row)

    def detach(self, account: Account, disk: str, mount: str) -> dict[str, str]:
        """Unplug a disk, or forget that it was there from the start (2.4.2)."""
        with self._store.reading() as db:
            vm_id = _find_mount(db, account, disk, mount)["machine"]
        with self._plugging_into(vm_id):
            with self._store.reading() as db:
                row = _find_mount(db, account, disk, mount)
            if not account.is_super:
                if account.name not in (row["disk_owner"], row["machine_owner"]):
                    raise RequestRefusedError(403, "insufficient rights to detach disk")
                if row["device"] == STATIC:
                    raise RequestRefusedError(409, NOT_PLUGGED)
            if row["device"] != STATIC:
                self._unplug(disk, vm_id, row["device"])
            self._forget(disk, vm_id)
        return _mount_shown(row)

    def _unplug(self, disk: str, vm_id: int, device: str) -> None:
        try:
            self._machinery.unplug(vm_id, device)
        except UnsettledError as error:
            reason = f"disk ({disk}) may still be in use by VM {vm_id}: {error}"
            raise RequestRefusedError(504, reason) from None
        except MachineError as error:
            reason = f"disk ({disk}) is still in use by VM {vm_id}: {error}"
            raise RequestRefusedError(409, reason) from None

    def instances(self, account: Account) -> list[dict[str, str]]:
        """The machines of the caller (all, for the super user) that have disks (2.6, NEW)."""
        query = (
            "SELECT DISTINCT id, owner FROM machines JOIN mounts ON machine = id "
            "WHERE owner = ? OR ? ORDER BY id DESC"
        )
        with self._store.reading() as db:
            rows = db.execute(query, (account.name, account.is_super)).fetchall()
        return [{"vmId": str(row["id"]), "owner": row["owner"]} for row in rows]

    @contextlib.contextmanager
    def _new_file(self, disk: str, size: int) -> Iterator[None]:
        """A disk's file, which stays if the block ends well."""
        path = self._directory / disk
        try:
            try:
                durable.create_sparse(path, size * GIB)
            except OSError as error:
                reason = f"There is no room for {size} GiB: {error.strerror}"
                raise RequestRefusedError(507, reason) from None
            yield
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _may_view(account: Account, disk: sqlite3.Row) -> bool:
    return disk["visibility"] == "PUBLIC" or _may_edit(account, disk)


def _may_edit(account: Account, disk: sqlite3.Row) -> bool:
    return account.is_super or bool(disk["owner"] == account.name)


def _find(
    db: sqlite3.Connection,
    account: Account,
    disk: str,
    unknown: str = "disk ({}) does not exist",
    unseen: str = "insufficient access rights to view disk ({})",
) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(f"{_SELECT} WHERE uuid = ?", (disk,)).fetchone()
    if row is None:
        raise RequestRefusedError(404, unknown.format(disk))
    if not _may_view(account, row):
        raise RequestRefusedError(403, unseen.format(disk))
    return row


def _find_mount(db: sqlite3.Connection, account: Account, disk: str, mount: str) -> sqlite3.Row:
    """A mount, for who may see the disk or has it in a machine of the own."""
    query = (
        "SELECT mounts.*, disks.owner AS disk_owner, machines.owner AS machine_owner FROM mounts "
        "JOIN disks ON disk = uuid JOIN machines ON machine = id "
        "WHERE disk = ? AND disk || '_' || machine = ?"
    )
    row: sqlite3.Row | None = db.execute(query, (disk, mount)).fetchone()
    if row is None or row["machine_owner"] != account.name:
        _find(db, account, disk, "unknown disk: {}", "insufficient rights to detach disk")
    if row is None:
        raise RequestRefusedError(404, NOT_PLUGGED)
    return row


def _find_machine(db: sqlite3.Connection, account: Account, vm_id: str) -> sqlite3.Row:
    if not re.fullmatch("[0-9]{1,9}", vm_id):
        raise RequestRefusedError(400, "vm_id must be a number")
    row: sqlite3.Row | None
    row = db.execute("SELECT * FROM machines WHERE id = ?", (int(vm_id),)).fetchone()
    if row is None:
        raise RequestRefusedError(404, f"Unknown VM: {vm_id}")
    if not account.is_super and row["owner"] != account.name:
        raise RequestRefusedError(403, DENIED)
    return row


def _free_device(db: sqlite3.Connection, machine: sqlite3.Row) -> str:
    """The lowest free ``vdX``: what the next disk is called in a Linux guest."""
    plugged = db.execute("SELECT device FROM mounts WHERE machine = ?", (machine["id"],))
    devices = [f"vd{letter}" for letter in string.ascii_lowercase]
    disks = Template.loads(machine["template"]).vectors("DISK")
    # Whatever their targets are: the guest leaves no letter out.
    booted = [
        disk
        for disk in disks
        if disk.get("TARGET", "").startswith("vd")
        and (disk.get("SOURCE") or disk.get("SIZE") != "0")
    ]
    taken = {*devices[: len(booted)], *(device for (device,) in plugged)}
    device = next((device for device in devices if device not in taken), None)
    if device is None:
        raise RequestRefusedError(409, "no free devices available")
    return device


def _shown(row: sqlite3.Row) -> dict[str, str]:
    names = ["uuid", "tag", "count", "owner", "identifier", "size", "type", "visibility"]
    if row["quarantine"]:
        names.append("quarantine")
    return {name: str(row[name]) for name in names}


def _mount_shown(row: sqlite3.Row) -> dict[str, str]:
    disk, machine = row["disk"], str(row["machine"])
    mount = f"{disk}_{machine}"
    return {"diskId": disk, "mountId": mount, "vmId": machine, "target": row["device"]}


def _size(text: str) -> int:
    if not re.fullmatch("[+-]?[0-9]{1,9}", text):
        raise RequestRefusedError(400, f'Error parsing size: For input string: "{text}"')
    if not 1 <= int(text) <= MAX_GIB:
        raise RequestRefusedError(400, f"Size must be an integer between 1 and {MAX_GIB}")
    return int(text)


def _settable(account: Account, form: Form) -> Form:
    """The columns that a form sets."""
    for name in SUPER_FIELDS:
        if name in form and not account.is_super:
            raise RequestRefusedError(403, f"insufficient rights to set {name}")
    values = {name: form[name] for name in ("tag", *CHOICES, *SUPER_FIELDS) if name in form}
    if "visibility" in values:
        values["visibility"] = values["visibility"].upper()
    for name, choices in CHOICES.items():
        if values.get(name, choices[0]) not in choices:
            raise RequestRefusedError(400, f"Invalid value for form element {name}: {form[name]}")
    return values
