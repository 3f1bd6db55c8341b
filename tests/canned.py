"""A real HTTP server that answers what a test tells it to, for faults that no sandbox has."""

import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

__all__ = ["Canned", "Request", "pool", "rpc"]


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

    answers: list[object]
    requests: list[Request] = field(default_factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.canned = self
        if self.tls:  # the handshake is the handler's, so that nobody else waits for it
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> "Canned":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def connections(self) -> int:
        return len({request.peer for request in self.requests})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    canned: Canned

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
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
            self.send(*answer)  # type: ignore[misc]

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
