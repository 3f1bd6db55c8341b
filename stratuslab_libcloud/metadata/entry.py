"""A Marketplace entry as plain data, and the identifier of its image (marketplace-rest 4.3, 5)."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from stratuslab_libcloud.untrusted.text import printable

__all__ = [
    "ABSENT",
    "Entry",
    "MetadataError",
    "identifier",
    "is_identifier",
    "latest",
    "name_of",
    "sha1_of",
]


_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{27}")


_SHA1 = re.compile(r"[0-9A-Fa-f]{40}")


class MetadataError(ValueError):
    """The document is not a Marketplace entry. The text is one line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A Marketplace entry, as it was written (marketplace-rest 4.3); its signature is not verified.

    Only the identifier is always present; fields that are absent or empty are None. Dates are
    written ``YYYY-MM-DDThh:mm:ssZ``.
    """

    identifier: str
    size: int | None = None  #: size of the uncompressed image in bytes
    checksums: dict[str, str] = field(default_factory=dict, hash=False)
    """Checksums of the uncompressed image: algorithm, such as ``SHA-1``, to lower-case hex."""

    endorser: str | None = None  #: e-mail address
    endorsed: str | None = None  #: endorsement date
    subject: str | None = None
    issuer: str | None = None
    type: str | None = None
    kind: str | None = None
    os: str | None = None
    os_version: str | None = None
    os_arch: str | None = None
    version: str | None = None
    compression: str | None = None
    locations: tuple[str, ...] = ()  #: in order of preference; not all are URLs
    format: str | None = None
    creator: str | None = None
    created: str | None = None
    valid: str | None = None
    title: str | None = None
    tag: str | None = None
    description: str | None = None
    publisher: str | None = None
    hypervisor: str | None = None
    disks_bus: str | None = None
    inbound_ports: tuple[int, ...] = ()
    deprecated: str | None = None  #: the reason, or ""; None when it is not deprecated

    @property
    def name(self) -> str:
        """
        A printable line: the title, else the first line of the description, else the identifier.
        """
        return name_of(self.identifier, self.title, self.description)


ABSENT = {one.name: None for one in fields(Entry)}
"""Every :class:`Entry` field as None; the starting point for the rows of a listing."""


def name_of(identifier: str, title: str | None, description: str | None) -> str:
    """Return a printable line, as :attr:`Entry.name`."""
    if title and title.isprintable() and (shown := title.strip()):
        return shown
    for text in (title, description):
        for line in (text or "").splitlines():
            if shown := printable(line).strip():
                return shown
    return identifier


def identifier(sha1: bytes | str) -> str:
    """
    Encode the SHA-1 of an image as its identifier (marketplace-rest 5.1).

    :param sha1: that of the uncompressed image: 20 bytes, or 40 hex digits.
    :raises MetadataError: it is neither.
    """
    if isinstance(sha1, str):
        if not _SHA1.fullmatch(sha1):
            raise MetadataError("a SHA-1 has 40 hex digits")
        sha1 = bytes.fromhex(sha1)
    if len(sha1) != 20:
        raise MetadataError("a SHA-1 has 20 bytes")
    return base64.urlsafe_b64encode(b"\0" + sha1)[1:].decode()


def sha1_of(identifier: str) -> str:
    """
    Decode an identifier to a SHA-1, in lower-case hex.

    :raises MetadataError: it does not encode one.
    """
    if is_identifier(identifier):
        number = base64.urlsafe_b64decode("A" + identifier)
        if number[0] == 0:
            return number[1:].hex()
    raise MetadataError("not an image identifier")


def is_identifier(text: str) -> bool:
    """Whether a text has the form of an identifier: 27 characters of its alphabet."""
    return _IDENTIFIER.fullmatch(text) is not None


def latest(entries: Iterable[Entry]) -> Entry | None:
    """Choose the entry with the newest endorsement, by any endorser; None if there are none."""
    return max(entries, key=lambda e: (e.endorsed or "", e.endorser or ""), default=None)
