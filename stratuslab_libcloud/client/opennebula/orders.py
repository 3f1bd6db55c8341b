"""Write the template of a new machine, or what is to replace a part of a site's (modern 6)."""

import base64
from collections.abc import Sequence

from stratuslab_libcloud.client.data import MachineTemplate, NewMachine
from stratuslab_libcloud.client.engine.ids import checked_id
from stratuslab_libcloud.client.engine.orders import (
    check_numbers,
    context_pairs,
    ip_address,
    plain_key,
    plain_text,
)
from stratuslab_libcloud.client.engine.template import Vector, single, vector
from stratuslab_libcloud.client.opennebula.names import checked_name
from stratuslab_libcloud.errors import InvalidValueError

__all__ = ["render"]

_PREFIXES = {"": "vd", "ide": "hd", "scsi": "sd", "virtio": "vd"}
_MIB_IN_GIB = 1024
_RESERVED_CONTEXT = {"NETWORK", "SSH_PUBLIC_KEY", "USERDATA", "USERDATA_ENCODING", "USER_DATA"}

_Given = dict[str, list[Vector]]


def render(machine: NewMachine, network: str | None, base: MachineTemplate | None = None) -> str:
    """
    Write the template of a machine, or what replaces a part of a site's own.

    The engine replaces whole attributes: one disk all disks, one value of the context all of it. So
    what the site's template says in them is repeated here.

    :param network: id of its network; ``None``: that of the site's template, or none.
    :param base: the site's own template.
    :raises InvalidValueError: names the value that cannot be written.
    """
    check_numbers(machine)
    if machine.disks_bus not in _PREFIXES:
        raise InvalidValueError(
            f"the disks_bus must be ide, scsi or virtio, not {machine.disks_bus!r}"
        )
    given = _vectors(base)
    lines = (
        [single("NAME", name)] if (name := checked_name("node", machine.name, needed=False)) else []
    )
    lines += _capacity(machine)
    lines += [vector("DISK", disk) for disk in _disks(machine, given.get("DISK", []))]
    if network is not None:
        lines += [vector("NIC", nic) for nic in _nics(machine, network, given.get("NIC", []))]
    elif machine.address or machine.network_model:
        raise InvalidValueError("an address or network_model needs a network: give that, too")
    lines += [vector("GRAPHICS", pairs) for pairs in _graphics(machine, base)]
    if machine.use_host_cpu:
        lines.append(vector("CPU_MODEL", [("MODEL", "host-passthrough")]))
    if context := _context(machine, given.get("CONTEXT", [])):
        lines.append(vector("CONTEXT", context))
    if machine.requirements:
        lines.append(single("SCHED_REQUIREMENTS", plain_text("requirements", machine.requirements)))
    if machine.mark:
        lines.append(
            single("LABELS", ",".join(filter(None, (_text(base, "LABELS"), machine.mark))))
        )
    return "\n".join(lines) + "\n"


def _capacity(machine: NewMachine) -> list[str]:
    share = machine.cpu_amount
    amounts: list[tuple[str, object]] = [
        ("CPU", machine.cpus if share is None else f"{share:g}"),
        ("VCPU", machine.cpus),
        ("MEMORY", machine.ram),
    ]
    return [single(name, amount) for name, amount in amounts if amount]


def _disks(machine: NewMachine, given: list[Vector]) -> list[Vector]:
    """All disks, if there are others than those of the site's template."""
    prefix = _PREFIXES[machine.disks_bus]
    disks = list(given)
    if machine.image:
        boot: Vector = [("IMAGE_ID", checked_id(machine.image, "image")), ("DEV_PREFIX", prefix)]
        disks = [boot, *given[1:]]
    elif not machine.template:
        raise InvalidValueError("a machine needs an image to start from, or a template")
    if machine.disk_size:
        if not disks:
            raise InvalidValueError("ex_disk_size needs an image, or a template that names one")
        size = machine.disk_size * _MIB_IN_GIB
        disks[0] = [pair for pair in disks[0] if pair[0] != "SIZE"] + [("SIZE", size)]
    swapping = any(("TYPE", "swap") in disk for disk in given)
    if machine.swap and not swapping:
        disks.append([("TYPE", "swap"), ("SIZE", machine.swap), ("DEV_PREFIX", prefix)])
    for volume in machine.volumes:
        disks.append([("IMAGE_ID", checked_id(volume, "volume")), ("DEV_PREFIX", prefix)])
    if machine.volatile_disk:
        size = machine.volatile_disk * _MIB_IN_GIB
        empty: Vector = [("TYPE", "fs"), ("SIZE", size), ("FORMAT", "raw")]
        disks.append([*empty, ("DEV_PREFIX", prefix)])
    for image in machine.readonly_images:
        read: Vector = [("IMAGE_ID", checked_id(image, "image")), ("READONLY", "YES")]
        disks.append([*read, ("DEV_PREFIX", prefix)])
    return [] if disks == given else disks


def _nics(machine: NewMachine, network: str, given: list[Vector]) -> list[Vector]:
    """The first network card is the one that is asked for; the others stay."""
    first: Vector = [
        ("NETWORK_ID", network),
        ("IP", ip_address("address", machine.address)),
        ("MODEL", plain_text("network_model", machine.network_model)),
    ]
    return [first, *given[1:]]


def _graphics(machine: NewMachine, base: MachineTemplate | None) -> list[Vector]:
    port = machine.vnc_port
    if not isinstance(port, int) or isinstance(port, bool) or not (port == -1 or 0 < port < 65536):
        raise InvalidValueError(f"vnc_port must be a TCP port, or -1 for any, not {port!r}")
    listen = ip_address("vnc_listen", machine.vnc_listen)
    if base is not None and port == -1 and not listen:
        return []
    keymap = plain_text("keymap", machine.keymap)
    own = [("PORT", "" if port == -1 else port), ("LISTEN", listen), ("KEYMAP", keymap)]
    return [[("TYPE", "VNC"), *own]]


def _context(machine: NewMachine, given: list[Vector]) -> Vector:
    """What the guest reads: the site's own, with ours in the place of what has the same name."""
    before = given[0] if given else []
    own = context_pairs(machine.context, _RESERVED_CONTEXT)
    if machine.public_keys:
        # The site's template lets its keys in besides, such as $USER[SSH_PUBLIC_KEY].
        keys = [str(value) for name, value in before if name == "SSH_PUBLIC_KEY"]
        keys += map(plain_key, machine.public_keys)
        own.append(("SSH_PUBLIC_KEY", "\n".join(keys)))
    if machine.user_data:
        # The engine would expand every $ in it (modern 1).
        encoded = base64.b64encode(machine.user_data).decode("ascii")
        own += [("USERDATA", encoded), ("USERDATA_ENCODING", "base64")]
    if before and not own:
        return []
    names = {name.upper() for name, _ in own}
    if "USERDATA" in names:
        names.add("USER_DATA")
    kept = [pair for pair in before if pair[0].upper() not in names]
    if not any(name.upper() == "NETWORK" for name, _ in kept):
        kept.insert(0, ("NETWORK", "YES"))  # without it the guest gets no address
    return [*kept, *own]


def _vectors(base: MachineTemplate | None) -> _Given:
    found: _Given = {}
    for name, told in base.attributes if base else ():
        if isinstance(told, list):
            found.setdefault(name, []).append([*told])
    return found


def _text(base: MachineTemplate | None, wanted: str) -> str:
    told: Sequence[object] = (
        [value for name, value in base.attributes if name == wanted] if base else ()
    )
    return str(told[0]) if told and isinstance(told[0], str) else ""
