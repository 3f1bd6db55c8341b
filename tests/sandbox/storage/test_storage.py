import re
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from callers import TEMPLATE, USERS, Caller

from stratuslab_libcloud.sandbox.references import referenced_disk
from stratuslab_libcloud.sandbox.site import Sandbox

GIB = 1 << 30
UNKNOWN = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
NOT_PLUGGED = "Disk have not been hot-plugged"


def files(site: Sandbox) -> list[str]:
    return sorted(path.name for path in (site.dir / "disks").iterdir())


def message(answer: requests.Response) -> Any:
    assert answer.json()["code"] == answer.status_code
    return answer.json()["message"]


def mount(caller: Caller, disk: str, vm_id: int, **fields: object) -> requests.Response:
    data = {"node": "sandbox", "vm_id": vm_id, **fields}
    return caller.disks("POST", f"/{disk}/mounts/", data=data)


def unmount(caller: Caller, disk: str, vm_id: int) -> requests.Response:
    return caller.disks("DELETE", f"/{disk}/mounts/{disk}_{vm_id}")


def start_with(caller: Caller, disk: str, target: str = "vdc") -> int:
    return caller.start(f'{TEMPLATE}\nDISK=[source="pdisk:host/{disk}", target={target}]')


def assert_transfer_fails(caller: Caller, vm_id: int, reason: str) -> None:
    """As the engine, which looks at disks only then (opennebula-engines 6)."""
    assert caller.states(vm_id) == (7, 0)
    message = caller.info(vm_id).findtext("TEMPLATE/ERROR/MESSAGE")
    assert message == f"Error excuting image transfer script: {reason}"


# -- disks


def test_a_disk_is_a_sparse_file_of_its_size(site: Sandbox, jane: Caller) -> None:
    disk = jane.disk(size=1024, tag="survey")
    status = (site.dir / "disks" / disk).stat()
    assert status.st_size == 1024 * GIB
    assert status.st_blocks * 512 < GIB
    assert status.st_mode & 0o777 == 0o600


def test_a_disk_is_shown_with_strings_only(jane: Caller) -> None:
    disk = jane.disk(size="20", tag='ta"g\\ & ü', visibility="public")
    answer = jane.disks("GET", f"/{disk}/", headers={"Accept": "application/json"})
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.json() == {
        "uuid": disk,
        "tag": 'ta"g\\ & ü',
        "count": "0",
        "owner": "jane",
        "identifier": "",
        "size": "20",
        "type": "DATA_IMAGE_RAW_READ_WRITE",
        "visibility": "PUBLIC",
    }
    (listed,) = jane.disks("GET").json()
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", listed.pop("created"))
    assert listed.pop("users") == "0"
    assert listed == answer.json()


def test_a_list_has_the_newest_first(jane: Caller) -> None:
    disks = [jane.disk(tag=str(number)) for number in range(3)]
    assert [disk["uuid"] for disk in jane.disks("GET").json()] == disks[::-1]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({}, "Size must be an integer between 1 and 1024"),
        ({"size": "0"}, "Size must be an integer between 1 and 1024"),
        ({"size": "1025"}, "Size must be an integer between 1 and 1024"),
        ({"size": "-1"}, "Size must be an integer between 1 and 1024"),
        ({"size": "abc"}, 'Error parsing size: For input string: "abc"'),
        ({"size": "1.5"}, 'Error parsing size: For input string: "1.5"'),
        ({"size": "1", "visibility": "all"}, "Invalid value for form element visibility: all"),
        ({"size": "1", "type": "FLOPPY"}, "Invalid value for form element type: FLOPPY"),
    ],
)
def test_a_disk_that_cannot_be_is_refused_and_leaves_nothing(
    site: Sandbox, jane: Caller, form: dict[str, object], text: str
) -> None:
    answer = jane.disks("POST", data=form)
    assert answer.status_code == 400
    assert message(answer) == text
    assert files(site) == jane.disks("GET").json() == []


def test_without_room_there_is_neither_record_nor_file(site: Sandbox, jane: Caller) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (GIB, hard))
    try:
        answer = jane.disks("POST", data={"size": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert answer.status_code == 507
    assert message(answer).startswith("There is no room for 2 GiB")
    assert files(site) == jane.disks("GET").json() == []


def test_a_disk_goes_with_its_file(site: Sandbox, jane: Caller) -> None:
    disk = jane.disk()
    assert files(site) == [disk]
    answer = jane.disks("DELETE", f"/{disk}/")
    assert (answer.status_code, answer.json()) == (200, {"uuid": disk})
    assert files(site) == jane.disks("GET").json() == []
    assert jane.disks("DELETE", f"/{disk}").status_code == 404


def test_an_update_changes_what_is_given_and_points_back(site: Sandbox, jane: Caller) -> None:
    disk = jane.disk(tag="old")
    path = f"/pdisk/pswd/disks/{disk}/"
    answer = jane.request("PUT", path, data={"tag": "new", "visibility": "public"})
    assert (answer.status_code, answer.content) == (303, b"")
    assert answer.headers["Location"] == site.url + path
    shown = jane.disks("GET", f"/{disk}").json()
    assert (shown["tag"], shown["visibility"], shown["size"]) == ("new", "PUBLIC", "1")


def test_locations_are_made_of_what_the_front_end_was_asked_for(jane: Caller) -> None:
    disk = jane.disk()
    headers = {"Host": "localhost:1234", "X-Forwarded-Proto": "https"}
    answer = jane.disks("PUT", f"/{disk}?method=x", data={"tag": "t"}, headers=headers)
    assert answer.headers["Location"] == f"https://localhost:1234/pdisk/pswd/disks/{disk}"


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        ({"data": b""}, 400, "post with null entity"),
        ({"data": {"type": "FLOPPY"}}, 400, "Invalid value for form element type: FLOPPY"),
        ({"data": {"size": "2"}}, 400, "The size of a disk cannot be changed"),
        ({"json": {"tag": "t"}}, 415, "The entity of the request is not a form"),
    ],
)
def test_an_update_that_makes_no_sense_changes_nothing(
    jane: Caller, options: dict[str, Any], status: int, text: str
) -> None:
    disk = jane.disk()
    before = jane.disks("GET", f"/{disk}").json()
    answer = jane.disks("PUT", f"/{disk}", **options)
    assert (answer.status_code, message(answer)) == (status, text)
    assert jane.disks("GET", f"/{disk}").json() == before


# -- whose is it


def test_a_public_disk_may_be_seen_and_used_but_not_changed(jane: Caller, joerg: Caller) -> None:
    disk = jane.disk(visibility="public")
    vm_id = joerg.start()
    assert joerg.disks("GET", f"/{disk}").status_code == 200
    assert joerg.disks("PUT", f"/{disk}", data={"tag": "stolen"}).status_code == 403
    assert message(joerg.disks("DELETE", f"/{disk}")) == "Not enough rights to delete disk"
    assert mount(joerg, disk, vm_id).status_code == 200
    assert unmount(joerg, disk, vm_id).status_code == 200


def test_a_stranger_cannot_unplug_anything(
    jane: Caller, joerg: Caller, calling: Callable[[str], Caller]
) -> None:
    disk = jane.disk(visibility="public")
    vm_id = jane.start()
    assert mount(jane, disk, vm_id).status_code == 200
    answer = unmount(joerg, disk, vm_id)
    assert (answer.status_code, message(answer)) == (403, "insufficient rights to detach disk")
    assert jane.disks("GET", f"/{disk}").json()["count"] == "1"


def test_who_owns_the_machine_may_unplug_what_was_public_once(
    jane: Caller, joerg: Caller, calling: Callable[[str], Caller]
) -> None:
    disk, vm_id = jane.disk(visibility="public"), joerg.start()
    mount(joerg, disk, vm_id)
    jane.disks("PUT", f"/{disk}", data={"visibility": "private"})
    assert joerg.disks("GET", f"/{disk}").status_code == 403
    assert unmount(joerg, disk, vm_id).status_code == 200
    answer = unmount(joerg, disk, vm_id)
    assert (answer.status_code, message(answer)) == (403, "insufficient rights to detach disk")
    assert jane.disks("GET", f"/{disk}").json()["count"] == "0"


@pytest.mark.parametrize("field", ["owner", "identifier", "quarantine"])
def test_some_fields_are_the_services_own(jane: Caller, service: Caller, field: str) -> None:
    disk = jane.disk()
    assert jane.disks("PUT", f"/{disk}", data={field: "x"}).status_code == 403
    assert jane.disks("POST", data={"size": 1, field: "x"}).status_code == 403
    assert service.disks("PUT", f"/{disk}", data={field: "x"}).status_code == 303
    assert service.disks("GET", f"/{disk}").json()[field] == "x"


def test_the_service_sees_every_disk(jane: Caller, joerg: Caller, service: Caller) -> None:
    disks = {jane.disk(), joerg.disk()}
    assert {disk["uuid"] for disk in service.disks("GET").json()} == disks


def test_an_identifier_is_there_once(service: Caller) -> None:
    service.disk(identifier="abc")
    answer = service.disks("POST", data={"size": 1, "identifier": "abc"})
    assert (answer.status_code, message(answer)) == (409, "Disk already registered")


def test_only_the_service_learns_where_the_content_is(
    site: Sandbox, jane: Caller, service: Caller
) -> None:
    disk = jane.disk()
    assert jane.disks("GET", f"/{disk}/turl").status_code == 403
    answer = service.disks("GET", f"/{disk}/turl/")
    assert answer.json() == {"uuid": disk, "turl": f"file://{site.dir}/disks/{disk}"}


def test_an_unknown_disk_is_not_found(jane: Caller) -> None:
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "")):
        answer = jane.disks(method, f"/{UNKNOWN}{path}", data={"tag": "t"})
        assert (answer.status_code, message(answer)) == (404, f"disk ({UNKNOWN}) does not exist")
    answer = jane.disks("GET", f"/{UNKNOWN}/mounts")
    assert (answer.status_code, message(answer)) == (404, f"Unknown disk: {UNKNOWN}")
    assert mount(jane, UNKNOWN, 0).status_code == 404
    assert unmount(jane, UNKNOWN, 0).status_code == 404


# -- plugging


def test_a_disk_is_plugged_in_and_out(jane: Caller) -> None:
    disk, vm_id = jane.disk(), jane.start()
    answer = mount(jane, disk, vm_id)
    assert answer.status_code == 200
    assert answer.json() == {"node": "sandbox", "vm_id": "0", "target": "vdc", "uuid": [disk]}
    assert jane.disks("GET", f"/{disk}/mounts").json() == [{"vmId": "0", "device": "vdc"}]
    assert jane.disks("GET", f"/{disk}").json()["count"] == "1"
    detached = {"diskId": disk, "mountId": f"{disk}_0", "vmId": "0", "target": "vdc"}
    assert jane.disks("GET", f"/{disk}/mounts/{disk}_0").json() == detached
    answer = unmount(jane, disk, vm_id)
    assert (answer.status_code, answer.json()) == (200, detached)
    assert jane.disks("GET", f"/{disk}/mounts").json() == []


def test_the_node_to_name_is_the_one_of_the_document(jane: Caller) -> None:
    disk, vm_id = jane.disk(), jane.start()
    host = jane.info(vm_id).findtext("HISTORY_RECORDS/HISTORY/HOSTNAME")
    assert mount(jane, disk, vm_id, node="elsewhere").status_code == 400
    assert mount(jane, disk, vm_id, node=host).status_code == 200


def test_the_device_is_the_lowest_free_letter(jane: Caller) -> None:
    vm_id = jane.start("DISK=[target=vda] DISK=[target=hdb] DISK=[target=vdd]")
    disks = [jane.disk() for _ in range(4)]
    targets = [mount(jane, disk, vm_id).json()["target"] for disk in disks[:3]]
    assert targets == ["vdc", "vdd", "vde"]  # Linux calls the first two vda and vdb
    unmount(jane, disks[1], vm_id)
    assert mount(jane, disks[3], vm_id).json()["target"] == targets[1]


def test_after_26_devices_there_is_no_letter(jane: Caller) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    vm_id = jane.start(" ".join(f"DISK=[target=vd{letter}]" for letter in letters))
    answer = mount(jane, jane.disk(), vm_id)
    assert (answer.status_code, message(answer)) == (409, "no free devices available")


def test_a_disk_is_in_one_machine_at_a_time(jane: Caller) -> None:
    disk, first, second = jane.disk(), jane.start(), jane.start()
    mount(jane, disk, first)
    for vm_id in (first, second):
        answer = mount(jane, disk, vm_id)
        assert (answer.status_code, message(answer)) == (409, f"disk ({disk}) is already mounted")
    assert_transfer_fails(jane, start_with(jane, disk), f"disk ({disk}) is already mounted")
    assert jane.disks("GET", f"/{disk}/mounts").json() == [{"vmId": "0", "device": "vdc"}]


def test_of_many_who_want_a_disk_at_once_one_gets_it(jane: Caller) -> None:
    disk = jane.disk()
    machines = [jane.start("A=1") for _ in range(8)]
    statuses = []
    threads = [
        threading.Thread(target=lambda vm=vm: statuses.append(mount(jane, disk, vm).status_code))
        for vm in machines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7


@pytest.mark.parametrize(
    ("form", "status", "text"),
    [
        ({}, 400, "post with null entity"),
        ({"vm_id": "0"}, 400, "missing node attribute"),
        ({"node": "sandbox"}, 400, "missing vm_id attribute"),
        ({"node": "sandbox", "vm_id": "0; reboot"}, 400, "vm_id must be a number"),
        ({"node": "sandbox", "vm_id": "99"}, 404, "Unknown VM: 99"),
    ],
)
def test_an_attach_that_makes_no_sense_is_refused(
    jane: Caller, form: dict[str, object], status: int, text: str
) -> None:
    answer = jane.disks("POST", f"/{jane.disk()}/mounts", data=form)
    assert (answer.status_code, message(answer)) == (status, text)


def test_a_disk_is_not_plugged_into_others_machines(jane: Caller, joerg: Caller) -> None:
    answer = mount(jane, jane.disk(), joerg.start())
    assert (answer.status_code, message(answer)) == (403, "Not enough rights to attach disk")


def test_a_disk_is_not_plugged_into_a_machine_that_does_not_run() -> None:
    with Sandbox(users=USERS, boot_seconds=60) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        answer = mount(jane, jane.disk(), jane.start())
        assert (answer.status_code, message(answer)) == (409, "VM 0 is not running")


def test_what_is_not_plugged_in_cannot_be_unplugged(jane: Caller) -> None:
    disk, other, vm_id = jane.disk(), jane.disk(), jane.start()
    mount(jane, other, vm_id)
    for path in (f"/{disk}/mounts/{disk}_{vm_id}", f"/{disk}/mounts/{other}_{vm_id}"):
        answer = jane.disks("DELETE", path)
        assert (answer.status_code, message(answer)) == (404, NOT_PLUGGED)
    assert jane.disks("GET", f"/{other}").json()["count"] == "1"


def test_a_disk_that_is_used_stays(site: Sandbox, jane: Caller) -> None:
    disk, vm_id = jane.disk(), jane.start()
    mount(jane, disk, vm_id)
    answer = jane.disks("DELETE", f"/{disk}")
    assert (answer.status_code, message(answer)) == (
        409,
        f"disk ({disk}) is in use and can't be deleted",
    )
    assert files(site) == [disk]
    jane.act("finalize", vm_id)
    assert jane.disks("DELETE", f"/{disk}").status_code == 200


def test_the_type_of_a_disk_that_is_used_stays(jane: Caller) -> None:
    disk, vm_id, other = jane.disk(), jane.start(), "DATA_IMAGE_LIVE"
    mount(jane, disk, vm_id)
    answer = jane.disks("PUT", f"/{disk}", data={"type": other, "tag": "new"})
    assert answer.status_code == 409
    assert message(answer) == f"disk ({disk}) is in use and its type can't be changed"
    same = {"type": "DATA_IMAGE_RAW_READ_WRITE", "tag": "mine"}
    assert jane.disks("PUT", f"/{disk}", data=same).status_code == 303
    assert jane.disks("GET", f"/{disk}").json()["tag"] == "mine"
    unmount(jane, disk, vm_id)
    assert jane.disks("PUT", f"/{disk}", data={"type": other}).status_code == 303


# -- disks from a machine's start


def test_a_disk_may_be_there_from_the_start_and_is_free_at_the_end(
    site: Sandbox, jane: Caller
) -> None:
    disk = jane.disk()
    vm_id = start_with(jane, disk)
    assert jane.disks("GET", f"/{disk}/mounts").json() == [{"vmId": "0", "device": "static"}]
    answer = unmount(jane, disk, vm_id)
    assert (answer.status_code, message(answer)) == (409, NOT_PLUGGED)
    jane.act("shutdown", vm_id)
    assert jane.disks("GET", f"/{disk}/mounts").json() == []
    site.fail(start_with(jane, disk), "a failed machine has no disks either")
    assert jane.disks("GET", f"/{disk}").json()["count"] == "0"


def test_a_disk_is_used_until_the_end_of_its_machine(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=USERS, ending_seconds=3600) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        disk = jane.disk()
        jane.act("finalize", start_with(jane, disk))
        assert jane.disks("DELETE", f"/{disk}").status_code == 409


def test_the_service_may_register_and_release(jane: Caller, service: Caller) -> None:
    disk, vm_id = jane.disk(), jane.start()
    assert mount(jane, disk, vm_id, register_only="true").status_code == 403
    answer = mount(service, disk, vm_id, node="10.1.1.7", register_only="true")
    assert answer.json()["target"] == "static"
    assert unmount(jane, disk, vm_id).status_code == 409
    assert unmount(service, disk, vm_id).json()["target"] == "static"


def test_a_machine_does_not_start_with_a_disk_it_may_not_have(jane: Caller, joerg: Caller) -> None:
    private, image = jane.disk(), joerg.disk(type="MACHINE_IMAGE_LIVE")
    for disk, reason in (
        (private, f"insufficient access rights to view disk ({private})"),
        (UNKNOWN, f"pdisk:host/{UNKNOWN} does not exist"),
        (image, f"disk ({image}) has the type MACHINE_IMAGE_LIVE, not DATA_IMAGE_..."),
    ):
        assert_transfer_fails(joerg, start_with(joerg, disk), reason)
    assert jane.disks("GET", f"/{private}").json()["count"] == "0"


def test_a_machine_cannot_have_a_disk_twice(jane: Caller) -> None:
    disk = jane.disk()
    second = f'DISK=[source="pdisk:host/{disk}", target=vdd]'
    vm_id = jane.start(f'{TEMPLATE}\nDISK=[source="pdisk:host/{disk}", target=vdc]\n{second}')
    assert_transfer_fails(jane, vm_id, f"disk ({disk}) is already mounted")
    assert jane.disks("GET", f"/{disk}/mounts").json() == []


def test_a_transfer_fails_when_its_time_has_come() -> None:
    with Sandbox(users=USERS, boot_seconds=60) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        assert jane.states(start_with(jane, UNKNOWN)) == (1, 0)


def test_a_machine_boots_from_a_machine_image_only(jane: Caller) -> None:
    data, image = jane.disk(), jane.disk()
    jane.disks("PUT", f"/{image}", data={"type": "MACHINE_IMAGE_LIVE"})
    template = 'DISK=[source="pdisk:http://h/pdisk/{}", target=vda]'
    reason = f"disk ({data}) has the type DATA_IMAGE_RAW_READ_WRITE, not MACHINE_IMAGE_..."
    assert_transfer_fails(jane, jane.start(template.format(data)), reason)
    vm_id = jane.start(template.format(image))
    assert jane.disks("GET", f"/{image}/mounts").json() == [
        {"vmId": str(vm_id), "device": "static"}
    ]


@pytest.mark.parametrize(
    "source",
    [
        f"pdisk:https://store.example.org/pdisk/{UNKNOWN}",
        f"pdisk:store.example.org/{UNKNOWN}",
        f"pdisk:10.4.5.6:8445/{UNKNOWN}",
        f"pdisk:https://host:2634/xmlrpc/{UNKNOWN}",
        f"pdisk://store.example.org/pdisk/{UNKNOWN}",
        f"pdisk:store.example.org:8445:{UNKNOWN}",
        f"https://store.example.org/pdisk/pswd/disks/{UNKNOWN}",
    ],
)
def test_every_form_of_a_disk_reference_is_understood(source: str) -> None:
    assert referenced_disk(source) == UNKNOWN


@pytest.mark.parametrize("source", ["", f"https://m/metadata/{UNKNOWN}", "/srv/image.qcow2"])
def test_other_sources_are_no_disks(source: str) -> None:
    assert referenced_disk(source) is None


def test_machines_with_disks_are_listed(jane: Caller, joerg: Caller, service: Caller) -> None:
    disk, unused, vm_id = jane.disk(), joerg.disk(), jane.start()
    joerg.start()
    mount(jane, disk, vm_id)
    mine = [{"vmId": str(vm_id), "owner": "jane"}]
    assert jane.request("GET", "/pdisk/pswd/instances/").json() == mine
    assert joerg.request("GET", "/pdisk/pswd/instances").json() == []
    assert service.request("GET", f"/pdisk/pswd/instances/{vm_id}").json() == mine
    assert unused


# -- HTTP


def test_the_probe_of_the_original_client_is_answered(jane: Caller) -> None:
    for path in ("/pdisk/pswd", "/pdisk/pswd/", "/pswd", "/pswd/"):
        answer = jane.request("HEAD", path, headers={"Accept": "application/xml"})
        assert (answer.status_code, answer.content) == (200, b"")


def test_every_route_works_with_and_without_a_slash_at_its_end(jane: Caller) -> None:
    disk, vm_id = jane.disk(), jane.start()
    mount(jane, disk, vm_id)
    for path in ("", f"/{disk}", f"/{disk}/mounts", f"/{disk}/mounts/{disk}_{vm_id}"):
        plain, slashed = jane.disks("GET", path), jane.disks("GET", f"{path}/")
        assert plain.status_code == slashed.status_code == 200
        assert plain.json() == slashed.json()
        head = jane.disks("HEAD", path, headers={"Accept": "application/xml"})
        assert (head.status_code, head.content) == (200, b"")


def test_a_form_without_content_type_is_a_form(jane: Caller) -> None:
    def body() -> Iterator[bytes]:
        yield b"size=1&tag=a+b"

    answer = jane.disks("POST", data=b"size=1&tag=a+b")
    assert answer.request.headers.get("Content-Type") is None
    assert answer.status_code == 201
    assert jane.disks("GET").json()[0]["tag"] == "a b"
    chunked = jane.disks("POST", data=body())
    assert chunked.request.headers["Transfer-Encoding"] == "chunked"
    assert chunked.status_code == 201


def test_the_first_of_repeated_fields_counts_and_unknown_ones_do_not(jane: Caller) -> None:
    jane.disks("POST", data=b"size=1&size=2&colour=red&tag=%C3%BC")
    (disk,) = jane.disks("GET").json()
    assert (disk["size"], disk["tag"]) == ("1", "ü")


@pytest.mark.parametrize(
    "how", [{"params": {"method": "delete"}}, {"headers": {"X-HTTP-Method-Override": "DELETE"}}]
)
def test_verbs_may_be_tunnelled_through_post_only(
    site: Sandbox, jane: Caller, how: dict[str, dict[str, str]]
) -> None:
    disk = jane.disk()
    assert jane.disks("GET", f"/{disk}", **how).status_code == 200
    assert files(site) == [disk]
    assert jane.disks("POST", f"/{disk}", **how).json() == {"uuid": disk}
    assert files(site) == []


@pytest.mark.parametrize(
    ("accept", "content_type", "body"),
    [
        (None, "application/json", None),
        ("*/*", "application/json", None),
        ("application/json", "application/json", None),
        ("text/html", "application/json", None),
        ("application/json, text/plain", "application/json", None),
        ("text/plain", "text/plain", "ERROR (404): disk ({}) does not exist"),
        ("application/x-gzip", "text/plain", "ERROR (404): disk ({}) does not exist"),
    ],
)
def test_errors_are_json_unless_plain_text_is_asked_for(
    jane: Caller, accept: str | None, content_type: str, body: str | None
) -> None:
    answer = jane.disks("GET", f"/{UNKNOWN}", headers={"Accept": accept})
    assert answer.headers["Content-Type"].split(";")[0] == content_type
    if body:
        assert answer.text == body.format(UNKNOWN)
    else:
        assert message(answer)


def test_what_the_sandbox_does_not_do_is_said(jane: Caller) -> None:
    answer = jane.disks("POST", data={"size": 1, "url": "http://example.org/image.gz"})
    assert answer.status_code == 403
    assert "the sandbox does not" in answer.text
    assert jane.disks("GET").json() == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "", "GET, HEAD, POST"),
        ("PATCH", f"/{UNKNOWN}", "GET, HEAD, POST, PUT, DELETE"),
        ("DELETE", f"/{UNKNOWN}/mounts", "GET, HEAD, POST"),
        ("POST", f"/{UNKNOWN}/mounts/x", "GET, HEAD, DELETE"),
        ("POST", f"/{UNKNOWN}/turl", "GET, HEAD"),
    ],
)
def test_other_verbs_are_not_allowed(jane: Caller, method: str, path: str, allowed: str) -> None:
    answer = jane.disks(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


def test_other_paths_are_not_found(jane: Caller) -> None:
    assert jane.disks("GET", f"/{UNKNOWN}/other").status_code == 404
    assert jane.request("GET", "/pdisk/pswd/other").status_code == 404


def test_a_file_that_no_record_knows_is_swept_at_the_start(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=USERS) as site:
        disk = Caller(site, ("jane", USERS["jane"])).disk()
    (tmp_path / "disks" / UNKNOWN).touch()
    (tmp_path / "disks" / "notes.txt").touch()  # not ours
    with Sandbox(tmp_path, users=USERS) as site:
        assert files(site) == sorted([disk, "notes.txt"])
