"""Write the template of a new machine, or what is to replace a part of a site's (modern 6)."""

import base64
import re
from collections import defaultdict
from collections.abc import Sequence

from stratuslab_libcloud.client.data import MachineTemplate, NewMachine
from stratuslab_libcloud.client.engine.ids import checked_id
from stratuslab_libcloud.client.engine.orders import (
    check_numbers,
    context_method,
    context_pairs,
    disk_prefix,
    ip_address,
    plain_key,
    plain_text,
    screen,
)
from stratuslab_libcloud.client.engine.template import Vector, single, vector
from stratuslab_libcloud.client.opennebula.names import checked_name
from stratuslab_libcloud.errors import InvalidValueError

__all__ = ["render"]

_MIB_IN_GIB = 1024
_USUAL_KEYMAP = "en-us"  # what callers have who do not ask for any
# What a template says of the network of a card; the rest is about the card itself.
_OF_NETWORK = re.compile("NETWORK|IP|MAC|AR_ID|GATEWAY|DNS|SCHED_")
_RESERVED_CONTEXT = {"NETWORK", "SSH_PUBLIC_KEY", "USERDATA", "USERDATA_ENCODING", "USER_DATA"}


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
    prefix = disk_prefix(machine.disks_bus or "virtio")
    given = _vectors(base)
    share = machine.cpu_amount
    labels = filter(None, (_text(base, "LABELS"), machine.mark))
    singles: Vector = [
        ("NAME", checked_name("node", machine.name, needed=False)),
        ("CPU", machine.cpus if share is None else f"{share:g}"),
        ("VCPU", machine.cpus),
        ("MEMORY", machine.ram),
        ("SCHED_REQUIREMENTS", plain_text("requirements", machine.requirements)),
        ("LABELS", ",".join(labels) if machine.mark else ""),
    ]
    vectors: dict[str, list[Vector]] = {
        "DISK": _disks(machine, prefix, given["DISK"]),
        "NIC": _nics(machine, network, given["NIC"]),
        "GRAPHICS": _graphics(machine, base, given["GRAPHICS"]),
        "CPU_MODEL": [[("MODEL", "host-passthrough")]] if machine.use_host_cpu else [],
        "CONTEXT": _contexts(machine, given["CONTEXT"]),
    }
    lines = [single(name, value) for name, value in singles if value]
    lines += [vector(name, pairs) for name, found in vectors.items() for pairs in found]
    return "\n".join(lines) + "\n"


def _disks(machine: NewMachine, prefix: str, given: list[Vector]) -> list[Vector]:
    """All disks, if there are others than those of the site's template."""
    disks = list(given)
    if machine.image:
        boot: Vector = [("IMAGE_ID", checked_id(machine.image, "image")), ("DEV_PREFIX", prefix)]
        disks = [boot, *given[1:]]
    elif not machine.template:
        raise InvalidValueError("a machine needs an image to start from, or a template")
    if machine.disk_size:
        if not disks:
            raise InvalidValueError("ex_disk_size needs an image, or a template that names one")
        disks[0] = _replaced(disks[0], [("SIZE", machine.disk_size * _MIB_IN_GIB)])
    if machine.swap and not any(map(_is_swap, given)):
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


def _is_swap(disk: Vector) -> bool:
    return any(name == "TYPE" and str(value).lower() == "swap" for name, value in disk)


def _nics(machine: NewMachine, network: str | None, given: list[Vector]) -> list[Vector]:
    """The first network card is put into the network that is asked for; the others stay."""
    if network is None:
        if machine.address or machine.network_model:
            raise InvalidValueError("an address or network_model needs a network: give that, too")
        return []
    asked: Vector = [
        ("NETWORK_ID", network),
        ("IP", ip_address("address", machine.address)),
        ("MODEL", plain_text("network_model", machine.network_model)),
    ]
    card = [pair for pair in given[0] if not _OF_NETWORK.match(pair[0])] if given else []
    return [_replaced(card, asked), *given[1:]]


def _graphics(
    machine: NewMachine, base: MachineTemplate | None, given: list[Vector]
) -> list[Vector]:
    """The screen, unless that of the site's template will do."""
    asked = [pair for pair in screen(machine) if pair != ("PORT", -1)]
    usual: Vector = [("TYPE", "VNC")]
    if base is None:
        return [[*usual, *asked]]
    asked = [pair for pair in asked if pair[1] not in ("", _USUAL_KEYMAP)]
    return [_replaced(given[0] if given else usual, asked)] if asked else []


def _replaced(given: Vector, asked: Vector) -> Vector:
    """What is given, with what is asked for in the place of what has the same name."""
    names = {name for name, value in asked if value != ""}
    return [*(pair for pair in given if pair[0] not in names), *asked]


def _contexts(machine: NewMachine, given: list[Vector]) -> list[Vector]:
    """What the guest reads: the site's own, with ours in the place of what has the same name."""
    context_method(machine)  # modern guests understand either, with what follows
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
    return [[*kept, *own]]


def _vectors(base: MachineTemplate | None) -> defaultdict[str, list[Vector]]:
    found: defaultdict[str, list[Vector]] = defaultdict(list)
    for name, told in base.attributes if base else ():
        if isinstance(told, list):
            found[name].append([*told])
    return found


def _text(base: MachineTemplate | None, wanted: str) -> str:
    told: Sequence[object] = (
        [value for name, value in base.attributes if name == wanted] if base else ()
    )
    return str(told[0]) if told and isinstance(told[0], str) else ""
