"""Downloads end, whatever the server does: with real sockets, and servers that hold on to them."""

import contextlib
import gzip
import itertools
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from canned import Canned, Handler, Request

from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.images import downloads
from stratuslab_libcloud.sandbox.images.downloads import Download

HANG_SECONDS = 60
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# What a server says at once, and what then comes in drips.
DRIPS = {
    "status line": (b"", b"H"),
    "header": (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: /\r\nX-Header: ", b"x"),
    "body": (HEAD, b"x"),
    "chunk size": (CHUNKED, b"0"),
    "silence": (b"", b""),
}


class Holding:
    """A server that says something, and then drips for as long as it may."""

    def __init__(self, said: bytes, drip: bytes) -> None:
        self.said, self.drip = said, drip
        self.begun, self.end = threading.Event(), threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}/"

    def __enter__(self) -> "Holding":
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(self.said)
                    while not self.end.wait(0.02):
                        connection.sendall(self.drip)
                        self.begun.set()


def whole(url: str, stop: threading.Event | None = None, **way: Any) -> bytes:
    """All that is at a URL."""
    with Download(stop or threading.Event()) as download:
        download.get(url, lambda _: way)
        return b"".join(iter(lambda: download.read(1 << 16), b""))


def stopped(url: str, begun: threading.Event | None = None, **way: Any) -> list[str]:
    """What is raised when nobody wants it any more, once the server has begun."""
    stop = threading.Event()
    raised: list[str] = []

    def fetch() -> None:
        try:
            whole(url, stop, **way)
        except Exception as error:
            raised.append(str(error))

    fetching = threading.Thread(target=fetch, daemon=True)
    fetching.start()
    assert begun is None or begun.wait(HANG_SECONDS)
    stop.set()
    fetching.join(HANG_SECONDS)
    assert not fetching.is_alive(), "it goes on"
    return raised


@pytest.mark.parametrize("held", DRIPS)
def test_a_server_that_drips_is_too_slow(monkeypatch: pytest.MonkeyPatch, held: str) -> None:
    monkeypatch.setattr(downloads, "_SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(downloads, "_SLOWEST", 1 << 20)
    with Holding(*DRIPS[held]) as server, pytest.raises(MachineError) as caught:
        whole(server.url)
    assert str(caught.value).startswith(f"{server.url} ")
    assert "is too slow: it sends less than" in str(caught.value)


@pytest.mark.parametrize("held", DRIPS)
def test_a_server_that_drips_holds_nobody_who_stops(held: str) -> None:
    with Holding(*DRIPS[held]) as server:
        assert stopped(server.url, server.begun) == ["the download was stopped"]


def test_what_comes_slowly_but_steadily_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(downloads, "_SLOWEST", 1)
    body = bytes(range(40))

    def drip(handler: Handler, request: Request) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for number in body:
            handler.wfile.write(bytes([number]))
            threading.Event().wait(0.1)

    with Canned([drip]) as server:
        assert whole(server.url) == body


def test_a_server_that_does_not_shake_hands_holds_nobody_who_stops() -> None:
    with Holding(b"", b"") as server:
        url = server.url.replace("http:", "https:")
        assert stopped(url, server.begun, verify=True) == ["the download was stopped"]


def test_a_host_that_does_not_answer_holds_nobody_who_stops() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)  # and nobody accepts: the third waits
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        assert stopped(url) == ["the download was stopped"]


def test_a_resolver_that_does_not_answer_holds_nobody_who_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, end = threading.Event(), threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        asked.set()
        end.wait(HANG_SECONDS)
        return []

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    try:
        assert stopped("http://images.example.org/", asked) == ["the download was stopped"]
    finally:
        end.set()


def test_a_host_with_dead_addresses_is_given_up_after_one_time_of_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "_SILENCE_SECONDS", 0.5)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        dead = (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())
        tried: list[Any] = []
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [dead] * 9)
        connect = socket.socket.connect

        def seen_connect(*given: Any) -> None:
            tried.append(given)
            connect(*given)

        monkeypatch.setattr("socket.socket.connect", seen_connect)
        with pytest.raises(MachineError, match=r"/ is too slow: it sends less than 1024 bytes"):
            whole("http://images.example.org/")
        assert len(tried) == 1


def test_the_login_of_this_hosts_owner_is_sent_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login operator password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Canned([(302, "x/y", b"", {"Location": "/there"}), (200, "x/y", b"image")]) as server:
        assert whole(server.url) == b"image"
    assert [request.path for request in server.requests] == ["/", "/there"]
    for request in server.requests:
        assert "Authorization" not in request.headers


def test_a_proxy_that_the_caller_names_is_used() -> None:
    with Canned([(200, "x/y", b"image")]) as proxy:
        found = whole("http://images.example.org/i", proxies={"http": proxy.url})
    assert found == b"image"
    assert [request.path for request in proxy.requests] == ["http://images.example.org/i"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/again", "there are more than 5 redirects"),
        ("file:///etc/passwd", "No connection adapters were found for 'file:///etc/passwd'"),
        ("http://[::1/", "Invalid IPv6 URL"),
    ],
)
def test_redirects_that_lead_nowhere_are_reported(location: str, reason: str) -> None:
    with (
        Canned([(301, "x/y", b"", {"Location": location})]) as server,
        pytest.raises(MachineError, match=r" cannot be fetched: ") as caught,
    ):
        whole(server.url)
    assert str(caught.value).endswith(reason)


def test_no_thread_and_no_connection_is_left() -> None:
    before = set(threading.enumerate())
    with Holding(*DRIPS["body"]) as server:
        stopped(server.url, server.begun)
        held = {server.thread}
        assert set(threading.enumerate()) - before == held


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_is_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        fsync(descriptor)
        done.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))

    def seen_replace(source: Path, target: Path) -> None:
        replace(source, target)
        done.append(("replace", str(source)))

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    half, path = tmp_path / "half", tmp_path / "whole"
    half.write_bytes(b"image")
    durable.rename(half, path)
    assert done == [("fsync", str(half)), ("replace", str(half)), ("fsync", str(tmp_path))]
    assert path.read_bytes() == b"image"


def test_what_never_ends_can_be_read_in_part_only() -> None:
    """The connection is not drained at the end."""

    def endless(handler: Handler, request: Request) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            for _ in itertools.repeat(None):
                handler.wfile.write(gzip.compress(b""))

    with Canned([endless]) as server, Download(threading.Event()) as download:
        download.get(server.url, lambda _: {})
        assert len(download.read(100)) <= 100
