import base64
import contextlib
import dataclasses
import datetime
import http.client
import itertools
import json
import os
import random
import select
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import requests
import trustme
from callers import USERS, Caller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from machines import wait_for

from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.sandbox import Seen
from stratuslab_libcloud.sandbox.http.server import Server
from stratuslab_libcloud.sandbox.site import Sandbox

SERVER = "stratuslab_libcloud.sandbox.http.server"
WIRE = "stratuslab_libcloud.sandbox.http.wire"
JANE = b"Basic " + base64.b64encode(b"jane:" + USERS["jane"].encode())
REALM = 'Basic realm="StratusLab Password Realm"'
SUBJECT = "CN=jane,OU=Users,O=StratusLab Sandbox"


def basic(text: str) -> dict[str, bytes]:
    return {"Authorization": b"Basic " + base64.b64encode(text.encode())}


@pytest.fixture(scope="module")
def secure() -> Iterator[Sandbox]:
    """A site that speaks TLS; only looked at."""
    with Sandbox(users=USERS, tls=True) as site:
        yield site


def tls_client(site: Sandbox, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=site.dir / "ca.pem")
    if certificate:
        context.load_cert_chain(certificate)
    return context


def get(
    site: Sandbox, path: str, certificate: Path | None = None, host: str = "127.0.0.1"
) -> tuple[int, str]:
    connection = http.client.HTTPSConnection(
        host, site.port, context=tls_client(site, certificate), timeout=30
    )
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


# -- passwords


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("jane:wrong"),
        basic("jane:"),
        basic("jane"),
        basic("nobody:s3cret:with colon"),
        basic("CN=jane:"),
        {"Authorization": "Basic %%%"},
        {"Authorization": "Bearer s3cret:with colon"},
    ],
)
@pytest.mark.parametrize("path", ["/pdisk/pswd/disks", "/one-proxy/pswd/xmlrpc", "/pswd/none"])
def test_without_the_right_password_there_is_a_challenge(
    site: Sandbox, headers: dict[str, bytes], path: str
) -> None:
    answer = Caller(site, None).request("POST", path, headers=headers, data={"size": 1})
    assert (answer.status_code, answer.reason) == (401, "Unauthorized")
    assert answer.headers["WWW-Authenticate"] == REALM
    assert answer.headers["Content-Length"] == "0"


def test_names_and_passwords_are_utf_8_and_passwords_may_have_colons(
    site: Sandbox, jane: Caller, joerg: Caller
) -> None:
    for caller in (jane, joerg, jane):  # the second time from what was verified before
        assert caller.disks("GET").status_code == 200
    assert Caller(site, ("jane", "grün")).disks("GET").status_code == 401


def test_passwords_are_stored_as_hashes_only(site: Sandbox, jane: Caller) -> None:
    jane.disks("GET")
    for path in site.dir.glob("sandbox.db*"):
        content = path.read_bytes()
        assert b"s3cret" not in content
        assert "grün".encode() not in content


def test_a_refused_body_is_read_so_that_the_connection_can_be_used_again(site: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    with contextlib.closing(connection):
        ports = set()
        for headers, status in (({}, 401), (basic("jane:s3cret:with colon"), 404)):
            connection.request(
                "PUT", "/pdisk/pswd/disks/x", body=b"tag=" + b"x" * 300_000, headers=headers
            )
            ports.add(connection.sock.getsockname()[1])
            answer = connection.getresponse()
            assert answer.status == status
            answer.read()
    assert len(ports) == 1


# -- paths


def test_both_layouts_and_any_number_of_slashes_lead_to_the_same_site(jane: Caller) -> None:
    disk = jane.disk()
    for path in ("/pdisk/pswd/disks", "/pswd/disks", "//pdisk//pswd///disks//"):
        assert [found["uuid"] for found in jane.request("GET", path).json()] == [disk]
    call = "<methodCall><methodName>x</methodName></methodCall>"
    for path in ("/one-proxy/pswd/xmlrpc", "/pswd/xmlrpc", "//one-proxy//pswd/xmlrpc"):
        assert b"not defined" in jane.request("POST", path, data=call).content
    for path in ("/marketplace/metadata", "/metadata", "//marketplace/metadata/"):
        assert jane.request("GET", path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/xmlrpc", "/one-proxy/xmlrpc", "/pdisk", "/pdisk/disks", "/marketplace", "/x/pswd"],
)
def test_outside_of_the_layouts_there_is_nothing(jane: Caller, path: str) -> None:
    assert jane.request("POST", path).status_code == 404


def test_a_quoted_slash_does_not_separate(jane: Caller) -> None:
    answer = jane.disks("GET", "/a%2Fmounts")
    assert answer.json()["message"] == "disk (a/mounts) does not exist"


def test_a_whole_url_may_be_asked_for_as_of_a_proxy(site: Sandbox) -> None:
    with dial(site) as client:
        line = f"GET HTTP://127.0.0.1:{site.port}//metadata?start=1 HTTP/1.1\r\nHost: x\r\n\r\n"
        client.sendall(line.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_each_request_is_told_to_who_wants_to_know() -> None:
    seen: list[Seen] = []
    with Sandbox(users=USERS, on_request=seen.append) as site, requests.Session() as session:
        session.trust_env = False
        session.auth = ("jane", USERS["jane"])
        for _ in range(2):
            session.get(f"{site.url}/pdisk/pswd/disks?x=1")
        Caller(site, None).request("HEAD", "/nowhere")
        assert [(s.method, s.path, s.status) for s in seen] == [
            ("GET", "/pdisk/pswd/disks", 200),
            ("GET", "/pdisk/pswd/disks", 200),
            ("HEAD", "/nowhere", 404),
        ]
        assert seen[0].peer == seen[1].peer != seen[2].peer


EVERY_ROUTE = [
    *("/pswd/xmlrpc", "/one-proxy/pswd/xmlrpc", "/one-proxy/cert/xmlrpc", "/cert/xmlrpc", "/pswd"),
    *("/pdisk/pswd/disks", "/pswd/disks/x", "/pswd/disks/x/mounts", "/cert/disks", "/nowhere"),
    *("/metadata", "/marketplace/metadata/x", "/images/x", "/pswd/instances", "/pswd/disks/x/turl"),
    "/RPC2",
]


def test_a_body_or_head_that_is_too_large_is_refused_on_every_route(site: Sandbox) -> None:
    too_large = (
        b"Content-Length: 16777217",
        b"Content-Length: " + b"9" * 30,
        b"X: " + b"x" * 99999,
    )
    for method, path, line in itertools.product(("GET", "POST", "PUT"), EVERY_ROUTE, too_large):
        with dial(site) as client:
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
            client.sendall(head + line + b"\r\n\r\n")
            refusal = client.recv(100).partition(b"\r\n")[0]
            assert refusal == b"HTTP/1.1 413 Content Too Large", (method, path, line[:40])


def test_a_body_in_chunks_is_not_read_to_its_end_on_any_route(site: Sandbox) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for path in EVERY_ROUTE:
        with dial(site) as client:
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n".encode())
            client.sendall(b"Authorization: " + JANE + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(2 * 256):  # 32 MiB, twice what is taken
                    client.sendall(chunk)
                raise AssertionError(f"{path} took all of it")


# -- those who say nothing


def dial(site: Sandbox) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), timeout=30)


def crowd(
    stack: contextlib.ExitStack, connect: Callable[[], socket.socket], number: int
) -> list[socket.socket]:
    return [stack.enter_context(connect()) for _ in range(number)]


def test_many_silent_connections_do_not_keep_others_waiting(site: Sandbox, jane: Caller) -> None:
    threads = set(threading.enumerate())
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", site.port)
        crowd(stack, lambda: socket.create_connection(address), 100)
        begun = time.monotonic()
        assert jane.disks("GET").status_code == 200
        assert time.monotonic() - begun < 10
        assert len(set(threading.enumerate()) - threads) < 5  # for the request, not for them


def test_silent_tls_connections_do_not_keep_others_waiting(secure: Sandbox) -> None:
    address = ("127.0.0.1", secure.port)
    client = tls_client(secure)

    def shaken() -> ssl.SSLSocket:
        return client.wrap_socket(socket.create_connection(address), server_hostname="localhost")

    with contextlib.ExitStack() as stack:
        crowd(stack, lambda: socket.create_connection(address), 50)
        talkative = crowd(stack, shaken, 50)
        for half in crowd(stack, lambda: socket.create_connection(address), 8):
            half.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a handshake
        begun = time.monotonic()
        assert get(secure, "/marketplace/metadata")[0] == 200
        assert time.monotonic() - begun < 10
        for connection in talkative:
            connection.sendall(b"HEAD /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for connection in talkative:
            assert connection.recv(1000).startswith(b"HTTP/1.1 404")


def test_above_the_limit_the_oldest_silent_connections_are_closed(
    site: Sandbox, jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{SERVER}._MAX_CONNECTIONS", 5)
    with contextlib.ExitStack() as stack:
        clients = crowd(stack, lambda: dial(site), 9)
        for client in clients[:4]:
            assert client.recv(1) == b""
        for client in clients[4:]:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 404")
        assert jane.pool() == []


# What 40 clients (there are 32 threads) send before they stop.
LARGE = b"POST /pswd/disks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
CHUNKED = b"POST /pswd/disks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
HALVES = [
    LARGE + b"\r\nsize",
    LARGE + b"Expect: 100-continue\r\n\r\n",
    CHUNKED + b"\r\n4\r\nsize\r\n5",
    CHUNKED + b"\r\n900000\r\nsize",
    b"G",
    b"POST /pswd/disks HTTP/1.1\r\nHost: localhost\r\n",
    b"POST /pswd/disks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsize",
]


@pytest.mark.parametrize("half", HALVES, ids=range(len(HALVES)))
def test_who_stops_in_the_middle_of_a_request_keeps_nobody_waiting(
    site: Sandbox, jane: Caller, half: bytes
) -> None:
    with contextlib.ExitStack() as stack:
        for client in crowd(stack, lambda: dial(site), 40):
            client.sendall(half)
        begun = time.monotonic()
        assert jane.pool() == []
        assert time.monotonic() - begun < 10


def test_who_stops_in_the_middle_of_a_handshake_keeps_nobody_waiting(secure: Sandbox) -> None:
    with contextlib.ExitStack() as stack:
        for client in crowd(stack, lambda: dial(secure), 40):
            client.sendall(b"\x16\x03\x01\x02\x00\x01")
        begun = time.monotonic()
        assert get(secure, "/marketplace/metadata")[0] == 200
        assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("beginning", "drip"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"x"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n", b"x"),
        (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        ),
    ],
)
def test_a_request_that_drips_is_not_waited_for_without_end(
    site: Sandbox, monkeypatch: pytest.MonkeyPatch, beginning: bytes, drip: bytes
) -> None:
    monkeypatch.setattr(f"{WIRE}._TALK_SECONDS", 1)
    with dial(site) as client:
        client.sendall(beginning)
        client.settimeout(0.1)
        end = time.monotonic() + 30
        answer = None
        while answer is None and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                try:
                    client.sendall(drip)
                    answer = client.recv(100)
                except ConnectionError:
                    answer = b""
        assert answer is not None
        assert answer == b"" or answer.split()[1] == b"400"


def test_what_half_requests_take_of_memory_has_a_limit(
    site: Sandbox, jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{SERVER}._MAX_KEPT_BYTES", 1_000_000)
    half = LARGE + b"\r\n" + bytes(700_000)
    with dial(site) as first, dial(site) as second:
        first.sendall(half)
        second.sendall(half)
        (cut, *_), _, _ = select.select([first, second], [], [], 60)
        assert cut.recv(1) == b""
        assert jane.pool() == []
        kept = second if cut is first else first
        kept.sendall(bytes(9_000_000 - 700_000))
        assert kept.recv(100).split()[1] == b"401"


# -- those who do not read


SIZE = 40 << 20  # more than the system keeps for both ends of a connection
CONTENT = random.Random(1).randbytes(SIZE)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "large.raw"
    path.write_bytes(CONTENT)
    return path


def rest_of(client: socket.socket) -> bytes:
    """The body of the answer that comes, to the end of the connection."""
    return b"".join(iter(lambda: client.recv(1 << 20), b"")).partition(b"\r\n\r\n")[2]


def offer(site: Sandbox, image: Path) -> bytes:
    """Have this image offered; the head of a request for it, but for its last line."""
    offered = site.dir / "images" / "large.raw"
    offered.symlink_to(image)
    note = dataclasses.asdict(Entry(identifier="x", inbound_ports=()))
    offered.with_name("large.raw.json").write_text(json.dumps(note))
    return b"GET /images/large.raw HTTP/1.1\r\nHost: localhost\r\n"


def test_who_does_not_read_an_answer_keeps_nobody_waiting(
    site: Sandbox, jane: Caller, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WIRE}._TALK_SECONDS", 3600)
    request = offer(site, image)
    with contextlib.ExitStack() as stack:
        clients = crowd(stack, lambda: dial(site), 40)
        for client in clients:
            client.sendall(request + b"Connection: close\r\n\r\n")
        for client in clients:
            assert client.recv(1) == b"H"  # its answer has begun
        assert jane.pool() == []
        assert rest_of(clients[0]) == CONTENT
        assert jane.pool() == []


def test_who_does_not_read_keeps_nobody_waiting_over_tls_either(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WIRE}._TALK_SECONDS", 3600)
    with Sandbox(users=USERS, tls=True) as site, contextlib.ExitStack() as stack:
        request = offer(site, image)
        context = tls_client(site)
        clients = [
            stack.enter_context(context.wrap_socket(dial(site), server_hostname="localhost"))
            for _ in range(40)
        ]
        for client in clients:
            client.sendall(request + b"Connection: close\r\n\r\n")
        for client in clients:
            assert client.recv(1) == b"H"
        assert get(site, "/marketplace/metadata")[0] == 200
        assert rest_of(clients[0]) == CONTENT


def test_the_next_request_is_answered_after_a_large_answer_was_read(
    site: Sandbox, image: Path
) -> None:
    request = offer(site, image) + b"\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with dial(site) as client:
        client.sendall(request + b"HEAD" + request[3:] + last)  # all at once
        answers = b"".join(iter(lambda: client.recv(1 << 20), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.count(CONTENT) == 2
    assert answers.endswith(CONTENT)


def test_who_does_not_read_is_not_waited_for_without_end(
    site: Sandbox, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WIRE}._TALK_SECONDS", 1)
    monkeypatch.setattr(f"{WIRE}._LOWEST_RATE", 1 << 30)
    request = offer(site, image)
    with dial(site) as client:
        client.sendall(request + b"\r\n")
        assert client.recv(1) == b"H"
        wait_for(lambda: not is_open(image), "the image is still being sent")
        with contextlib.suppress(ConnectionError):
            assert len(rest_of(client)) < SIZE


def is_open(image: Path) -> bool:
    """Whether this process reads this file."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.path.samefile(f"/proc/self/fd/{number}", image):
                return True
    return False


def entry(number: int, description: str) -> bytes:
    return write_entry(
        Entry(
            f"{number:027}",
            endorser="a@example.org",
            description=description,
            endorsed="2025-01-01T12:00:00Z",
            valid="2099-01-01T00:00:00Z",
        )
    )


def test_what_answers_take_of_memory_has_a_limit(
    site: Sandbox, jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = "x" * 100_000
    site.marketplace.add(*(entry(number, described) for number in range(200)))
    monkeypatch.setattr(f"{SERVER}._MAX_KEPT_BYTES", 10_000_000)
    waiting: list[Any] = []
    put_conn = Server.put_conn

    def put(server: Server, conn: Any) -> None:
        waiting.append(conn)
        put_conn(server, conn)

    monkeypatch.setattr(Server, "put_conn", put)
    request = b"GET /metadata HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with dial(site) as first, dial(site) as second:
        for client in (first, second):
            client.sendall(request)
            assert client.recv(1) == b"H"
        assert jane.pool() == []
        wait_for(lambda: any(conn.is_dropped for conn in waiting), "neither is cut", 60)
        answers = []
        for client in (second, first):
            read = bytearray()
            with contextlib.suppress(ConnectionError):
                while piece := client.recv(1 << 20):
                    read += piece
            answers.append(bytes(read))
        cut, whole = sorted(answers, key=len)
        assert whole.count(described.encode()) == 200
        assert len(cut) < len(whole)


def test_the_server_stops_at_once_with_answers_that_nobody_reads(image: Path) -> None:
    with Sandbox(users=USERS) as site, contextlib.ExitStack() as stack:
        request = offer(site, image) + b"\r\n"
        for client in crowd(stack, lambda: dial(site), 40):
            client.sendall(request)
            assert client.recv(1) == b"H"
        begun = time.monotonic()
        site.stop()
        assert time.monotonic() - begun < 10


def test_a_handshake_that_is_not_finished_is_not_waited_for_without_end(
    secure: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{WIRE}._TALK_SECONDS", 1)
    with dial(secure) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert client.recv(1) == b""


def test_a_request_may_come_in_pieces_and_another_with_it(site: Sandbox) -> None:
    request = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsize=1234"
    three = request * 2 + request.replace(
        b"Host: localhost", b"Host: localhost\r\nConnection: close"
    )
    with dial(site) as client:
        for begin, end in ((0, 3), (3, 50), (50, 200), (200, 999)):
            client.sendall(three[begin:end])
            time.sleep(0.05)  # to come as a piece of its own, most of the time
        answers = b"".join(iter(lambda: client.recv(65536), b""))
    assert answers.count(b"HTTP/1.1 404 ") == answers.count(b"There is nothing here.") == 3


def test_a_body_that_waits_for_100_continue_or_is_large_or_chunked_is_taken(
    site: Sandbox, jane: Caller
) -> None:
    body = b"size=1&tag=" + b"x" * 2_000_000
    length, chunked = "Content-Length: %d", "Transfer-Encoding: chunked"
    for header, sent in (
        (length % len(body), body),
        (length % 6 + "\r\nExpect: 100-continue", b"size=1"),
        (chunked, b"6\r\nsize=1\r\n0\r\n\r\n"),
    ):
        with dial(site) as client:
            head = f"POST /pswd/disks HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
            client.sendall(head.encode() + b"Authorization: " + JANE + b"\r\n\r\n")
            if "Expect" in header:
                assert client.recv(100).split()[1] == b"100"
            client.sendall(sent)
            assert client.recv(100).split()[1] == b"201"


@pytest.mark.parametrize(
    "request_",
    [
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: +5\r\n\r\nsize=",
        b"Content-Length: x\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nsize=1\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nsize=1\r\n0\r\n\r\n",
        # What somebody in front of us may have understood in another way.
        b"Content-Length: 6\r\nContent-Length: 6\r\n\r\nsize=1",
        b"Content-Length: 6\r\nContent-Length: 5\r\n\r\nsize=1",
        b"Content-Length: 6, 6\r\n\r\nsize=1",
        b"Content-Length: 1\r\n 6\r\n\r\nsize=1",
        b"Content-Length : 6\r\n\r\nsize=1",
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsize=1\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding:\r\n\r\nsize=1",
        b"Host: localhost\r\nContent-Length: 6\r\n\r\nsize=1",
    ],
)
def test_a_body_without_a_sensible_length_is_a_bad_request(
    site: Sandbox, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    with dial(site) as client:
        client.sendall(b"POST /pswd/disks HTTP/1.1\r\nHost: localhost\r\n" + request_)
        answer = b"".join(iter(lambda: client.recv(1000), b""))  # to the end: it is closed
    assert answer.split()[1] == b"400"
    assert "Traceback" not in caplog.text


def test_a_body_that_ends_early_is_a_bad_request(site: Sandbox) -> None:
    with dial(site) as client:
        client.sendall(
            b"POST /pswd/disks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nsize"
        )
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100).split()[1] == b"400"


def test_the_server_stops_at_once_with_requests_under_way() -> None:
    with contextlib.ExitStack() as stack, Sandbox(users=USERS) as site:
        chunked = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        clients = crowd(stack, lambda: dial(site), 70)
        for client, half in zip(clients, [chunked, *HALVES] * 20, strict=False):
            client.sendall(half)
        time.sleep(0.5)  # until the threads have them, most of the time
        begun = time.monotonic()
        site.stop()
        assert time.monotonic() - begun < 10


# -- TLS


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_certificate_is_good_for_every_name_of_this_machine(secure: Sandbox, host: str) -> None:
    assert get(secure, "/marketplace/metadata", host=host)[0] == 200


def test_a_client_that_does_not_know_the_ca_does_not_come_in(secure: Sandbox) -> None:
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection(("127.0.0.1", secure.port)) as plain,
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")


def test_tls_1_2_is_enough(secure: Sandbox) -> None:
    context = tls_client(secure)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", secure.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"HEAD /metadata HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_the_end_of_an_answer_is_told_in_tls_too(secure: Sandbox) -> None:
    with (
        dial(secure) as plain,
        tls_client(secure).wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False
        ) as client,
    ):
        client.sendall(b"GET /metadata HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.rstrip().endswith(b">")


def test_plain_http_on_the_tls_port_is_a_bad_request(secure: Sandbox) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", secure.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metadata")
        assert connection.getresponse().status == 400


def test_a_user_certificate_opens_the_cert_door(secure: Sandbox) -> None:
    user = secure.dir / "user-jane.pem"
    assert user.stat().st_mode & 0o777 == 0o600
    assert get(secure, "/pdisk/cert/disks", user) == (200, "[]")
    assert get(secure, "/cert/disks", user)[0] == 200


def test_the_owner_is_the_subject_as_rfc_2253_writes_it(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=USERS, tls=True) as site:
        user = tmp_path / "user-jane.pem"
        options = {"verify": str(tmp_path / "ca.pem"), "cert": str(user)}
        someone = Caller(site, None)
        answer = someone.request("POST", "/pdisk/cert/disks", data={"size": 1}, **options)
        assert answer.status_code == 201
        (disk,) = someone.request("GET", "/pdisk/cert/disks", **options).json()
        assert disk["owner"] == SUBJECT
        jane = Caller(site, ("jane", USERS["jane"]))
        assert jane.disks("GET", verify=options["verify"]).json() == []


def test_without_a_certificate_that_is_known_the_cert_door_is_shut(secure: Sandbox) -> None:
    server = next(secure.dir.glob("server-*.pem"))  # of the same CA, but no account's
    for certificate in (None, server):
        for path in ("/pdisk/cert/disks", "/one-proxy/cert/xmlrpc"):
            assert get(secure, path, certificate)[0] == 403


def test_a_former_users_certificate_is_not_known_any_more(tmp_path: Path) -> None:
    certificate = tmp_path / "user-ann.pem"
    for users, status in (({"ann": "x"}, 200), ({"bob": "x"}, 403), ({"ann": "x"}, 200)):
        with Sandbox(tmp_path, users=users, tls=True) as site:
            assert get(site, "/pdisk/cert/disks", certificate)[0] == status


def test_a_certificate_is_no_password_and_a_password_no_certificate(
    secure: Sandbox, site: Sandbox, jane: Caller
) -> None:
    user = secure.dir / "user-jane.pem"
    assert get(secure, "/pdisk/pswd/disks", user)[0] == 401
    assert jane.request("GET", "/pdisk/cert/disks").status_code == 403


def test_another_cas_certificate_fails_the_handshake(secure: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "other.pem"
    other = trustme.CA().issue_cert(
        "x@y", common_name="jane", organization_name="StratusLab Sandbox"
    )
    path.write_bytes(other.private_key_and_cert_chain_pem.bytes())
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        get(secure, "/pdisk/cert/disks", path)


def proxy_certificate(user: Path, name: str) -> bytes:
    """A grid proxy (RFC 3820) that this user's certificate signed, in one file with its chain."""
    pem = user.read_bytes()
    signer = x509.load_pem_x509_certificate(pem)
    signing_key: Any = serialization.load_pem_private_key(pem, None)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [*signer.subject, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]
    inherit_all = bytes.fromhex("300c300a06082b06010505071501")
    proxy_info = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), inherit_all
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(signer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=12))
        .add_extension(proxy_info, critical=True)
        .sign(signing_key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
        + signer.public_bytes(serialization.Encoding.PEM)
    )


def test_a_proxy_certificate_is_its_signers(secure: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "proxy.pem"
    path.write_bytes(proxy_certificate(secure.dir / "user-jane.pem", "918273645"))
    assert get(secure, "/pdisk/cert/disks", path) == (200, "[]")


def test_a_limited_proxy_is_nobodys(secure: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "proxy.pem"
    path.write_bytes(proxy_certificate(secure.dir / "user-jane.pem", "limited proxy"))
    assert get(secure, "/pdisk/cert/disks", path)[0] == 403


def test_no_thread_begins_while_the_threads_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker gives back a connection that has more to be read, and stop() counts workers."""
    server = Server("127.0.0.1", 0, None, threads=1)
    server.prepare()
    threads, conn = server.requests, Mock()
    threads._at_work = 1
    told = threads._queue.put

    def put(item: object, **options: Any) -> None:
        told(item, **options)
        if item is not conn:
            threads.put(conn)

    monkeypatch.setattr(threads._queue, "put", put)
    stopping = threading.Thread(target=threads.stop, args=(0.1,), daemon=True)
    stopping.start()
    stopping.join(60)
    assert not stopping.is_alive()
    conn.close.assert_called_once()
    server.socket.close()


def test_a_connection_that_comes_back_while_the_site_stops_is_closed() -> None:
    """A worker has seen that the server serves; then stop() closes the selector."""
    server = Server("127.0.0.1", 0, None)
    server.prepare()
    here, there = socket.socketpair()
    with here, there:
        reads = {"rfile.has_data.return_value": False, "wfile.awaits": selectors.EVENT_READ}
        conn = Mock(socket=here, kept=0, is_dropped=False, **reads)
        server.is_stopping = True
        server._connections._selector.close()
        server.put_conn(conn)
    conn.close.assert_called_once()
    server.requests.stop()
    server.socket.close()
