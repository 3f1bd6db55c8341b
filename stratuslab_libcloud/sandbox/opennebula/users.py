"""Users: who they are, what they say about themselves, their tokens and limits (modern 8, 9)."""

import secrets
import time

from stratuslab_libcloud.sandbox.accounts import Accounts
from stratuslab_libcloud.sandbox.opennebula import quotas
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.documents import Value, user_document
from stratuslab_libcloud.sandbox.opennebula.records import Book, User
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    API,
    AUTHENTICATION,
    AUTHORIZATION,
    INTERNAL,
    NO_EXISTS,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.templates import flat, parse
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import TemplateError

__all__ = ["authenticated", "info", "limit", "listing", "login", "update"]

_DENIED = "User couldn't be authenticated, aborting call."
_VM = ("VMS", "CPU", "MEMORY", "RUNNING_VMS", "RUNNING_CPU", "RUNNING_MEMORY", "SYSTEM_DISK_SIZE")


def authenticated(core: Core, accounts: Accounts, session: str) -> Account:
    """
    Return the account of a session: name and password, or name and token.

    :raises RefusedError: neither is right; the answer is always the same.
    """
    name, _, secret = session.partition(":")
    if account := accounts.by_password(name, secret):
        return account
    now = time.time()
    with core.reading() as book:
        for user in book.all(User):
            expires = user.tokens.get(secret)
            if user.name != name or expires is None or -1 < expires <= now:
                continue
            if account := accounts.by_name(name):
                return account
    raise RefusedError(_DENIED, AUTHENTICATION)


def record(book: Book, account: Account) -> User:
    """Return what is kept about an account."""
    found = book.find(User, account.uid)
    return found or User(id=account.uid, uid=account.uid, uname=account.name, name=account.name)


def _obtain(book: Book, account: Account, number: int, right: str) -> User:
    if number not in (-1, account.uid):
        text = f"Not authorized to perform {right} USER [{number}]."
        raise RefusedError(text, AUTHORIZATION)
    return record(book, account)


def info(core: Core, account: Account, number: int, decrypt: bool = False) -> str:
    """Return the caller's own document."""
    with core.reading() as book:
        user = _obtain(book, account, number, "USE")
        return user_document(user, _quotas(book, user), _NO_DEFAULTS)


_NO_DEFAULTS: dict[str, Value] = {
    "DATASTORE_QUOTA": {},
    "NETWORK_QUOTA": {},
    "VM_QUOTA": {},
    "IMAGE_QUOTA": {},
}


def listing(core: Core, account: Account) -> str:
    """Return the pool of users, in which everybody finds himself only."""
    with core.reading() as book:
        document = user_document(record(book, account), {})
    return f"<USER_POOL>{document}<DEFAULT_USER_QUOTAS/></USER_POOL>"


def update(core: Core, account: Account, number: int, text: str, mode: int = 0) -> int:
    """Replace (0) or add to (1) what a user says about himself."""
    try:
        values = flat(parse(text, strip=core.is_new)) if text.strip() else {}
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None
    with core.changing() as book:
        user = _obtain(book, account, number, "MANAGE")
        user.template = user.template | values if mode else values
        book.put(user)
    return user.id


def login(
    core: Core, account: Account, name: str, token: str, seconds: int, group: int = -1
) -> str:
    """
    Make a token, or end one.

    :param token: one of the user's own choice, or empty.
    :param seconds: how long it is good for; -1 for ever, 0 to end it.
    """
    if name != account.name:
        raise RefusedError("Not authorized to perform MANAGE USER.", AUTHORIZATION)
    if group not in (-1, 1):
        raise RefusedError("EGID is not in user group list", API)
    with core.changing() as book:
        user = record(book, account)
        now = int(time.time())
        user.tokens = {one: end for one, end in user.tokens.items() if end == -1 or end > now}
        if seconds == 0:
            if token and token not in user.tokens:
                raise RefusedError("Could not find token", NO_EXISTS)
            user.tokens.pop(token, None)
            book.put(user)
            return ""
        token = token or secrets.token_hex(32)
        user.tokens[token] = -1 if seconds < 0 else now + seconds
        book.put(user)
    return token


def quota(core: Core, account: Account, number: int, text: str) -> int:
    """Refuse: nobody sets his own limits."""
    raise RefusedError(f"Not authorized to perform ADMIN USER [{number}].", AUTHORIZATION)


def limit(core: Core, account: Account | None, name: str, amount: float, number: int = 0) -> None:
    """
    Limit what an account may use.

    :param account: None for the group of all users.
    :param name: of the limit, such as ``VMS``: a key of ``quotas.NAMES``.
    :param amount: -1 and -2 for none.
    :param number: the image, network or datastore that it is about.
    """
    if name not in quotas.NAMES:
        known = ", ".join(quotas.NAMES)
        raise ValueError(f"there is no quota {name}, but {known}")
    key = name if quotas.NAMES[name] == "VM" else f"{name} {number}"
    with core.changing() as book:
        if account:
            user = record(book, account)
        else:
            group = quotas.GROUP
            user = book.find(User, group) or User(id=group, uid=group, name="users")
        user.limits[key] = amount
        book.put(user)


def _quotas(book: Book, user: User) -> dict[str, Value]:
    """Return the elements with limits and usage; empty where nothing is limited or used."""
    used, limits = quotas.usage(book, user.id), user.limits

    def shown(names: tuple[str, ...], number: str = "") -> dict[str, Value]:
        values: dict[str, Value] = {"ID": number} if number else {}
        for name in names:
            key = f"{name} {number}".strip()
            values |= {name: f"{limits.get(key, -1):g}", f"{name}_USED": f"{used.get(key, 0):g}"}
        return values

    def numbers(name: str) -> list[str]:
        keys = {key for key, amount in used.items() if amount} | set(limits)
        return sorted(key.split()[1] for key in keys if key.startswith(f"{name} "))

    vm_used = used["VMS"] or any(name in limits for name in _VM)
    return {
        "DATASTORE_QUOTA": {
            "DATASTORE": [
                shown(("IMAGES", "SIZE"), n) for n in sorted({*numbers("IMAGES"), *numbers("SIZE")})
            ]
        },
        "NETWORK_QUOTA": {"NETWORK": [shown(("LEASES",), n) for n in numbers("LEASES")]},
        "VM_QUOTA": {"VM": shown(_VM)} if vm_used else {},
        "IMAGE_QUOTA": {"IMAGE": [shown(("RVMS",), n) for n in numbers("RVMS")]},
    }
