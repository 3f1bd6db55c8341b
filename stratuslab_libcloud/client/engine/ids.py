"""Ids of machines: small numbers, assigned by each cloud."""

import re

from stratuslab_libcloud.errors import InvalidValueError

__all__ = ["checked_id", "is_id"]

_ID = re.compile("[0-9]{1,9}")


def is_id(text: str) -> bool:
    """Whether a text has the form of a machine's id."""
    return _ID.fullmatch(text) is not None


def checked_id(machine_id: object) -> str:
    """
    Check the id of a machine before it is sent.

    :raises InvalidValueError: it is not an id.
    """
    if not is_id(str(machine_id)):
        raise InvalidValueError(f"{machine_id!r} is not the id of a node")
    return str(machine_id)
