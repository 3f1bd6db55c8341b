"""
The driver and the commands, given what nobody means well by: hostile services, hostile texts of
other users, hostile arguments. What concerns one module alone is in that module's tests.
"""

import gzip
import io
import json
import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import libcloud
import pytest
from canned import Canned, pool, rpc
from clouds import KEY, config
from libcloud.compute.base import Node, NodeImage, StorageVolume, VolumeSnapshot
from libcloud.compute.types import NodeState
from memory import grown

from stratuslab_libcloud.cli.demo import walk
from stratuslab_libcloud.client.data import MachineTemplate
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConfigurationError,
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    ServiceError,
    StratusLabError,
)
from stratuslab_libcloud.metadata import rdf
from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.sandbox.site import Sandbox

MIB = 2**20
DISK = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
IMAGE = "IgBUoILNIAlD290Tvui-60IdiLZ"
RUNNING = (
    "<VM><ID>7</ID><NAME>n</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><TEMPLATE/>"
    "<HISTORY_RECORDS><HISTORY><HOSTNAME>h</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>"
)
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31mred\x00\u202egnp.exe\u2066\u2028\r\nnext \ud800"
IN_XML = "\x9b31mred\x85\u202egnp.exe\u2066\u2028next"  # the worst that it can hold
XML, RPC, JSON = "application/xml", "text/xml", "application/json"

# What asks a service and reads its answer: how, and in what form that is.
CALLS: dict[str, tuple[Callable[[Any], object], str]] = {
    "list_images": (lambda driver: driver.list_images(), XML),
    "list_images as JSON": (lambda driver: driver.list_images(), JSON),
    "get_image": (lambda driver: driver.get_image(IMAGE), XML),
    "list_nodes": (lambda driver: driver.list_nodes(), RPC),
    "ex_get_node": (lambda driver: driver.ex_get_node("7"), RPC),
    "ex_get_console_output": (lambda driver: driver.ex_get_console_output(node(driver, "7")), JSON),
    "list_volumes": (lambda driver: driver.list_volumes(), JSON),
    "create_image": (lambda driver: driver.create_image(node(driver, "7"), "x"), RPC),
    "create_volume": (lambda driver: driver.create_volume(1, "v"), JSON),
    "detach_volume": (lambda driver: driver.detach_volume(volume(driver, DISK)), JSON),
    "ex_disk_mounts": (lambda driver: driver.ex_disk_mounts(volume(driver, DISK)), JSON),
    "create_volume_snapshot": (
        lambda driver: driver.create_volume_snapshot(volume(driver, DISK)),
        JSON,
    ),
    "list_volume_snapshots": (
        lambda driver: driver.list_volume_snapshots(volume(driver, DISK)),
        JSON,
    ),
    "create_volume from a snapshot": (
        lambda driver: driver.create_volume(1, "v", snapshot=snapshot(driver, DISK)),
        JSON,
    ),
    "destroy_volume_snapshot": (
        lambda driver: driver.destroy_volume_snapshot(snapshot(driver, DISK)),
        JSON,
    ),
    "copy_volume": (lambda driver: copied(driver, back=False), JSON),
    "rebase_volume": (lambda driver: copied(driver, back=True), JSON),
    "ex_upload_volume": (lambda driver: driver.ex_upload_volume(__file__, "v"), JSON),
    "ex_download_volume": (
        lambda driver: driver.ex_download_volume(volume(driver, DISK), "never.img"),
        JSON,
    ),
}


def driver_of(url: str, **options: Any) -> StratusLabNodeDriver:
    return StratusLabNodeDriver(
        options.pop("key", "u"),
        options.pop("secret", "p"),
        host=f"{url}/one-proxy/xmlrpc",
        **{"timeout": 30, **options},
    )


def node(driver: Any, node_id: Any) -> Node:
    extra = {"location": "default"}
    return Node(node_id, "n", NodeState.RUNNING, [], [], driver, extra=extra)


def volume(driver: Any, uuid: Any) -> StorageVolume:
    return StorageVolume(uuid, "v", 1, driver, extra={"location": "default"})


def snapshot(driver: Any, uuid: Any) -> VolumeSnapshot:
    return VolumeSnapshot(uuid, driver, extra={"location": "default"})


def copied(driver: Any, *, back: bool) -> object:
    with driver._asking_for(volume(driver, DISK), StorageVolume) as cloud:
        return (cloud.rebase_volume if back else cloud.copy_volume)(DISK)


def in_rpc(document: str) -> bytes:
    return rpc(True, document, 0)[2]


# -- documents


LAUGHS = (
    '<!DOCTYPE a [<!ENTITY l0 "ha">'
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    + "]>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY l9 SYSTEM "URL/secret">]>'
DEEP = 100_000


@cache
def xml_attacks(root: str) -> dict[str, bytes]:
    many = " ".join(f"a{number}=''" for number in range(MIB // 4))
    return {
        "laughs": f"{LAUGHS}<{root}>&l9;</{root}>".encode(),
        "external": f"{OUTSIDE}<{root}>&l9;</{root}>".encode(),
        "deep": f"<{root}>{'<a>' * DEEP}".encode(),
        "attribute": f"<{root} a='{'x' * 4 * MIB}'>".encode(),
        "attributes": f"<{root} {many}".encode(),
        "UTF-8": f"<{root}>".encode() + b"\xff\xfe" + f"</{root}>".encode(),
        "nothing": b"",
        "NUL": b"\0" * MIB,
    }


ATTACKS: dict[str, dict[str, bytes]] = {
    XML: xml_attacks("metadata"),
    RPC: {
        **xml_attacks("methodResponse"),
        **{
            f"{name} in the document": in_rpc(f"{begin}<{root}>{text}</{root}>")
            for root in ("VM", "VM_POOL")
            for name, begin, text in (
                ("laughs", LAUGHS, "&l9;"),
                ("external", OUTSIDE, "&l9;"),
                ("attribute", "", f"<VM a='{'x' * 5 * MIB}'"),
                ("open", "", "<a>" * DEEP),
            )
        },
    },
    JSON: {
        "deep": b"[" * DEEP,
        "deep too": b'{"a":' * DEEP,
        "UTF-8": b'["\xff\xfe"]',
        "number": b"[" + b"9" * 10_000 + b"]",
        "constants": b"[NaN, Infinity, -Infinity]",
        "nothing": b"",
        "NUL": b"\0" * MIB,
        "text": b'"' + b"x" * MIB + b'"',
    },
}


@pytest.mark.parametrize(
    ("call", "name"),
    [(call, name) for call, (_, kind) in CALLS.items() for name in ATTACKS[kind]],
)
def test_no_document_breaks_out(call: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    ask, kind = CALLS[call]
    with Canned([(200, kind, b"")]) as server:
        body = ATTACKS[kind][name].replace(b"URL", server.url.encode())
        server.answers[:] = [(200, kind, body)]
        driver = driver_of(server.url)
        with pytest.raises(MalformedAnswerError) as caught:
            ask(driver)
        driver.ex_close()
        assert not any("secret" in request.path for request in server.requests)
    assert str(caught.value).isprintable()
    assert "ha" * 9 not in str(caught.value)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# The same on a modern engine: how it is asked, and the document that it answers.
ENGINE_CALLS: dict[str, tuple[Callable[[Any], object], str]] = {
    "list_images": (lambda driver: driver.list_images(), "IMAGE_POOL"),
    "get_image": (lambda driver: driver.get_image("7"), "IMAGE"),
    "list_nodes": (lambda driver: driver.list_nodes(), "VM_POOL"),
    "create_volume": (lambda driver: driver.create_volume(1, "v"), "DATASTORE_POOL"),
    "attach_volume": (
        lambda driver: driver.attach_volume(node(driver, "7"), volume(driver, "8")),
        "VM",
    ),
    "ex_get_node": (lambda driver: driver.ex_get_node("7"), "VM"),
    "create_image": (lambda driver: driver.create_image(node(driver, "7"), "x"), "VM"),
    "detach_volume": (
        lambda driver: driver.detach_volume(volume(driver, "8"), ex_node=node(driver, "7")),
        "VM",
    ),
    "list_volumes": (lambda driver: driver.list_volumes(), "IMAGE_POOL"),
    "ex_disk_mounts": (lambda driver: driver.ex_disk_mounts(volume(driver, "8")), "IMAGE"),
    "create_volume_snapshot": (
        lambda driver: driver.create_volume_snapshot(volume(driver, "8")),
        "IMAGE",
    ),
    "list_volume_snapshots": (
        lambda driver: driver.list_volume_snapshots(volume(driver, "8")),
        "IMAGE_POOL",
    ),
    "create_node": (lambda driver: boot(driver, "7"), "VNET_POOL"),
    "create_node of a template": (
        lambda driver: driver.create_node(name="n", ex_template="7"),
        "VMTEMPLATE",
    ),
    "ex_list_networks": (lambda driver: driver.ex_list_networks(), "VNET_POOL"),
    "ex_list_templates": (lambda driver: driver.ex_list_templates(), "VMTEMPLATE_POOL"),
    "list_key_pairs": (lambda driver: driver.list_key_pairs(), "USER"),
    "ex_get_quota": (lambda driver: driver.ex_get_quota(), "USER"),
    "ex_get_user": (lambda driver: driver.ex_get_user(), "USER"),
}
# What is answered with a number, or just that it has been done: on either dialect.
ORDERS: dict[str, Callable[[Any], object]] = {
    "destroy_node": lambda driver: driver.destroy_node(node(driver, "7")),
    "ex_shutdown_node": lambda driver: driver.ex_shutdown_node(node(driver, "7")),
}
ENGINE_ORDERS: dict[str, Callable[[Any], object]] = {
    **ORDERS,
    "reboot_node": lambda driver: driver.reboot_node(node(driver, "7")),
    "stop_node": lambda driver: driver.stop_node(node(driver, "7")),
    "start_node": lambda driver: driver.start_node(node(driver, "7")),
    "ex_suspend_node": lambda driver: driver.ex_suspend_node(node(driver, "7")),
    "ex_rename_node": lambda driver: driver.ex_rename_node(node(driver, "7"), "x"),
    "destroy_volume": lambda driver: driver.destroy_volume(volume(driver, "8")),
    "ex_update_volume": lambda driver: driver.ex_update_volume(volume(driver, "8"), name="x"),
    "destroy_volume_snapshot": lambda driver: driver.destroy_volume_snapshot(snapshot(driver, "8")),
    "delete_image": lambda driver: driver.delete_image(NodeImage("8", "i", driver)),
    "copy_image": lambda driver: driver.copy_image("default", NodeImage("8", "i", driver), "x"),
    "create_volume of a snapshot": lambda driver: driver.create_volume(
        1, "v", snapshot=snapshot(driver, "8")
    ),
}


@pytest.mark.parametrize(
    ("dialect", "call"),
    [*(("stratuslab", call) for call in ORDERS), *(("opennebula", call) for call in ENGINE_ORDERS)],
)
def test_no_answer_to_an_order_breaks_out(dialect: str, call: str) -> None:
    ask = {"stratuslab": ORDERS, "opennebula": ENGINE_ORDERS}[dialect][call]
    make = driver_of if dialect == "stratuslab" else engine_driver
    for name, body in xml_attacks("methodResponse").items():
        with Canned([(200, RPC, b"")]) as server:
            server.answers[:] = [(200, RPC, body.replace(b"URL", server.url.encode()))]
            driver = make(server.url)
            with pytest.raises(MalformedAnswerError) as caught:
                ask(driver)
            driver.ex_close()
            assert not any("secret" in request.path for request in server.requests), name
        assert str(caught.value).isprintable(), name
        assert "ha" * 9 not in str(caught.value), name


READ_ALIKE = ("list_images", "get_image", "list_nodes", "create_volume", "attach_volume")


@cache
def engine_attacks(root: str) -> dict[str, bytes]:
    return {
        **xml_attacks("methodResponse"),
        "laughs in the document": in_rpc(f"{LAUGHS}<{root}>&l9;</{root}>"),
        "external in the document": in_rpc(f"{OUTSIDE}<{root}>&l9;</{root}>"),
        "open in the document": in_rpc(f"<{root}>{'<a>' * DEEP}"),
    }


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (call, name)
        for call in ENGINE_CALLS
        for name in engine_attacks("VM")
        # All answers are read alike, to where the document begins.
        if "in the document" in name or call in READ_ALIKE
    ],
)
def test_no_document_of_an_engine_breaks_out(call: str, name: str) -> None:
    ask, root = ENGINE_CALLS[call]
    with Canned([(200, RPC, b"")]) as server:
        body = engine_attacks(root)[name].replace(b"URL", server.url.encode())
        server.answers[:] = [(200, RPC, body)]
        driver = engine_driver(server.url)
        with pytest.raises(MalformedAnswerError) as caught:
            ask(driver)
        driver.ex_close()
        assert not any("secret" in request.path for request in server.requests)
    assert str(caught.value).isprintable()
    assert "ha" * 9 not in str(caught.value)


def test_what_an_engine_refuses_can_be_shown_and_no_secret_is_logged() -> None:
    log = io.StringIO()
    libcloud.enable_debug(log)
    try:
        with Canned([rpc(False, f"[one.x] {IN_XML} u:Mark3r-Passw0rd", 2048)]) as server:
            driver = engine_driver(server.url, password="Mark3r-Passw0rd")
            for ask in (*(ask for ask, _ in ENGINE_CALLS.values()), *ENGINE_ORDERS.values()):
                with pytest.raises(ServiceError) as caught:
                    ask(driver)
                assert fit_to_be_shown(caught.value)
                assert "Mark3r" not in repr(caught.value)
            driver.ex_close()
    finally:
        libcloud.reset_debug()
    assert "/RPC2" in log.getvalue()
    assert "Mark3r" not in log.getvalue()


def engine_driver(url: str, password: str = "p") -> StratusLabNodeDriver:
    options = {"endpoint": f"{url}/RPC2", "dialect": "opennebula"}
    known = config(**options, username="u", password=password)
    return StratusLabNodeDriver(stratuslab_user_config=known, timeout=30)


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("kind", [XML, JSON, "text/plain", "text/html"])
def test_no_error_document_does(status: int, kind: str) -> None:
    for name, body in {**ATTACKS[XML], **ATTACKS[JSON]}.items():
        with Canned([(status, kind, body)]) as server:
            driver = driver_of(server.url, timeout=5)
            with pytest.raises(ServiceError) as caught:
                driver.list_volumes()
            driver.ex_close()
        assert str(caught.value).isprintable(), name
        assert len(str(caught.value)) < 1000, name


# -- zip bombs


def members(*texts: bytes) -> bytes:
    """One after the other, packed: gzip allows it."""
    return b"".join(gzip.compress(text) for text in texts)


def bomb(begin: bytes, filler: bytes) -> bytes:
    """A gigabyte in a megabyte."""
    return members(begin) + members(filler * (MIB // len(filler))) * 1024


VM = "<methodResponse><params><param><value><array><data><value><boolean>1</boolean></value><value>"
VM += "<string>"
BOMBS: dict[str, list[tuple[str, str]]] = {
    "list_images": [
        ("<metadata>", " "),
        ("<metadata a='", "x"),
        ("<metadata><!--", "x"),
        ("<metadata>", "<a/>"),
        ("<metadata>", "<?xml "),
        ("<metadata><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>", "<a/>"),
    ],
    "list_nodes": [
        ("", "<"),
        (VM, "x"),
        (f"{VM}&lt;VM_POOL>", "&lt;a/>"),
        (f"{VM}&lt;VM_POOL>&lt;VM>&lt;ID>1&lt;/ID>&lt;NAME>", "x"),
        (f"{VM}&lt;VM_POOL>&lt;VM>", "&lt;a/>"),
        (f"{VM}&lt;VM_POOL a='", "x"),
        ("<methodResponse a='", "x"),
        ("<methodResponse><params><param><value><string>", "x"),
        ("<methodResponse>", "<value/>"),
    ],
}


@pytest.mark.parametrize(
    ("call", "begin", "filler"),
    [(call, begin, filler) for call, bombs in BOMBS.items() for begin, filler in bombs],
)
def test_a_zip_bomb_in_a_listing_takes_little_memory(call: str, begin: str, filler: str) -> None:
    ask, kind = CALLS[call]
    packed = bomb(begin.encode(), filler.encode())

    def attempt() -> None:
        with pytest.raises(MalformedAnswerError):
            ask(driver)

    with Canned([(200, kind, packed, {"Content-Encoding": "gzip"})]) as server:
        driver = driver_of(server.url)
        assert grown(attempt) < 256 * MIB
        driver.ex_close()


ENGINE_BOMBS = [
    ("list_images", f"{VM}&lt;IMAGE_POOL>", "&lt;a/>"),
    ("list_images", f"{VM}&lt;IMAGE_POOL>&lt;IMAGE>&lt;ID>1&lt;/ID>&lt;NAME>", "x"),
    ("list_volumes", f"{VM}&lt;IMAGE_POOL>&lt;IMAGE>", "&lt;a/>"),
    ("ex_list_networks", f"{VM}&lt;VNET_POOL a='", "x"),
    ("ex_get_user", f"{VM}&lt;USER>&lt;ID>1&lt;/ID>", "&lt;a/>"),
    ("get_image", "", " "),
]


@pytest.mark.parametrize(("call", "begin", "filler"), ENGINE_BOMBS)
def test_a_zip_bomb_of_an_engine_takes_little_memory(call: str, begin: str, filler: str) -> None:
    ask, _ = ENGINE_CALLS[call]

    def attempt() -> None:
        with pytest.raises(MalformedAnswerError):
            ask(driver)

    packed = bomb(begin.encode(), filler.encode())
    with Canned([(200, RPC, packed, {"Content-Encoding": "gzip"})]) as server:
        driver = engine_driver(server.url)
        assert grown(attempt) < 256 * MIB
        driver.ex_close()


@pytest.mark.parametrize(
    "call",
    [
        *("get_image", "ex_get_node", "ex_get_console_output", "list_volumes", "create_volume"),
        *("list_volume_snapshots", "create_volume from a snapshot", "ex_upload_volume"),
    ],
)
def test_a_zip_bomb_in_another_answer_takes_no_more_than_is_accepted(call: str) -> None:
    ask, kind = CALLS[call]

    def attempt() -> None:
        with pytest.raises(MalformedAnswerError, match="larger than"):
            ask(driver)

    packed = bomb(b"", b" ")
    with Canned([(200, kind, packed, {"Content-Encoding": "gzip"})]) as server:
        driver = driver_of(server.url)
        assert grown(attempt) < 256 * MIB
        driver.ex_close()


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFoundError), (302, MalformedAnswerError), (500, ServiceError)]
)
def test_a_zip_bomb_in_a_refusal_is_not_unpacked(status: int, kind: type[StratusLabError]) -> None:
    def attempt() -> None:
        with pytest.raises(kind):
            driver.get_image(IMAGE)

    packed = {"Content-Encoding": "gzip", "Location": "https://evil.example/"}
    with Canned([(status, "text/plain", bomb(b"no such image ", b"x"), packed)]) as server:
        driver = driver_of(server.url)
        assert grown(attempt) < 50 * MIB
        driver.ex_close()


# -- texts


def fit_to_be_shown(error: BaseException) -> bool:
    return all(map(str.isprintable, (str(error), repr(error))))


class TestTexts:
    """Of others, on somebody's terminal."""

    def test_what_an_engine_tells_can_be_shown(self) -> None:
        """Names of nodes are as they are; those of images and volumes are for tables."""
        image = (
            "<IMAGE><ID>7</ID><NAME>{0}</NAME><TYPE>{1}</TYPE><STATE>5</STATE>"
            "<PERSISTENT>{2}</PERSISTENT><TEMPLATE><ERROR>{0}</ERROR></TEMPLATE></IMAGE>"
        )
        documents = image.format(IN_XML, 0, 0), image.format(IN_XML, 2, 1)
        failed = (
            "<VM><ID>7</ID><NAME>n</NAME><STATE>3</STATE><LCM_STATE>36</LCM_STATE><TEMPLATE/>"
            f"<USER_TEMPLATE><ERROR>{IN_XML}\nno</ERROR></USER_TEMPLATE></VM>"
        )
        listing = rpc(True, f"<IMAGE_POOL>{''.join(documents)}</IMAGE_POOL>", 0)
        with Canned([listing, listing, rpc(True, documents[0], 0), rpc(True, failed, 0)]) as server:
            driver = engine_driver(server.url)
            (system,), (disk,) = driver.list_images(), driver.list_volumes()
            assert (system.name.isprintable(), disk.name.isprintable()) == (True, True)
            assert driver.get_image("7").name == system.name
            with pytest.raises(StratusLabError, match="31mred gnp") as caught:
                driver.wait_until_running([node(driver, "7")])
            driver.ex_close()
        assert fit_to_be_shown(caught.value)

    def test_an_image_has_a_name_that_can_be_shown_and_its_title_as_it_is(self) -> None:
        row = ["", "os", "1", "x", "a@b", "k", "2025", IMAGE, "https://x", "d", ESCAPES]
        listing = {"aaData": [row], "rMsg": ""}
        with Canned([(200, JSON, json.dumps(listing).encode())]) as server:
            driver = driver_of(server.url)
            (image,) = driver.list_images()
            driver.ex_close()
        assert image.name == "]0;owned  [2J 31mred  gnp.exe"
        assert repr(image).isprintable()
        assert image.extra["title"] == ESCAPES

    def test_a_node_has_the_name_that_the_cloud_tells(self) -> None:
        with Canned([pool(RUNNING.replace(">n<", f">{IN_XML}<"))]) as server:
            driver = driver_of(server.url)
            assert [found.name for found in driver.list_nodes()] == [IN_XML]
            driver.ex_close()

    @pytest.mark.parametrize(
        "answer",
        [
            rpc(False, f"[VirtualMachineInfo] {IN_XML}", 512),
            (200, RPC, f"<x>{IN_XML}</y>".encode()),
            (200, JSON, json.dumps({"message": ESCAPES}).encode()),
            (400, JSON, json.dumps({"message": ESCAPES}).encode()),
            (400, JSON, json.dumps({"message": [ESCAPES, ESCAPES]}).encode()),
            (400, "text/plain", ESCAPES.encode("utf-8", "replace")),
            (400, "text/plain", b"\xff\xfe\x1b[31m"),
            (503, XML, f"<error>{IN_XML}</error>".encode(), {"Retry-After": "99999"}),
            (302, "text/plain", b"", {"Location": "http://h/\x9b31m\x1b[2J"}),
            (200, "\x1b[31m", b""),
            (200, RPC, b"", {"Content-Encoding": "\x1b[31m"}),
        ],
    )
    def test_an_error_can_be_shown(
        self, answer: tuple[Any, ...], caplog: pytest.LogCaptureFixture
    ) -> None:
        with Canned([answer]) as server:
            driver = driver_of(server.url, timeout=1)
            for name in ("list_nodes", "list_images", "list_volumes", "create_volume"):
                ask, _ = CALLS[name]
                with pytest.raises(StratusLabError) as caught:
                    ask(driver)
                assert fit_to_be_shown(caught.value)
                assert fit_to_be_shown(StratusLabError(*caught.value.args))
            driver.ex_close()
        assert all(record.getMessage().isprintable() for record in caplog.records)

    def test_a_console_commands_no_terminal(self) -> None:
        shown = json.dumps({"id": "7", "console": ESCAPES}).encode()
        with Canned([(200, JSON, shown)]) as server:
            driver = driver_of(server.url)
            output = driver.ex_get_console_output(node(driver, "7"))
            driver.ex_close()
        assert output.split("\n") == [" 31mred  gnp.exe", "", "next", ""]

    def test_a_failed_nodes_reason_can_be_shown(self) -> None:
        failed = RUNNING.replace("<STATE>3<", "<STATE>7<").replace(
            "<TEMPLATE/>",
            f"<TEMPLATE><ERROR><MESSAGE>{IN_XML}\nno</MESSAGE></ERROR></TEMPLATE>",
        )
        with Canned([rpc(True, failed, 0)]) as server:
            driver = driver_of(server.url)
            with pytest.raises(StratusLabError, match="31mred gnp") as caught:
                driver.wait_until_running([node(driver, "7")])
            driver.ex_close()
        assert fit_to_be_shown(caught.value)

    def test_why_a_node_cannot_be_saved_can_be_shown(self) -> None:
        asked = f"<CREATE_IMAGE><NEWIMAGE_TITLE>{IN_XML}</NEWIMAGE_TITLE></CREATE_IMAGE>"
        started = RUNNING.replace("<TEMPLATE/>", f"<TEMPLATE>{asked}</TEMPLATE>")
        with Canned([rpc(True, started, 0)]) as server:
            driver = driver_of(server.url)
            with pytest.raises(InvalidValueError, match="31mred") as caught:
                driver.create_image(node(driver, "7"), "x")
            driver.ex_close()
        assert fit_to_be_shown(caught.value)

    def test_the_demo_prints_nothing_that_commands_a_terminal(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hostile = Entry(
            IMAGE,
            title=IN_XML,
            os=IN_XML,
            valid="2099-01-01T00:00:00Z",
            endorser="a@b",
            endorsed="2025-01-01T00:00:00Z",
        )
        with Sandbox() as site:
            site.marketplace.add(rdf.write_entry(hostile))
            walk(site.config_path, real=False)
        printed = capsys.readouterr().out
        assert f"{IMAGE}  31mred" in printed
        assert [line for line in printed.split("\n") if not line.isprintable()] == []


# -- what others have


def test_machines_of_others_in_a_listing_are_told_apart_by_their_owner() -> None:
    """Whether one may end them is for the cloud to say: see the sandbox's test_isolation."""
    mine = RUNNING.replace("<NAME>", "<UNAME>u</UNAME><NAME>")
    theirs = mine.replace("<ID>7", "<ID>8").replace(">u<", ">somebody<")
    with Canned([pool(mine, theirs), rpc(False, "[VirtualMachineAction] no", 512)]) as server:
        driver = driver_of(server.url)
        nodes = driver.list_nodes()
        assert [(found.id, found.extra["owner"]) for found in nodes] == [
            ("7", "u"),
            ("8", "somebody"),
        ]
        with pytest.raises(ServiceError):
            driver.destroy_node(nodes[1])
        driver.ex_close()
    assert b"<int>-3</int>" in server.requests[0].body  # mine


# -- ids


TRICKS = [
    *(
        "",
        ".",
        "..",
        "../x",
        "/",
        "//evil.example",
        "%2e%2e",
        "%2e%2e%2fx",
        "?x=y",
        "#x",
        "\0",
        "\n",
    ),
    *("7\n", " 7", "7 ", "-1", "+7", "0x7", "\u0667", "7;8", "7/../8", "7%00", "1e3", "9" * 10),
    *(
        f"{DISK}/../x",
        f"{DISK}\n",
        f"{DISK}?x",
        f"{DISK}#x",
        f"{DISK}%2f",
        DISK.upper(),
        f"{DISK}\0",
    ),
    *(
        f"{IMAGE}\n",
        f"{IMAGE}/x",
        f"../{IMAGE[3:]}",
        f"{IMAGE[:-1]}?",
        f"{IMAGE[:-1]}\u0661",
        "\ud800",
    ),
    *("http://evil.example/", "\\\\evil\\x", "a@b", ("x",), 7.5, None),
]


def boot(driver: Any, image: Any, **options: Any) -> object:
    size = driver.list_sizes()[0]
    return driver.create_node("n", size, NodeImage(image, "i", driver), auth=KEY, **options)


BY_ID: dict[str, Callable[[Any, Any], object]] = {
    "get_image": lambda driver, thing: driver.get_image(thing),
    "create_node": boot,
    "ex_readonly_images": lambda driver, thing: boot(
        driver, DISK, ex_readonly_images=[NodeImage(thing, "i", driver)]
    ),
    "ex_volumes": lambda driver, thing: boot(driver, DISK, ex_volumes=[volume(driver, thing)]),
    "ex_get_node": lambda driver, thing: driver.ex_get_node(thing),
    "destroy_node": lambda driver, thing: driver.destroy_node(node(driver, thing)),
    "ex_shutdown_node": lambda driver, thing: driver.ex_shutdown_node(node(driver, thing)),
    "ex_get_console_output": lambda driver, thing: driver.ex_get_console_output(
        node(driver, thing)
    ),
    "wait_until_running": lambda driver, thing: driver.wait_until_running([node(driver, thing)]),
    "attach_volume to": lambda driver, thing: driver.attach_volume(
        node(driver, thing), volume(driver, DISK)
    ),
    "attach_volume": lambda driver, thing: driver.attach_volume(
        node(driver, "7"), volume(driver, thing)
    ),
    "detach_volume": lambda driver, thing: driver.detach_volume(volume(driver, thing)),
    "detach_volume from": lambda driver, thing: driver.detach_volume(
        volume(driver, DISK), ex_node=node(driver, thing)
    ),
    "destroy_volume": lambda driver, thing: driver.destroy_volume(volume(driver, thing)),
    "ex_update_volume": lambda driver, thing: driver.ex_update_volume(
        volume(driver, thing), name="x"
    ),
    "ex_disk_mounts": lambda driver, thing: driver.ex_disk_mounts(volume(driver, thing)),
    "ex_download_volume": lambda driver, thing: driver.ex_download_volume(
        volume(driver, thing), "never.img"
    ),
    "create_volume_snapshot": lambda driver, thing: driver.create_volume_snapshot(
        volume(driver, thing)
    ),
    "create_volume": lambda driver, thing: driver.create_volume(
        1, "v", snapshot=snapshot(driver, thing)
    ),
    "list_volume_snapshots": lambda driver, thing: driver.list_volume_snapshots(
        volume(driver, thing)
    ),
    "destroy_volume_snapshot": lambda driver, thing: driver.destroy_volume_snapshot(
        snapshot(driver, thing)
    ),
}


SAME_ON_AN_ENGINE = {
    *("get_image", "ex_get_node", "destroy_node", "ex_shutdown_node", "wait_until_running"),
    *("detach_volume", "destroy_volume", "ex_update_volume", "ex_disk_mounts"),
    *("create_volume_snapshot", "create_volume", "list_volume_snapshots"),
    "destroy_volume_snapshot",
}


@pytest.mark.parametrize("call", BY_ID)
def test_an_id_that_is_none_is_asked_for_nowhere(call: str) -> None:
    with Canned([rpc(True, RUNNING, 0)]) as server:
        driver = driver_of(server.url)
        for trick in TRICKS:
            with pytest.raises(InvalidValueError) as caught:
                BY_ID[call](driver, trick)
            assert str(caught.value).isprintable(), trick
        driver.ex_close()
        # To attach a disk, the node is looked at first.
        assert {request.path for request in server.requests} <= {"/one-proxy/pswd/xmlrpc"}
        assert call == "attach_volume" or server.requests == []
        assert all(b"<int>7</int>" in request.body for request in server.requests)


# What only an engine has, or has in another way.
ENGINE_BY_ID: dict[str, Callable[[Any, Any], object]] = {
    **{name: ask for name, ask in BY_ID.items() if name in SAME_ON_AN_ENGINE},
    "create_node": lambda driver, thing: boot(driver, thing, ex_network="0"),
    "ex_volumes": lambda driver, thing: boot(
        driver, "7", ex_network="0", ex_volumes=[volume(driver, thing)]
    ),
    "ex_template": lambda driver, thing: driver.create_node(
        name="n",
        ex_template=MachineTemplate(thing, "t", None, None, None, [], [], []),
        ex_network="0",
    ),
    "attach_volume": lambda driver, thing: driver.attach_volume(
        node(driver, "7"), volume(driver, thing)
    ),
    "attach_volume to": lambda driver, thing: driver.attach_volume(
        node(driver, thing), volume(driver, "7")
    ),
    "detach_volume from": lambda driver, thing: driver.detach_volume(
        volume(driver, "7"), ex_node=node(driver, thing)
    ),
    "create_image": lambda driver, thing: driver.create_image(node(driver, thing), "x"),
    "delete_image": lambda driver, thing: driver.delete_image(NodeImage(thing, "i", driver)),
    "copy_image": lambda driver, thing: driver.copy_image(
        "default", NodeImage(thing, "i", driver), "x"
    ),
    "reboot_node": lambda driver, thing: driver.reboot_node(node(driver, thing)),
    "start_node": lambda driver, thing: driver.start_node(node(driver, thing)),
    "stop_node": lambda driver, thing: driver.stop_node(node(driver, thing)),
    "ex_suspend_node": lambda driver, thing: driver.ex_suspend_node(node(driver, thing)),
    "ex_resume_node": lambda driver, thing: driver.ex_resume_node(node(driver, thing)),
    "ex_rename_node": lambda driver, thing: driver.ex_rename_node(node(driver, thing), "x"),
    "ex_resize_node": lambda driver, thing: driver.ex_resize_node(
        node(driver, thing), driver.list_sizes()[0]
    ),
}


@pytest.mark.parametrize("call", ENGINE_BY_ID)
def test_an_id_that_is_none_is_asked_of_no_engine(call: str) -> None:
    with Canned([rpc(True, RUNNING, 0)]) as server:
        driver = engine_driver(server.url)
        for trick in [*TRICKS, DISK, IMAGE]:
            with pytest.raises(InvalidValueError) as caught:
                ENGINE_BY_ID[call](driver, trick)
            assert str(caught.value).isprintable(), trick
        driver.ex_close()
        assert server.requests == []


def test_ids_that_a_service_makes_up_are_asked_for_nowhere_either() -> None:
    disk = {"uuid": "../../one-proxy/xmlrpc?x=", "tag": "t"}
    with Canned([(200, JSON, json.dumps([disk]).encode())]) as server:
        driver = driver_of(server.url)
        (found,) = driver.list_volumes()
        for use in (driver.destroy_volume, driver.detach_volume):
            with pytest.raises(InvalidValueError):
                use(found)
        driver.ex_close()
        assert len(server.requests) == 1


# -- heads of requests


INJECTION = "x\r\nEvil: yes\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"


class TestHeads:
    @pytest.fixture
    def server(self) -> Iterator[Canned]:
        with Canned([rpc(True, 7, 0), rpc(True, RUNNING, 0)]) as server:
            yield server
            assert {request.path for request in server.requests} <= {"/one-proxy/pswd/xmlrpc"}
            known = "Host User-Agent Accept-Encoding Accept Connection Authorization Content-Type"
            for request in server.requests:
                assert set(request.headers) <= {*known.split(), "Content-Length"}
                assert "Evil" not in "".join(request.headers.values())

    def test_a_login_adds_nothing(self, server: Canned) -> None:
        driver = driver_of(server.url, key=f"u{INJECTION}".replace(":", ""), secret=INJECTION)
        boot(driver, DISK)
        driver.ex_close()
        assert len(server.requests) == 2

    def test_user_data_adds_nothing(self, server: Canned) -> None:
        driver = driver_of(server.url)
        boot(driver, DISK, ex_user_data=INJECTION)
        driver.ex_close()
        assert len(server.requests) == 2
        assert b"Evil" not in server.requests[0].body  # it is packed

    @pytest.mark.parametrize(
        "options",
        [
            {"ex_context": {"a": INJECTION}},
            {"ex_context": {INJECTION: "a"}},
            {"ex_network": INJECTION},
            {"ex_context_method": INJECTION},
        ],
    )
    def test_other_texts_of_a_node_are_refused(
        self, server: Canned, options: dict[str, Any]
    ) -> None:
        driver = driver_of(server.url)
        with pytest.raises(InvalidValueError) as caught:
            boot(driver, DISK, **options)
        assert fit_to_be_shown(caught.value)
        driver.ex_close()
        assert server.requests == []

    @pytest.mark.parametrize(
        "options",
        [
            {"host": f"http://h/{INJECTION}"},
            {"host": f"h{INJECTION}"},
            {"host": "h", "ex_pdisk_endpoint": f"http://h/{INJECTION}"},
            {"host": "h", "ex_marketplace_endpoint": f"http://h/{INJECTION}"},
            {"host": "h", "proxy_url": f"http://h/{INJECTION}"},
            {"host": "h", "proxy_url": f"http://u:{INJECTION}@h/"},
        ],
    )
    def test_addresses_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises((ConfigurationError, InvalidValueError)) as caught:
            StratusLabNodeDriver("u", "p", **options)
        assert "blanks or line breaks" in str(caught.value)
        assert "Evil" not in str(caught.value)

    def test_the_name_of_a_volume_is_one_field_of_a_form(self) -> None:
        name = "x\r\nEvil: yes&size=9&owner=pdisk"
        with Canned([(201, JSON, b'{"uuid": "%s"}' % DISK.encode())]) as server:
            driver = driver_of(server.url)
            driver.create_volume(1, name)
            driver.ex_close()
        (request,) = server.requests
        assert request.body.split(b"&")[0] == b"size=1"
        assert request.body.count(b"&") == 2
        assert b"\n" not in request.body
