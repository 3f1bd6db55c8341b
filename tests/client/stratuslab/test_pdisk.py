"""Persistent disks: tolerant reading, one request each (pdisk-rest 1.8, 4.4)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
from canned import Canned, Handler, Reply
from hypothesis import given
from hypothesis import strategies as st
from libcloud.common.types import LibcloudError

from stratuslab_libcloud.client.data import Volume
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import read_answer
from stratuslab_libcloud.client.stratuslab import pdisk, pdisk_answers
from stratuslab_libcloud.client.stratuslab.pdisk import StorageClient
from stratuslab_libcloud.configuration.file import Password
from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    LostAnswerError,
    MalformedAnswerError,
    NotFoundError,
)

UUID = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"


def js(document: object, status: int = 200) -> tuple[int, str, bytes]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return status, "application/json; charset=UTF-8", body


@contextmanager
def disks(*answers: Reply) -> Iterator[tuple[StorageClient, Canned]]:
    with Canned(list(answers)) as server:
        login = Password("maria", "s3cret")
        yield StorageClient(f"{server.url}/pdisk", login, HTTPOptions(timeout=5)), server


def listed(**item: object) -> Volume:
    with disks(js([{"uuid": UUID, **item}])) as (asked, _):
        return asked.disks()[0]


class TestReading:
    def test_the_current_generation(self) -> None:
        disk = listed(tag="survey 2014", count="1", owner="maria", identifier="", size="1,024")
        assert disk == Volume(UUID, "survey 2014", 1024, owner="maria", users=1)

    def test_the_first_generation(self) -> None:
        disk = listed(users=0, visibility="private", created="2011/07/20 16:37:10", size=5)
        assert (disk.users, disk.visibility, disk.size) == (0, "private", 5)
        assert disk.created == "2011/07/20 16:37:10"

    def test_values_are_trimmed(self) -> None:
        disk = listed(uuid=f"\n {UUID}\n", owner=" maria ", type="\n", visibility=" PUBLIC\n")
        assert disk == Volume(UUID, "", None, owner="maria", visibility="public")

    def test_a_disk_in_quarantine(self) -> None:
        assert listed(quarantine="2015-02-11 09:30:12").quarantine == "2015-02-11 09:30:12"
        assert listed(quarantine="").quarantine is None

    def test_visibility_is_lower_case(self) -> None:
        assert listed(visibility="PUBLIC").visibility == "public"

    @pytest.mark.parametrize("size", ["10,737,418,240", "10 737 418 240", 10 * 2**30])
    def test_large_sizes_are_bytes(self, size: object) -> None:
        assert listed(size=size).size == 10

    def test_what_is_not_told_is_unknown(self) -> None:
        assert listed() == Volume(UUID, "", None)

    def test_unescaped_backslashes_are_survived(self) -> None:
        body = f'[{{"uuid": "{UUID}", "owner": "CN=Silva\\, Maria"}}]'.encode()
        with disks(js(body)) as (asked, _):
            assert asked.disks()[0].owner == "CN=Silva\\, Maria"

    @pytest.mark.parametrize(
        "answer",
        [
            (200, "text/html", b"<html>"),
            js({"disks": []}),
            js([1]),
            js([{"tag": "no uuid"}]),
            js(b'[{"uuid":'),
            js(b"[" * 100000),
        ],
    )
    def test_what_cannot_be_read_is_malformed(self, answer: Reply) -> None:
        with disks(answer) as (asked, _), pytest.raises(MalformedAnswerError):
            asked.disks()


OTHER = "0b5f9c2e-6d1a-4e37-8a90-1c2d3e4f5a6b"


class TestAboutAnother:
    """What is about another disk than was asked for is not believed, nor is anything repeated."""

    @pytest.mark.parametrize(
        ("call", "answer"),
        [
            (lambda asked: asked.get(UUID), {"uuid": OTHER}),
            (lambda asked: asked.update(UUID, tag="t"), {"uuid": OTHER}),
            (lambda asked: asked.delete(UUID), {"uuid": OTHER}),
            (lambda asked: asked.mount(UUID, "5", "h"), {"uuid": [OTHER], "target": "vdc"}),
            (lambda asked: asked.mount(UUID, "5", "h"), {"vm_id": "7", "target": "vdc"}),
            (lambda asked: asked.unmount(UUID, "5"), {"diskId": OTHER}),
            (lambda asked: asked.unmount(UUID, "5"), {"vmId": 7}),
            (lambda asked: asked.unmount(UUID, "5"), {"mountId": f"{UUID}_7"}),
        ],
        ids=range(8),
    )
    def test_an_answer(self, call: Any, answer: dict[str, Any]) -> None:
        with disks(js(answer)) as (asked, server):
            with pytest.raises(MalformedAnswerError, match=r"was asked about .*, but answered"):
                call(asked)
            assert len(server.requests) == 1

    def test_where_an_update_leads_to(self) -> None:
        for uuid, path in ((OTHER, f"/{OTHER}"), (OTHER, f"/{OTHER}/"), (UUID, f"/{UUID}/")):
            headers = {"Location": f"https://h/pdisk/pswd/disks{path}"}
            with disks((303, "text/plain", b"", headers)) as (asked, _):
                if uuid == UUID:
                    asked.update(UUID, tag="t")
                else:
                    with pytest.raises(MalformedAnswerError, match=OTHER):
                        asked.update(UUID, tag="t")

    def test_a_mount_says_that_it_may_be_there(self) -> None:
        with disks(js({"uuid": [OTHER], "target": "vdc"})) as (asked, _):
            with pytest.raises(MalformedAnswerError, match="may have been attached to node 5"):
                asked.mount(UUID, "5", "h")

    def test_a_new_disk_without_uuid(self) -> None:
        with disks(js({"uuid": "done"}, 201)) as (asked, server):
            with pytest.raises(MalformedAnswerError, match="tagged 't' may have been created"):
                asked.create(1, "t")
            assert len(server.requests) == 1


class TestRequests:
    @pytest.mark.parametrize("status", [200, 201])
    def test_create(self, status: int) -> None:
        with disks(js({"uuid": UUID}, status)) as (asked, server):
            assert asked.create(20, "données & co", "public") == UUID
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/pdisk/pswd/disks/")
        assert parse_qs(request.body.decode()) == {
            "size": ["20"],
            "tag": ["données & co"],
            "visibility": ["public"],
        }

    def test_mount_reads_the_device_from_the_answer(self) -> None:
        answer = js({"node": "h", "vm_id": "24", "target": "vdz", "uuid": [UUID]})
        with disks(answer) as (asked, server):
            assert asked.mount(UUID, "24", "h").device == "vdz"
        assert server.requests[0].path == f"/pdisk/pswd/disks/{UUID}/mounts/"

    def test_unmount_reads_the_device_from_the_answer(self) -> None:
        with disks(js({"target": "vdz"}), js({})) as (asked, _):
            assert asked.unmount(UUID, "24") == "vdz"
            assert asked.unmount(UUID, "24") == ""

    def test_update_sends_what_is_given(self) -> None:
        with disks((204, "text/plain", b"")) as (asked, server):
            asked.update(UUID, kind="DATA_IMAGE_LIVE")
            asked.update(UUID, tag="", visibility="public")
        sent = [parse_qs(r.body.decode(), keep_blank_values=True) for r in server.requests]
        assert sent == [{"type": ["DATA_IMAGE_LIVE"]}, {"tag": [""], "visibility": ["public"]}]

    def test_unmount_of_a_static_disk_is_not_called_done(self) -> None:
        with disks(js({"target": "static"})) as (asked, server):
            with pytest.raises(ConflictError, match="not been hot-plugged"):
                asked.unmount(UUID, "24")
        assert server.requests[0].path == f"/pdisk/pswd/disks/{UUID}/mounts/{UUID}_24"

    def test_a_retried_delete_that_finds_nothing_has_succeeded(self) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        gone = js({"message": "gone", "code": 404}, 404)
        with disks(hang_up, gone) as (asked, _):
            asked.delete(UUID)
        with disks(hang_up, gone) as (asked, _):
            asked.unmount(UUID, "1")
        with disks(gone) as (asked, _), pytest.raises(NotFoundError):
            asked.delete(UUID)

    def test_a_lost_creation_says_how_to_find_out(self) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        with disks(hang_up) as (asked, server):
            with pytest.raises(LostAnswerError, match="a disk tagged 't' may have been created"):
                asked.create(1, "t")
            assert len(server.requests) == 1

    @pytest.mark.parametrize("size", [0, -1, 1025, 2000, True, 1.5, "5", None])
    def test_a_bad_size_is_not_sent(self, size: Any) -> None:
        with disks(js({})) as (asked, server):
            with pytest.raises(InvalidValueError, match="from 1 to 1024"):
                asked.create(size, "t")
        assert server.requests == []

    @pytest.mark.parametrize("uuid", ["", "../disks", UUID.upper(), UUID + "/x", None, 7])
    def test_a_bad_uuid_is_not_sent(self, uuid: Any) -> None:
        with disks(js({})) as (asked, server):
            for call in (asked.get, asked.delete, asked.mounts, asked.uri):
                with pytest.raises(InvalidValueError, match="UUID"):
                    call(uuid)
        assert server.requests == []

    def test_bad_properties_are_not_sent(self) -> None:
        with disks(js({})) as (asked, server):
            for options in ({"tag": "x" * 41}, {"visibility": "secret"}, {}, {"tag": "\ud800"}):
                with pytest.raises(InvalidValueError):
                    asked.update(UUID, **options)
            with pytest.raises(
                InvalidValueError, match="the type of a volume must be one of MACHINE_"
            ):
                asked.update(UUID, kind="OLD")
        assert server.requests == []


@pytest.mark.parametrize("machine", ["..", "../x", "\ud800", "1?x=y", "1#", "\0", "-1", ""])
def test_a_machine_that_is_none_is_neither_believed_nor_asked_for(machine: str) -> None:
    with disks(js([{"vmId": machine, "device": "vdc"}])) as (asked, server):
        with pytest.raises(MalformedAnswerError):
            asked.mounts(UUID)
        with pytest.raises(InvalidValueError, match="not the id of a node"):
            asked.unmount(UUID, machine)
        assert {request.method for request in server.requests} == {"GET"}


READERS = (pdisk._read_disks, pdisk._read_mounts, pdisk_answers.object_of)


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["uuid", "size", "count", "tag", "vmId", "device", "visibility"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ).map(lambda document: json.dumps(document).encode())
)
def test_any_answer_is_disks_or_a_libcloud_error(body: bytes) -> None:
    for reader in READERS:
        try:
            read_answer(reader, Answer(200, {"Content-Type": "application/json"}, iter([body])))
        except LibcloudError as error:
            assert "\n" not in str(error)
