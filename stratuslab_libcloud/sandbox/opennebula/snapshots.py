"""Snapshots of machines and of their disks (modern 7)."""

import pathlib
import time

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.disks import at_rest, content
from stratuslab_libcloud.sandbox.opennebula.hot import change
from stratuslab_libcloud.sandbox.opennebula.records import Book, Machine
from stratuslab_libcloud.sandbox.opennebula.refusals import ACTION, RefusedError
from stratuslab_libcloud.sandbox.opennebula.rights import obtain
from stratuslab_libcloud.sandbox.opennebula.states import RUNNING, state_name
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Vector

__all__ = ["create", "delete", "disk_create", "disk_delete", "disk_rename", "disk_revert", "revert"]


def create(core: Core, account: Account, number: int, name: str) -> int:
    """Take a snapshot of a running machine; real ones cannot."""
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        state = state_name(machine.now)
        wrong = f"Could not create a new snapshot for VM {number}, wrong state {state}."
        snapshot = str(machine.next_snapshot)
        vector = {
            "ACTION": "CREATE",
            "ACTIVE": "YES",
            "HYPERVISOR_ID": f"snap-{snapshot}",
            "NAME": name or f"snapshot-{snapshot}",
            "SNAPSHOT_ID": snapshot,
            "SYSTEM_DISK_SIZE": "0",
            "TIME": str(int(time.time())),
        }

        def done(book: Book, machine: Machine, reason: str) -> None:
            if reason:
                _drop(machine, snapshot)
                return
            for one in machine.template.vectors("SNAPSHOT"):
                if one["SNAPSHOT_ID"] == snapshot:
                    del one["ACTION"]
                else:
                    one.pop("ACTIVE", None)

        change(core, book, machine, "snapshot", wrong, lambda: _only_simulated(core), done)
        machine.next_snapshot += 1
        machine.template.attributes.append(("SNAPSHOT", vector))
        book.put(machine)
    return int(snapshot)


def _only_simulated(core: Core) -> None:
    if core.real:
        raise MachineError("the sandbox takes no snapshots of machines that are real")


def revert(core: Core, account: Account, number: int, snapshot: int) -> int:
    """Take a machine back to a snapshot."""
    unknown = f"Could not revert VM {number} to snapshot {snapshot}, it does not exist."
    return _with_snapshot(core, account, (number, snapshot), "revert", unknown)


def delete(core: Core, account: Account, number: int, snapshot: int) -> int:
    """Delete a snapshot of a machine."""
    unknown = f"Could not delete snapshot {snapshot} for VM {number}, it does not exist."
    return _with_snapshot(core, account, (number, snapshot), "delete", unknown)


def _with_snapshot(
    core: Core, account: Account, numbers: tuple[int, int], what: str, unknown: str
) -> int:
    number, snapshot = numbers
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        known = [one["SNAPSHOT_ID"] for one in machine.template.vectors("SNAPSHOT")]
        if str(snapshot) not in known:
            raise RefusedError(unknown, ACTION)
        state = state_name(machine.now)
        wrong = f"Could not {what} snapshot for VM {number}, wrong state {state}."

        def done(book: Book, machine: Machine, reason: str) -> None:
            if what == "delete" and not reason:
                _drop(machine, str(snapshot))

        change(core, book, machine, "snapshot", wrong, lambda: _only_simulated(core), done)
    return number


def _drop(machine: Machine, snapshot: str) -> None:
    machine.template.attributes = [
        (name, value)
        for name, value in machine.template.attributes
        if not (name == "SNAPSHOT" and isinstance(value, dict) and value["SNAPSHOT_ID"] == snapshot)
    ]


def disk_create(core: Core, account: Account, number: int, disk_id: int, name: str) -> int:
    """Take a snapshot of a disk."""
    with core.changing() as book:
        machine, disk = _disk(book, account, number, disk_id)
        taken = machine.disk_snapshots.setdefault(str(disk_id), [])
        snapshot = machine.next_disk_snapshots.get(str(disk_id), 0)
        running = machine.now == RUNNING
        state = state_name(machine.now)
        wrong = f"Could not create a new disk snapshot for VM {number}, wrong state {state}."

        def work() -> None:
            _copy(core, machine, disk, ("", f".{snapshot}"), running=running)

        def done(book: Book, machine: Machine, reason: str) -> None:
            if reason:
                _forget(machine, disk_id, snapshot)

        change(core, book, machine, "disk snapshot", wrong, work, done)
        parent = next((one for one in taken if one.pop("ACTIVE", None)), None)
        if parent:
            parent["CHILDREN"] = str(snapshot)
        one = {"ACTIVE": "YES", "DATE": str(int(time.time())), "ID": str(snapshot)}
        one |= {"PARENT": parent["ID"] if parent else "-1", "SIZE": disk["SIZE"]}
        taken.append(one | ({"NAME": name} if name else {}))
        machine.next_disk_snapshots[str(disk_id)] = snapshot + 1
        book.put(machine)
    return snapshot


def disk_revert(core: Core, account: Account, number: int, disk_id: int, snapshot: int) -> int:
    """Take a disk back to a snapshot, while its machine is off."""
    with core.changing() as book:
        machine, disk = _disk(book, account, number, disk_id)
        _demand_snapshot(machine, disk_id, snapshot)
        state = state_name(machine.now)
        wrong = f"Could not revert to disk snapshot for VM {number}, wrong state {state}."

        def work() -> None:
            _copy(core, machine, disk, (f".{snapshot}", ""), running=False)

        def done(book: Book, machine: Machine, reason: str) -> None:
            for one in machine.disk_snapshots.get(str(disk_id), []):
                if not reason:
                    one.pop("ACTIVE", None)
                    if one["ID"] == str(snapshot):
                        one["ACTIVE"] = "YES"

        change(core, book, machine, "disk snapshot revert", wrong, work, done)
    return number


def disk_delete(core: Core, account: Account, number: int, disk_id: int, snapshot: int) -> int:
    """Delete a snapshot of a disk, unless it is the active one."""
    with core.changing() as book:
        machine, disk = _disk(book, account, number, disk_id)
        one = _demand_snapshot(machine, disk_id, snapshot)
        if one.get("ACTIVE"):
            raise RefusedError("Cannot delete the active snapshot", ACTION)
        state = state_name(machine.now)
        wrong = f"Could not delete disk snapshot from VM {number}, wrong state {state}."

        def work() -> None:
            if found := content(core, machine, disk):
                pathlib.Path(f"{found[0]}.{snapshot}").unlink(missing_ok=True)

        def done(book: Book, machine: Machine, reason: str) -> None:
            if not reason:
                _forget(machine, disk_id, snapshot)

        change(core, book, machine, "disk snapshot delete", wrong, work, done)
    return number


def disk_rename(
    core: Core, account: Account, number: int, disk_id: int, snapshot: int, name: str
) -> int:
    """Rename a snapshot of a disk."""
    with core.changing() as book:
        machine, _ = _disk(book, account, number, disk_id)
        _demand_snapshot(machine, disk_id, snapshot)["NAME"] = name
        book.put(machine)
    return number


def _disk(book: Book, account: Account, number: int, disk_id: int) -> tuple[Machine, Vector]:
    machine = obtain(book, account, Machine, number, "MANAGE")
    disk = machine.disk(disk_id)
    if disk is None:
        raise RefusedError("VM disk does not exist", ACTION)
    return machine, disk


def _demand_snapshot(machine: Machine, disk_id: int, snapshot: int) -> dict[str, str]:
    for one in machine.disk_snapshots.get(str(disk_id), []):
        if one["ID"] == str(snapshot):
            return one
    raise RefusedError("Snapshot does not exist", ACTION)


def _forget(machine: Machine, disk_id: int, snapshot: int) -> None:
    taken = machine.disk_snapshots.get(str(disk_id), [])
    machine.disk_snapshots[str(disk_id)] = [one for one in taken if one["ID"] != str(snapshot)]


def _copy(
    core: Core, machine: Machine, disk: Vector, ends: tuple[str, str], *, running: bool
) -> None:
    """Copy a disk's file beside it, or back; ends of their names say which."""
    found = content(core, machine, disk)
    if found is None or not found[0].exists():
        return
    source, target = (pathlib.Path(f"{found[0]}{end}") for end in ends)
    with at_rest(core, machine.id, running=running):
        core.files.copy(source, target)
