"""
The server of the benchmark: canned answers from memory, so that only the client is measured.

It has a process of its own, so that the two share no interpreter. The first part of a path is the
delay of the answer in milliseconds, the next two are the kind and the number of items:
``/200/nodes/10/…``. The first request for a size waits until its document is made.
"""

import socketserver
import sys
import threading
import time
from functools import cache

from benchmarks import documents, peer_documents

__all__ = ["main"]

_FIRST = 65536  # bytes that are sent together with the head
_JSON, _XML, _RPC = "application/json", "application/xml", "text/xml"


@cache
def _answer(kind: str, count: int, rest: str, call: bytes) -> tuple[str, bytes]:
    """
    Return the content type and the body of an answer.

    :param rest: the part of the path after the count.
    :param call: the method of an XML-RPC request.
    """
    if rest == "metadata" and kind == "json":
        return _JSON, documents.entries_json(count)
    if rest.startswith("metadata"):
        return _XML, documents.entries_xml(count if kind == "xml" else 1)
    if kind == "volumes":
        return _JSON, documents.volumes(count)
    if kind == "openstack":
        return _JSON, peer_documents.openstack(rest, count)
    if kind == "occi":
        return _XML, peer_documents.occi(rest, count)
    if call == b"one.imagepool.info":
        return _RPC, documents.engine_images(count)
    if call == b"one.vmpool.info" and kind == "engine":
        return _RPC, documents.engine_machines(count)
    if call == b"one.vmpool.info":
        return _RPC, documents.machines(count)
    return _RPC, documents.machine(7) if call == b"one.vm.info" else documents.allocated(7)


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline():
            length = 0
            while (header := self.rfile.readline()) not in (b"\r\n", b""):
                name, _, text = header.partition(b":")
                if name.lower() == b"content-length":
                    length = int(text)
            body = self.rfile.read(length)
            _, delay, kind, count, *rest = line.split()[1].decode().partition("?")[0].split("/")
            call = body.partition(b"<methodName>")[2].partition(b"<")[0]
            content_type, answer = _answer(kind, int(count), "/".join(rest), call)
            time.sleep(int(delay) / 1000)
            head = (
                f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n"
                f"Content-Length: {len(answer)}\r\n\r\n"
            )
            self.connection.sendmsg([head.encode(), answer[:_FIRST]])
            self.connection.sendall(memoryview(answer)[_FIRST:])


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hang up: they have been measured."""


def main() -> None:
    """Serve on a free port, print it, and stop at the end of the standard input."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
