"""Requests of any shape: each has an answer, and none breaks anything."""

import http.client
import json
import logging
import socket
import xmlrpc.client

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stratuslab_libcloud.sandbox import Sandbox
from stratuslab_libcloud.sandbox.storage import Storage

from .conftest import USERS

DISK = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
JANE = "Basic amFuZTpzM2NyZXQ6d2l0aCBjb2xvbg=="  # jane:s3cret:with colon
NOT_OURS = {500, 502, 503, 504, 505}

WORDS = [
    *("pdisk", "one-proxy", "marketplace", "pswd", "cert", "disks", "mounts", "turl", "instances"),
    *("xmlrpc", "metadata", "images", DISK, f"{DISK}_0", "0", "-1", "IgBUoILNIAlD290Tvui-60IdiLZ"),
    *(
        "",
        ".",
        "..",
        "%2e%2e",
        "%2f",
        "%00",
        "%0d%0aEvil:%20yes",
        "%ff",
        "%",
        "%zz",
        "\x9b31m",
        ";",
    ),
    *("ada@example.org", "2025-01-01T00:00:00Z", "etc", "passwd", "*", "'", '"', "<a>", "&", "#"),
]
DOORS = ["", "/pdisk/pswd/disks", "/pswd/disks", f"/pswd/disks/{DISK}/mounts", "/pswd/instances"]
DOORS += ["/metadata", "/marketplace/metadata", "/images", "/pswd/xmlrpc", "/one-proxy/pswd/xmlrpc"]
PATHS = st.builds(
    lambda door, words: "/".join([door, *words]) or "/",
    st.sampled_from(DOORS),
    st.lists(st.sampled_from(WORDS), max_size=4),
)
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            *("media", "method", "status", "identifier", "email", "created", "location", "sEcho"),
            *(
                "iDisplayStart",
                "iDisplayLength",
                "iSortCol_0",
                "sSortDir_0",
                "sSearch",
                "sSearch_1",
            ),
        ]
    ),
    st.sampled_from(
        [
            *(
                "",
                "0",
                "1",
                "10",
                "-1",
                "9" * 30,
                "\u0661",
                "asc",
                "desc",
                "PUT",
                "DELETE",
                "xml",
                "json",
            ),
            *(
                "html",
                "gzip",
                "valid",
                "all",
                "web",
                "pdisk",
                "' OR 1=1 --",
                "%",
                "%ff",
                "%00",
                "(((",
                "[",
            ),
        ]
    ),
    max_size=4,
).map(lambda fields: "&".join(f"{name}={value}" for name, value in fields.items()))
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("Accept", "Content-Type", "Authorization", "X-HTTP-Method-Override"),
            *("X-Forwarded-Proto", "Content-Encoding", "Range", "If-Modified-Since", "Host"),
        ]
    ),
    st.sampled_from(
        [
            *("", "*/*", "text/plain", "application/json", "application/xml;q=nan", "text/xml;q=x"),
            *(";q=1", ",", "application/json;q=1e999", "application/x-gzip", "text/xml"),
            *("application/x-www-form-urlencoded", "application/x-www-form-urlencoded;charset=x"),
            *("multipart/form-data; boundary=x", "multipart/form-data", "PUT", "DELETE", "gzip"),
            *(
                JANE,
                "Basic",
                "Basic %%%",
                "Basic /////w==",
                "Basic OjovLw==",
                "Digest x",
                "bytes=0-1",
            ),
            *(
                "https",
                "javascript",
                "\xe9\xff",
                "x" * 5000,
                "Thu, 01 Jan 1970 00:00:00 GMT",
                "[::1]:x",
            ),
        ]
    ),
    max_size=4,
)
BODIES = st.lists(
    st.sampled_from(
        [
            *(
                b"size=1",
                b"tag=",
                b"visibility=public",
                b"&",
                b"=",
                b"node=sandbox",
                b"vm_id=0",
                b"%00",
            ),
            *(
                b"%ed%a0%80",
                b"\xff",
                b"type=x",
                b"register_only=true",
                b"owner=",
                b"url=file:///",
                b";",
            ),
            *(b"<methodCall><methodName>", b"one.vm.info", b"one.vm.allocate", b"one.vmpool.info"),
            *(b"</methodName><params>", b"<param><value>", b"</value></param>", b"</params>"),
            *(b"<i4>0</i4>", b'<string>A=[B="', b"</string>", b"</methodCall>", b"\0", b"\r\n"),
        ]
    )
    | st.binary(max_size=5),
    max_size=9,
).map(b"".join)


@pytest.fixture(scope="module")
def site():
    with Sandbox(users=USERS) as site:
        yield site


def ask(site, method, target, headers, body):
    """One request, as it is, on a connection of its own."""
    headers = {"Host": "x", "Authorization": JANE, **headers}
    headers |= {"Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall("\r\n".join([*lines, "\r\n"]).encode("latin-1") + body)
        answer = http.client.HTTPResponse(client, method=method)
        answer.begin()
        return answer, answer.read()


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "\x9bX"]),
    PATHS,
    QUERIES,
    HEADERS,
    BODIES,
)
def test_any_request_is_answered(site, caplog, method, path, query, headers, body):
    target = (f"{path}?{query}" if query else path).encode().decode("latin-1")
    caplog.clear()
    answer, content = ask(site, method, target, headers, body)
    assert answer.status not in NOT_OURS
    assert "Evil" not in answer.headers
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    if answer.headers.get_content_type() == "application/json" and content:
        json.loads(content)


@pytest.mark.parametrize("error", [OSError("disk broken"), RuntimeError("a bug")])
def test_what_breaks_is_told_without_what_commands_a_terminal(site, caplog, monkeypatch, error):
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(Storage, "disk", broken)
    answer, content = ask(site, "GET", "/pswd/disks/%1b%5b2J%c2%9b31m%e2%80%ae", {}, b"")
    assert answer.status == 500
    assert str(error) not in content.decode()
    (record,) = caplog.records
    assert record.getMessage().isprintable()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["one.vm.allocate", "one.vm.info", "one.vm.action", "one.vmpool.info", "x"]),
    st.lists(
        st.integers(-(2**31), 2**31 - 1)
        | st.booleans()
        | st.text(max_size=9)
        | st.sampled_from(
            ["finalize", "A=[", 'NAME="x</NAME><STATE>6</STATE><NAME>"', "$", "\ud7ff"]
        )
        | st.just([]),
        max_size=6,
    ),
)
@example("one.vm.allocate", ["s", 'CONTEXT=[A="]]>"]'])
def test_any_call_is_answered_with_a_result_a_refusal_or_a_fault(site, caplog, method, parameters):
    caplog.clear()
    body = xmlrpc.client.dumps(tuple(parameters), method).encode("utf-8", "replace")
    answer, content = ask(site, "POST", "/pswd/xmlrpc", {"Content-Type": "text/xml"}, body)
    assert answer.status == 200
    try:
        (((success, _, code),), _) = xmlrpc.client.loads(content)
    except xmlrpc.client.Fault as fault:
        assert fault.faultCode in (-501, -503, -506, -509)
    else:
        assert (success, code) == (True, 0) or code in (512, 1024, 2048, 4096, 8192)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
