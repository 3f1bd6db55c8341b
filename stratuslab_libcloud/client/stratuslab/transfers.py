"""Images that are uploaded as disks, and disks that are downloaded (pdisk-rest 2.1.3, 2.2.2)."""

import gzip
import hashlib
import os
import secrets
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.errors import InvalidValueError, MalformedAnswerError
from stratuslab_libcloud.metadata.entry import identifier

__all__ = ["Download", "Form", "Progress", "packed", "received"]

Progress = Callable[[int, int | None], object]
"""Called with the bytes that have been transferred, and with how many there are, if known."""

_PIECE = 1 << 20
_UNPACKED = 1 << 18  # a larger piece is memory that the system clears anew each time
_HOLE = bytes(_UNPACKED)
_LEVEL = 1  # whoever waits would rather have it soon than small
_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"
_HEAD = (
    "--{boundary}\r\n"
    'Content-Disposition: form-data; name="Image File"; filename="image.gz"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
)


# -- sending -----------------------------------------------------------------------------------


@contextmanager
def packed(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], str]]]:
    """
    Give an image in gzip: the file itself, if it is that already, or a temporary one.

    With it comes a function that returns the identifier that the image will have as a disk. That
    of a file in gzip is found out beside the block, as unpacking takes as long as sending.

    :raises InvalidValueError: the file cannot be read; also from the function.
    """
    with _reading(path):
        source = path.open("rb")
        is_packed = source.read(len(_MAGIC)) == _MAGIC
        source.seek(0)
        file, known = (source, "") if is_packed else _compressed(source)
    stopped = threading.Event()
    with file, ThreadPoolExecutor(1) as beside:
        try:
            yield file, (lambda: known) if known else beside.submit(_identify, path, stopped).result
        finally:
            stopped.set()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidValueError(f"the image {path} cannot be read: {reason}") from None


def _identify(path: Path, stopped: threading.Event) -> str:
    sha1 = hashlib.sha1(usedforsecurity=False)
    with _reading(path), gzip.open(path) as image:
        while not stopped.is_set() and (data := image.read(_PIECE)):
            sha1.update(data)
    return identifier(sha1.digest())


def _compressed(source: IO[bytes]) -> tuple[IO[bytes], str]:
    sha1 = hashlib.sha1(usedforsecurity=False)
    target = tempfile.TemporaryFile(  # noqa: SIM115 - the caller closes it
        dir=os.path.dirname(source.name) or "."
    )
    try:
        with source, gzip.GzipFile("", "wb", _LEVEL, target, 0) as image:
            while data := source.read(_PIECE):
                sha1.update(data)
                image.write(data)
        target.seek(0)
    except BaseException:
        target.close()
        raise
    return target, identifier(sha1.digest())


class Form:
    """
    A form with an image, as a file that requests can send: it has a length, and is read once.

    :ivar content_type: what it is to be sent as.
    """

    def __init__(self, image: IO[bytes], progress: Progress) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._image = image
        self._size = os.fstat(image.fileno()).st_size
        self._sent = 0
        self._progress = progress
        self._head = _HEAD.format(boundary=boundary).encode("ascii")
        self._tail = f"\r\n--{boundary}--\r\n".encode("ascii")
        self._length = len(self._head) + self._size + len(self._tail)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> "Form":
        return self

    def __next__(self) -> bytes:
        if data := self.read(_PIECE):
            return data
        raise StopIteration

    def read(self, size: int) -> bytes:
        """Return the next bytes, ``size`` at most."""
        if self._head:
            data, self._head = self._head, b""
            return data
        if data := self._image.read(min(size, self._size - self._sent)):
            self._sent += len(data)
            self._progress(self._sent, self._size)
            return data
        data, self._tail = self._tail, b""
        return data


# -- receiving ---------------------------------------------------------------------------------


class Download:
    """
    A disk that is being written to a file, through as many answers as it takes.

    :ivar headers: that ask for what is missing, if the service can send just that.
    """

    def __init__(
        self, target: IO[bytes], *, keep: bool, largest: int | None, progress: Progress
    ) -> None:
        """
        :param keep: whether to write the gzip itself; it is unpacked in any case, as a check.
        :param largest: bytes that the disk may have, if known.
        """
        self.headers: dict[str, str] = {"Accept-Encoding": "identity"}
        self._target = target
        self._keep = keep
        self._largest = largest
        self._progress = progress
        self._start()

    def _start(self) -> None:
        self._target.seek(0)
        self._target.truncate()
        self._received = self._size = 0
        self._member = zlib.decompressobj(_GZIP)

    def read(self, answer: Answer) -> None:
        """
        Read an answer to its end.

        :raises MalformedAnswerError: it is not a disk in gzip, or not all of it.
        """
        begin = f"bytes {self._received}-"
        if answer.status == 206:
            if not answer.headers.get("Content-Range", "").startswith(begin):
                raise MalformedAnswerError(
                    "answered another part of the disk than it was asked for"
                )
        elif answer.content_type == "application/json":
            raise MalformedAnswerError("answered no disk, but JSON", passing=False)
        else:
            self._start()
        length = answer.headers.get("Content-Length", "")
        whole = self._received + int(length) if length.isdecimal() and len(length) < 18 else None
        self.headers.pop("Range", None)
        for piece in answer.pieces:
            self._take(piece)
            self._progress(self._received, whole)
            if tag := answer.headers.get("ETag"):
                self.headers |= {"Range": f"bytes={self._received}-", "If-Range": tag}
        if not self._member.eof:
            self._start_over()
            raise MalformedAnswerError("answered only a part of the disk")
        if not self._keep:
            self._target.truncate(self._size)

    def _start_over(self) -> None:
        for name in ("Range", "If-Range"):
            self.headers.pop(name, None)

    def _take(self, piece: bytes) -> None:
        self._received += len(piece)
        if self._keep:
            self._put(piece)
        try:
            while piece:
                if self._member.eof:
                    self._member = zlib.decompressobj(_GZIP)
                self._write(self._member.decompress(piece, _UNPACKED))
                piece = self._member.unconsumed_tail or self._member.unused_data
        except zlib.error:
            self._start_over()
            raise MalformedAnswerError("answered no disk in gzip", passing=not self._size) from None

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._largest is not None and self._size > self._largest:
            raise MalformedAnswerError("answered more than there is on the disk", passing=False)
        if not self._keep:
            self._put(data)

    def _put(self, data: bytes) -> None:
        try:
            if _HOLE.startswith(data):  # counting takes twenty times as long
                self._target.seek(len(data), os.SEEK_CUR)  # a hole
            else:
                self._target.write(data)
        except OSError as error:  # which would otherwise be taken for the connection's
            raise InvalidValueError(f"the disk cannot be written: {error.strerror}") from None


def received(path: Path, receive: Callable[[IO[bytes]], object]) -> None:
    """
    Write a file that appears when it is whole; one with that name is replaced.

    :param receive: writes it.
    :raises InvalidValueError: it cannot be written; what ``receive`` raises passes through.
    """
    try:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed below, before it is renamed
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        )
    except OSError as error:
        raise InvalidValueError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with file:
            receive(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(file.name)
        raise
