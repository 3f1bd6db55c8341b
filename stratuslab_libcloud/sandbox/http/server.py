"""
The sandbox's one port: socket, TLS, threads.

No thread ever waits for a peer. The thread that accepts connections also collects the bytes of
requests, and sends the rest of answers. One of the THREADS takes a request when it is complete,
until its answer is made. So peers that are silent, stop in the middle, drip or read slowly keep
nobody waiting.
"""

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import cheroot.connections
import cheroot.errors
import cheroot.server
import cheroot.ssl
import cheroot.wsgi

from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.http.application import CERTIFICATE
from stratuslab_libcloud.sandbox.http.request import StrictRequest
from stratuslab_libcloud.sandbox.http.threads import THREADS, Threads
from stratuslab_libcloud.sandbox.http.wire import (
    MAX_HEADER_BYTES,
    Incoming,
    Outgoing,
)

__all__ = ["Server"]

_IDLE_SECONDS = 75  # how long a silent connection is kept
_STOP_SECONDS = 1  # for the answers that are being sent when it stops
# Connections that wait for their peer; beyond that, the one that waits longest is closed. Each may
# have an image open, and most systems limit a process to 1024 files.
_MAX_CONNECTIONS = 400
_MAX_KEPT_BYTES = 256 * 1024 * 1024  # in requests and answers that wait for their peer; likewise
_FREE_KEPT_BYTES = 64 * 1024  # a connection that keeps less does not count
_LOG = logging.getLogger(__name__)


class _Gateway(cheroot.wsgi.Gateway_10):
    def respond(self) -> None:
        """Queue the answer; cheroot's own gateway would wait until the peer has read it."""
        response = self.req.server.wsgi_app(self.env, self.start_response)
        self.req.ensure_headers_sent()
        chunked = self.req.chunked_write
        self.req.conn.wfile.stream(_Chunked(response) if chunked else response)


class _Chunked:
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in filter(None, self._pieces):
            yield b"%x\r\n%b\r\n" % (len(piece), piece)

    def close(self) -> None:
        if close := getattr(self._pieces, "close", None):
            close()


def _file(sock: Any, mode: str, _size: int) -> Any:
    return Incoming(sock) if "r" in mode else Outgoing(sock)


class _Connection(cheroot.server.HTTPConnection):
    RequestHandlerClass = StrictRequest

    def __init__(self, server: Any, sock: Any, makefile: Any = None) -> None:
        super().__init__(server, sock, _file)
        self._last_used: float | None = None
        self._is_last = False  # whether to close after this answer
        self.is_dropped = False  # to make room for others

    @property
    def last_used(self) -> float | None:
        """For cheroot, which closes connections that were not used for _IDLE_SECONDS."""
        deadline = self.wfile.deadline or self.rfile.deadline
        return self._last_used if deadline is None else deadline - _IDLE_SECONDS

    @last_used.setter
    def last_used(self, moment: float) -> None:
        self._last_used = moment

    @property
    def is_new(self) -> bool:
        return self._last_used is None

    @property
    def kept(self) -> int:
        """The memory that requests and answers take, in bytes."""
        return int(self.rfile.kept + self.wfile.kept)

    def communicate(self) -> bool:
        """Answer a request; return True to wait for the peer again."""
        if isinstance(self.socket, ssl.SSLSocket) and CERTIFICATE not in self.ssl_env:
            with contextlib.suppress(ValueError):  # it never shook hands
                self.ssl_env[CERTIFICATE] = self.socket.getpeercert(binary_form=True)
        self.server.busy.add(self)  # first, so that stop() finds it
        try:
            if self.server.is_stopping:
                return False
            if self.rfile.awaits_admission and self._admit():
                self.server.busy.discard(self)
                return True
            self._is_last = not super().communicate()  # type: ignore[no-untyped-call]
        finally:
            self.server.requests.done()
        return self.send()

    def _admit(self) -> bool:
        """Let an upload continue into a file, if the application takes any, and from its sender."""
        certificate = self.ssl_env.get(CERTIFICATE)
        admit = getattr(self.server.wsgi_app, "admit", None)
        self.rfile.admit(admit(self.rfile.head, certificate) if admit else None)
        return bool(self.rfile.is_upload)

    def send(self) -> bool:
        """Send what the peer takes of the answer; return True to wait for it again."""
        self.wfile.send()
        if self.wfile.is_pending:
            return True
        self.server.busy.discard(self)
        self.rfile.next()
        return not self._is_last

    def close(self) -> None:
        self.server.forget(self)
        self.server.busy.discard(self)
        self.wfile.close()
        super().close()


class _Connections(cheroot.connections.ConnectionManager):
    """The connections that wait for their peer, and the loop of the thread that serves them."""

    _selector: Any

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self._ended = threading.Event()
        self._ended.set()

    def put(self, conn: Any) -> None:
        if conn.wfile.is_pending:
            conn.last_used = time.time()
            self._selector.register(conn.socket.fileno(), conn.wfile.awaits, data=conn)
        else:
            super().put(conn)

    def run(self, expiration_interval: float) -> None:
        self._ended.clear()
        try:
            super().run(expiration_interval)
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Stop without cheroot's sleep: a connection wakes the loop."""
        self._stop_requested = True
        with socket.socket(self.server.socket.family) as waker:
            waker.setblocking(False)
            with contextlib.suppress(OSError):
                waker.connect(self.server.bind_addr)
            self._ended.wait()


class _Adapter(cheroot.ssl.Adapter):
    """Defers the handshake; cheroot's own adapter waits for it while accepting."""

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

    :param tls: the TLS context for connections, if any.
    :param threads: the number of threads to start with.
    """

    ConnectionClass = _Connection
    _connections: Any
    expiration_interval = 0.1
    keep_alive_conn_limit = sys.maxsize  # _MAX_CONNECTIONS closes the oldest, not the newest
    max_request_body_size = 0  # StrictRequest checks it
    max_request_header_size = MAX_HEADER_BYTES

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, threads: int = THREADS
    ) -> None:
        super().__init__(
            (host, port),
            None,
            server_name="sandbox",
            request_queue_size=128,
            timeout=_IDLE_SECONDS,
            shutdown_timeout=_STOP_SECONDS,
        )
        self.gateway = _Gateway
        self.requests = Threads(self, threads)
        self.ssl_adapter = _Adapter(tls) if tls else None
        self.busy: set[_Connection] = set()
        self.is_stopping = False
        self._waiting: dict[_Connection, None] = {}  # the one that waits longest first
        self._lock = threading.Lock()

    def prepare(self) -> None:
        super().prepare()
        self._connections.close()
        self._connections = _Connections(self)

    def process_conn(self, conn: Any) -> None:
        """Send more of an answer, or give a connection with a complete request to a thread."""
        self.forget(conn)
        try:
            if conn.wfile.is_pending and not conn.send():
                conn.close()
            elif conn.is_new or conn.wfile.is_pending or not conn.rfile.has_data():
                self.put_conn(conn)
            else:
                super().process_conn(conn)
        except Exception as error:  # otherwise nobody would close it
            self.error_log(repr(error), logging.ERROR, traceback=not isinstance(error, OSError))
            conn.close()

    def put_conn(self, conn: Any) -> None:
        """Let a connection wait in the selector, which checks first what is there."""
        with self._lock:
            if not conn.is_dropped:
                self._waiting[conn] = None
        try:
            super().put_conn(conn)  # another thread may have it now
        except ValueError:  # the selector was closed by stop() at this very moment
            if not self.is_stopping:
                raise
            conn.close()
        with self._lock:
            surplus = self._surplus(conn)
            for one in surplus:
                del self._waiting[one]
                one.is_dropped = True  # otherwise it could return before it is hung up
        for one in surplus:
            one.rfile.hang_up(socket.SHUT_RDWR)

    def _surplus(self, last: _Connection) -> list[_Connection]:
        """Choose what to close now that one more connection waits: those that wait longest."""
        if len(self._waiting) > _MAX_CONNECTIONS:
            return [next(iter(self._waiting))]
        if last.kept <= _FREE_KEPT_BYTES:  # so there is no more of that than before
            return []
        kept = {one: one.kept for one in self._waiting if one.kept > _FREE_KEPT_BYTES}
        total, surplus = sum(kept.values()), []
        for one in list(kept)[:-1]:
            if total > _MAX_KEPT_BYTES:
                surplus.append(one)
                total -= kept[one]
        return surplus

    def forget(self, conn: _Connection) -> None:
        """Note that a connection no longer waits."""
        with self._lock:
            self._waiting.pop(conn, None)

    def stop(self) -> None:
        """Finish the answers under way, but do not wait for slow peers."""
        self.is_stopping = True
        for conn in list(self.busy):
            conn.rfile.hang_up(socket.SHUT_RD)
        end = time.monotonic() + _STOP_SECONDS
        while self.busy and time.monotonic() < end:
            time.sleep(0.01)
        for conn in list(self.busy):
            conn.rfile.hang_up(socket.SHUT_RDWR)
        super().stop()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        # Failures of a connection are the peer's affair.
        wire = isinstance(sys.exc_info()[1], OSError)
        _LOG.log(logging.DEBUG if wire else level, "%s", msg, exc_info=traceback)

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        try:
            socket_.bind(bind_addr)
        except OSError as error:
            socket_.close()
            host, port = bind_addr
            raise SandboxError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        # Limits what peers can send ahead; the system's default is many MiB.
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        # Lets the next server reuse the port while old connections fade away. Set after bind(),
        # since otherwise the system could choose a port that another server uses.
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return socket_
