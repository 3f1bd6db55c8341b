"""Read the forms that describe disks (pdisk-rest 2.1.2, 2.2.4)."""

import re
from collections.abc import Iterator
from typing import IO

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from stratuslab_libcloud.sandbox.storage.records import Refusal, RequestRefusedError
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["MAX_GIB", "Form", "image_pieces", "read_columns", "read_size"]

Form = dict[str, str]

MAX_GIB = 1024
_MAX_PARTS = 100
_PIECE_BYTES = 1 << 20
_CHOICES = {
    "visibility": ("PRIVATE", "PUBLIC"),
    "type": (
        "DATA_IMAGE_RAW_READ_WRITE",
        "DATA_IMAGE_RAW_READONLY",
        "DATA_IMAGE_ORIGIN",
        "DATA_IMAGE_LIVE",
        "MACHINE_IMAGE_ORIGIN",
        "MACHINE_IMAGE_LIVE",
    ),
}
_SUPER_FIELDS = ("owner", "identifier", "quarantine")


def read_size(text: str) -> int:
    """
    Read the size of a new disk, in GiB.

    :raises RequestRefusedError: a disk cannot have this size.
    """
    if not re.fullmatch("[+-]?[0-9]{1,9}", text):
        raise RequestRefusedError(
            Refusal.MALFORMED, f'Error parsing size: For input string: "{text}"'
        )
    if not 1 <= int(text) <= MAX_GIB:
        raise RequestRefusedError(
            Refusal.MALFORMED, f"Size must be an integer between 1 and {MAX_GIB}"
        )
    return int(text)


def image_pieces(body: IO[bytes], boundary: str) -> Iterator[bytes | None]:
    """
    Yield what a form has as files: for each a None, and then its pieces (2.1.3).

    :raises RequestRefusedError: it is not such a form, or ends too early.
    """
    decoder = MultipartDecoder(boundary.encode(), max_parts=_MAX_PARTS)
    in_file = False
    try:
        while True:
            match decoder.next_event():
                case NeedData():
                    decoder.receive_data(body.read(_PIECE_BYTES) or None)
                case File():
                    in_file = True
                    yield None
                case Field():
                    in_file = False
                case Data(data) if in_file:
                    yield data
                case Epilogue():
                    return
    except (ValueError, RequestEntityTooLarge):
        raise RequestRefusedError(Refusal.MALFORMED, "no valid file uploaded") from None


def read_columns(account: Account, form: Form) -> Form:
    """
    Read the columns that a form sets.

    :raises RequestRefusedError: a value is invalid, or this account may not set it.
    """
    for name in _SUPER_FIELDS:
        if name in form and not account.is_super:
            raise RequestRefusedError(Refusal.DENIED, f"insufficient rights to set {name}")
    values = {name: form[name] for name in ("tag", *_CHOICES, *_SUPER_FIELDS) if name in form}
    if "visibility" in values:
        values["visibility"] = values["visibility"].upper()
    for name, choices in _CHOICES.items():
        if values.get(name, choices[0]) not in choices:
            raise RequestRefusedError(
                Refusal.MALFORMED, f"Invalid value for form element {name}: {form[name]}"
            )
    return values
