"""SSH keys of users: what goes into new machines, and what opens them (config-and-cli 5)."""

import re
from pathlib import Path
from typing import Any

from stratuslab_libcloud import errors

__all__ = ["public_half", "public_lines", "read_public"]

# Options may come before, and a comment after them.
_KEY = re.compile(r"(?:^|\s)(?:ssh|ecdsa|sk)-[\w@.-]+\s+[A-Za-z0-9+/]{4,}={0,2}(?:\s|$)")


def read_public(path: Path) -> list[str]:
    """
    The keys in a public key file.

    :raises ConfigurationError: it cannot be read.
    :raises InvalidValueError: it holds no public key.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise errors.ConfigurationError(
            f"the SSH public key {path} cannot be read: {reason}"
        ) from error
    return public_lines(text, str(path))


def public_lines(text: str, source: str) -> list[str]:
    """
    The keys in the text of a public key file, a line each.

    :param source: what a message calls it.
    :raises InvalidValueError: there is none, or a private key.
    """
    if not isinstance(text, str):
        raise errors.InvalidValueError(f"{source} is to be the text of a public key")
    if "PRIVATE KEY" in text:
        raise errors.InvalidValueError(f"{source} holds a private key; the public one is wanted")
    lines = [line.strip() for line in text.splitlines() if not line.startswith(("Comment:", "#"))]
    keys = [line for line in lines if line]
    if not keys or not all(map(_KEY.search, keys)):
        raise errors.InvalidValueError(f"{source} holds no SSH public key")
    return keys


def public_half(path: str, passphrase: str | None) -> str:
    """
    The public key of a private key file; it was decrypted, so it will open the machine.

    :raises ConfigurationError: there is no such file.
    :raises InvalidValueError: it cannot be used.
    """
    try:
        key = _load(path, passphrase)
    except OSError as error:
        raise errors.ConfigurationError(
            f"the SSH private key {path} cannot be read: {error.strerror}"
        ) from error
    except TypeError:
        raise errors.InvalidValueError(
            f"the SSH private key {path} is encrypted; give ssh_key_password"
        ) from None
    except Exception as error:  # paramiko and cryptography raise all sorts
        hint = "is the passphrase right?" if passphrase else "is it a private key?"
        raise errors.InvalidValueError(
            f"the SSH private key {path} cannot be used; {hint} Keys in PKCS#8 format cannot: "
            f"ssh-keygen -p -f {path} converts one"
        ) from error
    return f"{key.get_name()} {key.get_base64()}"


def _load(path: str, passphrase: str | None) -> Any:
    import paramiko  # here, as it takes long and public keys do without

    if passphrase:
        try:
            # The annotation says str, the code below it takes bytes only.
            return paramiko.PKey.from_path(path, passphrase.encode())  # type: ignore[arg-type]
        except TypeError:
            pass  # not encrypted: no passphrase is needed
    return paramiko.PKey.from_path(path)
