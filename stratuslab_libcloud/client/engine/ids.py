"""Ids of machines, and of all that an engine has: small numbers, assigned by each cloud."""

from stratuslab_libcloud.errors import InvalidValueError

__all__ = ["checked_id", "is_id"]

_MOST_DIGITS = 9


def is_id(text: str) -> bool:
    """Whether a text has the form of such an id."""
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()


def checked_id(identifier: object, what: str = "node") -> str:
    """
    Check an id before it is sent.

    :param what: what it should be the id of, for the message.
    :raises InvalidValueError: it is not an id.
    """
    if not is_id(str(identifier)):
        article = "an" if what[0] in "aeiou" else "a"
        raise InvalidValueError(f"{identifier!r} is not the id of {article} {what}")
    return str(identifier)
