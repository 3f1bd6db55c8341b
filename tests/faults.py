"""
A site with faults: a real sandbox behind a server that, at a chosen request, does what servers do
when something is wrong with them, or with what is in between.
"""

import datetime
import http.client
import os
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trustme
from canned import Canned, Handler, Request
from present import present

from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["Certificates", "Fault", "FaultySite", "Reply"]

GARBAGE_MIB = 100
LONGEST_SECONDS = 30  # that anything drips, or Canned waits: a client that hangs shall be seen to
DRIP_SECONDS = 0.1  # to a time-out of 6 s what a second is to one of a minute


@dataclass(frozen=True)
class Reply:
    """What the sandbox answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, eq=False)
class Fault:
    """
    One thing that can go wrong.

    :ivar answer: what happens instead of an answer; given the site, its handler, the request.
    :ivar outage: what happens to the whole site; given it, and whether that is to pass by itself.
    """

    name: str
    answer: "Callable[[FaultySite, Handler, Request], None] | None" = None
    outage: "Callable[[FaultySite, bool], None] | None" = None


class Certificates:
    """Certificates for 127.0.0.1, a good one and bad ones; ``authority`` vouches for the good."""

    def __init__(self, folder: Path) -> None:
        here, authority = "127.0.0.1", trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        now = datetime.datetime.now(datetime.timezone.utc)
        ago = [now - datetime.timedelta(days=days) for days in (20, 10)]
        certificates = {
            "good": authority.issue_cert(here).private_key_and_cert_chain_pem,
            "another host's": authority.issue_cert("other.example").private_key_and_cert_chain_pem,
            "expired": authority.issue_cert(
                here, not_before=ago[0], not_after=ago[1]
            ).private_key_and_cert_chain_pem,
        }
        for name, blob in certificates.items():
            blob.write_to_path(folder / f"{name}.pem")
        own = trustme.CA()  # which has signed itself
        own.private_key_pem.write_to_path(folder / "self-signed.pem")
        own.cert_pem.write_to_path(folder / "self-signed.pem", append=True)
        self._folder = folder

    def present(self, context: ssl.SSLContext, name: str) -> None:
        """Show this one to whoever comes from now on."""
        context.load_cert_chain(self._folder / f"{name}.pem")


class FaultySite:
    """
    The services of a sandbox at an address of their own, within a ``with`` block.

    :ivar requests: what came in since the fault was set.
    :ivar elsewhere: another server, to redirect to.
    """

    def __init__(
        self, sandbox: Sandbox, elsewhere: Canned, certificates: Certificates | None = None
    ) -> None:
        """
        :param certificates: to speak TLS.
        """
        self.elsewhere = elsewhere
        self._certificates = certificates
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificates else None
        # The port stays ours while nobody listens on it.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self._address = self._port.getsockname()
        self._server: Canned | None = None
        self._past: list[Canned] = []
        self._fault: Fault | None = None
        # It stays, as a new one for each request would cost as much as the request.
        self._behind = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=60)
        self._carrying_out = threading.Lock()
        self._timer: threading.Timer | None = None
        self.requests: list[Request] = []
        self.mend()
        self.url: str = present(self._server).url

    def __enter__(self) -> "FaultySite":
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        for server in self._past:
            server.hang_up()  # nothing of ours reaches the sandbox later
        self._behind.close()
        self._port.close()

    # -- faults --------------------------------------------------------------------------------

    def befall(self, fault: Fault, at: str, after: Sequence[str], *, passing: bool) -> None:
        """
        Set a fault.

        :param at: a pattern for the request that meets it: method, path and body.
        :param after: patterns for the requests before it, in their order, which are still answered.
        :param passing: it happens once, or is over soon.
        """
        self.requests = []
        self._left = 1 if passing else 1_000_000
        self._fault, self._at, self._after, self._passing = fault, at, list(after), passing
        if not after:
            self._strike()

    def mend(self) -> None:
        """From now on nothing is wrong."""
        self._fault = None
        _AWAITED.pop(self._address, None)
        if self._timer:
            self._timer.join()
            self._timer = None
        if self._tls:
            self.present("good")
        self.up()

    def up(self) -> None:
        """Listen."""
        if self._server is None:
            found = Canned([self._serve], port=self._address[1], tls=self._tls)
            self._server = found.__enter__()

    def down(self) -> None:
        """Listen no more."""
        if self._server:
            self._server.__exit__(None, None, None)
            self._past.append(self._server)
            self._server = None

    def up_soon_after_a_refusal(self) -> None:
        """Listen again when somebody has met a closed door, however long that takes."""
        self._timer = threading.Timer(0.1, self.up)
        _AWAITED[self._address] = self._timer.start

    def present(self, name: str) -> None:
        """Have this certificate."""
        present(self._certificates).present(present(self._tls), name)

    def settle(self) -> None:
        """Wait for what is being carried out, though nobody may wait for the answer any more."""
        with self._carrying_out:
            pass

    def met(self) -> int:
        """How many of the requests since those before it were such as the fault was set for."""
        return sum(_matches(self._at, request) for request in self.requests)

    def _strike(self) -> None:
        if self._fault and self._fault.outage:
            self._fault.outage(self, self._passing)

    # -- answers -------------------------------------------------------------------------------

    def _serve(self, handler: Handler, request: Request) -> None:
        self.requests.append(request)
        fault = self._fault
        if (
            fault
            and fault.answer
            and self._left
            and not self._after
            and _matches(self._at, request)
        ):
            self._left -= 1
            fault.answer(self, handler, request)
            return
        reply = self.carried_out(request)
        if fault and self._after:
            if fault.outage:  # which those that are connected would not notice
                reply = replace(reply, headers={**reply.headers, "Connection": "close"})
            if _matches(self._after[0], request):
                self._after.pop(0)
                if not self._after:
                    self.requests.clear()
                    self._strike()
        send(handler, reply)

    def carried_out(self, request: Request) -> Reply:
        """What the sandbox answers to a request."""
        with self._carrying_out:
            self._behind.request(request.method, request.path, request.body, request.headers)
            answer = self._behind.getresponse()
            body = answer.read()
            kept = {
                name: text
                for name, text in answer.getheaders()
                if name.lower() in ("content-type", "location", "www-authenticate")
            }
            return Reply(answer.status, kept, body)


# What is done when somebody is about to connect to an address.
_AWAITED: dict[object, Callable[[], None]] = {}


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python calls it before any socket connects, among much else."""
    if event == "socket.connect" and (met := _AWAITED.pop(arguments[1], None)):
        met()


sys.addaudithook(_see)


def _matches(pattern: str, request: Request) -> bool:
    body = request.body.decode("utf-8", "replace")
    text = f"{request.method} {request.path}\n{body}\nAccept: {request.headers.get('Accept')}"
    return bool(re.search(pattern, text))


# -- what can go wrong -------------------------------------------------------------------------


def send(handler: Handler, reply: Reply, length: int | None = None) -> None:
    """Answer; with ``length``, promise another length of the body than it has."""
    headers = dict(reply.headers)
    if length is not None:
        headers["Content-Length"] = str(length)
    handler.send(reply.status, headers.pop("Content-Type", "text/plain"), reply.body, headers)


def drip(handler: Handler, piece: bytes) -> None:
    """Send a piece again and again, slowly, until the other side has had enough of it."""
    for _ in range(round(LONGEST_SECONDS / DRIP_SECONDS)):
        handler.wfile.write(piece)
        time.sleep(DRIP_SECONDS)
    handler.hang_up()


def reset(site: FaultySite, handler: Handler, request: Request) -> None:
    site.carried_out(request)
    handler.hang_up()


def reset_in_body(site: FaultySite, handler: Handler, request: Request) -> None:
    reply = site.carried_out(request)
    send(handler, reply, len(reply.body) + 100)
    handler.hang_up()


def never(site: FaultySite, handler: Handler, request: Request) -> None:
    site.carried_out(request)
    handler.close_connection = True
    handler.connection.recv(1)  # until the other side goes


def drip_body(site: FaultySite, handler: Handler, request: Request) -> None:
    send(handler, replace(site.carried_out(request), body=b""), 1_000_000)
    drip(handler, b" ")


def drip_head(site: FaultySite, handler: Handler, request: Request) -> None:
    site.carried_out(request)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    drip(handler, b"x")


def drip_continue(site: FaultySite, handler: Handler, request: Request) -> None:
    site.carried_out(request)
    drip(handler, b"HTTP/1.1 100 Continue\r\n\r\n")


def status(code: int, **headers: str) -> Callable[[FaultySite, Handler, Request], None]:
    """Refuse, as a web server in front of the service does."""
    written = {name.replace("_", "-"): text for name, text in headers.items()}
    page = f"<html><h1>{code}</h1></html>".encode()
    return lambda site, handler, request: handler.send(code, "text/html", page, written)


def web_page(site: FaultySite, handler: Handler, request: Request) -> None:
    handler.send(200, "text/html; charset=utf-8", b"<!DOCTYPE html><html><p>Welcome<br></html>")


def truncated(site: FaultySite, handler: Handler, request: Request) -> None:
    reply = site.carried_out(request)
    send(handler, replace(reply, body=reply.body[: len(reply.body) // 2]))


def mislabelled(site: FaultySite, handler: Handler, request: Request) -> None:
    reply = site.carried_out(request)
    send(handler, replace(reply, headers={**reply.headers, "Content-Type": "text/plain"}))


def garbage(site: FaultySite, handler: Handler, request: Request) -> None:
    kind = request.headers["Accept"].partition(",")[0]
    handler.send(200, kind, b"", {"Content-Length": str(GARBAGE_MIB << 20)})
    piece = os.urandom(1 << 20)
    for _ in range(GARBAGE_MIB):
        handler.wfile.write(piece)


def redirect(site: FaultySite, handler: Handler, request: Request) -> None:
    handler.send(302, "text/html", b"", {"Location": f"{site.elsewhere.url}{request.path}"})


def refuse(site: FaultySite, passing: bool) -> None:
    site.down()
    if passing:
        site.up_soon_after_a_refusal()


def certificate(name: str) -> Callable[[FaultySite, bool], None]:
    """Present this one of the Certificates."""
    return lambda site, passing: site.present(name)
