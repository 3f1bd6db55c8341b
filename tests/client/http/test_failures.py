"""What services say when they say no, whatever it is."""

import itertools
import json
import ssl
from collections.abc import Iterator

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st

from stratuslab_libcloud.client.http.failures import explanation, refusal, translated
from stratuslab_libcloud.client.http.sessions import Patience
from stratuslab_libcloud.errors import ConnectionFailedError, ServiceError, UnavailableError

KINDS = ("application/json", "application/xml", "text/xml", "text/plain", "text/html", "", "json")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "404", "code"]), inner, max_size=3)
    ),
    max_leaves=9,
)


@given(
    st.binary()
    | st.text().map(str.encode)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.text("<a/>&;!x\x9b", max_size=30).map(str.encode),
    st.sampled_from(KINDS),
)
@example(b"[" * 100_000, "application/json")
@example(b'{"message": ' + b"9" * 5000 + b"}", "application/json")
@example(b"<a>" * 5000 + b"</a>" * 5000, "application/xml")
@example(b'<!DOCTYPE a [<!ENTITY l "ha">]><a>&l;</a>', "application/xml")
def test_any_body_is_words_or_none(body: bytes, kind: str) -> None:
    assert isinstance(explanation(kind, iter([body])), str)


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_without_end_is_not_read_to_its_end(kind: str) -> None:
    def endless() -> Iterator[bytes]:
        for number in itertools.count():
            assert number < 20, "more is read than anybody would say"
            yield b"<a>x</a>" * 1024

    assert len(explanation(kind, endless())) < 2**17


@given(
    st.integers(400, 999),
    st.text(max_size=9),
    st.text(max_size=9),
    st.none() | st.integers().map(str) | st.text("0123456789.-+e ٣GMTFri,:an", max_size=30),
)
@example(503, "", "", "9" * 5000)
@example(503, "", "", "٣")
@example(503, "", "", "Fri, 31 Dec 99999 23:59:59 GMT")
@example(503, "", "", "Fri, 31 Dec 9999 23:59:59 -9999")
@example(503, "\x1b[31m", "one\ntwo\x9b", "-1")
def test_any_refusal_is_one_line_and_no_endless_wait(
    status: int, reason: str, text: str, retry_after: str | None
) -> None:
    error = refusal(status, reason, text, retry_after)
    assert isinstance(error, ServiceError)
    assert error.http_code == status
    assert str(error).isprintable()
    if isinstance(error, UnavailableError):
        assert 0 <= error.retry_after < float("inf")


@pytest.mark.parametrize(
    "said",
    [
        "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)",
        "[SSL: PACKET_LENGTH_TOO_LONG] packet length too long (_ssl.c:1029)",
        "[SSL: RECORD_LAYER_FAILURE] record layer failure (_ssl.c:1035)",
        "[SSL: UNKNOWN_PROTOCOL] unknown protocol (_ssl.c:590)",
        "[SSL: HTTP_REQUEST] http request (_ssl.c:1006)",
    ],
)
def test_a_service_without_tls_is_one_whatever_openssl_calls_it(said: str) -> None:
    patience = Patience()
    with pytest.raises(ConnectionFailedError, match="does not speak TLS") as caught:
        with translated(patience):
            raise requests.exceptions.SSLError(ssl.SSLError(1, said))
    assert not caught.value.passing
