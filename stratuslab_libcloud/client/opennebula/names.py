"""Names that the engine accepts, for machines and images alike (modern 4)."""

import re

from stratuslab_libcloud.errors import InvalidValueError

__all__ = ["checked_name"]

_LONGEST = 128  # bytes
_REFUSED = re.compile("[<>&'\"/:;|$#{}\\\\\x00-\x1f\x7f\ud800-\udfff\U00010000-\U0010ffff]")


def checked_name(what: str, name: object, *, needed: bool = True) -> str:
    """
    Check a name before it is sent.

    :param what: whose, for the message, such as ``volume``.
    :param needed: whether there must be one.
    :return: the name as the engine keeps it, without blanks at its ends.
    :raises InvalidValueError: the engine would refuse it.
    """
    if not isinstance(name, str):
        raise InvalidValueError(f"the {what} name must be text, not {name!r}")
    name = name.strip(" ")
    if needed and not name:
        raise InvalidValueError(f"the {what} must have a name on OpenNebula")
    if found := _REFUSED.search(name):
        raise InvalidValueError(f"the {what} name {name!r} must not contain {found[0]!r}")
    length = len(name.encode())
    if length > _LONGEST:
        raise InvalidValueError(
            f"the {what} name is too long: {length} bytes in UTF-8, but the limit is {_LONGEST}"
        )
    return name
