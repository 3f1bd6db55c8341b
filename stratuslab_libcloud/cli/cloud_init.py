"""What a machine is told when it starts (compute-xmlrpc 4.6): pairs, and cloud-init's files."""

import base64
import binascii
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import click

from stratuslab_libcloud.paths import expanded
from stratuslab_libcloud.ssh import keys as ssh_keys

__all__ = ["CloudInit", "context", "of_context", "of_files"]


@dataclass
class CloudInit:
    """
    What is for cloud-init.

    :ivar keys: lines of an ``authorized_keys`` file.
    :ivar user_data: as cloud-init reads it.
    """

    keys: list[str] = field(default_factory=list)
    user_data: bytes = b""


def context(items: Iterable[str]) -> dict[str, str]:
    """
    ``key=value`` items as a context; a later one counts, empty ones do not.

    :raises click.ClickException: one has no ``=``.
    """
    values = {}
    for item in filter(None, map(str.strip, items)):
        key, equals, value = item.partition("=")
        if not equals:
            raise click.ClickException(
                f"Error while parsing contextualization file. Syntax error in line `{item}`"
            )
        values[key.strip()] = value
    return values


def of_files(items: Iterable[str]) -> CloudInit:
    """
    The files of ``mimetype,file`` items, where ``ssh`` is a public key file, and the first file
    that is ``none`` is all of the user data.

    :raises click.ClickException: one is not such an item.
    """
    found, parts, whole = CloudInit(), [], None
    for item in filter(None, items):
        kind, comma, name = item.partition(",")
        if not (kind and comma and name) or "," in name:
            raise click.ClickException(f"invalid CloudInit mimetype pair: {item!r}")
        path = _path(name)
        if kind == "ssh":
            found.keys += ssh_keys.read_public(path)
        elif kind == "none":
            whole = path.read_bytes() if whole is None else whole
        else:
            parts.append((kind, path))
    if whole is not None:
        found.user_data = whole
    elif parts:
        found.user_data = _multipart(parts)
    return found


def of_context(values: dict[str, str]) -> CloudInit | None:
    """
    What ``stratus-prepare-context`` has put into a context, which is taken out of it.

    :return: None if that is not for cloud-init.
    :raises click.ClickException: somebody has changed it.
    """
    if values.get("CONTEXT_METHOD") != "cloud-init":
        return None
    del values["CONTEXT_METHOD"]
    try:
        keys = base64.b64decode(values.pop("CLOUD_INIT_AUTHORIZED_KEYS", ""), validate=True)
        data = base64.b64decode(values.pop("CLOUD_INIT_USER_DATA", ""), validate=True)
        return CloudInit(
            keys.decode().splitlines(), zlib.decompress(data, wbits=31) if data else b""
        )
    except (binascii.Error, UnicodeDecodeError, zlib.error):
        raise click.ClickException(
            "the context file has a CLOUD_INIT_ value that stratus-prepare-context has not written"
        ) from None


def _path(name: str) -> Path:
    try:
        return expanded(name)
    except ValueError as error:
        raise click.ClickException(f"the file {name} {error}") from None


def _multipart(parts: Iterable[tuple[str, Path]]) -> bytes:
    message = EmailMessage(SMTP.clone(linesep="\n"))
    message.make_mixed()
    for kind, path in parts:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            raise click.ClickException(f"{path} is not text") from None
        charset = "us-ascii" if text.isascii() else "utf-8"
        message.add_attachment(text, subtype=kind, charset=charset, filename=path.name)
    return message.as_bytes()
