"""The directory of a site: its lock, its secrets, and checks of the text in its files."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import secrets
import shutil
import sqlite3
import string
import tempfile
from collections.abc import Iterator

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from stratuslab_libcloud.paths import expanded
from stratuslab_libcloud.sandbox.durable import write_private
from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.store import SUPER_USER

__all__ = [
    "DEFAULT_USER",
    "check_account",
    "in_one_line",
    "lock_directory",
    "made_passwords",
    "open_directory",
    "ssh_key",
]

DEFAULT_USER = "clouduser"
_MAX_USER = 64  # what fits in the common name of a certificate
_RESERVED = {"default", "sandbox", "certificate", "instance_types", "oneadmin", SUPER_USER}
_ALPHABET = string.ascii_letters + string.digits


def open_directory(
    given: str | os.PathLike[str] | None, stack: contextlib.ExitStack
) -> pathlib.Path:
    """
    Return the directory of a site, creating it if it is missing.

    :param given: None for a temporary one, which is removed when the stack is closed.
    :raises SandboxError: it cannot be used.
    """
    try:
        path = expanded(tempfile.gettempdir() if given is None else os.fspath(given)).absolute()
    except ValueError as error:
        raise SandboxError(f"the directory {given} {error}") from None
    _check_text(f"{path}/", f"path of the directory {str(path)!r}")
    if given is None:
        temporary = pathlib.Path(tempfile.mkdtemp(prefix="stratuslab-sandbox-"))
        stack.callback(shutil.rmtree, temporary)
        return temporary
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxError(f"cannot use {path} as directory: {error.strerror}") from None
    return path


def lock_directory(directory: pathlib.Path, stack: contextlib.ExitStack) -> None:
    """
    Keep other sandboxes out of a directory until the stack is closed.

    :raises SandboxError: another sandbox uses it, or it cannot be written to.
    """
    try:
        file = stack.enter_context((directory / "lock").open("wb"))
    except OSError as error:
        raise SandboxError(f"cannot write in {directory}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SandboxError(f"another sandbox is running on {directory}") from None


@contextlib.contextmanager
def in_one_line(directory: pathlib.Path) -> Iterator[None]:
    """
    Report expected failures in a directory in one line.

    :raises SandboxError: the database or a file could not be used.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise SandboxError(f"{directory / 'sandbox.db'} cannot be used: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise SandboxError(f"{error.filename or directory} cannot be used: {reason}") from error


def made_passwords(directory: pathlib.Path, durable: bool) -> dict[str, str]:
    """
    Return the random passwords of a directory, making them if they are missing.

    :return: those of the default user and the super user, by name.
    :raises SandboxError: their file is damaged.
    """
    path = directory / "passwords.json"
    if not path.exists():
        made = {
            user: "".join(secrets.choice(_ALPHABET) for _ in range(20))
            for user in (DEFAULT_USER, SUPER_USER)
        }
        write_private(path, json.dumps(made).encode(), durable=durable)
    with contextlib.suppress(ValueError, TypeError, KeyError):
        passwords = json.loads(path.read_bytes())
        found = {user: passwords[user] for user in (DEFAULT_USER, SUPER_USER)}
        if all(isinstance(password, str) and password for password in found.values()):
            return found
    raise SandboxError(f"{path} is damaged: remove it, and new passwords will be made")


def ssh_key(directory: pathlib.Path, durable: bool) -> pathlib.Path:
    """Return the users' private key, made if it is missing, with its ``.pub`` beside it."""
    path = directory / "id_ed25519"
    if not path.with_suffix(".pub").exists():
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_private(path, private, durable=durable)
        write_private(path.with_suffix(".pub"), public + b" sandbox\n", durable=durable)
    return path


def check_account(user: str, password: str) -> None:
    """
    Check that HTTP Basic and the configuration file can carry a name and a password.

    :raises SandboxError: they cannot, or the name is reserved or too long.
    """
    if user.lower() in _RESERVED or len(user) > _MAX_USER:
        raise SandboxError(f"a user cannot be called {user!r}")
    for text, what in ((user, f"user name {user!r}"), (password, f"password of {user!r}")):
        _check_text(text, what)
    if re.search(r"[\[\]:]", user):
        raise SandboxError(f"the user name {user!r} contains a colon or a bracket")


def _check_text(text: str, what: str) -> None:
    writable = r"[^\x00-\x1f\x7f\ud800-\udfff]+"  # no control characters or lone surrogates
    if not re.fullmatch(writable, text) or text != text.strip() or text == '""':
        raise SandboxError(f"the {what} is empty, or cannot be written to a file")
    if text.startswith(";") or re.search(r"\s;", text):
        raise SandboxError(
            f"the {what} contains a semicolon, which would begin a comment in a file"
        )
