"""
Describe a new machine in OpenNebula's template language (compute-xmlrpc 4).

The language cannot express some texts, and old servers change others. A value that the server would
not read back exactly is refused here, before anything is sent.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from stratuslab_libcloud.client.data import NewImage, NewMachine
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
from stratuslab_libcloud.client.engine.template import Vector, checked_name, packed, single, vector
from stratuslab_libcloud.errors import InvalidValueError
from stratuslab_libcloud.metadata.rules import is_email

__all__ = ["BootDisk", "render"]

_CONTEXT_TARGET = "hdd"
_HOST_CPU = (  # for libvirt
    "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
    "<qemu:arg value='-cpu'/><qemu:arg value='host'/></qemu:commandline>"
)
_MIB_IN_GIB = 1024
_LONGEST_TITLE = 40  # characters; it becomes the tag of a persistent disk
_LOST = " \t\r\n\"'"  # at the ends of values that are read to save a machine (compute-xmlrpc 4.7)
_RESERVED_CONTEXT = {
    "PUBLIC_KEY",
    "TARGET",
    "CONTEXT_METHOD",
    "CLOUD_INIT_AUTHORIZED_KEYS",
    "CLOUD_INIT_USER_DATA",
}


@dataclass(frozen=True)
class BootDisk:
    """
    The disk that a machine starts from.

    :ivar source: URL of the Marketplace entry, or ``pdisk:`` URI.
    :ivar driver: disk format, such as ``qcow2``.
    :ivar bus: ``ide``, ``scsi`` or ``virtio``, for all disks of the machine.
    """

    source: str
    driver: str = "raw"
    bus: str = "ide"
    inbound_ports: Sequence[int] = ()


def render(
    machine: NewMachine,
    boot: BootDisk,
    volumes: Sequence[str] = (),
    readonly_images: Sequence[str] = (),
) -> str:
    """
    Write the template of a machine; every value is quoted.

    :param boot: the disk for its ``image``.
    :param volumes: ``pdisk:`` URIs of its volumes.
    :param readonly_images: URLs of the Marketplace entries of its read-only images.
    :raises InvalidValueError: names the value that cannot be written.
    """
    prefix = disk_prefix(boot.bus, "disks_bus" if machine.disks_bus else "image's disk bus")
    check_numbers(machine)
    lines = [
        single("CPU", machine.cpus if machine.cpu_amount is None else f"{machine.cpu_amount:g}"),
        single("VCPU", machine.cpus),
        single("MEMORY", machine.ram),
        single("RANK", "- RUNNING_VMS"),
    ]
    if machine.requirements:
        lines.append(single("REQUIREMENTS", plain_text("requirements", machine.requirements)))
    if not isinstance(machine.name, str):
        raise InvalidValueError(f"the name of a node must be text, not {machine.name!r}")
    if machine.name:
        lines.append(single("NAME", checked_name(machine.name)))
    lines += _disks(machine, boot, prefix, volumes, readonly_images)
    graphics: Vector = [*screen(machine), ("TYPE", "vnc")]
    lines += [vector("NIC", _nic(machine)), vector("GRAPHICS", graphics)]
    if machine.use_host_cpu:
        lines.append(vector("RAW", [("TYPE", "kvm"), ("DATA", _HOST_CPU)]))
    lines.append(vector("CONTEXT", _context(machine)))
    if boot.inbound_ports:
        lines.append(single("INBOUND_PORTS", ",".join(map(str, boot.inbound_ports))))
    if machine.save_as:
        lines.append(vector("CREATE_IMAGE", _saving(machine.save_as)))
    return "\n".join(lines) + "\n"


def _nic(machine: NewMachine) -> Vector:
    if not isinstance(machine.network, str) or (machine.network and not machine.network.strip()):
        raise InvalidValueError(f"{machine.network!r} is not the name of a network")
    return [
        ("NETWORK_UNAME", "oneadmin"),
        ("NETWORK", machine.network or "public"),
        ("IP", ip_address("address", machine.address)),
        ("MODEL", plain_text("network_model", machine.network_model)),
    ]


def _disks(
    machine: NewMachine,
    boot: BootDisk,
    prefix: str,
    volumes: Sequence[str],
    readonly_images: Sequence[str],
) -> list[str]:
    """
    Give every disk a target letter of its own, other than the context drive's.

    Volumes come first, as the guide finds one at ``c`` (7.3.1).
    """
    letters = (
        prefix + letter
        for letter in "cdefghijklmnopqrstuvwxyz"
        if prefix + letter != _CONTEXT_TARGET
    )
    first: Vector = [
        ("SOURCE", boot.source),
        ("TARGET", prefix + "a"),
        ("SAVE", "yes" if machine.save_as else "no"),
        ("READONLY", "no"),
        ("DRIVER", boot.driver),
    ]
    swap: Vector = [
        ("TYPE", "swap"),
        ("SIZE", machine.swap),
        ("TARGET", prefix + "b"),
        ("READONLY", "no"),
    ]
    try:
        plugged: list[Vector] = [
            [("SOURCE", source), ("TARGET", next(letters)), ("TYPE", "block")] for source in volumes
        ]
        lost: list[Vector] = [
            [
                ("TYPE", "fs"),
                ("FORMAT", "ext3"),
                ("SIZE", size * _MIB_IN_GIB),
                ("TARGET", next(letters)),
                ("SAVE", "no"),
                ("READONLY", "no"),
            ]
            for size in (machine.volatile_disk,)
            if size
        ]
        read: list[Vector] = [
            [
                ("SOURCE", url),
                ("TARGET", next(letters)),
                ("SAVE", "no"),
                ("READONLY", "no"),  # libvirt cannot deploy it otherwise (compute-xmlrpc 4.3)
                ("DRIVER", "raw"),
            ]
            for url in readonly_images
        ]
    except StopIteration:
        raise InvalidValueError("a machine cannot have that many disks") from None
    disks = [first, swap] if machine.swap else [first]
    return [vector("DISK", disk) for disk in [*disks, *plugged, *lost, *read]]


def _saving(image: NewImage) -> Vector:
    """Describe the image that a machine becomes (compute-xmlrpc 4.7)."""
    pairs: Vector = []
    for key, what, value in (
        ("CREATOR_EMAIL", "email", image.email),
        ("CREATOR_NAME", "author", image.author),
        ("NEWIMAGE_TITLE", "title", image.title),
        ("NEWIMAGE_COMMENT", "comment", image.comment),
        ("NEWIMAGE_VERSION", "version", image.version),
        ("NEWIMAGE_MARKETPLACE", "marketplace", image.marketplace),
    ):
        text = plain_text(what, value)
        if not text and what not in ("version", "marketplace"):
            raise InvalidValueError(f"the image that a machine becomes needs text as {what}")
        if text != text.strip(_LOST):
            raise InvalidValueError(
                f"the {what} must not begin or end with a blank or a quotation mark, which would "
                f"be lost: {text!r}"
            )
        pairs.append((key, text))
    if len(image.title) > _LONGEST_TITLE:
        raise InvalidValueError(
            f"the title has {len(image.title)} characters, but the limit is {_LONGEST_TITLE}"
        )
    if not is_email(image.email):
        raise InvalidValueError(f"the email {image.email!r} is not an e-mail address")
    return pairs


def _context(machine: NewMachine) -> Vector:
    keys = "\n".join(map(plain_key, machine.public_keys))
    pairs: Vector = [("PUBLIC_KEY", keys)] if keys else []
    pairs += context_pairs(machine.context, _RESERVED_CONTEXT)
    if context_method(machine) == "cloud-init":
        pairs.append(("CONTEXT_METHOD", "cloud-init"))
        if keys:
            authorized = base64.b64encode(f"{keys}\n".encode()).decode("ascii")
            pairs.append(("CLOUD_INIT_AUTHORIZED_KEYS", authorized))
        if machine.user_data:
            pairs.append(("CLOUD_INIT_USER_DATA", packed(machine.user_data)))
    elif machine.user_data:
        raise InvalidValueError("user data needs the context method 'cloud-init'")
    return [*pairs, ("TARGET", _CONTEXT_TARGET)]
