"""Requests of any shape: each has an answer, and none breaks anything."""

import dataclasses
import http.client
import json
import logging
import socket
import sqlite3
import xmlrpc.client
from collections.abc import Iterator
from typing import Any

import pytest
from callers import USERS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.sandbox.compute.xmlrpc import METHODS
from stratuslab_libcloud.sandbox.opennebula.calls import CALLS as ENGINE_CALLS
from stratuslab_libcloud.sandbox.site import Sandbox
from stratuslab_libcloud.sandbox.storage.rules import Storage

DISK = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
SESSION = "jane:s3cret:with colon"
JANE = "Basic amFuZTpzM2NyZXQ6d2l0aCBjb2xvbg=="  # jane:s3cret:with colon
NOT_OURS = {500, 502, 503, 504, 505}

WORDS = [
    "ten.raw",
    *("pdisk", "one-proxy", "marketplace", "pswd", "cert", "disks", "mounts", "turl", "instances"),
    *(
        "xmlrpc",
        "machines",
        "console",
        "metadata",
        "images",
        DISK,
        f"{DISK}_0",
        "0",
        "-1",
        "IgBUoILNIAlD290Tvui-60IdiLZ",
    ),
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
DOORS += [
    "/metadata",
    "/marketplace/metadata",
    "/tag",
    "/endorsers",
    "/marketplace/action",
    "/images",
    "/pswd/xmlrpc",
    "/pswd/xmlrpc/machines/0",
    "/one-proxy/pswd/xmlrpc",
    "/RPC2",
]
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
                "Basic \xe9",
                "Basic amFuZTrp",
                "Digest realm*=x''\xe9",
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
def site() -> Iterator[Sandbox]:
    with Sandbox(users=USERS) as site:
        yield site


def ask(
    site: Sandbox, method: str, target: str, headers: dict[str, str], body: bytes
) -> tuple[http.client.HTTPResponse, bytes]:
    """One request, as it is, on a connection of its own."""
    headers = {"Host": "localhost", "Authorization": JANE, **headers}
    headers |= {"Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall("\r\n".join([*lines, "\r\n"]).encode("latin-1") + body)
        answer = http.client.HTTPResponse(client, method=method)
        answer.begin()
        return answer, answer.read()


CONTENT = b"0123456789"


@pytest.fixture(scope="module")
def image(site: Sandbox) -> str:
    """The path of an image of ten bytes."""
    (site.dir / "images" / "ten.raw").write_bytes(CONTENT)
    note = dataclasses.asdict(Entry(identifier="x", inbound_ports=()))
    (site.dir / "images" / "ten.raw.json").write_text(json.dumps(note))
    return "/images/ten.raw"


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=2-4", 2, 4),
        ("BYTES=2-4", 2, 4),
        ("bytes=7-", 7, 9),
        ("bytes=7-999999999999999999999999999999", 7, 9),
        ("bytes=-3", 7, 9),
        ("bytes=-99", 0, 9),
        ("bytes=-" + "9" * 5000, 0, 9),
    ],
    ids=range(8),
)
def test_a_part_of_an_image_is_sent(
    site: Sandbox, image: str, wanted: str, first: int, last: int
) -> None:
    answer, content = ask(site, "GET", image, {"Range": wanted}, b"")
    assert (answer.status, content) == (206, CONTENT[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/10"


@pytest.mark.parametrize(
    "wanted",
    ["bytes=10-", "bytes=10-11", "bytes=-0", f"bytes={'9' * 30}-", f"bytes={'9' * 5000}-"],
    ids=range(5),
)
def test_a_part_that_is_not_there_is_refused_with_the_size(
    site: Sandbox, image: str, wanted: str
) -> None:
    answer, _ = ask(site, "GET", image, {"Range": wanted}, b"")
    assert answer.status == 416
    assert answer.reason == "Range Not Satisfiable"
    assert answer.headers["Content-Range"] == "bytes */10"


@pytest.mark.parametrize(
    "wanted",
    [
        *("", "x", "bytes", "bytes=", "bytes=-", "bytes=x-y", "bytes=4-2", "bytes=--3", "bytes=1"),
        *("bytes=0-1,3-4", "bytes=,", "lines=0-1", "bytes=0-1x", "bytes=\xb2-3", "bytes= 0-1\xe9"),
        *("bytes=+1-2", "bytes=1_0-", "bytes=0x1-2"),
    ],
)
def test_a_range_that_is_none_is_ignored(site: Sandbox, image: str, wanted: str) -> None:
    answer, content = ask(site, "GET", image, {"Range": wanted}, b"")
    assert (answer.status, content) == (200, CONTENT)
    assert "Content-Range" not in answer.headers


def test_a_range_is_for_get_only(site: Sandbox, image: str) -> None:
    for wanted in ("bytes=0-1", "bytes=10-"):
        answer, _ = ask(site, "HEAD", image, {"Range": wanted}, b"")
        assert (answer.status, answer.headers["Content-Length"]) == (200, "10")


@pytest.mark.parametrize(
    "login",
    [
        *("Basic \xe9", "Basic \u0661".encode().decode("latin-1"), "Basic amFuZTrp", "Basic ="),
        *("Basic", "Basic amFuZQ==", "basic\xa0", "Bearer \xe9", "Digest realm*=x''\xe9", "\xe9"),
        JANE.replace("Basic ", "Basic \xa0"),
    ],
)
def test_a_login_that_is_none_is_asked_for_again(
    site: Sandbox, caplog: pytest.LogCaptureFixture, login: str
) -> None:
    for path in ("/pswd/disks", "/pswd/xmlrpc"):
        answer, _ = ask(site, "POST", path, {"Authorization": login}, b"")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert caplog.records == []


def test_what_fails_on_a_full_disk_is_told_in_one_line(
    site: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setitem(METHODS, "one.vmpool.info", (*METHODS["one.vmpool.info"][:2], full))
    monkeypatch.setitem(ENGINE_CALLS, "one.vmpool.info", ("iiii", full))
    monkeypatch.setattr(Storage, "disks", full)
    parameters = (SESSION, -3, -1, -1, -1)
    call = xmlrpc.client.dumps(parameters, "one.vmpool.info").encode()
    for method, path, body in (
        ("GET", "/pswd/disks", b""),
        ("POST", "/pswd/xmlrpc", call),
        ("POST", "/RPC2", call),
    ):
        caplog.clear()
        answer, _ = ask(site, method, path, {}, body)
        assert answer.status == 500
        (record,) = caplog.records
        assert record.getMessage().endswith("database or disk is full")
        assert record.exc_info is None


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "\x9bX"]),
    PATHS,
    QUERIES,
    HEADERS,
    BODIES,
)
def test_any_request_is_answered(
    site: Sandbox,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
) -> None:
    target = (f"{path}?{query}" if query else path).encode().decode("latin-1")
    caplog.clear()
    answer, content = ask(site, method, target, headers, body)
    assert answer.status not in NOT_OURS
    assert "Evil" not in answer.headers
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    if answer.headers.get_content_type() == "application/json" and content:
        json.loads(content)


@pytest.mark.parametrize("error", [OSError("disk broken"), RuntimeError("a bug")])
def test_what_breaks_is_told_without_what_commands_a_terminal(
    site: Sandbox,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
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
def test_any_call_is_answered_with_a_result_a_refusal_or_a_fault(
    site: Sandbox, caplog: pytest.LogCaptureFixture, method: str, parameters: list[Any]
) -> None:
    caplog.clear()
    body = xmlrpc.client.dumps(tuple(parameters), method).encode("utf-8", "replace")
    answer, content = ask(site, "POST", "/pswd/xmlrpc", {"Content-Type": "text/xml"}, body)
    assert answer.status == 200
    try:
        returned: Any = xmlrpc.client.loads(content)[0][0]
    except xmlrpc.client.Fault as fault:
        assert fault.faultCode in (-501, -503, -506, -509)
    else:
        success, _, code = returned
        assert (success, code) == (True, 0) or code in (512, 1024, 2048, 4096, 8192)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


TEMPLATES = [
    *("", "CPU=1\nMEMORY=64", "A=[", "<a>", "<a><b/></a>", "\ud7ff", "$", '"', "terminate", "9"),
    *('NAME="x]]>"\nCPU=1\nMEMORY=64', "CPU=1\nMEMORY=64\nCONTEXT=[A=$,A=$]", "DISK=1\nNIC=2"),
    *("CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=0,SIZE=x]\nNIC=[NETWORK_ID=x]", "NIC=[NETWORK_ID=0]"),
    *("CPU=1e99\nMEMORY=64", "CPU=1\nMEMORY=64\nVCPU=" + "9" * 5000, "DISK=[TYPE=fs,SIZE=1]"),
    *("NAME=a\nSIZE=1", "NAME=b\nSIZE=\u0661", "NAME=c\nSIZE=1\nTYPE=CONTEXT", "DISK=[IMAGE_ID=0]"),
    *("CPU=1\nMEMORY=64\nOS=[BOOT=disk]\nGRAPHICS=[PORT=\u0661]", "IP=\n", "CPU=1\nMEMORY=\u0661"),
    *("CONTEXT=[DISK_ID=x]", "CPU=1\nMEMORY=64\nDISK=[DISK_ID=x,IMAGE_ID=" + "9" * 30 + "]", "\r"),
    *("CPU=1\nMEMORY=64\nNIC=[NETWORK_ID=0,IP=\u0661]", "CPU=1\nMEMORY=64\nNIC_ALIAS=[PARENT=x]"),
    *("NIC=[NIC_ID=x,NETWORK_ID=0]", "DISK=[TYPE=fs,SIZE=1,DISK_ID=x]", "NAME=d\nFROM_APP=0"),
]
ENGINE_VALUES = {
    "i": st.sampled_from([0, 0, 1, 2, -1, -2, -3, 99, 2**31 - 1, -(2**31)]),
    "s": st.sampled_from(TEMPLATES) | st.text(max_size=9),
    "b": st.booleans(),
    "B": st.booleans(),
}


@st.composite
def engine_calls(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A call that the modern engine knows, mostly with parameters of the right types."""
    method = draw(st.sampled_from(sorted(ENGINE_CALLS)))
    kinds = ENGINE_CALLS[method][0].replace("|", "")
    return method, [SESSION, *(draw(ENGINE_VALUES[kind]) for kind in kinds)]


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(engine_calls())
def test_any_call_of_the_engine_is_answered_with_a_result_a_refusal_or_a_fault(
    site: Sandbox, caplog: pytest.LogCaptureFixture, call: tuple[str, list[Any]]
) -> None:
    method, parameters = call
    caplog.clear()
    body = xmlrpc.client.dumps(tuple(parameters), method).encode("utf-8", "replace")
    answer, content = ask(site, "POST", "/RPC2", {"Content-Type": "text/xml"}, body)
    assert answer.status == 200
    try:
        returned: Any = xmlrpc.client.loads(content)[0][0]
    except xmlrpc.client.Fault as fault:
        assert fault.faultCode in (-501, -503, -509)
    else:
        assert returned[0] is True or returned[2] in (512, 1024, 2048, 4096, 8192, 16384)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
