"""
How templates name persistent disks (pdisk-rest 6).

What mounts the disks and what lays out the drives of a machine both read it.
"""

import re

__all__ = ["UUID", "referenced_disk"]

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_REFERENCE = re.compile(rf"(?:pdisk:.*|https?://[^?#]*/(?:pswd|cert)/disks/)({UUID})/?", re.ASCII)


def referenced_disk(source: str) -> str | None:
    """
    The disk that a ``DISK/SOURCE`` means, in any of the forms of pdisk-rest 6.

    :return: its UUID; "" for a disk reference without one; None if it means no disk.
    """
    match = _REFERENCE.fullmatch(source)
    if match:
        return match.group(1)
    return "" if source.startswith("pdisk:") else None
