"""Check what an order for a machine says, before anything is sent (compute-xmlrpc 4)."""

import ipaddress
import re
from collections.abc import Collection, Mapping

from stratuslab_libcloud.client.data import NewMachine
from stratuslab_libcloud.client.engine.template import SHELL_VARIABLES, Vector, shell_safe
from stratuslab_libcloud.errors import InvalidValueError

__all__ = [
    "check_numbers",
    "context_method",
    "context_pairs",
    "disk_prefix",
    "ip_address",
    "plain_key",
    "plain_text",
    "screen",
]

_PREFIXES = {"ide": "hd", "scsi": "sd", "virtio": "vd"}


def check_numbers(machine: NewMachine) -> None:
    """Refuse sizes that no machine can have; one from a template may leave them to that."""
    least = 0 if machine.template else 1
    for what, number, smallest in (
        ("CPUs", machine.cpus, least),
        ("MiB of RAM", machine.ram, least),
        ("MiB of swap", machine.swap, 0),
        ("GiB of volatile disk", machine.volatile_disk, 0),
        ("GiB of root disk", machine.disk_size, 0),
    ):
        if not isinstance(number, int) or isinstance(number, bool) or number < smallest:
            raise InvalidValueError(f"a machine cannot have {number!r} {what}")
    amount = machine.cpu_amount
    if amount is None:
        return
    if not isinstance(amount, (int, float)) or not 0 < amount <= (machine.cpus or amount):
        raise InvalidValueError(
            f"cpu_amount must be a number of CPUs, more than 0 and at most {machine.cpus}, not "
            f"{amount!r}"
        )


def disk_prefix(bus: str, whose: str = "disks_bus") -> str:
    """
    Return what the names of disks on a bus begin with, such as ``vd``.

    :param whose: whose bus it is, for the message.
    """
    prefix = _PREFIXES.get(plain_text(whose, bus))
    if prefix is None:
        raise InvalidValueError(f"the {whose} must be ide, scsi or virtio, not {bus!r}")
    return prefix


def screen(machine: NewMachine) -> Vector:
    """Check what a machine's screen should be like; the port -1 is any."""
    port = machine.vnc_port
    if not isinstance(port, int) or isinstance(port, bool) or not (port == -1 or 0 < port < 65536):
        raise InvalidValueError(f"vnc_port must be a TCP port, or -1 for any, not {port!r}")
    return [
        ("PORT", port),
        ("LISTEN", ip_address("vnc_listen", machine.vnc_listen)),
        ("KEYMAP", plain_text("keymap", machine.keymap)),
    ]


def ip_address(what: str, text: str) -> str:
    """Refuse what is neither empty nor an IP address."""
    try:
        return str(ipaddress.ip_address(plain_text(what, text))) if text else ""
    except ValueError:
        raise InvalidValueError(f"{what} must be an IP address, not {text!r}") from None


def plain_text(what: str, value: str) -> str:
    """Refuse what is no text."""
    if not isinstance(value, str):
        raise InvalidValueError(f"{what} must be text, not {value!r}")
    return value


def context_method(machine: NewMachine) -> str:
    """Refuse what is not a way for a context to reach its machine."""
    if machine.context_method not in ("one", "cloud-init"):
        raise InvalidValueError(
            f"the context method must be one or cloud-init, not {machine.context_method!r}"
        )
    return machine.context_method


def context_pairs(context: Mapping[str, str], reserved: Collection[str]) -> Vector:
    """
    Check the further values for the guest.

    :param reserved: keys that the order writes itself, in upper case.
    """
    pairs: Vector = []
    seen = set(reserved)
    for key, value in context.items():
        if not isinstance(key, str) or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key):
            raise InvalidValueError(
                f"the context key {key!r} must be made of letters, digits and underscores"
            )
        if key.upper() in seen:
            raise InvalidValueError(f"the context key {key!r} is reserved, or given twice")
        seen.add(key.upper())
        if SHELL_VARIABLES.fullmatch(key.upper()):  # as the engine writes it
            raise InvalidValueError(
                f"the context key {key!r} is a variable of the machine's shell; use another name"
            )
        if not isinstance(value, (str, int, float)):
            raise InvalidValueError(f"the context value {key!r} must be text, not {value!r}")
        pairs.append((key, shell_safe(f"context value {key!r}", str(value))))
    return pairs


def plain_key(line: str) -> str:
    """Drop the comment of a public key if a shell could misread it."""
    fields = line.split(None, 2)
    if len(fields) == 3 and not re.fullmatch(r"[\w@.:+,/ -]*", fields[2], re.ASCII):
        line = " ".join(fields[:2])
    return shell_safe("public key", line)
