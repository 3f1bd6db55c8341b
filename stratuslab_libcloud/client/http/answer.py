"""An HTTP answer whose body is read as it arrives, up to a limit."""

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

LARGEST_HELD = 64 * 1024 * 1024  # of an answer that is not streamed
_PIECE = 256 * 1024

ENCODINGS = "gzip, deflate"  # urllib3 always unpacks these piece by piece


@dataclass(frozen=True)
class Answer:
    """
    A successful answer whose body has not been read yet.

    :ivar pieces: the decompressed body, limited in size and time.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes] = field(repr=False)

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def body(self) -> bytes:
        """Read the whole body, at most 64 MiB."""
        return b"".join(limited(self.pieces, LARGEST_HELD))


def pieces_of(response: requests.Response, largest: int) -> Iterator[bytes]:
    """Yield the decompressed body; by ``read1``, as ``read`` would wait for a whole piece."""
    return limited(iter(lambda: response.raw.read1(_PIECE, decode_content=True), b""), largest)


def limited(pieces: Iterator[bytes], largest: int) -> Iterator[bytes]:
    """
    Pass pieces on, up to a limit.

    :param largest: bytes.
    :raises MalformedAnswerError: the answer is larger, or comes in too many pieces.
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
    """Refuse nested encodings, with which one piece could expand to terabytes."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "x-gzip", *ENCODINGS.split(", ")):
        raise MalformedAnswerError(
            f"the answer has the encoding {encoding!r}, which was not requested"
        )
