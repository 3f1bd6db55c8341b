"""
What a machine writes to its serial line: the end of it, in two files of limited size.

QEMU does not limit a file that it writes to, and it outlives the sandbox. So it writes to a pipe,
and a small process of its own keeps the end of what comes. That process ends when QEMU does. It
runs this file alone, and therefore starts quickly.
"""

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

__all__ = ["FILES", "keep", "read", "recording"]

_EARLIER, _LATEST = "console.earlier", "console"
FILES = (_EARLIER, _LATEST)
LIMIT = 128 << 10  # bytes, of each file
_TRIES = 5


@contextlib.contextmanager
def recording(folder: pathlib.Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """
    Start to record, for a QEMU that is started in the block.

    :return: the process that records, and the descriptor of the pipe for QEMU to write to.
    """
    source, pipe = os.pipe()
    try:
        recorder = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(__file__)],
            cwd=folder,
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the sandbox
        )
        os.close(source)
        source = -1
        yield recorder, pipe
    finally:
        os.close(pipe)
        if source >= 0:
            os.close(source)


def keep(source: int, folder: pathlib.Path, limit: int = LIMIT) -> None:
    """
    Keep the end of what comes, until nothing more can come.

    :param limit: of each of the two files.
    """
    latest, earlier = folder / _LATEST, folder / _EARLIER
    size, file = 0, None
    while data := os.read(source, limit):
        with contextlib.suppress(OSError):  # a full disk must not stop the machine
            if file and size + len(data) > limit:
                file.close()
                file = None
                latest.replace(earlier)
            if file is None:
                file, size = latest.open("wb", buffering=0), 0
            size += file.write(data)
    if file:
        file.close()


def read(folder: pathlib.Path) -> bytes:
    """Return what has been kept in this directory; nothing if there is none."""
    kept = b""
    for _ in range(_TRIES):
        before = _inode(folder)
        kept = b"".join(_bytes(folder / name) for name in FILES)
        if _inode(folder) == before:  # otherwise one file has become the other meanwhile
            break
    return kept


def _inode(folder: pathlib.Path) -> int:
    with contextlib.suppress(OSError):
        return (folder / _LATEST).stat().st_ino
    return 0


def _bytes(path: pathlib.Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


if __name__ == "__main__":
    keep(sys.stdin.fileno(), pathlib.Path())
