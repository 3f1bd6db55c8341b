"""Files that one may not read, for root too."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["unreadable"]

NOBODY = 65534


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """While it lasts, this file or folder cannot be read."""
    mode, user = stat.S_IMODE(path.stat().st_mode), os.geteuid()
    path.chmod(0)
    if user == 0:
        os.seteuid(NOBODY)  # root may read everything
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)
