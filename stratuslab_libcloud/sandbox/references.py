"""
How templates refer to persistent disks (pdisk-rest 6), and to images.

Both the rules that mount disks and the code that lays out drives depend on it.
"""

import re

from stratuslab_libcloud.metadata.entry import is_identifier

__all__ = ["UUID", "named_image", "referenced_disk"]

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


def named_image(source: str) -> str:
    """
    Return the image whose Marketplace entry a ``DISK/SOURCE`` is the URL of.

    :return: its identifier, which an endorser and a date may follow (marketplace-rest 2.4); "" if
        it is no such URL.
    """
    if not source.startswith(("http://", "https://")):
        return ""
    parts = source.rstrip("/").split("/")[-3:]
    return next(filter(is_identifier, reversed(parts)), "")
