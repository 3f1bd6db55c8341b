"""Files that are whole once they have their name, whatever happens then: power may fail, too."""

import os
import pathlib

__all__ = ["rename"]


def rename(half: pathlib.Path, path: pathlib.Path) -> None:
    """
    Give a file that has been written its name.

    :param path: in the same file system; what was there before is replaced.
    :raises OSError: the content, or the name, may not be on the disk.
    """
    _sync(half)
    os.replace(half, path)
    _sync(path.parent)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
