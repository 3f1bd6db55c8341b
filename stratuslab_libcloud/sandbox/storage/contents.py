"""What is on a disk: copied, compressed and unpacked piece by piece, without its holes."""

import gzip
import hashlib
import os
import pathlib
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import IO

from stratuslab_libcloud.sandbox.storage.records import Refusal, RequestRefusedError

__all__ = ["compress", "copy", "unpack"]

_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)
_LEVEL = 1  # whoever waits for a disk would rather have it soon than small
_TRIED, _APART = 1 << 10, 1 << 16  # so many bytes of a piece are tried first, so far apart
_GZIP = 16 + zlib.MAX_WBITS


def copy(source: pathlib.Path, target: IO[bytes]) -> None:
    """Copy a disk's content into an empty disk of the same size."""
    with source.open("rb") as file:
        for begin, data in _data(file):
            _write_sparse(target, begin, data)


def compress(source: pathlib.Path, target: IO[bytes]) -> None:
    """
    Write a disk's content in gzip, the same for the same content.

    It is a row of members (RFC 1952, 2.2), so that blank parts cost next to nothing.
    """
    at = 0
    with source.open("rb") as file:
        for begin, data in _data(file):
            _write_blank(target, begin - at)
            target.write(_blank(len(data)) if _is_blank(data) else _compressed(data))
            at = begin + len(data)
        _write_blank(target, os.fstat(file.fileno()).st_size - at)


def unpack(pieces: Iterable[bytes | None], target: IO[bytes], largest: int) -> tuple[int, str]:
    """
    Unpack an image in gzip into an empty file, which may end in a hole that it does not have yet.

    :param pieces: a None begins the image, or another one that replaces it.
    :param largest: bytes that it may have.
    :return: its size in bytes, and its SHA-1 in hex.
    :raises RequestRefusedError: there is none, or it is not whole, not gzip, or too large.
    """
    member, size, sha1 = None, 0, hashlib.sha1(usedforsecurity=False)
    try:
        for piece in pieces:
            if piece is None:
                target.truncate(0)
                member, size = zlib.decompressobj(_GZIP), 0
                sha1 = hashlib.sha1(usedforsecurity=False)
            packed = piece
            while packed and member:
                if member.eof:
                    member = zlib.decompressobj(_GZIP)
                data = member.decompress(packed, _PIECE)
                packed = member.unconsumed_tail or member.unused_data
                _write_sparse(target, size, data)
                sha1.update(data)
                size += len(data)
                if size > largest:
                    reason = f"Size must be an integer between 1 and {largest >> 30}"
                    raise RequestRefusedError(Refusal.MALFORMED, reason)
    except zlib.error:
        raise RequestRefusedError(Refusal.MALFORMED, "Not in GZIP format") from None
    if member is None:
        raise RequestRefusedError(Refusal.MALFORMED, "empty file uploaded")
    if not member.eof:
        raise RequestRefusedError(Refusal.MALFORMED, "Unexpected end of ZLIB input stream")
    return size, sha1.hexdigest()


def _data(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the pieces of a file that are not in a hole, and where they begin."""
    end = os.fstat(file.fileno()).st_size
    at = 0
    while at < end:
        at = _next_data(file, at, end)
        file.seek(at)
        if data := file.read(_PIECE):
            yield at, data
        at += len(data) or end


def _next_data(file: IO[bytes], at: int, end: int) -> int:
    if not hasattr(os, "SEEK_DATA"):
        return at
    try:
        return os.lseek(file.fileno(), at, os.SEEK_DATA)
    except OSError:  # there is none
        return end


def _is_blank(data: bytes) -> bool:
    return data == _ZEROS[: len(data)]


def _write_sparse(target: IO[bytes], begin: int, data: bytes) -> None:
    """Write into what reads as zeros already."""
    if data and not _is_blank(data):
        target.seek(begin)
        target.write(data)


def _write_blank(target: IO[bytes], size: int) -> None:
    for _ in range(size // _PIECE):
        target.write(_blank(_PIECE))
    if size % _PIECE:
        target.write(_blank(size % _PIECE))


def _compressed(data: bytes) -> bytes:
    """Return a piece in gzip; as it is if that gains little, as with music, or ciphertext."""
    some = b"".join(data[at : at + _TRIED] for at in range(0, len(data), _APART))
    gains = len(zlib.compress(some, _LEVEL)) < 0.9 * len(some)
    return gzip.compress(data, _LEVEL if gains else 0, mtime=0)


@cache
def _blank(size: int) -> bytes:
    return gzip.compress(_ZEROS[:size], mtime=0)
