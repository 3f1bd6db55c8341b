"""HTTP: connections, retries, time-outs, redirects, secrets."""

import contextlib
import email.utils
import gc
import gzip
import html
import io
import json
import logging
import os
import re
import socket
import ssl
import threading
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import faults
import libcloud
import libcloud.security
import pytest
import trustme
from canned import Canned, Handler, Reply, Request
from permissions import unreadable

from stratuslab_libcloud.client.http import service as transport
from stratuslab_libcloud.client.http import sessions
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.proxies import proxies
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.client.stratuslab.cloud import StratusLabCloud
from stratuslab_libcloud.configuration.file import Certificate, Password
from stratuslab_libcloud.configuration.location import direct
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    CredentialsError,
    LostAnswerError,
    MalformedAnswerError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    StratusLabError,
    UnavailableError,
)

OK = (200, "text/plain", b"hello")
DISK = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
SECRET = 'Mark"er <&> %ü'


def service(url: str, **options: Any) -> Service:
    return Service(url, Password("jane", SECRET), HTTPOptions(**{"timeout": 5.0, **options}))


def get(url_or_service: str | Service, **options: Any) -> bytes:
    asked = service(url_or_service) if isinstance(url_or_service, str) else url_or_service
    return asked.send("GET", "/x", Answer.body, accept="text/plain", **options)


def post_once(asked: Service) -> bytes:
    return asked.send(
        "POST", "/x", Answer.body, accept="*/*", body=b"b", if_lost="it may exist: look for it"
    )


def hang_up(handler: Handler, request: Request) -> None:
    handler.hang_up()


def truncate(handler: Handler, request: Request) -> None:
    handler.send(200, "text/plain", b"hel", {"Content-Length": "5"})
    handler.hang_up()


def say_nothing(handler: Handler, request: Request) -> None:
    time.sleep(3)
    handler.close_connection = True


def dripping(begin: bytes) -> Callable[[Any, Request], None]:
    """Answers that begin so, and go on with one letter at a time."""

    def answer(handler: Handler, request: Request) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + begin)
        faults.drip(handler, b"x")

    return answer


drip = dripping(b"Content-Length: 100000\r\n\r\n")


def largest_piece(answer: Answer) -> int:
    return max(map(len, answer.pieces))


class TestConnections:
    def test_successive_calls_use_one(self) -> None:
        with Canned([OK]) as server:
            asked = service(server.url)
            for _ in range(5):
                assert get(asked) == b"hello"
            assert server.connections == 1

    def test_a_refusal_does_not_cost_it(self) -> None:
        with Canned([(404, "text/html", b"x" * 1000), OK]) as server:
            asked = service(server.url)
            with pytest.raises(NotFoundError):
                get(asked)
            get(asked)
            assert server.connections == 1

    def test_simultaneous_calls_use_as_many_as_they_are(self) -> None:
        together = threading.Barrier(4)

        def wait(handler: Handler, request: Request) -> None:
            together.wait(60)
            handler.send(*OK)

        with Canned([wait]) as server:
            asked = service(server.url)
            for _ in range(2):
                threads = [threading.Thread(target=get, args=(asked,)) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert server.connections == 4

    def test_close_closes_and_a_later_call_opens(self) -> None:
        with Canned([OK]) as server:
            asked = service(server.url)
            get(asked)
            asked.close()
            get(asked)
            assert server.connections == 2


class TestRetries:
    @pytest.mark.parametrize(
        "fault",
        [
            hang_up,
            truncate,
            (500, "text/plain", b"oops"),
            (502, "text/html", b"<html>"),
            (503, "text/plain", b""),
            (429, "text/plain", b"", {"Retry-After": "0"}),
        ],
    )
    def test_a_passing_fault_is_not_seen(self, fault: Reply) -> None:
        with Canned([fault, OK]) as server:
            assert get(server.url) == b"hello"
            assert len(server.requests) == 2

    @pytest.mark.parametrize("fault", [hang_up, truncate, (500, "text/plain", b"oops")])
    def test_what_must_not_be_sent_twice_is_sent_once(self, fault: Reply) -> None:
        with Canned([fault]) as server:
            with pytest.raises(StratusLabError, match="it may exist: look for it"):
                post_once(service(server.url))
            assert len(server.requests) == 1

    def test_a_lost_answer_has_a_class_of_its_own(self) -> None:
        with Canned([hang_up]) as server, pytest.raises(LostAnswerError):
            post_once(service(server.url))

    def test_nothing_is_in_doubt_where_nothing_was_sent(self) -> None:
        with Canned([OK]) as server:
            pass
        with pytest.raises(ConnectionFailedError, match="refused") as caught:
            post_once(service(server.url))
        assert not isinstance(caught.value, LostAnswerError)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
    def test_a_refusal_is_final(self, status: int) -> None:
        with Canned([(status, "text/plain", b"no")]) as server:
            with pytest.raises(StratusLabError, match="no"):
                get(server.url)
            assert len(server.requests) == 1

    def test_a_wait_that_is_asked_for_and_too_long_is_not_waited_for(self) -> None:
        with Canned([(503, "text/plain", b"", {"Retry-After": "3600"})]) as server:
            with pytest.raises(UnavailableError):
                get(server.url)
            assert len(server.requests) == 1

    def test_a_wait_may_be_asked_for_by_date(self) -> None:
        for seconds, asked in ((3600, 1), (-3600, 2)):
            until = email.utils.formatdate(time.time() + seconds, usegmt=True)
            with Canned([(503, "text/plain", b"", {"Retry-After": until}), OK]) as server:
                with contextlib.suppress(UnavailableError):
                    assert (get(server.url), seconds) == (b"hello", -3600)
                assert len(server.requests) == asked

    def test_an_error_tells_whether_it_was_a_retry(self) -> None:
        with Canned([hang_up, (404, "text/plain", b"")]) as server:
            with pytest.raises(NotFoundError) as caught:
                get(server.url)
            assert caught.value.retried


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """One that ``ca.pem`` in the test's folder is of."""
    found = trustme.CA()
    found.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return found


def tls(authority: trustme.CA, host: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def plain_bytes(handler: Handler, request: Request) -> None:
    os.write(handler.connection.fileno(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    handler.close_connection = True
    handler.connection.recv(1)


class TestDoubt:
    """What was sent once and may have had its effect is in doubt, whatever went wrong then."""

    @pytest.mark.parametrize("kind", ["two lengths", "too many heads", "status line", "no number"])
    def test_after_an_answer_that_is_none(self, kind: str) -> None:
        answers: dict[str, bytes] = {
            "two lengths": b"200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
            "too many heads": b"200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
            "status line": b"20000 OK\r\n\r\n",
            "no number": b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        }

        def answer(handler: Handler, request: Request) -> None:
            handler.wfile.write(b"HTTP/1.1 " + answers[kind])
            handler.close_connection = True

        with Canned([answer]) as server:
            with pytest.raises(StratusLabError, match="it may exist: look for it") as caught:
                post_once(service(server.url))
            assert len(server.requests) == 1
        assert not isinstance(caught.value, ConfigurationError)

    def test_after_plain_bytes_within_tls(self, tmp_path: Path, authority: trustme.CA) -> None:
        with Canned([plain_bytes], tls=tls(authority)) as server:
            asked = service(server.url, ca_certificate=str(tmp_path / "ca.pem"))
            with pytest.raises(LostAnswerError, match=r"TLS failed.*it may exist"):
                post_once(asked)
            assert len(server.requests) == 1

    def test_after_an_alert_that_follows_the_request(
        self, tmp_path: Path, authority: trustme.CA
    ) -> None:
        context = tls(authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # the client has shaken hands already
        context.verify_mode = ssl.CERT_REQUIRED
        with Canned([OK], tls=context) as server:
            asked = service(server.url, ca_certificate=str(tmp_path / "ca.pem"))
            with pytest.raises(LostAnswerError, match="it may exist"):
                post_once(asked)

    def test_after_whatever_reading_the_answer_ends_in(self) -> None:
        def read(answer: Answer) -> bytes:
            raise TypeError("nobody has thought of that")

        with Canned([OK]) as server:
            with pytest.raises(MalformedAnswerError, match=r"of that; it may exist") as caught:
                service(server.url).send(
                    "POST", "/x", read, accept="*/*", body=b"b", if_lost="it may exist"
                )
        assert isinstance(caught.value.__cause__, TypeError)

    def test_not_after_a_handshake_that_failed(self, authority: trustme.CA) -> None:
        with Canned([OK], tls=tls(authority)) as server:
            with pytest.raises(ConnectionFailedError, match="not trusted") as caught:
                post_once(service(server.url))
        assert not isinstance(caught.value, LostAnswerError)
        assert not caught.value.sent

    def test_not_after_a_refusal(self) -> None:
        with Canned([(429, "text/plain", b"")]) as server:
            with pytest.raises(UnavailableError) as caught:
                post_once(service(server.url))
        assert "may exist" not in str(caught.value)
        assert caught.value.sent


class TestDebugLog:
    def test_a_full_disk_makes_no_call_fail(self, caplog: pytest.LogCaptureFixture) -> None:
        # Without a buffer of its own, which would complain when it is closed.
        with open("/dev/full", "wb", buffering=0) as full:
            with io.TextIOWrapper(full, write_through=True) as log, Canned([OK]) as server:
                libcloud.enable_debug(log)
                try:
                    assert post_once(service(server.url)) == b"hello"
                    assert get(server.url, streamed=True) == b"hello"
                finally:
                    libcloud.reset_debug()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "No space left" in caplog.text

    @pytest.mark.parametrize("log", [io.BytesIO(), 5], ids=["bytes", "number"])
    def test_nor_does_one_that_is_none(self, log: Any, caplog: pytest.LogCaptureFixture) -> None:
        libcloud.enable_debug(log)
        try:
            with Canned([OK]) as server:
                assert post_once(service(server.url)) == b"hello"
        finally:
            libcloud.reset_debug()
        assert len(caplog.records) == 1


@pytest.mark.usefixtures("real_pauses")
class TestAttempts:
    def test_the_pause_before_another_doubles(self) -> None:
        before = time.monotonic()
        with Canned([hang_up, hang_up, OK]) as server:
            get(server.url)
        assert time.monotonic() - before >= 0.25 + 0.5

    def test_an_error_says_what_was_waited_for_in_all(self) -> None:
        with Canned([say_nothing]) as server:
            with pytest.raises(ConnectionFailedError) as caught:
                get(service(server.url, timeout=4.5))
        found = re.search(r"\(attempt [23]; ([0-9.]+) s in all\)$", str(caught.value))
        assert found
        assert float(found[1]) > 3  # two silences of a third each, and a pause
        assert caught.value.args == (caught.value.value,)

    def test_none_is_made_that_has_no_time(self) -> None:
        busy = (503, "text/plain", b"", {"Retry-After": "3"})
        with Canned([busy]) as server:
            with pytest.raises(UnavailableError, match="HTTP 503"):
                get(service(server.url, timeout=3.05))
            assert len(server.requests) == 1

    @pytest.mark.parametrize("answers", [[hang_up, (404, "text/plain", b"")], [(404, "a/b", b"")]])
    def test_a_refusal_is_not_a_matter_of_waiting(self, answers: list[Reply]) -> None:
        with Canned(answers) as server, pytest.raises(NotFoundError) as caught:
            get(server.url)
        assert "attempt" not in str(caught.value)


@pytest.fixture
def dead() -> Iterator[Callable[[int, int], list[str]]]:
    """Addresses that do not even refuse a connection, at the port of somebody else."""
    with contextlib.ExitStack() as stack:

        def make(count: int, port: int) -> list[str]:
            found = [f"127.0.0.{number}" for number in range(2, 2 + count)]
            for address in found:
                mute = stack.enter_context(socket.socket())
                mute.bind((address, port))
                mute.listen(0)
                for _ in range(4):  # so that there is no place left for anybody else
                    one = stack.enter_context(socket.socket())
                    one.setblocking(False)
                    one.connect_ex((address, port))
            return found

        yield make


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], str]:
    """Give a host name to addresses."""
    usual = socket.getaddrinfo

    def make(addresses: list[str]) -> str:
        def answer(host: str, port: int, *arguments: Any, **options: Any) -> list[Any]:
            if host != "many.example.org":
                return usual(host, port, *arguments, **options)
            if options.get("flags") == socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "it is a name")
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        return "many.example.org"

    return make


class TestHostsOfManyAddresses:
    """The bound is 1 s, and there are twelve addresses; the guards allow five times that."""

    def test_dead_ones_share_the_time(
        self, dead: Callable[..., list[str]], called: Callable[..., str]
    ) -> None:
        with Canned([OK]) as server:
            host = called(dead(12, server.port))
            before = time.monotonic()
            with pytest.raises(ConnectionFailedError, match="not accept a connection") as caught:
                post_once(service(f"http://{host}:{server.port}", timeout=1.0))
            assert time.monotonic() - before < 6
        assert not isinstance(caught.value, LostAnswerError)

    def test_one_that_lives_is_found_behind_dead_ones(
        self, dead: Callable[..., list[str]], called: Callable[..., str]
    ) -> None:
        with Canned([OK]) as server:
            host = called([*dead(2, server.port), "127.0.0.1"])
            asked = service(f"http://{host}:{server.port}", timeout=6.0)
            assert post_once(asked) == b"hello"

    def test_one_that_refuses_costs_nothing(self, called: Callable[..., str]) -> None:
        with Canned([OK]) as server:
            host = called(["127.0.0.2", "127.0.0.1"])
            assert get(f"http://{host}:{server.port}") == b"hello"

    def test_so_it_is_with_a_proxy(
        self, dead: Callable[..., list[str]], called: Callable[..., str]
    ) -> None:
        with Canned([OK]) as server:
            proxy = f"http://{called(dead(12, server.port))}:{server.port}"
            before = time.monotonic()
            with pytest.raises(ConnectionFailedError, match="the proxy cannot be used"):
                post_once(service("https://far.example.org", timeout=1.0, proxy_url=proxy))
            assert time.monotonic() - before < 6

    def test_name_servers_that_do_not_answer_are_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        over = threading.Event()

        def mute(host: str, port: int, *arguments: Any, **options: Any) -> list[Any]:
            if options.get("flags") != socket.AI_NUMERICHOST:
                over.wait(60)
            raise socket.gaierror(socket.EAI_NONAME, "there is no such name")

        monkeypatch.setattr(socket, "getaddrinfo", mute)
        before = time.monotonic()
        with pytest.raises(ConnectionFailedError, match="not accept a connection"):
            get(service("http://slow.example.org", timeout=1.0))
        assert time.monotonic() - before < 6
        over.set()


class TestTimeOuts:
    """The bound is 1 s; the guards allow five times that and more."""

    @pytest.mark.parametrize("streamed", [False, True])
    @pytest.mark.parametrize(
        "fault",
        [
            say_nothing,
            drip,
            dripping(b"X-Name: "),
            dripping(b"Transfer-Encoding: chunked\r\n\r\n1;name="),
            dripping(b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08" + bytes(6)),
        ],
        ids=["silence", "body", "head", "chunk size", "name in gzip"],
    )
    def test_they_bound_the_whole_call(self, fault: Reply, streamed: bool) -> None:
        with Canned([fault]) as server:
            asked = service(server.url, timeout=1.0)
            before = time.monotonic()
            with pytest.raises(ConnectionFailedError, match=r"did not answer|in time"):
                get(asked, streamed=streamed)
            assert time.monotonic() - before < 6

    def test_they_bound_a_proxys_answer(self) -> None:
        with Canned([dripping(b"X-Name: ")]) as proxy:
            asked = service("https://far.example.org", timeout=1.0, proxy_url=proxy.url)
            before = time.monotonic()
            with pytest.raises(ConnectionFailedError, match="in time"):
                get(asked)
            assert time.monotonic() - before < 6

    def test_a_streamed_answer_may_take_its_time(self) -> None:
        def slowly(handler: Handler, request: Request) -> None:
            handler.send(200, "text/plain", b"", {"Content-Length": str(16 * 2048)})
            for _ in range(16):
                handler.wfile.write(b"x" * 2048)
                handler.wfile.flush()
                time.sleep(0.1)

        with Canned([slowly]) as server:
            whole = get(service(server.url, timeout=1.0), streamed=True)
        assert whole == b"x" * 16 * 2048

    def test_the_driver_works_afterwards(self) -> None:
        with Canned([say_nothing]) as server:
            asked = service(server.url, timeout=3.0)
            with pytest.raises(ConnectionFailedError):
                get(asked)
            server.answers[:] = [OK]
            assert get(asked) == b"hello"


class TestInterimAnswers:
    @pytest.mark.parametrize(
        "status", ["100 Continue", "102 Processing", "103 Early Hints", "199 -"]
    )
    def test_they_are_not_the_answer(self, status: str) -> None:
        def answer(handler: Handler, request: Request) -> None:
            begin = f"HTTP/1.1 {status}\r\nLink: </a>; rel=preload\r\n\r\n"
            handler.wfile.write(2 * begin.encode())
            handler.send(*OK)

        with Canned([answer]) as server:
            asked = service(server.url)
            assert [get(asked), get(asked)] == [b"hello", b"hello"]
            assert server.connections == 1

    def test_nor_are_they_a_proxys(self) -> None:
        def answer(handler: Handler, request: Request) -> None:
            handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            handler.send(502, "text/html", b"")

        with Canned([answer]) as proxy:
            with pytest.raises(ConnectionFailedError, match="502 Bad Gateway"):
                get(service("https://far.example.org", timeout=2, proxy_url=proxy.url))


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (401, CredentialsError),
            (403, NotPermittedError),
            (404, NotFoundError),
            (405, NotSupportedError),
            (409, ConflictError),
            (501, NotSupportedError),
            (500, UnavailableError),
        ],
    )
    def test_by_status(self, status: int, kind: type[StratusLabError]) -> None:
        answer = (status, "application/json", b'{"message": "the\\nreason", "code": 1}')
        with Canned([answer]) as server:
            with pytest.raises(kind, match="the reason") as caught:
                get(server.url)
            assert str(caught.value).startswith(server.url)
            assert caught.value.http_code == status

    @pytest.mark.parametrize(
        ("kind", "body", "said"),
        [
            ("application/json", b'{"message": ["a", "b"]}', "a b"),
            ("application/json", b'{"404" : "nothing.\\n"}', "nothing."),
            ("application/xml", b"<error>a &lt; b</error>", "a < b"),
            ("text/plain", "grün\x1b[31m".encode(), "grün [31m"),
            ("text/html", b"<html>noise</html>", ""),
            ("application/json", b"{broken", ""),
            ("application/xml", b"<broken", ""),
        ],
    )
    def test_what_the_service_says(self, kind: str, body: bytes, said: str) -> None:
        with Canned([(404, kind, body)]) as server, pytest.raises(NotFoundError) as caught:
            get(server.url)
        assert caught.value.value == (f"{said} (HTTP 404)" if said else "HTTP 404 Not Found")

    def test_an_unknown_certificate_is_a_matter_of_credentials(self, tmp_path: Path) -> None:
        pair = tmp_path / "pair.pem"
        trustme.CA().issue_cert("a@b").private_key_and_cert_chain_pem.write_to_path(str(pair))
        with Canned([(403, "text/html", b"<html>")]) as server:
            asked = Service(server.url, Certificate(str(pair), str(pair)), HTTPOptions(timeout=5))
            with pytest.raises(CredentialsError, match="is this certificate registered"):
                get(asked)

    def test_what_does_not_speak_http_is_called_so(self) -> None:
        def rubbish(handler: Handler, request: Request) -> None:
            handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
            handler.close_connection = True

        with Canned([rubbish]) as server:
            with pytest.raises(ConnectionFailedError, match="does not speak HTTP"):
                get(service(server.url, timeout=2))

    def test_a_proxy_of_no_known_kind_is_a_matter_of_configuration(self) -> None:
        with pytest.raises(ConfigurationError, match="cannot be sent"):
            post_once(service("http://h", proxy_url="gopher://127.0.0.1:1"))

    def test_an_unknown_host_is_named(self) -> None:
        with pytest.raises(ConnectionFailedError, match="host name cannot be resolved"):
            get(service("http://nowhere.invalid", timeout=2))

    def test_an_answer_without_end_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transport, "LARGEST_HELD", 2**20)
        answer = (200, "text/plain", b"x" * 2**21)
        with Canned([answer]) as server, pytest.raises(MalformedAnswerError, match="than 1 MiB"):
            get(server.url)


class TestMemory:
    """100 MB of garbage are never held whole."""

    @pytest.mark.parametrize(
        "ask",
        [
            lambda site: site.compute.info("1"),
            lambda site: site.compute.machines(),
            lambda site: site.storage.disks(),
            lambda site: site.storage.update(DISK, tag="t"),
            lambda site: site.marketplace.images(),
            lambda site: site.marketplace.get("x" * 27),
        ],
        ids=["info", "machines", "disks", "update", "images", "get"],
    )
    def test_it_is_bounded(self, ask: Callable[[StratusLabCloud], object]) -> None:
        site_at_fault: Any = None
        with Canned([partial(faults.garbage, site_at_fault)]) as server:
            site = StratusLabCloud(
                direct("u", "p", f"{server.url}/one-proxy/xmlrpc", None), timeout=50
            )
            tracemalloc.start()
            try:
                with pytest.raises(MalformedAnswerError):
                    ask(site)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            site.close()
        assert peak < 90 * 2**20


class TestRedirects:
    def test_one_within_the_origin_is_followed_for_reading(self) -> None:
        with Canned([(301, "text/html", b"moved", {"Location": "/y"}), OK]) as server:
            assert get(server.url) == b"hello"
            assert [request.path for request in server.requests] == ["/x", "/y"]

    def test_the_origin_may_be_written_otherwise(self) -> None:
        def answer(handler: Handler, request: Request) -> None:
            target = f"http://LOCALHOST:{server.port}/y"
            handler.send(301, "text/html", b"", {"Location": target})

        with Canned([answer, OK]) as server:
            assert get(f"http://localhost:{server.port}") == b"hello"

    @pytest.mark.parametrize("other", ["http://somebody@127.0.0.1:{}/y", "https://127.0.0.1:{}/y"])
    def test_but_has_to_be_the_same(self, other: str) -> None:
        def answer(handler: Handler, request: Request) -> None:
            handler.send(301, "text/html", b"", {"Location": other.format(server.port)})

        with Canned([answer, OK]) as server:
            with pytest.raises(MalformedAnswerError, match="redirects to"):
                get(server.url)

    def test_but_only_one(self) -> None:
        with Canned([(302, "text/html", b"", {"Location": "/x"})]) as server:
            with pytest.raises(MalformedAnswerError, match="redirects to"):
                get(server.url)
            assert len(server.requests) == 2

    def test_credentials_go_nowhere_else(self) -> None:
        with Canned([OK]) as other:
            moved = (302, "text/html", b"", {"Location": f"{other.url}/x"})
            with Canned([moved]) as server, pytest.raises(MalformedAnswerError):
                get(server.url)
            assert other.requests == []

    def test_see_other_after_put_is_success(self) -> None:
        with Canned([(303, "text/html", b"", {"Location": "http://other/"})]) as server:
            service(server.url).send("PUT", "/x", lambda answer: None, accept="*/*", body=b"")
            assert len(server.requests) == 1


class TestSurroundings:
    def test_netrc_does_not_replace_the_login(self, home: Path) -> None:
        (home / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
        with Canned([OK]) as server:
            get(server.url)
            login = server.requests[0].headers["Authorization"]
        assert login == "Basic amFuZTpNYXJrImVyIDwmPiAlw7w="

    def test_the_environments_proxy_is_not_for_loopback(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
        with Canned([OK]) as server:
            assert get(server.url) == b"hello"

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "127.1", "0x7f000001", "localhost", "LocalHost", "site.localhost"]
    )
    def test_however_loopback_is_written(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        with Canned([OK]) as server, Canned([(502, "text/plain", b"")]) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            usual = socket.getaddrinfo

            def here(name: str, port: int, *arguments: Any, **options: Any) -> list[Any]:
                return usual("127.0.0.1", port, *arguments, **options)

            monkeypatch.setattr(socket, "getaddrinfo", here)
            assert get(f"http://{host}:{server.port}") == b"hello"
            assert proxy.requests == []

    @pytest.mark.parametrize("host", ["127.example.org", "localhost.example.org", "mylocalhost"])
    def test_a_name_that_only_looks_like_it_is_none(
        self, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        with Canned([OK]) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            assert get(f"http://{host}") == b"hello"
            assert proxy.requests[0].path == f"http://{host}/x"

    def test_the_environments_proxy_is_for_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Canned([OK]) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            assert get("http://far.example.org") == b"hello"
            assert proxy.requests[0].path == "http://far.example.org/x"
            monkeypatch.setenv("no_proxy", "example.org")
            with pytest.raises(ConnectionFailedError):
                get(service("http://far.example.org", timeout=2))
            assert len(proxy.requests) == 1

    @pytest.mark.parametrize(
        "without", ["10.1.2.0/24", "a, 10.1.2.3", "2001:db8::/32", "[::ffff:1]"]
    )
    def test_no_proxy_may_name_addresses_and_networks(
        self, monkeypatch: pytest.MonkeyPatch, without: str
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
        monkeypatch.setenv("no_proxy", without)
        near = "http://[2001:0DB8::7]/x" if "db8" in without else "http://10.1.2.3/x"
        near = "http://[0::ffff:1]:8080/x" if without.startswith("[") else near
        assert proxies(near, None) == {}
        for far in ("http://10.1.9.3/x", "http://[2001:db9::7]/x", "http://10.1.2.3.example/x"):
            assert proxies(far, None) == {"http": "http://proxy.example.org:3128"}

    def test_another_thread_may_change_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Changing(dict[str, str]):
            """As os.environ: a variable that is gone by the time it is looked at."""

            def __iter__(self) -> Iterator[str]:
                raise KeyError("GONE")

            items = keys = __iter__  # type: ignore[assignment]

        monkeypatch.setattr(os, "environ", Changing(HTTP_PROXY="http://proxy.example.org:3128"))
        expected = {"http": "http://proxy.example.org:3128"}
        assert proxies("http://far.example.org/x", None) == expected

    def test_to_a_cgi_script_an_upper_case_proxy_is_a_header(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://evil.example.org:3128")
        monkeypatch.setenv("REQUEST_METHOD", "GET")
        assert proxies("http://far.example.org/x", None) == {}

    def test_an_empty_lower_case_variable_switches_the_proxy_off(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
        monkeypatch.setenv("https_proxy", "")
        assert proxies("https://far.example.org/x", None) == {}

    def test_a_given_proxy_is_used(self) -> None:
        with Canned([OK]) as proxy:
            get(service("http://far.example.org", proxy_url=proxy.url))
            assert proxy.requests[0].path == "http://far.example.org/x"

    def test_what_a_proxy_got_and_did_not_answer_is_in_doubt(self) -> None:
        with Canned([hang_up]) as proxy, pytest.raises(LostAnswerError, match="it may exist"):
            post_once(service("http://far.example.org", proxy_url=proxy.url))

    def test_a_proxy_that_does_not_connect_is_named_and_nothing_is_in_doubt(self) -> None:
        with Canned([(502, "text/html", b"<html>")]) as proxy:
            with pytest.raises(ConnectionFailedError, match=r"proxy.*502 Bad Gateway") as caught:
                post_once(service("https://far.example.org", proxy_url=proxy.url))
        assert not isinstance(caught.value, LostAnswerError)
        with pytest.raises(ConnectionFailedError, match=r"proxy cannot be used.*refused"):
            get(service("https://far.example.org", proxy_url=proxy.url, timeout=2))
        del caught
        gc.collect()  # a socket that is still open would complain

    @pytest.mark.parametrize("url", ["http://u:S3CRET@p:99999", "http://u:S3CRET@p\r\nEvil: yes"])
    def test_a_proxy_that_is_none_is_named_by_its_variable(
        self, monkeypatch: pytest.MonkeyPatch, url: str
    ) -> None:
        monkeypatch.setenv("http_proxy", url)
        with pytest.raises(ConfigurationError, match="that http_proxy names") as caught:
            get("http://far.example.org")
        shown = "".join(traceback.format_exception(caught.value))
        assert "S3CRET" not in shown.replace(url, "").replace(repr(url), "")

    def test_cookies_are_not_kept(self) -> None:
        with Canned([(200, "text/plain", b"", {"Set-Cookie": "a=b"})]) as server:
            asked = service(server.url)
            get(asked)
            get(asked)
            assert "Cookie" not in server.requests[1].headers


class TestLogins:
    @pytest.mark.parametrize("login", [("u\ud800", "p"), ("u", "p\udcff")])
    def test_what_is_not_unicode_is_refused(self, login: tuple[str, str]) -> None:
        with pytest.raises(ConfigurationError, match="not Unicode"):
            Service("https://h", Password(*login), HTTPOptions())


class TestTLS:
    def test_libclouds_own_settings_are_honoured(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        authority = tmp_path / "ca.pem"
        authority.touch()
        assert HTTPOptions().verify() == libcloud.security.CA_CERTS_PATH
        monkeypatch.setattr(libcloud.security, "CA_CERTS_PATH", str(authority))
        assert HTTPOptions().verify() == str(authority)
        monkeypatch.setattr(libcloud.security, "VERIFY_SSL_CERT", False)
        assert HTTPOptions().verify() is False

    def test_libclouds_list_of_authorities_is_its_first(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA
    ) -> None:
        paths = [str(tmp_path / "ca.pem"), "/no/ca.pem"]
        monkeypatch.setattr(libcloud.security, "CA_CERTS_PATH", paths)
        with Canned([OK], tls=tls(authority)) as server:
            with pytest.warns(DeprecationWarning, match="only its first path"):
                assert get(server.url) == b"hello"

    def test_libclouds_authority_may_be_a_path_object(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA
    ) -> None:
        monkeypatch.setattr(libcloud.security, "CA_CERTS_PATH", tmp_path / "ca.pem")
        with Canned([OK], tls=tls(authority)) as server:
            assert get(server.url) == b"hello"

    @pytest.mark.parametrize(
        ("trusted", "complaint"),
        [
            ([], "is not the path of a file"),
            (("ca.pem",), "is not the path of a file"),
            (5, "is not the path of a file"),
            ("/no/ca.pem", "/no/ca.pem"),
            ("nul\0", "cannot be sent"),
            (__file__, "holds no CA certificate"),
        ],
        ids=["empty list", "tuple", "number", "absent", "nul", "no certificate"],
    )
    def test_libclouds_authority_that_is_none_is_a_matter_of_configuration(
        self,
        monkeypatch: pytest.MonkeyPatch,
        authority: trustme.CA,
        trusted: Any,
        complaint: str,
    ) -> None:
        monkeypatch.setattr(libcloud.security, "CA_CERTS_PATH", trusted)
        with Canned([OK], tls=tls(authority)) as server:
            with pytest.raises(ConfigurationError, match=complaint):
                post_once(service(server.url))
            assert server.requests == []

    @pytest.mark.parametrize("trusted", [None, "", [""]])
    def test_without_one_certificates_are_checked_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, trusted: Any
    ) -> None:
        monkeypatch.setattr(libcloud.security, "CA_CERTS_PATH", trusted)
        expected = (
            pytest.warns(DeprecationWarning, match="list") if trusted else contextlib.nullcontext()
        )
        with Canned([OK], tls=tls(authority)) as server, expected:
            with pytest.raises(ConnectionFailedError, match="not trusted"):
                get(server.url)

    def test_a_missing_authority_file_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match=r"/no/ca\.pem does not exist"):
            Service("https://h", None, HTTPOptions(ca_certificate="/no/ca.pem"))

    @pytest.mark.parametrize("name", ["folder", "nul\0"])
    def test_an_authority_file_that_is_none_is_named(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(ConfigurationError, match=r"holds no CA certificate|cannot be read"):
            Service("https://h", None, HTTPOptions(ca_certificate=str(tmp_path / name)))

    def test_files_that_may_not_be_read_are_named(self, tmp_path: Path) -> None:
        path = tmp_path / "it.pem"
        trustme.CA().cert_pem.write_to_path(str(path))
        pair = Certificate(str(path), str(path))
        with unreadable(path):
            for login, options in (
                (None, HTTPOptions(ca_certificate=str(path))),
                (pair, HTTPOptions()),
            ):
                with pytest.raises(ConfigurationError, match=f"{path} cannot be read: Permission"):
                    Service("https://h", login, options)

    def test_files_that_do_not_fit_are_named_before_anything_is_sent(self, tmp_path: Path) -> None:
        authority = trustme.CA()
        paths = [tmp_path / "cert.pem", tmp_path / "key.pem"]
        authority.issue_cert("a@b").cert_chain_pems[0].write_to_path(str(paths[0]))
        authority.issue_cert("c@d").private_key_pem.write_to_path(str(paths[1]))
        with pytest.raises(ConfigurationError, match="do not match"):
            Service("https://h", Certificate(*map(str, paths)), HTTPOptions())
        empty = tmp_path / "ca.pem"
        empty.touch()
        with pytest.raises(ConfigurationError, match="no CA certificate"):
            Service("https://h", None, HTTPOptions(ca_certificate=str(empty)))

    @pytest.mark.parametrize(
        ("certificate", "key", "complaint"),
        [
            (None, "-----BEGIN", "cannot be read"),
            ("-----BEGIN", None, "cannot be read"),
            ("rubbish", "-----BEGIN", "not a PEM file"),
            ("-----BEGIN", "-----BEGIN ENCRYPTED PRIVATE KEY-----", "encrypted"),
        ],
    )
    def test_bad_certificate_files_are_named_before_anything_is_sent(
        self, tmp_path: Path, certificate: str | None, key: str | None, complaint: str
    ) -> None:
        paths = [tmp_path / "cert.pem", tmp_path / "key.pem"]
        for path, text in zip(paths, (certificate, key), strict=True):
            if text is not None:
                path.write_text(text)
        pair = Certificate(*map(str, paths))
        with pytest.raises(ConfigurationError, match=complaint) as caught:
            Service("https://h", pair, HTTPOptions(timeout=1))
        assert str(tmp_path) in str(caught.value)


def packed(text: bytes, times: int, wbits: int) -> bytes:
    """A zip bomb; 31 for gzip, 15 for deflate as RFC 9110 has it, -15 for deflate as some do."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    begin = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
    if times == 1:
        return begin + packer.flush()
    again = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)  # rests on nothing before it
    return begin + again * (times - 1)  # nobody reads as far as to the sum at the end


class TestEncodings:
    def test_only_what_is_unpacked_piece_by_piece_is_asked_for(self) -> None:
        with Canned([OK]) as server:
            get(server.url)
        assert server.requests[0].headers["Accept-Encoding"] == "gzip, deflate"

    @pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("GZip", 31)])
    def test_they_are_undone(self, encoding: str, wbits: int) -> None:
        body = packed(b"hello", 1, wbits)
        with Canned([(200, "text/plain", body, {"Content-Encoding": encoding})]) as server:
            assert get(server.url) == b"hello"

    @pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip,identity"])
    def test_others_are_refused(self, encoding: str) -> None:
        body = gzip.compress(gzip.compress(b"hello"))
        with Canned([(200, "text/plain", body, {"Content-Encoding": encoding})]) as server:
            with pytest.raises(MalformedAnswerError, match=f"has the encoding '{encoding}'"):
                get(server.url)

    @pytest.mark.parametrize("wbits", [31, 15, -15])
    def test_a_zip_bomb_is_neither_unpacked_at_once_nor_to_its_end(self, wbits: int) -> None:
        bomb = packed(bytes(2**20), 700, wbits)
        assert len(bomb) < 2**20
        headers = {"Content-Encoding": "gzip" if wbits == 31 else "deflate"}
        with Canned([(200, "text/plain", bomb, headers)]) as server:
            asked = service(server.url)
            tracemalloc.start()
            try:
                with pytest.raises(MalformedAnswerError, match="than 640 MiB"):
                    asked.send("GET", "/x", largest_piece, accept="*/*", streamed=True)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert peak < 8 * 2**20

    @pytest.mark.parametrize("streamed", [False, True])
    def test_what_unpacks_to_nothing_is_not_read_to_its_end(
        self, monkeypatch: pytest.MonkeyPatch, streamed: bool
    ) -> None:
        def endless(handler: Handler, request: Request) -> None:
            handler.send(
                200, "text/plain", b"", {"Content-Encoding": "gzip", "Content-Length": "9" * 9}
            )
            with contextlib.suppress(OSError):
                while True:
                    handler.wfile.write(gzip.compress(b"") * 4096)

        monkeypatch.setattr(sessions, "_MOST_RECEIVED", 2**20)
        with Canned([endless]) as server:
            with pytest.raises(MalformedAnswerError, match="larger than 1 MiB"):
                get(server.url, streamed=streamed)

    def test_what_is_not_what_it_says_is_malformed(self) -> None:
        with Canned([(200, "text/plain", b"no gzip", {"Content-Encoding": "gzip"})]) as server:
            with pytest.raises(MalformedAnswerError, match="cannot be decompressed"):
                get(server.url)


class TestSecrets:
    def test_none_in_an_error_that_a_server_sends_back(self) -> None:
        echoed = (400, "text/plain", f"you sent {SECRET}".encode())
        with Canned([echoed]) as server, pytest.raises(StratusLabError) as caught:
            get(server.url)
        assert "Mark" not in str(caught.value) + repr(caught.value)
        assert "***" in str(caught.value)

    @pytest.mark.parametrize("before", ["", "x" * 488])
    @pytest.mark.parametrize("secret", ["MARKERPW12345678", "MARKERPW  1234", 'MARKERPW"<1'])
    def test_none_however_the_text_is_cut_or_written(self, before: str, secret: str) -> None:
        for written in (secret, secret.replace('"', "&quot;").replace("<", "&lt;")):
            echoed = (400, "text/plain", f"{before}{written} was wrong".encode())
            with Canned([echoed]) as server, pytest.raises(StratusLabError) as caught:
                get(Service(server.url, Password("jane", secret), HTTPOptions(timeout=5)))
            error = caught.value
            assert "MARKER" not in str(error) + repr(error) + repr(error.args) + error.said

    @pytest.mark.parametrize(
        "write",
        [
            lambda secret: escape(escape(secret)),
            lambda secret: escape(escape(escape(secret))),
            lambda secret: html.escape(html.escape(secret)),
            lambda secret: "".join(f"&#{ord(letter)};" for letter in secret),
            lambda secret: "".join(f"&#x{ord(letter):04X};" for letter in secret),
            lambda secret: quote(quote(secret, safe=""), safe="").lower(),
            lambda secret: quote_plus(escape(secret)),
            lambda secret: escape(escape(secret)).replace("&", "\\u0026"),
            lambda secret: json.dumps(json.dumps({"a": secret})),
            lambda secret: json.dumps(escape(escape(secret))),
            lambda secret: repr(repr(secret)),
            ascii,
        ],
    )
    def test_none_however_often_the_text_was_escaped(self, write: Callable[[str], str]) -> None:
        secret = "p&q<r\"s'%t \\u+é€😀"
        with Canned([(400, "text/plain", f"{write(secret)} is wrong".encode())]) as server:
            with pytest.raises(StratusLabError) as caught:
                get(Service(server.url, Password("jane", secret), HTTPOptions(timeout=5)))
        assert re.fullmatch(r"\W*(a\W+)?\*\*\*\W* is wrong \(HTTP 400\)", caught.value.value)

    def test_the_password_of_a_proxy_is_one_however_it_is_sent(self) -> None:
        def echo(handler: Handler, request: Request) -> None:
            login = request.headers["Proxy-Authorization"]
            handler.send(400, "text/plain", f"you sent {login}, p&ss/word".encode())

        with Canned([echo]) as proxy:
            url = proxy.url.replace("//", "//jane:p%26ss%2Fword@")
            with pytest.raises(StratusLabError) as caught:
                get(service("http://far.example.org", proxy_url=url))
        assert caught.value.value == "you sent Basic ***, *** (HTTP 400)"

    def test_none_in_the_debug_log(self) -> None:
        log = io.StringIO()
        libcloud.enable_debug(log)
        try:
            with Canned([(200, "text/plain", SECRET.encode()), OK]) as server:
                asked = service(server.url)
                asked.send("POST", "/x", Answer.body, accept="*/*", body=SECRET.encode())
                get(asked, streamed=True)
        finally:
            libcloud.reset_debug()
        written = log.getvalue()
        assert "POST" in written
        assert "200" in written
        assert "Mark" not in written
        assert "amFuZTpNYXJr" not in written
