"""TODO."""

import re

__all__ = ["referenced_disk"]


_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


_REFERENCE = re.compile(rf"(?:pdisk:.*|https?://[^?#]*/(?:pswd|cert)/disks/)({_UUID})/?", re.ASCII)


def referenced_disk(source: str) -> str | None:
    """
    The disk that a ``DISK/SOURCE`` means, in any of the forms of section 6.

    :return: its UUID; "" for a disk reference without one; None if it means no disk.
    """
    match = _REFERENCE.fullmatch(source)
    if match:
        return match.group(1)
    return "" if source.startswith("pdisk:") else None
