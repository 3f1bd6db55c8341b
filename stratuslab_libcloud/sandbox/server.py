"""
The sandbox's one port: socket, TLS, threads.

The thread that accepts also collects, without ever waiting, what peers say: TLS handshakes, and
requests with bodies of up to COLLECTED_BYTES. A request takes one of the THREADS only when it is
complete, so that who is silent, or stops in the middle, or drips, keeps nobody waiting. A
handshake, and a request from its first byte to its last, has TALK_SECONDS; that is also how long
a thread can wait for what is not collected: larger or chunked bodies, and those announced with
"Expect: 100-continue". An answer may take as long as its reader goes on reading.
"""

import contextlib
import logging
import re
import socket
import ssl
import sys
import threading
import time
from typing import Any

import cheroot.errors
import cheroot.server
import cheroot.ssl
import cheroot.wsgi

from stratuslab_libcloud.sandbox.routes import CERTIFICATE
from stratuslab_libcloud.sandbox.store import SandboxError

__all__ = ["Server"]

THREADS = 32
IDLE_SECONDS = 75  # a silent connection is kept that long
TALK_SECONDS = 15
STOP_SECONDS = 1  # for answers that are being sent at the end
MAX_CONNECTIONS = 500  # that wait for their peer; over that, the one that waits longest is closed
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
COLLECTED_BYTES = 1024 * 1024
HEAD_END = re.compile(rb"\n\r?\n")
LENGTH = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r?\n", re.IGNORECASE)

log = logging.getLogger(__name__)


class _Request(cheroot.server.HTTPRequest):
    def __init__(self, server: Any, conn: Any) -> None:
        # Not strict: clients whose endpoint ends in a slash ask for //metadata.
        super().__init__(server, conn, strict_mode=False)

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if not re.fullmatch(rb"[0-9]+", self.inheaders.get(b"Content-Length", b"0")):
            self.simple_response("400 Bad Request", "Malformed Content-Length Header.")
            return False
        if self.chunked_read:
            self.close_connection = True  # cheroot leaves what may follow the last chunk
        return True

    def send_headers(self) -> None:
        if (b"Connection", b"close") in self.outheaders:
            self.close_connection = True  # cheroot itself only writes it
        super().send_headers()


class _Incoming:
    """What the peer sends: collected without waiting first, then, by a worker, to a deadline."""

    closed = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()
        self._ended = False
        self._greeted = not isinstance(sock, ssl.SSLSocket)
        # When the handshake or the request under way began, if any is.
        self.begun = None if self._greeted else time.time()

    def has_data(self) -> bool:
        """Collect what is there; whether a worker has something to do, if only to hang up."""
        self._socket.settimeout(0)
        try:
            self._greet()
            while not self._ended and not self._is_complete():
                self._take()
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._ended = True
            if getattr(error, "reason", "") == "HTTP_REQUEST":
                self._refuse_plain_http()
        finally:
            self._socket.settimeout(TALK_SECONDS)
        return self._ended or self._is_complete()

    def next(self) -> None:
        """A request has been answered. The one after it may be here already."""
        self.begun = time.time() if self._buffer else None

    def readline(self, size: int = MAX_HEADER_BYTES) -> bytes:
        while (end := self._buffer.find(b"\n", 0, size)) < 0 and len(self._buffer) < size:
            if not self._await():
                break
        return self._cut(end + 1 or size)

    def read(self, size: int) -> bytes:
        """All that was promised of a body: less must not be taken for the whole."""
        while len(self._buffer) < size:
            if not self._await():
                raise ConnectionError("the body is incomplete")
        return self._cut(size)

    def close(self) -> None:
        """Say goodbye in TLS, for clients that read to the end; no longer there to be read."""
        self.closed = True
        if isinstance(self._socket, ssl.SSLSocket) and self._greeted:
            with contextlib.suppress(OSError, ValueError):
                self._socket.settimeout(0)  # not waiting for the peer's goodbye
                self._socket.unwrap()

    def hang_up(self, how: int) -> None:
        """Let whoever reads find the end, in any thread. Below TLS, which is not thread-safe."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, how)

    def _greet(self) -> None:
        if isinstance(self._socket, ssl.SSLSocket) and not self._greeted:
            self._socket.do_handshake()
            self._greeted, self.begun = True, None

    def _is_complete(self) -> bool:
        end = HEAD_END.search(self._buffer, 0, MAX_HEADER_BYTES)
        if end is None:
            return len(self._buffer) >= MAX_HEADER_BYTES
        head = bytes(self._buffer[: end.end()])
        length = LENGTH.search(head)
        if length is None or int(length[1]) > COLLECTED_BYTES or b"100-continue" in head.lower():
            return True
        return len(self._buffer) >= len(head) + int(length[1])

    def _take(self) -> bool:
        data = self._socket.recv(64 * 1024)
        self._buffer += data
        self._ended = not data
        if data and self.begun is None:
            self.begun = time.time()
        return bool(data)

    def _await(self) -> bool:
        """Wait for more; False at the end."""
        if self._ended:
            return False
        left = (self.begun or time.time()) + TALK_SECONDS - time.time()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        try:
            return self._take()
        finally:
            self._socket.settimeout(TALK_SECONDS)

    def _cut(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _refuse_plain_http(self) -> None:
        answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        with contextlib.suppress(OSError):
            # Below TLS. What was sent is read first: closing would else reset the connection.
            socket.socket.recv(self._socket, MAX_HEADER_BYTES)
            socket.socket.sendall(self._socket, answer)


class _Outgoing:
    """What goes to the peer, at once: nothing is left to be sent when it has gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:  # not sendall(): the time-out is for each piece, not for all of them
            rest = rest[self._socket.send(rest) :]
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""


def _file(sock: Any, mode: str, _size: int) -> Any:
    return _Incoming(sock) if "r" in mode else _Outgoing(sock)


class _Connection(cheroot.server.HTTPConnection):
    RequestHandlerClass = _Request

    def __init__(self, server: Any, sock: Any, makefile: Any = None) -> None:
        super().__init__(server, sock, _file)
        self._last_used: float | None = None

    @property
    def last_used(self) -> float | None:
        """For cheroot, which closes what waits and was not used for IDLE_SECONDS."""
        begun = self.rfile.begun
        return self._last_used if begun is None else begun + TALK_SECONDS - IDLE_SECONDS

    @last_used.setter
    def last_used(self, moment: float) -> None:
        self._last_used = moment

    @property
    def is_new(self) -> bool:
        return self._last_used is None

    def communicate(self) -> bool:
        """Answer a request; True to wait for the next."""
        if isinstance(self.socket, ssl.SSLSocket) and CERTIFICATE not in self.ssl_env:
            with contextlib.suppress(ValueError):  # it never shook hands
                self.ssl_env[CERTIFICATE] = self.socket.getpeercert(binary_form=True)
        self.server.busy.add(self)  # first, so that stop() misses nobody
        try:
            if self.server.is_stopping:
                return False
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        finally:
            self.server.busy.discard(self)
            self.rfile.next()

    def close(self) -> None:
        self.server.forget(self)
        super().close()


class _Adapter(cheroot.ssl.Adapter):
    """Leaves the handshake for later; cheroot's own waits for it while accepting."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def bind(self, sock: Any) -> Any:
        return sock

    def wrap(self, sock: Any) -> tuple[Any, dict[str, Any]]:
        try:
            wrapped = self.context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
        except OSError as error:  # the peer has gone already
            sock.close()
            raise cheroot.errors.FatalSSLAlert(*error.args) from error
        return wrapped, self.get_environ()

    def get_environ(self) -> dict[str, Any]:
        return {"wsgi.url_scheme": "https"}

    def makefile(self, sock: Any, mode: str = "r", bufsize: int = -1) -> Any:
        return _file(sock, mode, bufsize)


class Server(cheroot.wsgi.Server):
    """
    The HTTP server; ``prepare()`` takes the port, ``serve()`` serves until ``stop()``.

    :param tls: the context to wrap connections in, if any.
    """

    ConnectionClass = _Connection
    expiration_interval = 0.1  # also how long stop() may take to be noticed
    keep_alive_conn_limit = sys.maxsize  # MAX_CONNECTIONS closes the oldest, not the newest
    max_request_body_size = MAX_BODY_BYTES
    max_request_header_size = MAX_HEADER_BYTES

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            (host, port),
            None,
            numthreads=THREADS,
            server_name="sandbox",
            request_queue_size=128,
            timeout=IDLE_SECONDS,
            shutdown_timeout=STOP_SECONDS,
        )
        self.ssl_adapter = _Adapter(tls) if tls else None
        self.busy: set[_Connection] = set()
        self.is_stopping = False
        self._waiting: dict[_Connection, None] = {}  # the one that waits longest first
        self._lock = threading.Lock()

    def process_conn(self, conn: Any) -> None:
        """Give a connection to a worker, if there is something to do."""
        self.forget(conn)
        if conn.is_new or not conn.rfile.has_data():
            self.put_conn(conn)
        else:
            super().process_conn(conn)

    def put_conn(self, conn: Any) -> None:
        """Let a connection wait in the selector, which looks at what is there first."""
        oldest = None
        with self._lock:
            self._waiting[conn] = None
            if len(self._waiting) > MAX_CONNECTIONS:
                oldest = next(iter(self._waiting))
                del self._waiting[oldest]
        try:
            super().put_conn(conn)  # another thread may have it now
        except ValueError:  # the selector was closed by stop() at this very moment
            if not self.is_stopping:
                raise
            conn.close()
        if oldest:
            oldest.rfile.hang_up(socket.SHUT_RD)

    def forget(self, conn: _Connection) -> None:
        """It does not wait any more."""
        with self._lock:
            self._waiting.pop(conn, None)

    def stop(self) -> None:
        """Let what is being answered be answered, but wait for nobody."""
        self.is_stopping = True
        for conn in list(self.busy):
            conn.rfile.hang_up(socket.SHUT_RD)
        end = time.monotonic() + STOP_SECONDS
        while self.busy and time.monotonic() < end:
            time.sleep(0.01)
        for conn in list(self.busy):
            conn.rfile.hang_up(socket.SHUT_RDWR)
        super().stop()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        # What goes wrong on the wire is the peer's affair.
        wire = isinstance(sys.exc_info()[1], OSError)
        log.log(logging.DEBUG if wire else level, "%s", msg, exc_info=traceback)

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        try:
            socket_.bind(bind_addr)
        except OSError as error:
            socket_.close()
            host, port = bind_addr
            raise SandboxError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        return socket_
