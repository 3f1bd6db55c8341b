"""
The text that describes a new machine, in OpenNebula's template language (compute-xmlrpc 4).

The language has no escape for some texts, and old servers read others back differently. What the
server would not read back exactly is refused here, before anything is sent.
"""

import base64
import re

from stratuslab_libcloud.client.cloud import NewMachine
from stratuslab_libcloud.client.engine.template import (
    _SHELL_VARIABLES,
    _checked_name,
    _packed,
    _shell_safe,
    _single,
    _Vector,
    _vector,
)
from stratuslab_libcloud.errors import InvalidValueError

__all__ = ["render"]

_TARGET_PREFIXES = {"ide": "hd", "scsi": "sd", "virtio": "vd"}
_CONTEXT_TARGET = "hdd"
_RESERVED_CONTEXT = {
    "PUBLIC_KEY",
    "TARGET",
    "CONTEXT_METHOD",
    "CLOUD_INIT_AUTHORIZED_KEYS",
    "CLOUD_INIT_USER_DATA",
}


def render(machine: NewMachine) -> str:
    """
    The template of a machine; every value is quoted.

    :raises InvalidValueError: naming the value that cannot be written.
    """
    if machine.boot.bus not in _TARGET_PREFIXES:
        raise InvalidValueError(
            f"the image's disk bus is {machine.boot.bus!r}; known are ide, scsi and virtio"
        )
    for what, number, least in (
        ("CPUs", machine.cpus, 1),
        ("MiB of RAM", machine.ram, 1),
        ("MiB of swap", machine.swap, 0),
    ):
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise InvalidValueError(f"a machine cannot have {number!r} {what}")
    lines = [
        _single("CPU", machine.cpus),
        _single("VCPU", machine.cpus),
        _single("MEMORY", machine.ram),
        _single("RANK", "- RUNNING_VMS"),
    ]
    if not isinstance(machine.name, str):
        raise InvalidValueError(f"the name of a node is text, not {machine.name!r}")
    if machine.name:
        lines.append(_single("NAME", _checked_name(machine.name)))
    if not isinstance(machine.network, str) or not machine.network.strip():
        raise InvalidValueError(f"{machine.network!r} is not the name of a network")
    lines += _disks(machine)
    lines += [
        _vector("NIC", [("NETWORK_UNAME", "oneadmin"), ("NETWORK", machine.network)]),
        _vector("GRAPHICS", [("PORT", -1), ("KEYMAP", "en-us"), ("TYPE", "vnc")]),
        _vector("CONTEXT", _context(machine)),
    ]
    if machine.boot.inbound_ports:
        lines.append(_single("INBOUND_PORTS", ",".join(map(str, machine.boot.inbound_ports))))
    return "\n".join(lines) + "\n"


def _disks(machine: NewMachine) -> list[str]:
    """Every disk has a target letter of its own; the context drive's is left free."""
    prefix = _TARGET_PREFIXES[machine.boot.bus]
    letters = (
        prefix + letter
        for letter in "cdefghijklmnopqrstuvwxyz"
        if prefix + letter != _CONTEXT_TARGET
    )
    boot: _Vector = [
        ("SOURCE", machine.boot.source),
        ("TARGET", prefix + "a"),
        ("SAVE", "no"),
        ("READONLY", "no"),
        ("DRIVER", machine.boot.driver),
    ]
    swap: _Vector = [
        ("TYPE", "swap"),
        ("SIZE", machine.swap),
        ("TARGET", prefix + "b"),
        ("READONLY", "no"),
    ]
    try:
        volumes: list[_Vector] = [
            [("SOURCE", source), ("TARGET", next(letters)), ("TYPE", "block")]
            for source in machine.volumes
        ]
        images: list[_Vector] = [
            [
                ("SOURCE", url),
                ("TARGET", next(letters)),
                ("SAVE", "no"),
                ("READONLY", "no"),  # libvirt cannot deploy it otherwise (compute-xmlrpc 4.3)
                ("DRIVER", "raw"),
            ]
            for url in machine.readonly_images
        ]
    except StopIteration:
        raise InvalidValueError("a machine cannot have that many disks") from None
    disks = [boot, swap] if machine.swap else [boot]
    return [_vector("DISK", disk) for disk in [*disks, *volumes, *images]]


def _context(machine: NewMachine) -> _Vector:
    keys = "\n".join(map(_plain_key, machine.public_keys))
    pairs: _Vector = [("PUBLIC_KEY", keys)] if keys else []
    seen = set(_RESERVED_CONTEXT)
    for key, value in machine.context.items():
        if not isinstance(key, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key):
            raise InvalidValueError(
                f"the context key {key!r} must be made of letters, digits and underscores"
            )
        if key.upper() in seen:
            raise InvalidValueError(f"the context key {key!r} is taken, or given twice")
        seen.add(key.upper())
        if _SHELL_VARIABLES.fullmatch(key.upper()):  # as the engine will write it
            raise InvalidValueError(
                f"the context key {key!r} is a variable of the machine's shell; take another name"
            )
        if not isinstance(value, (str, int, float)):
            raise InvalidValueError(f"the context value {key!r} is text, not {value!r}")
        pairs.append((key, _shell_safe(f"context value {key!r}", str(value))))
    if machine.context_method == "cloud-init":
        pairs.append(("CONTEXT_METHOD", "cloud-init"))
        if keys:
            authorized = base64.b64encode(f"{keys}\n".encode()).decode("ascii")
            pairs.append(("CLOUD_INIT_AUTHORIZED_KEYS", authorized))
        if machine.user_data:
            pairs.append(("CLOUD_INIT_USER_DATA", _packed(machine.user_data)))
    elif machine.context_method != "one":
        raise InvalidValueError(
            f"the context method is one or cloud-init, not {machine.context_method!r}"
        )
    elif machine.user_data:
        raise InvalidValueError("user data needs the context method 'cloud-init'")
    return [*pairs, ("TARGET", _CONTEXT_TARGET)]


def _plain_key(line: str) -> str:
    """A public key; its comment is dropped where a shell could trip over it."""
    fields = line.split(None, 2)
    if len(fields) == 3 and not re.fullmatch(r"[\w@.:+,/ -]*", fields[2], re.ASCII):
        line = " ".join(fields[:2])
    return _shell_safe("public key", line)
