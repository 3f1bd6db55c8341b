"""Copy an image and compute the checksums of its Marketplace entry (marketplace-rest 4.3)."""

import gzip
from collections.abc import Callable
from typing import IO

from stratuslab_libcloud.metadata.building import Sums

__all__ = ["copy_with_checksums"]

_CHUNK_BYTES = 1 << 20


def copy_with_checksums(
    source: IO[bytes],
    target: IO[bytes] | gzip.GzipFile,
    on_size: Callable[[int], object] = lambda size: None,
) -> tuple[dict[str, str], int]:
    """
    Copy an image, reading it once.

    :param on_size: called again and again with the number of bytes that have been copied.
    :return: the checksums in lower-case hex, by the names that entries use, and the size in bytes.
    """
    sums = Sums()
    while data := source.read(_CHUNK_BYTES):
        target.write(data)
        sums.update(data)
        on_size(sums.size)
    return sums.checksums(), sums.size
