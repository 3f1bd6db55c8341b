"""Atomic file writing: a file is complete as soon as it has its name, even after a power cut."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import IO

__all__ = ["create_sparse", "new_file", "rename", "write_private"]


def write_private(path: pathlib.Path, content: bytes, *, durable: bool = True) -> None:
    """
    Write a file atomically, with mode 0600.

    :param durable: wait until it is on the disk, so that the file, or the one that it replaces,
        survives a power cut.
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
    Give a complete file its name, durably.

    :param path: in the same file system; an existing file is replaced.
    :raises OSError: the content or the name may not be on the disk.
    """
    _sync(half)
    os.replace(half, path)
    _sync(path.parent)


@contextlib.contextmanager
def new_file(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """
    Open a file that appears at ``path`` if the block succeeds, and is removed otherwise.

    Until then its name ends in ``.part``.

    :raises OSError: it cannot be written.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        half = pathlib.Path(file.name)
        try:
            yield file
            file.flush()
            rename(half, path)
        except BaseException:
            half.unlink(missing_ok=True)
            raise


def create_sparse(path: pathlib.Path, size: int) -> None:
    """
    Create a file with mode 0600 that reads as zeros and takes up no space yet.

    :param size: in bytes.
    :raises OSError: the file exists, or may not be on the disk.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.truncate(descriptor, size)
    finally:
        os.close(descriptor)
    _sync(path)
    _sync(path.parent)


def _sync(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
