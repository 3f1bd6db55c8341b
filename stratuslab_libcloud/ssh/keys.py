"""SSH keys of users: public keys for new machines, private keys to log in (config-and-cli 5)."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from stratuslab_libcloud import errors

__all__ = [
    "fingerprint",
    "name_of",
    "new_pair",
    "public_half",
    "public_lines",
    "read_public",
    "renamed",
]

# Options may come before, and a comment after them.
_KEY = re.compile(r"(?:^|\s)(?:ssh|ecdsa|sk)-[\w@.-]+\s+[A-Za-z0-9+/]{4,}={0,2}(?:\s|$)")

_NAME = re.compile(r"[\w@.:+,/ -]+", re.ASCII)


def read_public(path: Path) -> list[str]:
    """
    Read the keys in a public key file.

    :return: one line per key.
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
    Read the keys in the text of a public key file.

    :param source: name of the text, for messages.
    :return: one line per key.
    :raises InvalidValueError: the text holds no public key, or a private key.
    """
    if not isinstance(text, str):
        raise errors.InvalidValueError(f"{source} must be the text of a public key")
    if "PRIVATE KEY" in text:
        raise errors.InvalidValueError(f"{source} holds a private key; give the public one")
    lines = [line.strip() for line in text.splitlines() if not line.startswith(("Comment:", "#"))]
    keys = [line for line in lines if line]
    if not keys or not all(map(_KEY.search, keys)):
        raise errors.InvalidValueError(f"{source} holds no SSH public key")
    return keys


def public_half(path: str, passphrase: str | None) -> str:
    """
    Derive the public key of a private key file, which proves that the file can be decrypted.

    :param passphrase: of the file; ``None`` if it is not encrypted.
    :raises ConfigurationError: the file cannot be read.
    :raises InvalidValueError: the key cannot be used.
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
            f"the SSH private key {path} cannot be used; {hint} Keys in PKCS#8 format are not "
            f"supported: ssh-keygen -p -f {path} converts one"
        ) from error
    return f"{key.get_name()} {key.get_base64()}"


def _load(path: str, passphrase: str | None) -> Any:
    import paramiko  # here, as it loads slowly and public keys do not need it

    if passphrase:
        try:
            # The annotation says str, but the code accepts only bytes.
            return paramiko.PKey.from_path(path, passphrase.encode())  # type: ignore[arg-type]
        except TypeError:
            pass  # not encrypted: no passphrase is needed
    return paramiko.PKey.from_path(path)


def new_pair(name: str) -> tuple[str, str]:
    """
    Make an Ed25519 key pair.

    :param name: its comment.
    :return: the text of the private key file, and the public line.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return private.decode(), renamed(public.decode(), name)


def renamed(line: str, name: str) -> str:
    """
    Give a public key another comment.

    :raises InvalidValueError: that cannot be one.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name != name.strip():
        raise errors.InvalidValueError(
            f"the name of a key must be made of letters, digits, blanks and @ . : + , / _ -, not "
            f"{name!r}"
        )
    return f"{_parts(line)[0]} {name}"


def name_of(line: str) -> str:
    """Return the comment of a public key or, if it has none, its fingerprint."""
    return _parts(line)[1] or fingerprint(line)


def fingerprint(line: str) -> str:
    """Return the fingerprint of a public key as OpenSSH writes it; ``""`` for what is none."""
    try:
        blob = base64.b64decode(_parts(line)[0].split()[-1], validate=True)
    except (ValueError, IndexError):
        return ""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def _parts(line: str) -> tuple[str, str]:
    """Split a line after the key: what is before the comment, and the comment."""
    found = _KEY.search(line)
    end = found.end() if found else len(line)
    return line[:end].strip(), line[end:].strip()
