"""Whose something is, who may use it, and which part of a pool somebody sees (modern 2, 3)."""

import re
from typing import TypeVar

from stratuslab_libcloud.sandbox.opennebula.records import USERS_GID, Book, Item
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    API,
    AUTHORIZATION,
    NO_EXISTS,
    RefusedError,
)
from stratuslab_libcloud.sandbox.store import Account

__all__ = [
    "bad_name",
    "demand",
    "in_range",
    "may",
    "obtain",
    "permit",
    "pool",
    "rename",
    "taken",
    "unlock",
]

T = TypeVar("T", bound=Item)

_MAX_NAME_BYTES = 128
_FORBIDDEN = re.compile(r"""[<>&'"/:;|$#{}\\\n\t]""")


def may(account: Account, item: Item, right: str) -> bool:
    """
    Return whether an account has a right on something.

    :param right: ``USE``, ``MANAGE`` or ``ADMIN``.
    """
    bit = ("USE", "MANAGE", "ADMIN").index(right)
    if item.locked and right != "USE":
        return False
    bits = [item.permissions[6 + bit]]
    if account.uid == item.uid:
        bits.append(item.permissions[bit])
    if item.gid == USERS_GID:
        bits.append(item.permissions[3 + bit])
    return "1" in bits


def demand(account: Account, item: Item, right: str) -> None:
    """
    Demand a right.

    :raises RefusedError: the account does not have it.
    """
    if not may(account, item, right):
        text = f"Not authorized to perform {right} {item.RIGHT} [{item.id}]."
        raise RefusedError(text, AUTHORIZATION)


def obtain(book: Book, account: Account, kind: type[T], number: int, right: str) -> T:
    """
    Find something that the account has a right on. That it exists is no secret (engines 7).

    :raises RefusedError: it does not exist, or the account does not have that right.
    """
    item = book.find(kind, number) if number > -1 else None
    if item is None and number < 0:
        if right == "USE":
            raise RefusedError(f"Not authorized to perform USE {kind.RIGHT}.", AUTHORIZATION)
        raise RefusedError(f"Error getting {kind.WHAT} Pool.", NO_EXISTS)
    if item is None:
        raise RefusedError(f"Error getting {kind.WHAT} [{number}].", NO_EXISTS, number)
    demand(account, item, right)
    return item


def pool(
    book: Book, account: Account, kind: type[T], flag: int, start: int = -1, end: int = -1
) -> list[T]:
    """Return the part of a pool that filter and range select, newest first (modern 2)."""
    if flag < -4:
        raise RefusedError("Incorrect filter_flag", API)
    found = []
    owner = flag if flag >= 0 else account.uid
    for item in book.all(kind) if flag in (-1, -2) else book.of(kind, owner):
        group_only = flag == -1 and item.gid != USERS_GID and item.uid != account.uid
        if not group_only and may(account, item, "USE"):
            found.append(item)
    if end < -1:  # skip some, give so many
        first = max(start, 0)
        return found[first : first - end]
    return [item for item in found if in_range(item, start, end)]


def in_range(item: Item, start: int, end: int) -> bool:
    """Return whether a range of ids has this one; without a start it is everything."""
    return start < 0 or (start <= item.id and (end < 0 or item.id <= end))


def permit(book: Book, account: Account, kind: type[T], number: int, bits: tuple[int, ...]) -> None:
    """
    Change permissions; -1 leaves one as it is (modern 4).

    :raises RefusedError: the account may not, or nobody may but an administrator.
    """
    for_administrators = 1 in bits[2::3] or max(bits) > 1
    item = obtain(book, account, kind, number, "ADMIN" if for_administrators else "MANAGE")
    old = item.permissions
    item.permissions = "".join(
        was if bit < 0 else str(bit) for was, bit in zip(old, bits, strict=True)
    )
    book.put(item)


def unlock(book: Book, account: Account, kind: type[T], number: int) -> None:
    """
    Let something be changed again that was locked by hand.

    :raises RefusedError: the account could not change it anyway.
    """
    item = obtain(book, account, kind, number, "USE")
    item.locked = 0
    demand(account, item, "MANAGE")
    book.put(item)


def bad_name(name: str) -> str:
    """Return what is wrong with a name; empty if nothing is (modern 4)."""
    if not name:
        return "Invalid NAME, it cannot be empty"
    if match := _FORBIDDEN.search(name):
        return f"Invalid NAME, char '{match[0]}' is not allowed"
    if len(name.encode()) > _MAX_NAME_BYTES:
        return f"Invalid NAME, max length is {_MAX_NAME_BYTES} chars"
    return ""


def rename(
    book: Book, account: Account, kind: type[Item], number: int, name: str, unique: str = ""
) -> None:
    """
    Rename something.

    :param unique: what it is called in a message, if its owner may have no other of that name.
    """
    item = obtain(book, account, kind, number, "MANAGE")
    name = name.strip()
    if wrong := bad_name(name):
        raise RefusedError(wrong, ACTION)
    other = book.named(kind, item.uid, name) if unique else None
    if other and other.id != number:
        text = f"{unique} cannot be renamed to {name} because it collides with {unique} {other.id}"
        raise RefusedError(text, ACTION)
    item.name = name
    book.put(item)


def taken(book: Book, kind: type[Item], uid: int, name: str) -> str:
    """Return that a name is taken, in the engine's words; empty if it is not."""
    other = book.named(kind, uid, name)
    return f"NAME is already taken by {kind.RIGHT} {other.id}." if other else ""
