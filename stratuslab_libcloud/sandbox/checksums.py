"""The checksums of an image that its Marketplace entry tells (marketplace-rest 4.3)."""

import gzip
from typing import IO

from stratuslab_libcloud.metadata.building import Sums

__all__ = ["copy_summed"]

_CHUNK_BYTES = 1 << 20


def copy_summed(source: IO[bytes], target: IO[bytes] | gzip.GzipFile) -> tuple[dict[str, str], int]:
    """
    Copy an image, which is read once.

    :return: the checksums in lower-case hex, by the names that entries use; and its size in bytes.
    """
    sums = Sums()
    while data := source.read(_CHUNK_BYTES):
        target.write(data)
        sums.update(data)
    return sums.checksums(), sums.size
