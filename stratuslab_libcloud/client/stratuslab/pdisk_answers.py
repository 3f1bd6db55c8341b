"""Read what the persistent disk service answers, in any of the forms that servers write."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stratuslab_libcloud.client.data import Volume
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.listing import JSONText, bounded
from stratuslab_libcloud.errors import MalformedAnswerError

__all__ = ["LARGEST", "about", "object_of", "objects_of", "optional", "text", "to_volume"]

LARGEST = 1024  #: the largest size that is in GiB
_GIB = 2**30
_DIGITS = re.compile("[0-9]+")
_BACKSLASH = re.compile(rb'\\(["\\/bfnrtu]?)')
_MOST_BACKSLASHES = 10_000_000


@contextmanager
def _json(answer: Answer) -> Iterator[JSONText]:
    """Parse the body of an answer, which the block must read to its end."""
    document = JSONText(_escaped(answer.pieces))
    try:
        yield document
        document.end()
    except (ValueError, RecursionError):
        kind = answer.content_type or "something unnamed"
        raise MalformedAnswerError(
            f"answered {kind} that is not JSON; is this the persistent disk service?"
        ) from None


def _escaped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Escape the backslashes that the original server leaves unescaped (pdisk-rest 1.8)."""
    kept = b""  # the backslashes at the end of a piece
    count = 0
    for piece in pieces:
        count += piece.count(b"\\")
        if count > _MOST_BACKSLASHES:
            raise ValueError("too many backslashes")
        whole = kept + piece
        end = len(whole.rstrip(b"\\"))
        yield _BACKSLASH.sub(_doubled, whole[:end])
        kept = whole[end:]
    yield kept


def _doubled(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape[1] else rb"\\"


def object_of(answer: Answer) -> dict[str, Any]:
    with _json(answer) as parsed:
        document = parsed.value()
    if not isinstance(document, dict):
        raise MalformedAnswerError("answered JSON of an unexpected form")
    return document


def objects_of(answer: Answer) -> Iterator[dict[str, Any]]:
    with _json(answer) as parsed:
        for item in bounded(parsed.array()):
            if not isinstance(item, dict):
                raise MalformedAnswerError("answered JSON of an unexpected form")
            yield item


def about(document: dict[str, Any], **asked: str) -> dict[str, Any]:
    """
    Check that an answer is about the things that were asked about.

    :return: the answer.
    :raises MalformedAnswerError: it is about others; not repeated, as nobody knows what was done.
    """
    for key, wanted in asked.items():
        if key in document and text(document, key) != wanted:
            raise MalformedAnswerError(
                f"was asked about {key} {wanted}, but answered about {text(document, key)}",
                passing=False,
            )
    return document


def to_volume(item: Mapping[str, Any]) -> Volume:
    """Read a disk, in any of the forms that servers write (pdisk-rest 4.4)."""
    size = _number(item.get("size"))
    if size is not None and size > LARGEST:
        size = -(-size // _GIB)  # bytes, from a server that stores sizes as they were sent
    users = item.get("count", item.get("users"))
    visibility = optional(item, "visibility")
    return Volume(
        id=text(item, "uuid"),
        name=str(item.get("tag") or ""),
        size=size,
        owner=optional(item, "owner"),
        users=_number(users),
        visibility=visibility and visibility.lower(),
        type=optional(item, "type"),
        identifier=optional(item, "identifier"),
        created=optional(item, "created"),
        quarantine=optional(item, "quarantine"),
    )


def text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if isinstance(value, list) and value:
        value = value[0]
    found = str(value).strip() if isinstance(value, (str, int)) else ""
    if not found:
        raise MalformedAnswerError(f"answered JSON without {key!r}")
    return found


def optional(item: Mapping[str, Any], key: str) -> str | None:
    value = item.get(key)
    return str(value).strip() or None if value else None


def _number(value: object) -> int | None:
    """Parse a number that may be formatted for people, such as ``1,024``."""
    digits = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    if not _DIGITS.fullmatch(digits):
        digits = re.sub("[^0-9]", "", digits)
    return int(digits) if 0 < len(digits) <= 18 else None
