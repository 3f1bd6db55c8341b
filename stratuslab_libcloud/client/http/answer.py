"""An answer whose body is still to come, bounded in size."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import requests

from stratuslab_libcloud.errors import MalformedAnswerError

__all__ = [
    "ENCODINGS",
    "LARGEST_HELD",
    "Answer",
    "check_encoding",
    "limited",
    "pieces_of",
]

LARGEST_HELD = 64 * 1024 * 1024  # of what is not streamed
_PIECE = 256 * 1024

ENCODINGS = "gzip, deflate"  # which urllib3 unpacks piece by piece, whatever is installed


@dataclass(frozen=True)
class Answer:
    """
    A successful answer whose body is still to be read.

    :ivar pieces: the body, decompressed, bounded in size and time.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes] = field(repr=False)

    @property
    def content_type(self) -> str:
        """The media type, lower-case and without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def body(self) -> bytes:
        """All of the body, of 64 MiB at most."""
        return b"".join(limited(self.pieces, LARGEST_HELD))


def pieces_of(response: requests.Response, largest: int) -> Iterator[bytes]:
    """The decompressed body; ``read1``, as ``read`` would wait for a whole piece to drip in."""
    return limited(iter(lambda: response.raw.read1(_PIECE, decode_content=True), b""), largest)


def limited(pieces: Iterator[bytes], largest: int) -> Iterator[bytes]:
    """
    The same.

    :raises MalformedAnswerError: they are more than so many bytes, or too many.
    """
    total = 0
    for number, piece in enumerate(pieces):
        total += len(piece)
        if total > largest:
            raise MalformedAnswerError(
                f"the answer is larger than {largest >> 20} MiB", passing=False
            )
        if number > largest >> 10:
            raise MalformedAnswerError(
                f"the answer comes in more than {largest >> 10:,} pieces", passing=False
            )
        yield piece


def check_encoding(response: requests.Response) -> None:
    """Encodings within encodings could make terabytes of one piece."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "x-gzip", *ENCODINGS.split(", ")):
        raise MalformedAnswerError(
            f"the answer is encoded as {encoding!r}, which it was not asked to be"
        )
