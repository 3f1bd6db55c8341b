"""
How templates refer to persistent disks (pdisk-rest 6).

Both the rules that mount disks and the code that lays out drives depend on it.
"""

import re

__all__ = ["UUID", "referenced_disk"]

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_REFERENCE = re.compile(rf"(?:pdisk:.*|https?://[^?#]*/(?:pswd|cert)/disks/)({UUID})/?", re.ASCII)


def referenced_disk(source: str) -> str | None:
    """
    Return the disk that a ``DISK/SOURCE`` refers to, in any of the forms of pdisk-rest 6.

    :return: its UUID; "" for a disk reference without one; None if it is no disk reference.
    """
    match = _REFERENCE.fullmatch(source)
    if match:
        return match.group(1)
    return "" if source.startswith("pdisk:") else None
