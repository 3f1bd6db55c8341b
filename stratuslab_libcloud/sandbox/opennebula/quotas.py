"""Limits: what an account uses, and what it may use (modern 8)."""

from stratuslab_libcloud.sandbox.opennebula.records import Book, Image, Machine, Network, User
from stratuslab_libcloud.sandbox.opennebula.refusals import ACTION, AUTHORIZATION, RefusedError
from stratuslab_libcloud.sandbox.opennebula.templates import whole
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Vector

__all__ = ["GROUP", "NAMES", "check", "disk_mib", "usage"]

# A limit to what it is counted in. The last three are of one image, network or datastore.
NAMES = {
    **dict.fromkeys(("VMS", "CPU", "MEMORY"), "VM"),
    **dict.fromkeys(("RUNNING_VMS", "RUNNING_CPU", "RUNNING_MEMORY"), "VM"),
    "SYSTEM_DISK_SIZE": "VM",
    "IMAGES": "DATASTORE with ID: {}",
    "SIZE": "DATASTORE with ID: {}",
    "LEASES": "NETWORK with ID: {}",
    "RVMS": "IMAGE with ID: {}",
}
_RESTING = {2, 4, 5, 6, 8, 9}
GROUP = -2  # the id under which the limits of the group are kept


def disk_mib(disk: Vector) -> int:
    """Return what a disk takes of the host's own space."""
    if disk.get("PERSISTENT") == "YES":
        return 0
    return whole(disk.get("SIZE", "")) or 0


def usage(book: Book, uid: int) -> dict[str, float]:
    """Return how much of everything an account uses, by name and, where there is one, id."""
    used: dict[str, float] = dict.fromkeys((n for n, what in NAMES.items() if what == "VM"), 0)
    machines = [one for one in book.of(Machine, uid) if one.state != 6]
    for machine in machines:
        cpu = float(machine.template.text("CPU"))
        memory = int(machine.template.text("MEMORY"))
        running = machine.state not in _RESTING
        for name, amount in (("VMS", 1.0), ("CPU", cpu), ("MEMORY", memory)):
            used[name] += amount
            used[f"RUNNING_{name}"] += amount * running
        for disk in machine.disks:
            used["SYSTEM_DISK_SIZE"] += disk_mib(disk)
            if number := disk.get("IMAGE_ID"):
                used[f"RVMS {number}"] = used.get(f"RVMS {number}", 0) + 1
    numbers = {machine.id for machine in machines}
    for network in book.all(Network):
        count = sum(vm in numbers for vm in network.leases.values())
        used[f"LEASES {network.id}"] = count
    images = book.of(Image, uid)
    used["IMAGES 1"] = len(images)
    used["SIZE 1"] = sum(image.size for image in images)
    return used


def check(book: Book, account: Account, added: dict[str, float], *, resuming: bool = False) -> None:
    """
    Check that an account may use more.

    :param added: amounts, by name and id.
    :raises RefusedError: a limit is reached.
    """
    limits = [
        (f"user [{account.uid}]", _limits(book, account.uid)),
        ("group [1]", _limits(book, GROUP)),
    ]
    if not any(found for _, found in limits):
        return
    used = usage(book, account.uid)
    for who, found in limits:
        for key, limit in found.items():
            if added.get(key) and limit >= 0 and used.get(key, 0) + added[key] > limit:
                name, _, number = key.partition(" ")
                where = NAMES[name].format(number)
                text = f"{who} limit of {limit:g} reached for {name} quota in {where}."
                if resuming:
                    raise RefusedError(text.removesuffix("."), ACTION)
                raise RefusedError(text, AUTHORIZATION)


def _limits(book: Book, uid: int) -> dict[str, float]:
    user = book.find(User, uid)
    return user.limits if user else {}
