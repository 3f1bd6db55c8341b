"""The records of disks and mounts: access rights, and what answers show (pdisk-rest)."""

import enum
import re
import sqlite3
import string
import time
from collections.abc import Mapping

from stratuslab_libcloud.sandbox.references import referenced_disk
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Template, Vector

__all__ = [
    "DENIED",
    "LIVE",
    "NOT_PLUGGED",
    "ORIGIN",
    "SELECT_DISK",
    "STATIC",
    "UNKNOWN",
    "Refusal",
    "RequestRefusedError",
    "claim",
    "find_disk",
    "find_machine",
    "find_mount",
    "find_unused",
    "free_device",
    "insert_disk",
    "may_edit",
    "shown_disk",
    "shown_mount",
]

ORIGIN, LIVE = "MACHINE_IMAGE_ORIGIN", "MACHINE_IMAGE_LIVE"
STATIC = "static"  # the device of a disk that the machine started with
NOT_PLUGGED = "Disk have not been hot-plugged"
DENIED = "Not enough rights to attach disk"
UNKNOWN = "Unknown disk: {}"
# copies is for shown_disk; mostly it is 0 without a look at all disks.
SELECT_DISK = (
    "SELECT *, (SELECT COUNT(*) FROM mounts WHERE disk = uuid) AS count, "
    "CASE type WHEN 'MACHINE_IMAGE_ORIGIN' THEN (SELECT COUNT(*) FROM disks AS copy "
    "WHERE copy.identifier = 'snapshot:' || disks.uuid) ELSE 0 END AS copies FROM disks"
)


class Refusal(enum.Enum):
    """Why a request is refused."""

    MALFORMED = enum.auto()
    DENIED = enum.auto()
    UNKNOWN = enum.auto()
    CONFLICT = enum.auto()  #: with what uses the disk or the machine
    UNSETTLED = enum.auto()  #: it may have happened all the same
    NO_ROOM = enum.auto()


class RequestRefusedError(Exception):
    """The request is refused; the text is for the caller."""

    def __init__(self, kind: Refusal, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def claim(db: sqlite3.Connection, account: Account, vm_id: int, disks: list[Vector]) -> str:
    """
    Mount the persistent disks of a new machine for its lifetime (3.5).

    :param disks: the ``DISK`` vectors of its template.
    :return: why one of them cannot be transferred; empty if all can.
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
        row = db.execute(f"{SELECT_DISK} WHERE uuid = ?", (disk,)).fetchone()
        kind = "DATA_IMAGE_" if number else "MACHINE_IMAGE_"
        if row is None:
            return f"{source} does not exist"
        if not may_view(account, row):
            return f"insufficient access rights to view disk ({disk})"
        if row["count"]:
            return f"disk ({disk}) is already mounted"
        if not row["type"].startswith(kind):
            return f"disk ({disk}) has the type {row['type']}, not {kind}..."
        db.execute("INSERT INTO mounts VALUES (?, ?, ?)", (disk, vm_id, STATIC))
    return ""


def may_view(account: Account, disk: sqlite3.Row) -> bool:
    return disk["visibility"] == "PUBLIC" or may_edit(account, disk)


def may_edit(account: Account, disk: sqlite3.Row) -> bool:
    return account.is_super or bool(disk["owner"] == account.name)


def find_disk(
    db: sqlite3.Connection,
    account: Account,
    disk: str,
    unknown: str = "disk ({}) does not exist",
    unseen: str = "insufficient access rights to view disk ({})",
) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(f"{SELECT_DISK} WHERE uuid = ?", (disk,)).fetchone()
    if row is None:
        raise RequestRefusedError(Refusal.UNKNOWN, unknown.format(disk))
    if not may_view(account, row):
        raise RequestRefusedError(Refusal.DENIED, unseen.format(disk))
    return row


def find_unused(db: sqlite3.Connection, account: Account, disk: str, what: str) -> sqlite3.Row:
    """Find a disk that no machine uses, for something that needs its content at rest."""
    row = find_disk(db, account, disk)
    if row["count"]:
        raise RequestRefusedError(Refusal.CONFLICT, f"disk ({disk}) is in use and can't be {what}")
    return row


def find_mount(db: sqlite3.Connection, account: Account, disk: str, mount: str) -> sqlite3.Row:
    """Find a mount, if the caller may see the disk or owns the machine that has it."""
    query = (
        "SELECT mounts.*, disks.owner AS disk_owner, machines.owner AS machine_owner FROM mounts "
        "JOIN disks ON disk = uuid JOIN machines ON machine = id "
        "WHERE disk = ? AND disk || '_' || machine = ?"
    )
    row: sqlite3.Row | None = db.execute(query, (disk, mount)).fetchone()
    if row is None or row["machine_owner"] != account.name:
        find_disk(db, account, disk, "unknown disk: {}", "insufficient rights to detach disk")
    if row is None:
        raise RequestRefusedError(Refusal.UNKNOWN, NOT_PLUGGED)
    return row


def find_machine(db: sqlite3.Connection, account: Account, vm_id: str) -> sqlite3.Row:
    if not re.fullmatch("[0-9]{1,9}", vm_id):
        raise RequestRefusedError(Refusal.MALFORMED, "vm_id must be a number")
    row: sqlite3.Row | None
    row = db.execute("SELECT * FROM machines WHERE id = ?", (int(vm_id),)).fetchone()
    if row is None:
        raise RequestRefusedError(Refusal.UNKNOWN, f"Unknown VM: {vm_id}")
    if not account.is_super and row["owner"] != account.name:
        raise RequestRefusedError(Refusal.DENIED, DENIED)
    return row


def free_device(db: sqlite3.Connection, machine: sqlite3.Row) -> str:
    """Return the lowest free ``vdX``: the name of the next disk in a Linux guest."""
    plugged = db.execute("SELECT device FROM mounts WHERE machine = ?", (machine["id"],))
    devices = [f"vd{letter}" for letter in string.ascii_lowercase]
    disks = Template.loads(machine["template"]).vectors("DISK")
    # Their targets do not matter: the guest assigns letters without gaps.
    booted = [
        disk
        for disk in disks
        if disk.get("TARGET", "").startswith("vd")
        and (disk.get("SOURCE") or disk.get("SIZE") != "0")
    ]
    taken = {*devices[: len(booted)], *(device for (device,) in plugged)}
    device = next((device for device in devices if device not in taken), None)
    if device is None:
        raise RequestRefusedError(Refusal.CONFLICT, "no free devices available")
    return device


def shown_disk(row: sqlite3.Row) -> dict[str, str]:
    """Show a disk; the count of an origin is that of its copies (3.1)."""
    names = ["uuid", "tag", "count", "owner", "identifier", "size", "type", "visibility"]
    if row["quarantine"]:
        names.append("quarantine")
    shown = {name: str(row[name]) for name in names}
    return {**shown, "count": str(row["copies"])} if row["type"] == ORIGIN else shown


def shown_mount(row: sqlite3.Row) -> dict[str, str]:
    disk, machine = row["disk"], str(row["machine"])
    mount = f"{disk}_{machine}"
    return {"diskId": disk, "mountId": mount, "vmId": machine, "target": row["device"]}


def insert_disk(
    db: sqlite3.Connection, account: Account, disk: str, size: int, values: Mapping[str, str]
) -> None:
    """Record a new disk of this account."""
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
