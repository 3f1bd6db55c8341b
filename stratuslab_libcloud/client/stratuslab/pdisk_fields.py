"""What requests say about a persistent disk (pdisk-rest 3), checked before they are sent."""

import re

from stratuslab_libcloud.client.stratuslab.pdisk_answers import LARGEST
from stratuslab_libcloud.errors import InvalidValueError

__all__ = [
    "IMAGE",
    "LIVE",
    "RAW",
    "checked_fields",
    "checked_size",
    "checked_uuid",
    "is_uuid",
]

_LONGEST_TAG = 40
_VISIBILITIES = ("private", "public")
IMAGE, LIVE = "MACHINE_IMAGE_ORIGIN", "MACHINE_IMAGE_LIVE"
RAW = "DATA_IMAGE_RAW_READ_WRITE"
_TYPES = (
    IMAGE,
    LIVE,
    "DATA_IMAGE_ORIGIN",
    "DATA_IMAGE_LIVE",
    "DATA_IMAGE_RAW_READONLY",
    RAW,
)


def is_uuid(text: str) -> bool:
    """Whether a text has the form of a disk's UUID (lower case, as the servers write it)."""
    return bool(re.fullmatch("[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}", text))


def checked_uuid(uuid: str) -> str:
    """Return a UUID; nothing is sent if it is none."""
    if not isinstance(uuid, str) or not is_uuid(uuid):
        raise InvalidValueError(f"{uuid!r} is not the UUID of a disk")
    return uuid


def checked_size(size: int) -> int:
    """Return a size in GiB; nothing is sent if it is none."""
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= LARGEST:
        raise InvalidValueError(
            f"the size of a volume must be a whole number of GiB from 1 to {LARGEST}, not {size!r}"
        )
    return size


def checked_fields(
    tag: str | None, visibility: str | None, kind: str | None = None
) -> dict[str, str]:
    """Return the fields of a form for what is given; nothing is sent if a value is wrong."""
    fields = {}
    if tag is not None:
        if not isinstance(tag, str):
            raise InvalidValueError(f"the name of a volume must be text, not {tag!r}")
        if len(tag) > _LONGEST_TAG:
            raise InvalidValueError(
                f"the name of a volume can have at most {_LONGEST_TAG} characters, not {len(tag)}"
            )
        try:
            tag.encode()
        except UnicodeEncodeError:
            raise InvalidValueError("the name of the volume is not valid Unicode") from None
        fields["tag"] = tag
    if visibility is not None:
        if visibility not in _VISIBILITIES:
            raise InvalidValueError(
                f"a volume must be {' or '.join(_VISIBILITIES)}, not {visibility!r}"
            )
        fields["visibility"] = visibility
    if kind is not None:
        if kind not in _TYPES:
            raise InvalidValueError(
                f"the type of a volume must be one of {', '.join(_TYPES)}, not {kind!r}"
            )
        fields["type"] = kind
    return fields
