"""A real HTTP server that answers what a test tells it to, for faults that no sandbox has."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Any, TypeAlias

__all__ = ["Canned", "Handler", "Reply", "Request", "pool", "rpc"]


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int]


@dataclass
class Canned:
    """
    ``answers`` are given one after the other, the last again and again.

    An answer is ``(status, content type, body)``, with further headers in a dictionary if there
    are any, or a function that does what it likes with the handler.
    """

    answers: list[Reply]
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.canned = self
        if self.tls:  # the handshake is the handler's, so that nobody else waits for it
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._ends = False
        self._thread = threading.Thread(target=self._serve)
        self._handlers: list[tuple[socket.socket, threading.Thread]] = []
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> Canned:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends = True
        self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes it up
        self._thread.join()
        self._server.server_close()

    def hang_up(self) -> None:
        """End all connections, when what came in by them has been done."""
        for connection, work in self._handlers:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # without TLS's own farewell
            work.join()

    def _serve(self) -> None:
        """Not ``serve_forever``, which looks for the end again and again: many run at once."""
        while not self._ends:
            self._server.handle_request()

    @property
    def connections(self) -> int:
        return len({request.peer for request in self.requests})


class _Server(HTTPServer):
    canned: Canned

    def process_request(self, request: Any, client_address: Any) -> None:
        """Each in a thread of its own."""
        work = threading.Thread(target=self._work, args=(request, client_address), daemon=True)
        self.canned._handlers.append((request, work))
        work.start()

    def _work(self, request: Any, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 20

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        canned = self.server.canned
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(
            self.command, self.path, dict(self.headers.items()), body, self.client_address
        )
        canned.requests.append(request)
        answer = canned.answers.pop(0) if len(canned.answers) > 1 else canned.answers[0]
        if callable(answer):
            answer(self, request)
        else:
            self.send(*answer)

    def send(
        self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, text in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        self.close_connection = True
        self.connection.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_CONNECT = _serve  # noqa: N815 - http.server's names


Reply: TypeAlias = (
    tuple[int, str, bytes]
    | tuple[int, str, bytes, dict[str, str]]
    | Callable[[Handler, Request], object]
)


def rpc(*values: object) -> tuple[int, str, bytes]:
    """An XML-RPC answer: an array of booleans, integers and strings."""
    written = []
    for value in values:
        if isinstance(value, bool):
            written.append(f"<boolean>{int(value)}</boolean>")
        elif isinstance(value, int):
            written.append(f"<i4>{value}</i4>")
        else:
            text = str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            written.append(f"<string>{text}</string>")
    array = "".join(f"<value>{item}</value>" for item in written)
    body = (
        "<?xml version='1.0'?><methodResponse><params><param><value><array><data>"
        f"{array}</data></array></value></param></params></methodResponse>"
    )
    return 200, "text/xml", body.encode()


def pool(*machines: str) -> tuple[int, str, bytes]:
    """The answer to one.vmpool.info."""
    return rpc(True, "<VM_POOL>" + "".join(machines) + "</VM_POOL>", 0)
