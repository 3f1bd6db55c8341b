"""Files that are whole once they have their name, whatever happens then: power may fail, too."""

import os
import pathlib

__all__ = ["rename", "write_private"]


def write_private(path: pathlib.Path, content: bytes, *, durable: bool = True) -> None:
    """
    Write a file for its owner only (0600), whole or not at all.

    :param durable: it is there, or the one before it, whatever happens to the machine.
    """
    half = path.with_name(f"{path.name}.new")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(content)
    if durable:
        rename(half, path)
    else:
        half.replace(path)


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
