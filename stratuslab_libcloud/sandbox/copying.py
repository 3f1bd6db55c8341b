"""Copy an image and compute the checksums of its Marketplace entry (marketplace-rest 4.3)."""

import gzip
from typing import IO

from stratuslab_libcloud.metadata.building import Sums

__all__ = ["copy_with_checksums"]

_CHUNK_BYTES = 1 << 20


def copy_with_checksums(
    source: IO[bytes], target: IO[bytes] | gzip.GzipFile
) -> tuple[dict[str, str], int]:
    """
    Copy an image, reading it once.

    :return: the checksums in lower-case hex, by the names that entries use, and the size in bytes.
    """
    sums = Sums()
    while data := source.read(_CHUNK_BYTES):
        target.write(data)
        sums.update(data)
    return sums.checksums(), sums.size
