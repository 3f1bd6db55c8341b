"""An entry made from an image file (marketplace-rest 7.5)."""

import bz2
import gzip
import hashlib
import lzma
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from stratuslab_libcloud.metadata.entry import Entry, MetadataError, identifier
from stratuslab_libcloud.metadata.rules import written_date

__all__ = ["ALGORITHMS", "Sums", "build", "compression_of"]

ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
"""Checksums by the names that entries use, and by hashlib's; in the order that they are written."""

_CHUNK = 1 << 20  # bytes
_VALIDITY = timedelta(days=178)
_DEFAULTS = {
    "type": "base",
    "kind": "machine",
    "format": "raw",
    "hypervisor": "kvm",
    "disks_bus": "ide",
    "publisher": "StratusLab",
}
_OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "gz": lambda raw: gzip.GzipFile(fileobj=raw, mode="rb"),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}


class Sums:
    """
    The size and the checksums of what is read piece by piece.

    :param algorithms: those that are needed, of :data:`ALGORITHMS`.
    :ivar size: in bytes, so far.
    """

    def __init__(self, algorithms: Collection[str] = tuple(ALGORITHMS)) -> None:
        self.size = 0
        self._hashes = {
            name: hashlib.new(kind, usedforsecurity=False)
            for name, kind in ALGORITHMS.items()
            if name in algorithms
        }

    def update(self, data: bytes) -> None:
        """Add the next piece."""
        self.size += len(data)
        for found in self._hashes.values():
            found.update(data)

    def checksums(self) -> dict[str, str]:
        """Of all pieces so far: algorithm to lower-case hex."""
        return {name: found.hexdigest() for name, found in self._hashes.items()}


def compression_of(path: Path) -> str | None:
    """What a file is compressed with by its suffix: ``gz``, ``bz2``, ``xz``, or None."""
    suffix = path.suffix.removeprefix(".").lower()
    return suffix if suffix in _OPENERS else None


def build(
    path: Path,
    *,
    given: Mapping[str, str] | None = None,
    without: Collection[str] = (),
    now: datetime | None = None,
    progress: Callable[[int], object] = lambda _: None,
    **values: Any,
) -> Entry:
    """
    The entry of an image file, in one pass over it; nobody has endorsed it.

    Its size and checksums are those of the image itself: what is compressed is decompressed.

    :param given: checksums that are known already, by the names of :data:`ALGORITHMS`.
    :param without: names of checksums to leave out; SHA-1 is always there.
    :param now: when it is made, aware of its zone; it is valid for 178 days.
    :param progress: called with the number of bytes of the file that were read since the last
        call, which add up to its size.
    :param values: further fields of :class:`Entry`, which come before the defaults.
    :raises MetadataError: the file is damaged, or a given SHA-1 is none.
    :raises OSError: it cannot be read.
    """
    now = now or datetime.now(timezone.utc)
    given = dict(given or {})
    names = [name for name in ALGORITHMS if name == "SHA-1" or name not in without]
    compression = compression_of(path)
    sums = Sums([name for name in names if name not in given])
    with path.open("rb") as raw, _damage(path.name):
        source = _OPENERS[compression](raw) if compression else raw
        read = 0
        while data := source.read(_CHUNK):
            sums.update(data)
            progress(raw.tell() - read)
            read = raw.tell()
        progress(os.fstat(raw.fileno()).st_size - read)
    found = {**sums.checksums(), **{name: text.lower() for name, text in given.items()}}
    entry = {
        "compression": compression,
        "created": written_date(now),
        "valid": written_date(now + _VALIDITY),
        **_DEFAULTS,
        **values,
    }
    return Entry(
        identifier=identifier(found["SHA-1"]),
        size=sums.size,
        checksums={name: found[name] for name in names},
        **entry,
    )


@contextmanager
def _damage(name: str) -> Iterator[None]:
    """Say in one way that what is compressed is damaged."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError):
        raise MetadataError(f"{name} is damaged, or not all of it is there") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise MetadataError(f"{name} is damaged, or not what its suffix says") from None
