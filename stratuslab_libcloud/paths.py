"""Paths as people write them, with ``~`` expanded."""

import os
from pathlib import Path

__all__ = ["expanded", "in_home", "private_of"]


def in_home(*names: str) -> list[Path]:
    """Return paths in the home directory; none if there is no home directory."""
    try:
        home = expanded("~")
    except ValueError:
        return []
    return [home / name for name in names]


def expanded(text: str) -> Path:
    """
    Expand ``~`` or ``~user`` at the beginning of a path to a home directory.

    :raises ValueError: there is no such directory; one line that continues "the path …".
    """
    try:
        path = os.path.expanduser(text)
    except ValueError:  # no file has such a name, which the caller will find when opening it
        return Path(text)
    if path.startswith("~"):
        # For example in a container whose user id is not in /etc/passwd.
        start = text.partition("/")[0]
        remedy = "set HOME, or write the path in full" if start == "~" else "write the path in full"
        raise ValueError(f"begins with {start}, but there is no such home directory: {remedy}")
    return Path(path)


def private_of(public: Path) -> Path:
    """Return the path of the private key that belongs to a public one (config-and-cli 5)."""
    return public.with_suffix("") if public.suffix == ".pub" else public
