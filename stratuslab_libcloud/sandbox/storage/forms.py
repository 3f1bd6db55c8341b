"""Read the forms that describe disks (pdisk-rest 2.1.2, 2.2.4)."""

import re

from stratuslab_libcloud.sandbox.storage.records import Refusal, RequestRefusedError
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["Form", "read_columns", "read_size"]

Form = dict[str, str]

_MAX_GIB = 1024
_CHOICES = {
    "visibility": ("PRIVATE", "PUBLIC"),
    "type": (
        "DATA_IMAGE_RAW_READ_WRITE",
        "DATA_IMAGE_RAW_READONLY",
        "DATA_IMAGE_ORIGIN",
        "DATA_IMAGE_LIVE",
        "MACHINE_IMAGE_ORIGIN",
        "MACHINE_IMAGE_LIVE",
    ),
}
_SUPER_FIELDS = ("owner", "identifier", "quarantine")


def read_size(text: str) -> int:
    """
    Read the size of a new disk, in GiB.

    :raises RequestRefusedError: a disk cannot have this size.
    """
    if not re.fullmatch("[+-]?[0-9]{1,9}", text):
        raise RequestRefusedError(
            Refusal.MALFORMED, f'Error parsing size: For input string: "{text}"'
        )
    if not 1 <= int(text) <= _MAX_GIB:
        raise RequestRefusedError(
            Refusal.MALFORMED, f"Size must be an integer between 1 and {_MAX_GIB}"
        )
    return int(text)


def read_columns(account: Account, form: Form) -> Form:
    """
    Read the columns that a form sets.

    :raises RequestRefusedError: a value is invalid, or this account may not set it.
    """
    for name in _SUPER_FIELDS:
        if name in form and not account.is_super:
            raise RequestRefusedError(Refusal.DENIED, f"insufficient rights to set {name}")
    values = {name: form[name] for name in ("tag", *_CHOICES, *_SUPER_FIELDS) if name in form}
    if "visibility" in values:
        values["visibility"] = values["visibility"].upper()
    for name, choices in _CHOICES.items():
        if values.get(name, choices[0]) not in choices:
            raise RequestRefusedError(
                Refusal.MALFORMED, f"Invalid value for form element {name}: {form[name]}"
            )
    return values
