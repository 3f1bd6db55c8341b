"""The storage service's rules about mounts: disks in machines (pdisk-rest 2.3, 2.4, 2.6)."""

import pathlib
import sqlite3
import threading
import weakref

from stratuslab_libcloud.sandbox.errors import MachineError, UnsettledError
from stratuslab_libcloud.sandbox.machines import HOST, Machinery, Phase
from stratuslab_libcloud.sandbox.storage.forms import Form
from stratuslab_libcloud.sandbox.storage.records import (
    DENIED,
    NOT_PLUGGED,
    STATIC,
    UNKNOWN,
    Refusal,
    RequestRefusedError,
    find_disk,
    find_machine,
    find_mount,
    free_device,
    shown_mount,
)
from stratuslab_libcloud.sandbox.store import Account, Store

__all__ = ["Mounts"]


class Mounts:
    """
    The rules about mounts.

    :param directory: the directory of the disks' files.
    :param machinery: plugs them into machines.
    """

    def __init__(self, store: Store, directory: pathlib.Path, machinery: Machinery) -> None:
        self._store = store
        self._directory = directory
        self._machinery = machinery
        # One disk at a time for each machine: the guest names them in the order of their arrival.
        self._plugging = weakref.WeakValueDictionary[int, threading.Lock]()
        self._lock = threading.Lock()

    def mounts(self, account: Account, disk: str) -> list[dict[str, str]]:
        """List the mounts of a disk (2.3.1)."""
        with self._store.reading() as db:
            find_disk(db, account, disk, UNKNOWN)
            query = "SELECT machine, device FROM mounts WHERE disk = ? ORDER BY device"
            rows = db.execute(query, (disk,)).fetchall()
        return list(map(_listed, rows))

    def all_mounts(self, account: Account) -> dict[str, list[dict[str, str]]]:
        """Group the mounts of the caller's disks (all, for the super user) by disk."""
        query = (
            "SELECT disk, machine, device FROM mounts JOIN disks ON disk = uuid "
            "WHERE owner = ? OR ? ORDER BY device"
        )
        with self._store.reading() as db:
            rows = db.execute(query, (account.name, account.is_super)).fetchall()
        found: dict[str, list[dict[str, str]]] = {}
        for row in rows:
            found.setdefault(row["disk"], []).append(_listed(row))
        return found

    def attach(self, account: Account, disk: str, form: Form) -> dict[str, object]:
        """Plug a disk into a running machine, or only record that it is mounted (2.3.2)."""
        if not form:
            raise RequestRefusedError(Refusal.MALFORMED, "post with null entity")
        for name in ("node", "vm_id"):
            if not form.get(name):
                raise RequestRefusedError(Refusal.MALFORMED, f"missing {name} attribute")
        static = form.get("register_only", "").lower() == "true"
        if static and not account.is_super:
            raise RequestRefusedError(Refusal.DENIED, DENIED)
        with self._store.reading() as db:
            find_disk(db, account, disk, UNKNOWN, DENIED)
            vm_id = find_machine(db, account, form["vm_id"])["id"]
        with self._plugging_into(vm_id):
            device = self._mount(account, disk, form, static=static)
            if not static:
                self._plug(disk, vm_id, device)
        return {"node": form["node"], "vm_id": form["vm_id"], "target": device, "uuid": [disk]}

    def _plugging_into(self, vm_id: int) -> threading.Lock:
        with self._lock:
            return self._plugging.setdefault(vm_id, threading.Lock())

    def _mount(self, account: Account, disk: str, form: Form, *, static: bool) -> str:
        """Record a mount before plugging, so that nobody else does; return the device."""
        with self._store.transaction() as db:
            row = find_disk(db, account, disk, UNKNOWN, DENIED)
            machine = find_machine(db, account, form["vm_id"])
            if form["node"] != HOST and not static:
                raise RequestRefusedError(
                    Refusal.MALFORMED, f"machine {form['vm_id']} is not on node {form['node']}"
                )
            phase = Phase((machine["state"], machine["lcm_state"]))
            if phase in (Phase.DONE, Phase.FAILED) or (phase is not Phase.RUNNING and not static):
                raise RequestRefusedError(Refusal.CONFLICT, f"VM {form['vm_id']} is not running")
            if row["count"]:
                raise RequestRefusedError(Refusal.CONFLICT, f"disk ({disk}) is already mounted")
            device = STATIC if static else free_device(db, machine)
            db.execute("INSERT INTO mounts VALUES (?, ?, ?)", (disk, machine["id"], device))
        return device

    def _plug(self, disk: str, vm_id: int, device: str) -> None:
        try:
            self._machinery.plug(vm_id, device, self._directory / disk)
        except UnsettledError as error:  # the mount stays: no other machine must get the disk
            reason = f"disk ({disk}) may be attached to VM {vm_id} as {device}: {error}"
            raise RequestRefusedError(Refusal.UNSETTLED, reason) from None
        except MachineError as error:
            self._forget(disk, vm_id)
            raise RequestRefusedError(
                Refusal.CONFLICT, f"disk ({disk}) cannot be attached: {error}"
            ) from None

    def _forget(self, disk: str, vm_id: int) -> None:
        with self._store.transaction() as db:
            db.execute("DELETE FROM mounts WHERE disk = ? AND machine = ?", (disk, vm_id))

    def mount(self, account: Account, disk: str, mount: str) -> dict[str, str]:
        """Show a mount (2.4.1)."""
        with self._store.reading() as db:
            row = find_mount(db, account, disk, mount)
        return shown_mount(row)

    def detach(self, account: Account, disk: str, mount: str) -> dict[str, str]:
        """Unplug a disk, or forget the mount of one that the machine started with (2.4.2)."""
        with self._store.reading() as db:
            vm_id = find_mount(db, account, disk, mount)["machine"]
        with self._plugging_into(vm_id):
            with self._store.reading() as db:
                row = find_mount(db, account, disk, mount)
            if not account.is_super:
                if account.name not in (row["disk_owner"], row["machine_owner"]):
                    raise RequestRefusedError(Refusal.DENIED, "insufficient rights to detach disk")
                if row["device"] == STATIC:
                    raise RequestRefusedError(Refusal.CONFLICT, NOT_PLUGGED)
            if row["device"] != STATIC:
                self._unplug(disk, vm_id, row["device"])
            self._forget(disk, vm_id)
        return shown_mount(row)

    def _unplug(self, disk: str, vm_id: int, device: str) -> None:
        try:
            self._machinery.unplug(vm_id, device)
        except UnsettledError as error:
            reason = f"disk ({disk}) may still be in use by VM {vm_id}: {error}"
            raise RequestRefusedError(Refusal.UNSETTLED, reason) from None
        except MachineError as error:
            reason = f"disk ({disk}) is still in use by VM {vm_id}: {error}"
            raise RequestRefusedError(Refusal.CONFLICT, reason) from None

    def instances(self, account: Account) -> list[dict[str, str]]:
        """List the caller's machines (all, for the super user) that have disks (2.6, NEW)."""
        query = (
            "SELECT DISTINCT id, owner FROM machines JOIN mounts ON machine = id "
            "WHERE owner = ? OR ? ORDER BY id DESC"
        )
        with self._store.reading() as db:
            rows = db.execute(query, (account.name, account.is_super)).fetchall()
        return [{"vmId": str(row["id"]), "owner": row["owner"]} for row in rows]


def _listed(row: sqlite3.Row) -> dict[str, str]:
    return {"vmId": str(row["machine"]), "device": row["device"]}
