"""
The two directions of a connection, without ever waiting for the peer.

A handshake, and a request from its first byte to its last, may take _TALK_SECONDS. An answer may
take as long, and a second more for every _LOWEST_RATE bytes that its reader has taken; so may the
upload of an image, whose body is collected in a file.
"""

import contextlib
import re
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO

__all__ = ["MAX_BODY_BYTES", "MAX_HEADER_BYTES", "Incoming", "Outgoing"]

_TALK_SECONDS = 15
_LOWEST_RATE = 8 * 1024  # bytes in a second
_PIECE_BYTES = 64 * 1024  # at least a whole TLS record: select() does not see its rest
_TURN_PIECES = 8  # before other connections get their turn
_TURN_BYTES = _TURN_PIECES * _PIECE_BYTES
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
_MAX_CHUNK_LINE = 1024
_HEAD_END = re.compile(rb"\n\r?\n")
_LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,13})[ \t]*\r?\n", re.IGNORECASE)
_UPLOAD = re.compile(rb"\s*POST [^ \r\n]*/disks/?[ ?]", re.IGNORECASE)
_MULTIPART = re.compile(rb"\ncontent-type:[ \t]*multipart/form-data", re.IGNORECASE)
_CHUNKED = re.compile(rb"\ntransfer-encoding:[ \t]*chunked[ \t]*\r?\n", re.IGNORECASE)
_EXPECTS = re.compile(rb"\nexpect:[ \t]*100-continue[ \t]*\r?\n", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"[0-9a-f]{1,8}(?=[ \t;\r\n])", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Incoming:
    """
    The data from the peer: collected first, and read when a request is complete.

    A thread must :meth:`admit` a larger body, which only an upload may have.

    :ivar awaits_admission: whether the request is an upload that nobody has admitted or refused.
    :ivar is_refused: whether it was refused.
    """

    closed = False
    awaits_admission = False
    is_refused = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._ended = False
        self._upload: IO[bytes] | None = None
        self._uploaded = 0
        self._next_chunk = 0  # the position of its size
        self.is_too_large = False  # a body in chunks
        self._sent_continue = False
        self._greeted = not isinstance(sock, ssl.SSLSocket)
        # When the present handshake or request began, if there is one.
        self._begun = None if self._greeted else time.time()

    @property
    def deadline(self) -> float | None:
        """When the present handshake or request must be complete, if there is one."""
        if self._begun is None:
            return None
        return self._begun + _TALK_SECONDS + self._uploaded / _LOWEST_RATE

    @property
    def kept(self) -> int:
        """The memory that the buffer takes, in bytes."""
        return len(self._buffer)

    @property
    def is_upload(self) -> bool:
        """Whether the body is that of an upload which was admitted."""
        return self._upload is not None

    @property
    def head(self) -> bytes:
        """The head of an upload that awaits admission."""
        end = _HEAD_END.search(self._buffer)
        return bytes(self._buffer[: end.end()]) if end else b""

    def admit(self, file: IO[bytes] | None) -> None:
        """
        Collect the body of an upload in a file, which is closed at its end, or refuse it.

        :param file: empty; None to refuse.
        """
        self.awaits_admission = False
        self._upload, self.is_refused = file, file is None

    def has_data(self) -> bool:
        """Collect what is there; return whether a thread has something to do, or must hang up."""
        self._socket.settimeout(0)
        complete = False
        try:
            self._greet()
            complete = self._is_complete()
            for _ in range(_TURN_PIECES):
                if complete or self._ended:
                    break
                self._take()
                complete = self._is_complete()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._ended = True
            if getattr(error, "reason", "") == "HTTP_REQUEST":
                self._refuse_plain_http()
        return complete or self._ended

    def next(self) -> None:
        """Prepare for the next request, which may be here already."""
        self._begun = time.time() if self._buffer else None
        self._next_chunk, self._sent_continue = 0, False
        self._end_upload()

    def readline(self, size: int = MAX_HEADER_BYTES) -> bytes:
        return self._cut(self._buffer.find(b"\n", 0, size) + 1 or size)

    def read(self, size: int) -> bytes:
        """Read exactly ``size`` bytes: less of a body must not be taken for the whole."""
        if self._upload:
            data = self._upload.read(size)
            if len(data) < size:
                raise ConnectionError("the upload is incomplete")
            return data
        if len(self._buffer) < size:
            raise ConnectionError("the body is incomplete")
        return self._cut(size)

    def close(self) -> None:
        """Close, and send the end of TLS for clients that read up to it."""
        self.closed = True
        self._end_upload()
        if isinstance(self._socket, ssl.SSLSocket) and self._greeted:
            with contextlib.suppress(OSError, ValueError):
                self._socket.settimeout(0)  # not waiting for the peer's goodbye
                self._socket.unwrap()

    def hang_up(self, how: int) -> None:
        """Make any thread that reads find the end. Below TLS, which is not thread-safe."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, how)

    def _greet(self) -> None:
        if isinstance(self._socket, ssl.SSLSocket) and not self._greeted:
            self._socket.do_handshake()
            self._greeted, self._begun = True, None

    def _is_complete(self) -> bool:
        """Return whether a request is complete, or can be refused already."""
        end = _HEAD_END.search(self._buffer, 0, MAX_HEADER_BYTES)
        if end is None:
            return len(self._buffer) > MAX_HEADER_BYTES
        head = bytes(self._buffer[: end.end()])
        length = _LENGTH.search(head)
        if _CHUNKED.search(head):
            complete = self._has_all_chunks(len(head))
        elif self._upload and length:
            complete = self._spill(len(head), int(length[1]))
        elif length is None or int(length[1]) > MAX_BODY_BYTES:
            complete = True
            self.awaits_admission = not self.is_refused and bool(
                _UPLOAD.match(head) and _MULTIPART.search(head) and length
            )
        else:
            complete = len(self._buffer) >= len(head) + int(length[1])
        if not complete and not self._sent_continue and _EXPECTS.search(head):
            self._socket.send(_CONTINUE)
            self._sent_continue = True
        return complete

    def _spill(self, begin: int, length: int) -> bool:
        """Move what is there of an upload into its file; return whether that is all."""
        assert self._upload is not None  # noqa: S101 - for mypy
        part = self._buffer[begin : begin + length - self._uploaded]
        self._upload.write(part)
        self._uploaded += len(part)
        del self._buffer[begin : begin + len(part)]
        complete = self._uploaded == length
        if complete:
            self._upload.seek(0)
        return complete

    def _end_upload(self) -> None:
        if self._upload:
            self._upload.close()
        self._upload, self._uploaded, self.awaits_admission = None, 0, False

    def _has_all_chunks(self, begin: int) -> bool:
        at = max(self._next_chunk, begin)
        while at - begin <= MAX_BODY_BYTES:
            end = self._buffer.find(b"\n", at, at + _MAX_CHUNK_LINE)
            if end < 0:
                return len(self._buffer) - at >= _MAX_CHUNK_LINE
            size = _CHUNK_SIZE.match(self._buffer, at)
            if size is None or not int(size[0], 16):
                return True  # malformed, or the last
            self._next_chunk = at = end + 1 + int(size[0], 16) + len(b"\r\n")
        self.is_too_large = True
        return True

    def _take(self) -> None:
        data = self._socket.recv(_PIECE_BYTES)
        self._buffer += data
        self._ended = not data
        if data and self._begun is None:
            self._begun = time.time()

    def _cut(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _refuse_plain_http(self) -> None:
        answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(OSError):
            # Below TLS. Unread data would make close() reset the connection.
            socket.socket.recv(self._socket, MAX_HEADER_BYTES)
            socket.socket.send(self._socket, answer)


class Outgoing:
    """The answers to the peer: kept, or made piece by piece, until the peer has taken them."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._parts: deque[Iterable[bytes]] = deque()
        self._pieces: Iterator[bytes] = iter(())  # of the first part
        self._piece = memoryview(b"")
        self._begun, self._sent = 0.0, 0
        self.awaits = selectors.EVENT_WRITE

    @property
    def is_pending(self) -> bool:
        return bool(self._piece or self._parts)

    @property
    def deadline(self) -> float | None:
        """When the peer must have taken more, if there is an answer."""
        if not self.is_pending:
            return None
        return self._begun + _TALK_SECONDS + self._sent / _LOWEST_RATE

    @property
    def kept(self) -> int:
        """The memory that the present piece takes, in bytes."""
        return len(self._piece)

    def write(self, data: bytes) -> int:
        """Queue data."""
        self.stream((data,))
        return len(data)

    def stream(self, part: Iterable[bytes]) -> None:
        """Queue an iterable; its ``close()``, if any, is called at its end."""
        if not self.is_pending:
            self._begun, self._sent = time.time(), 0
        self._parts.append(part)
        if len(self._parts) == 1:
            self._pieces = iter(part)

    def send(self) -> None:
        """
        Send what the peer takes at once, up to _TURN_BYTES.

        :raises OSError: the connection is broken.
        """
        self._socket.settimeout(0)
        turn = self._sent + _TURN_BYTES
        try:
            while self._sent < turn and self._has_piece():
                sent = self._socket.send(self._piece)
                self._piece = self._piece[sent:]
                self._sent += sent
            self.awaits = selectors.EVENT_WRITE
        except (BlockingIOError, ssl.SSLWantWriteError):
            self.awaits = selectors.EVENT_WRITE
        except ssl.SSLWantReadError:
            self.awaits = selectors.EVENT_READ

    def close(self) -> None:
        """Discard everything that has not been sent."""
        self._piece = memoryview(b"")
        while self._parts:
            self._end_part()

    def flush(self) -> None:
        """Do nothing: :meth:`send` sends when the peer is ready."""

    def _has_piece(self) -> bool:
        while not self._piece and self._parts:
            piece = next(self._pieces, None)
            if piece is None:
                self._end_part()
            else:
                self._piece = memoryview(piece)
        return bool(self._piece)

    def _end_part(self) -> None:
        part = self._parts.popleft()
        if close := getattr(part, "close", None):
            close()
        self._pieces = iter(self._parts[0]) if self._parts else iter(())
