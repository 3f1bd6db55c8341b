"""What is done to the disks of machines while they run or rest (modern 5, 7)."""

import contextlib
import os
import pathlib

from stratuslab_libcloud.sandbox.errors import MachineError, UnsettledError
from stratuslab_libcloud.sandbox.opennebula import drives, quotas
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.files import MIB, convert
from stratuslab_libcloud.sandbox.opennebula.hot import change
from stratuslab_libcloud.sandbox.opennebula.new_images import TYPES, made, new_name, spoil
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image, Machine, owned
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    AUTHORIZATION,
    INTERNAL,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.rights import obtain
from stratuslab_libcloud.sandbox.opennebula.states import HOLD, PENDING, RUNNING, state_name
from stratuslab_libcloud.sandbox.opennebula.templates import parse, whole
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import TemplateError, Vector

__all__ = ["attach", "detach", "resize", "save_as"]


def attach(core: Core, account: Account, number: int, text: str) -> int:
    """Attach the first DISK of a text."""
    try:
        vectors = parse(text, strip=core.is_new).vectors("DISK")
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        if not vectors:
            raise RefusedError("Internal error parsing DISK attribute", ACTION)
        if machine.now in (PENDING, HOLD):
            raise RefusedError("VM is not running in any host", ACTION)
        disk, running = vectors[0], machine.now == RUNNING
        state = state_name(machine.now)
        wrong = f"Could not attach a new disk to VM {number}, wrong state {state}."
        if state not in ("RUNNING", "POWEROFF"):
            raise RefusedError(wrong, ACTION)
        disk |= {"DISK_ID": drives.next_disk_id(machine)}
        drives.complete(core, book, account, machine, disk, starting=False)
        _check_quota(core, book, account, disk)
        disk["ATTACH"] = "YES"
        machine.template.attributes.append(("DISK", disk))
        disk_id = int(disk["DISK_ID"])

        def work() -> None:
            if core.real and running:
                _plug(core, machine, disk)

        def done(book: Book, machine: Machine, reason: str) -> None:
            added = machine.disk(disk_id)
            if added and reason:
                _remove(machine, disk_id)
                drives.let_go(book, machine, added, ends=False, failed=False)
            elif added:
                del added["ATTACH"]

        change(core, book, machine, "attach", wrong, work, done)
    return number


def _check_quota(core: Core, book: Book, account: Account, disk: Vector) -> None:
    needs: dict[str, float] = {"SYSTEM_DISK_SIZE": quotas.disk_mib(disk)}
    if number := disk.get("IMAGE_ID"):
        needs[f"RVMS {number}"] = 1
    try:
        quotas.check(book, account, needs)
    except RefusedError as refused:
        if core.is_new and "SYSTEM_DISK_SIZE" in str(refused):
            text = f"User [{account.uid}] not authorized to perform action on virtual machine."
            raise RefusedError(text, AUTHORIZATION) from None
        raise


def _plug(core: Core, machine: Machine, disk: Vector) -> None:
    with core.reading() as book:
        image = book.find(Image, int(disk.get("IMAGE_ID") or -1))
    if image is None or not image.persistent:
        raise MachineError("the sandbox plugs only persistent images into machines that run")
    if not disk["TARGET"].startswith("vd"):
        raise MachineError('the sandbox plugs disks in as virtio only: DEV_PREFIX="vd"')
    with contextlib.suppress(UnsettledError):  # it is in the machine, whose guest is booting
        core.machinery.plug(machine.id, disk["TARGET"], core.files.path(image.source))


def _remove(machine: Machine, disk_id: int) -> None:
    disk = machine.disk(disk_id)
    machine.template.attributes = [
        (name, value) for name, value in machine.template.attributes if value is not disk
    ]
    machine.booted = [number for number in machine.booted if number != str(disk_id)]


def detach(core: Core, account: Account, number: int, disk_id: int) -> int:
    """Detach a disk, the one of the system too: nothing protects it."""
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        running, state = machine.now == RUNNING, state_name(machine.now)
        wrong = f"Could not detach disk from VM {number}, wrong state {state}."
        disk = machine.disk(disk_id)
        if not core.is_new and state not in ("RUNNING", "POWEROFF"):
            raise RefusedError(wrong, ACTION)
        if disk is None:
            text = "VM disk does not exist"
            if not core.is_new:
                text = f"Could not detach disk with DISK_ID {disk_id}, it does not exist."
            raise RefusedError(text, ACTION)
        name = _node(machine, disk)

        def work() -> None:
            if core.real and running:
                core.machinery.unplug(number, name)

        def done(book: Book, machine: Machine, reason: str) -> None:
            found = machine.disk(disk_id)
            if found and reason:
                found.pop("ATTACH", None)
            elif found:
                _remove(machine, disk_id)
                drives.let_go(book, machine, found, ends=False, failed=False)

        change(core, book, machine, "detach", wrong, work, done)
        disk["ATTACH"] = "YES"
        book.put(machine)
    return number


def _node(machine: Machine, disk: Vector) -> str:
    """Return the name that the machinery has for a disk."""
    if disk["DISK_ID"] in machine.booted:
        return f"drive{machine.booted.index(disk['DISK_ID'])}"
    return disk["TARGET"]


def content(core: Core, machine: Machine, disk: Vector) -> tuple[pathlib.Path, str] | None:
    """Return the file with what is on a disk, and its format; None if there is none."""
    with core.reading() as book:
        image = book.find(Image, int(disk.get("IMAGE_ID") or -1))
    if image and image.persistent:
        return core.files.path(image.source), "raw"
    folder = core.machinery.folder(machine.id)
    if folder is None:
        return None
    return folder / disk["TARGET"], "qcow2" if image else "raw"


def save_as(
    core: Core, account: Account, number: int, disk_id: int, name: str, kind: str, snapshot: int
) -> int:
    """Make an image of a disk as it is now."""
    with core.changing() as book:
        try:
            return _save_as(core, book, account, (number, disk_id, snapshot), name, kind)
        except RefusedError as refused:
            if core.is_new:
                refused.object_id = number
            raise


def _save_as(
    core: Core,
    book: Book,
    account: Account,
    numbers: tuple[int, int, int],
    name: str,
    kind: str,
) -> int:
    number, disk_id, snapshot = numbers
    machine = obtain(book, account, Machine, number, "MANAGE")
    disk = machine.disk(disk_id)
    if disk is None:
        raise RefusedError("Cannot use DISK. DISK does not exist.", INTERNAL)
    original = book.find(Image, int(disk.get("IMAGE_ID") or -1))
    if original is None:
        wrong = "Cannot use DISK. DISK does not have a valid IMAGE_ID."
        raise RefusedError(wrong, INTERNAL)
    snapshots = machine.disk_snapshots.get(str(disk_id), [])
    if snapshot >= 0 and not any(one["ID"] == str(snapshot) for one in snapshots):
        raise RefusedError("Cannot use DISK. Snapshot does not exist.", INTERNAL)
    if state_name(machine.now) not in ("RUNNING", "POWEROFF", "SUSPENDED"):
        wrong = "VM has to be RUNNING, POWEROFF or SUSPENDED to save disks."
        raise RefusedError(wrong, INTERNAL)
    name = new_name(book, account, name)
    if kind and kind.upper() not in TYPES:
        raise RefusedError("Error allocating a new image. Unknown type ", 16384)
    size = whole(disk["SIZE"]) or original.size
    quotas.check(book, account, {"IMAGES 1": 1, "SIZE 1": size})
    saved = {"SAVED_VM_ID": number, "SAVED_DISK_ID": disk_id, "SAVED_IMAGE_ID": original.id}
    prefix = original.template.get("DEV_PREFIX", "sd")
    image = Image(
        **owned(account),  # type: ignore[arg-type]
        name=name,
        type=TYPES.index(kind.upper()) if kind else original.type,
        size=size,
        format="save_as",
        template={"DEV_PREFIX": prefix} | {key: str(value) for key, value in saved.items()},
    )
    book.add(image)
    running = machine.now == RUNNING
    at = f".{snapshot}" if snapshot >= 0 else ""

    def work() -> None:
        made(core, image.id, lambda name: _fill(core, machine, disk, at, name, running=running))

    def done(book: Book, machine: Machine, reason: str) -> None:
        saved = book.find(Image, image.id)
        if saved:
            saved.format = "raw"
            if reason:
                spoil(saved, reason)
            book.put(saved)

    change(core, book, machine, "save as", "", work, done)
    return image.id


def _fill(core: Core, machine: Machine, disk: Vector, at: str, name: str, *, running: bool) -> None:
    """
    Copy what is on a disk into the file of an image, while the machine waits.

    :param at: the end of the name of a snapshot's file; empty for the disk as it is now.
    """
    found = content(core, machine, disk)
    path = pathlib.Path(f"{found[0]}{at}") if found else None
    if found is None or path is None or not path.exists():
        return
    with at_rest(core, machine.id, running=running):
        if found[1] == "raw":
            core.files.copy(path, core.files.path(name))
        else:
            convert(path, found[1], core.files.path(name))


class at_rest:  # noqa: N801 - a context manager
    """Keep a running machine from writing."""

    def __init__(self, core: Core, number: int, *, running: bool) -> None:
        self._core, self._number, self._running = core, number, running

    def __enter__(self) -> None:
        if self._running:
            self._core.machinery.pause(self._number)

    def __exit__(self, *error: object) -> None:
        if self._running:
            self._core.machinery.go_on(self._number)


def resize(core: Core, account: Account, number: int, disk_id: int, size: str) -> int:
    """Enlarge a disk."""
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        disk = machine.disk(disk_id)
        if disk is None:
            raise RefusedError("VM disk does not exist", ACTION)
        mib, old = whole(size), whole(disk["SIZE"]) or 0
        if mib is None:
            raise RefusedError("Disk SIZE is not a valid integer", ACTION)
        if mib <= old:
            raise RefusedError("New disk size has to be greater than current one", ACTION)
        image = book.find(Image, int(disk.get("IMAGE_ID") or -1))
        key = "SIZE 1" if image and image.persistent else "SYSTEM_DISK_SIZE"
        quotas.check(book, account, {key: mib - old})
        running, name = machine.now == RUNNING, _node(machine, disk)
        wrong = f"Could not resize disk for VM {number}, wrong state {state_name(machine.now)}."

        def work() -> None:
            _grow(core, machine, disk, mib, name if running else "")

        def done(book: Book, machine: Machine, reason: str) -> None:
            found = machine.disk(disk_id)
            if found is None or reason:
                return
            found["SIZE"] = str(mib)
            used = book.find(Image, int(found.get("IMAGE_ID") or -1))
            if used and used.persistent:
                used.grown = mib
                book.put(used)

        change(core, book, machine, "disk resize", wrong, work, done)
    return number


def _grow(core: Core, machine: Machine, disk: Vector, mib: int, name: str) -> None:
    found = content(core, machine, disk)
    if name and core.real:
        core.machinery.grow(machine.id, name, mib * MIB)
    elif found and found[1] == "raw" and found[0].exists() and mib < 1 << 30:
        os.truncate(found[0], mib * MIB)
