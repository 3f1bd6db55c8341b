"""The DISKs of machines: which image each is of, and the device that it becomes (modern 5, 6)."""

import string

from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.files import PREFIX
from stratuslab_libcloud.sandbox.opennebula.image_uses import WAITING, reserve, settle
from stratuslab_libcloud.sandbox.opennebula.new_images import TYPES
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image, Machine
from stratuslab_libcloud.sandbox.opennebula.refusals import ACTION, AUTHORIZATION, RefusedError
from stratuslab_libcloud.sandbox.opennebula.rights import demand
from stratuslab_libcloud.sandbox.opennebula.templates import whole
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Template, Vector

__all__ = ["complete", "let_go", "next_disk_id", "run_template", "take_target"]

# What a DISK says that only the engine knows; a user may write it, and it means nothing.
_ENGINES_OWN = ("ATTACH", "CLONING", "PERSISTENT", "PERSISTENT_SNAPSHOTS", "ORIGINAL_SIZE")


def complete(
    core: Core, book: Book, account: Account, machine: Machine, disk: Vector, *, starting: bool
) -> None:
    """
    Complete a DISK and reserve its image.

    :param starting: whether the machine is new, and may wait for its images.
    :raises RefusedError: it cannot be used.
    """
    for name in _ENGINES_OWN:
        disk.pop(name, None)
    image = _image(book, account, disk)
    if image is None:
        _complete_volatile(disk)
        take_target(machine, disk, disk.get("DEV_PREFIX", "sd"))
        return
    demand(account, image, "USE")
    if image.type in (3, 4, 5):
        kind = TYPES[image.type]
        text = f"Image {image.id} ({kind.lower()} file) of type {kind} cannot be used as DISK."
        raise RefusedError(text, ACTION)
    _check_size(image, disk)
    waits = image.state in WAITING
    reserve(book, image, machine.id, locked_too=starting)
    new = image.persistent
    size = image.grown or image.size
    disk |= {
        "CLONE": "NO" if new else "YES",
        "CLONE_TARGET": "SYSTEM",
        "CLUSTER_ID": "0",
        "DATASTORE": "default",
        "DATASTORE_ID": "1",
        "DEV_PREFIX": _prefix(core, image, disk),
        "DISK_SNAPSHOT_TOTAL_SIZE": "0",
        "DISK_TYPE": "FILE",
        "DRIVER": image.format,
        "FORMAT": image.format,
        "IMAGE": image.name,
        "IMAGE_ID": str(image.id),
        "IMAGE_STATE": str(image.state),
        "LN_TARGET": "NONE",
        "ORIGINAL_SIZE": str(image.size),
        "READONLY": "YES" if image.type == 1 else "NO",
        "SAVE": "YES" if new else "NO",
        "SIZE": disk.get("SIZE") or str(size),
        "SOURCE": f"/var/lib/one/datastores/1/{image.source.rpartition('/')[2]}",
        "TM_MAD": "local",
        "TYPE": "CDROM" if image.type == 1 else "FILE",
    }
    if new:
        disk["PERSISTENT"] = "YES"
        if core.is_new:
            disk["PERSISTENT_SNAPSHOTS"] = "NO"
        machine.disk_snapshots[disk["DISK_ID"]] = image.snapshots
        machine.next_disk_snapshots[disk["DISK_ID"]] = image.next_snapshot
    if waits:
        disk["CLONING"] = "YES"
    take_target(machine, disk, disk["DEV_PREFIX"])


def _image(book: Book, account: Account, disk: Vector) -> Image | None:
    """Return the image that a DISK names; None if it names none."""
    if number := disk.get("IMAGE_ID", ""):
        found = whole(number)
        if found is None:
            raise RefusedError(f"String '{number}' is not a valid ID.", AUTHORIZATION)
        image = book.find(Image, found)
        if image is None:
            raise RefusedError(f"Image with ID: {number} does not exist", ACTION)
        return image
    name = disk.get("IMAGE", "")
    if not name:
        return None
    uid = account.uid
    if owner := disk.get("IMAGE_UNAME"):
        owners = {image.uname: image.uid for image in book.all(Image)}
        if owner not in owners:
            raise RefusedError("User set in IMAGE_UNAME does not exist", ACTION)
        uid = owners[owner]
    elif (given := whole(disk.get("IMAGE_UID", ""))) is not None:
        uid = given
    image = book.named(Image, uid, name)
    if image is None:
        text = f"User {uid} does not own an image with name: {name} . "
        raise RefusedError(f"{text}Set IMAGE_UNAME or IMAGE_UID of owner in DISK.", ACTION)
    return image


def _complete_volatile(disk: Vector) -> None:
    kind, size = disk.get("TYPE", ""), disk.get("SIZE", "")
    if kind.lower() not in ("fs", "swap"):
        raise RefusedError(f"Unknown disk type {kind.upper()}", ACTION)
    if not whole(size):
        raise RefusedError("SIZE attribute must be a positive integer value.", ACTION)
    disk |= {"DEV_PREFIX": disk.get("DEV_PREFIX", "sd"), "DRIVER": "raw", "TM_MAD": "local"}
    disk.setdefault("FORMAT", "raw")


def _check_size(image: Image, disk: Vector) -> None:
    size = disk.get("SIZE", "")
    if not size:
        return
    if image.persistent:
        text = f"SIZE attribute is not supported for persistent image [{image.id}]."
        raise RefusedError(text, ACTION)
    wanted = whole(size)
    if wanted is not None and wanted < image.size:
        text = f"SIZE of {size}MB is less than the image [{image.id}] size of {image.size}MB."
        raise RefusedError(text, ACTION)


def _prefix(core: Core, image: Image, disk: Vector) -> str:
    if prefix := disk.get("DEV_PREFIX"):
        return prefix
    if image.type == 1 and not core.is_new:
        return "hd"
    return image.template.get("DEV_PREFIX", "sd")


def take_target(machine: Machine, disk: Vector, prefix: str) -> None:
    """Give a DISK, or the context, its device: the one that it names, or the first free one."""
    vectors = machine.disks + machine.template.vectors("CONTEXT")
    taken = {one["TARGET"] for one in vectors if one is not disk and "TARGET" in one}
    if target := disk.get("TARGET"):
        if target in taken:
            raise RefusedError(f"Target {target} is already in use.", ACTION)
        return
    letters = string.ascii_lowercase
    free = (f"{prefix}{letter}" for letter in letters if f"{prefix}{letter}" not in taken)
    disk["TARGET"] = next(free, f"{prefix}{letters[-1]}a")


def next_disk_id(machine: Machine) -> str:
    """Return one more than the highest DISK_ID in use; the context has one too."""
    vectors = machine.disks + machine.template.vectors("CONTEXT")
    return str(max((int(one["DISK_ID"]) for one in vectors if "DISK_ID" in one), default=-1) + 1)


def let_go(book: Book, machine: Machine, disk: Vector, *, ends: bool, failed: bool) -> None:
    """
    Free the image of a disk.

    :param ends: whether the machine ends with it.
    :param failed: whether it ends out of a failure, which leaves the image in ERROR (modern 1).
    """
    number = disk.get("IMAGE_ID", "")
    image = book.find(Image, int(number)) if number else None
    if image is None or machine.id not in image.vms:
        return
    image.vms.remove(machine.id)
    if ends and image.grown:
        image.size, image.grown = image.grown, 0
    settle(image)
    if failed and image.persistent:
        image.state = 5
    left = machine.disk_snapshots.pop(disk["DISK_ID"], [])
    following = machine.next_disk_snapshots.pop(disk["DISK_ID"], 0)
    if image.persistent:
        image.snapshots, image.next_snapshot = left, following
    book.put(image)


def run_template(book: Book, machine: Machine) -> Template:
    """
    Return the machine as the machinery reads it.

    Its addresses are this host's, which the guest itself must not take.
    """
    names = ("CPU", "VCPU", "MEMORY")
    attributes: list[tuple[str, str | Vector]]
    attributes = [(name, machine.template.text(name)) for name in names]
    attributes.append(("INBOUND_PORTS", machine.user_template.text("INBOUND_PORTS")))
    for nic in machine.template.vectors("NIC"):
        attributes.append(("NIC", nic if nic.get("IP") else {}))
    for context in machine.template.vectors("CONTEXT"):
        told = {k: v for k, v in context.items() if not k.startswith("ETH") and k != "NETWORK"}
        attributes.append(("CONTEXT", told))
    for disk in machine.disks:
        attributes.append(("DISK", _run_disk(book, disk)))
    return Template(attributes)


def _run_disk(book: Book, disk: Vector) -> Vector:
    number = disk.get("IMAGE_ID", "")
    image = book.find(Image, int(number)) if number else None
    if image is None:
        kind = "swap" if disk["TYPE"].lower() == "swap" else "blank"
        return {"TARGET": disk["TARGET"], "TYPE": kind, "SIZE": disk["SIZE"]}
    if image.persistent:
        return {"TARGET": disk["TARGET"], "SOURCE": f"pdisk:{image.source}"}
    source = image.source if "/" in image.source else f"{PREFIX}{image.source}"
    given = {"TARGET": disk["TARGET"], "SOURCE": source}
    if (whole(disk["SIZE"]) or 0) > int(disk["ORIGINAL_SIZE"]):
        given["GROWN_TO"] = disk["SIZE"]
    return given
