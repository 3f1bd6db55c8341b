"""Paths as people write them, with the home directory spelt out."""

import os
from pathlib import Path

__all__ = ["expanded", "in_home", "private_of"]


def in_home(*names: str) -> list[Path]:
    """Files in the home directory; none where there is no home directory."""
    try:
        home = expanded("~")
    except ValueError:
        return []
    return [home / name for name in names]


def expanded(text: str) -> Path:
    """
    A path as somebody wrote it; ``~`` is the home directory, ``~user`` somebody's.

    :raises ValueError: there is no such directory. One line.
    """
    try:
        path = os.path.expanduser(text)
    except ValueError:  # no file has such a name, as whoever wants to read it will tell
        return Path(text)
    if path.startswith("~"):
        # As in a container whose user id has no entry in /etc/passwd. It is no name of a folder.
        start = text.partition("/")[0]
        remedy = "set HOME, or write the path in full" if start == "~" else "write the path in full"
        raise ValueError(f"begins with {start}, but there is no such home directory: {remedy}")
    return Path(path)


def private_of(public: Path) -> Path:
    """The private key file that goes by a public one's name (config-and-cli 5)."""
    return public.with_suffix("") if public.suffix == ".pub" else public
