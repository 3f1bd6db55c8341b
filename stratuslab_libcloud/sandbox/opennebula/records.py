"""
What a modern engine keeps: images, machines, templates, networks and users, in the sandbox's store.

Each is a row of one table, with its fields as JSON.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import ClassVar, TypeVar

from stratuslab_libcloud.sandbox.store import Account, Settings
from stratuslab_libcloud.sandbox.template import Template, Vector

__all__ = ["SCHEMA", "Book", "Image", "Item", "Machine", "Network", "User", "VmTemplate", "owned"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS opennebula (
    kind TEXT NOT NULL, id INTEGER NOT NULL, owner INTEGER NOT NULL, name TEXT NOT NULL,
    fields TEXT NOT NULL, PRIMARY KEY (kind, id));
CREATE INDEX IF NOT EXISTS opennebula_names ON opennebula (kind, owner, name);
"""
USERS_GID = 1


@dataclass
class Item:
    """What all of them have. ``permissions`` are nine digits: owner, group, other; u, m, a."""

    KIND: ClassVar[str]
    WHAT: ClassVar[str]
    RIGHT: ClassVar[str]

    id: int = -1
    uid: int = 0
    uname: str = "oneadmin"
    gid: int = 0
    gname: str = "oneadmin"
    name: str = ""
    permissions: str = "110000000"
    locked: int = 0
    born: int = field(default_factory=lambda: int(time.time()))


@dataclass
class Image(Item):
    """An image: ``source`` is the name of its file, or the URL of a Marketplace entry."""

    KIND, WHAT, RIGHT = "image", "image", "IMAGE"

    type: int = 0
    persistent: bool = False
    size: int = 0  #: MiB
    state: int = 4
    prev_state: int = 4
    format: str = "raw"
    source: str = ""
    datastore: int = 1
    cloning_id: int = -1
    cloning: int = 0  #: copies that are being made of it
    grown: int = 0  #: MiB; becomes its size when its machine ends
    changed: int = 0
    template: dict[str, str] = field(default_factory=dict)
    vms: list[int] = field(default_factory=list)
    snapshots: list[dict[str, str]] = field(default_factory=list)
    next_snapshot: int = 0


@dataclass
class Machine(Item):
    """
    A machine.

    :ivar task: what it is doing, in the words of ``states``.
    :ivar phase: the last one that the machinery has reported.
    """

    KIND, WHAT, RIGHT = "machine", "virtual machine", "VM"

    state: int = 1
    lcm: int = 0
    prev_state: int = 1
    prev_lcm: int = 0
    ended: int = 0
    task: str = "deploy"
    phase: str = "PENDING"
    template: Template = field(default_factory=lambda: Template([]))
    user_template: Template = field(default_factory=lambda: Template([]))
    history: list[dict[str, int]] = field(default_factory=list)
    disk_snapshots: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    next_disk_snapshots: dict[str, int] = field(default_factory=dict)
    next_snapshot: int = 0
    booted: list[str] = field(default_factory=list)  #: the DISK_IDs that it started with

    @property
    def now(self) -> tuple[int, int]:
        """STATE and LCM_STATE."""
        return self.state, self.lcm

    def move(self, now: tuple[int, int]) -> None:
        """Enter a state."""
        if now != self.now:
            self.prev_state, self.prev_lcm = self.now
            self.state, self.lcm = now

    def complain(self, text: str) -> None:
        """Record why something went wrong (modern 1)."""
        self.user_template.set("ERROR", f"{time.ctime()}: {text}")

    @property
    def disks(self) -> list[Vector]:
        """Its DISKs."""
        return self.template.vectors("DISK")

    @property
    def nics(self) -> list[Vector]:
        """Its NICs, and the further addresses of some."""
        return self.template.vectors("NIC") + self.template.vectors("NIC_ALIAS")

    def disk(self, disk_id: int) -> Vector | None:
        """Return the DISK with this id."""
        return next((one for one in self.disks if one["DISK_ID"] == str(disk_id)), None)


@dataclass
class VmTemplate(Item):
    """A template that machines are made of."""

    KIND, WHAT, RIGHT = "template", "virtual machine template", "TEMPLATE"

    template: Template = field(default_factory=lambda: Template([]))


@dataclass
class Network(Item):
    """
    A network: a range of addresses; ``leases`` is address to machine.

    Those of IPv4 are reserved whether it shows them or not, and the others follow from them.
    """

    KIND, WHAT, RIGHT = "network", "virtual network", "NET"

    type: str = "IP4"
    first: str = ""
    size: int = 0
    last: str = ""
    leases: dict[str, int] = field(default_factory=dict)


@dataclass
class User(Item):
    """What a user says about himself; his limits (by name, and id where it has one); tokens."""

    KIND, WHAT, RIGHT = "user", "user", "USER"

    template: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)


T = TypeVar("T", bound=Item)


class Book:
    """
    The records within one transaction.

    :ivar then: what is done after it has been committed.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.then: list[Callable[[], object]] = []

    def find(self, kind: type[T], number: int) -> T | None:
        """Return the one with this id."""
        query = "SELECT fields FROM opennebula WHERE kind = ? AND id = ?"
        row = self.db.execute(query, (kind.KIND, number)).fetchone()
        return _read(kind, row["fields"]) if row else None

    def all(self, kind: type[T]) -> list[T]:
        """Return all of a kind, newest first."""
        query = "SELECT fields FROM opennebula WHERE kind = ? ORDER BY id DESC"
        return [_read(kind, row["fields"]) for row in self.db.execute(query, (kind.KIND,))]

    def of(self, kind: type[T], uid: int) -> list[T]:
        """Return a user's own of a kind, newest first."""
        query = "SELECT fields FROM opennebula WHERE kind = ? AND owner = ? ORDER BY id DESC"
        return [_read(kind, row["fields"]) for row in self.db.execute(query, (kind.KIND, uid))]

    def named(self, kind: type[T], uid: int, name: str) -> T | None:
        """Return the one of a user that has this name."""
        query = "SELECT fields FROM opennebula WHERE kind = ? AND owner = ? AND name = ?"
        row = self.db.execute(query, (kind.KIND, uid, name)).fetchone()
        return _read(kind, row["fields"]) if row else None

    def number(self, item: Item) -> int:
        """Give a new one its id, which no other ever had."""
        settings = Settings(self.db)
        key = f"opennebula {item.KIND}"
        item.id = int(settings.get(key) or 0)
        settings.set(key, str(item.id + 1))
        return item.id

    def add(self, item: Item) -> int:
        """Insert a new one under the next id."""
        self.number(item)
        self.put(item)
        return item.id

    def put(self, item: Item) -> None:
        """Write one."""
        row = (item.KIND, item.id, item.uid, item.name, _write(item))
        self.db.execute("INSERT OR REPLACE INTO opennebula VALUES (?, ?, ?, ?, ?)", row)

    def drop(self, item: Item) -> None:
        """Delete one."""
        self.db.execute("DELETE FROM opennebula WHERE kind = ? AND id = ?", (item.KIND, item.id))


def owned(account: Account) -> dict[str, int | str]:
    """Return the fields that say whose something new is."""
    name = account.name
    return {"uid": account.uid, "uname": name, "gid": USERS_GID, "gname": "users"}


def _write(item: Item) -> str:
    values = {one.name: getattr(item, one.name) for one in fields(item)}
    return json.dumps(values, default=lambda template: template.attributes, ensure_ascii=False)


def _read(kind: type[T], text: str) -> T:
    item = kind(**json.loads(text))
    for name in ("template", "user_template"):
        value = getattr(item, name, None)
        if isinstance(value, list):
            setattr(item, name, Template([(key, entry) for key, entry in value]))
    return item
