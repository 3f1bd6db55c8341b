"""Copy an image and compute the checksums of its Marketplace entry (marketplace-rest 4.3)."""

import gzip
import hashlib
from typing import IO

__all__ = ["copy_with_checksums"]

_ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
_CHUNK_BYTES = 1 << 20


def copy_with_checksums(
    source: IO[bytes], target: IO[bytes] | gzip.GzipFile
) -> tuple[dict[str, str], int]:
    """
    Copy an image, reading it once.

    :return: the checksums in lower-case hex, by the names that entries use, and the size in bytes.
    """
    hashes = {name: hashlib.new(kind, usedforsecurity=False) for name, kind in _ALGORITHMS.items()}
    size = 0
    while data := source.read(_CHUNK_BYTES):
        size += len(data)
        target.write(data)
        for found in hashes.values():
            found.update(data)
    return {name: found.hexdigest() for name, found in hashes.items()}, size
