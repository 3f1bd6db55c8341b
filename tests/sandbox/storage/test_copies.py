"""Copies on write and images made of disks (pdisk-rest 2.2.3)."""

from pathlib import Path
from typing import Any

import pytest
from callers import Caller

from stratuslab_libcloud.sandbox.site import Sandbox

ORIGIN, LIVE = "MACHINE_IMAGE_ORIGIN", "MACHINE_IMAGE_LIVE"


def turn(caller: Caller, disk: str, kind: str) -> None:
    assert caller.disks("PUT", f"/{disk}", data={"type": kind}).status_code == 303


def copy(caller: Caller, disk: str) -> dict[str, Any]:
    answer = caller.disks("POST", f"/{disk}")
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    assert caller.disks("GET", f"/{made['uuid']}").json() == made
    return made


def file_of(site: Sandbox, disk: str) -> Path:
    return site.dir / "disks" / disk


def write(site: Sandbox, disk: str, at: int, data: bytes) -> None:
    with file_of(site, disk).open("r+b") as file:
        file.seek(at)
        file.write(data)


def read(site: Sandbox, disk: str, at: int, size: int) -> bytes:
    with file_of(site, disk).open("rb") as file:
        file.seek(at)
        return file.read(size)


def test_a_copy_of_an_image_is_the_callers_and_names_its_origin(jane: Caller) -> None:
    disk = jane.disk(size=2, type=ORIGIN, tag="base")
    made = copy(jane, disk)
    assert made == {
        "uuid": made["uuid"],
        "tag": "",
        "count": "0",
        "owner": "jane",
        "identifier": f"snapshot:{disk}",
        "size": "2",
        "type": LIVE,
        "visibility": "PRIVATE",
    }
    assert jane.disks("GET", f"/{disk}").json()["count"] == "1"


def test_an_image_made_of_a_machines_disk_stands_alone(jane: Caller) -> None:
    disk = jane.disk(size=1, type=LIVE, tag="root")
    made = copy(jane, disk)
    assert made["uuid"] != disk
    assert (made["type"], made["identifier"], made["tag"]) == (ORIGIN, "", "")
    assert jane.disks("GET", f"/{disk}").json()["type"] == LIVE


@pytest.mark.parametrize("kind", [ORIGIN, LIVE])
def test_what_is_written_to_one_does_not_show_in_the_other(
    site: Sandbox, jane: Caller, kind: str
) -> None:
    disk = jane.disk(size=1, type=kind)
    write(site, disk, 0, b"begin")
    write(site, disk, (1 << 30) - 3, b"end")
    made = copy(jane, disk)["uuid"]
    assert read(site, made, 0, 6) == b"begin\0"
    assert read(site, made, (1 << 30) - 3, 9) == b"end"
    assert file_of(site, made).stat().st_blocks * 512 < 4 << 20
    assert file_of(site, made).stat().st_mode & 0o777 == 0o600
    write(site, disk, 0, b"BEGIN")
    write(site, made, 1, b"_")
    assert read(site, made, 0, 5) == b"b_gin"
    assert read(site, disk, 0, 5) == b"BEGIN"


def test_other_disks_are_not_copied(jane: Caller) -> None:
    answer = jane.disks("POST", f"/{jane.disk()}")
    assert answer.status_code == 409
    assert answer.json()["message"] == (
        "Invalid disk state: DATA_IMAGE_RAW_READ_WRITE. Cannot create copy or save as new image."
    )


def test_a_disk_in_use_is_not_copied(jane: Caller) -> None:
    disk = jane.disk(type=LIVE)
    data = {"node": "sandbox", "vm_id": jane.start()}
    assert jane.disks("POST", f"/{disk}/mounts", data=data).status_code == 200
    answer = jane.disks("POST", f"/{disk}")
    assert answer.status_code == 409
    assert answer.json()["message"] == f"disk ({disk}) is in use and can't be copied"


def test_an_image_with_copies_is_deleted_after_them(jane: Caller) -> None:
    disk = jane.disk(type=ORIGIN)
    made = copy(jane, disk)["uuid"]
    assert jane.disks("DELETE", f"/{disk}").status_code == 409
    for one in (made, disk):
        assert jane.disks("DELETE", f"/{one}").status_code == 200


def test_a_private_image_is_copied_by_nobody_else(jane: Caller, joerg: Caller) -> None:
    disk = jane.disk(type=ORIGIN)
    assert joerg.disks("POST", f"/{disk}").status_code == 403
    assert joerg.disks("GET").json() == []
    public = jane.disk(type=ORIGIN, visibility="public")
    made = copy(joerg, public)
    assert made["owner"] == "jörg"
    assert made["uuid"] not in {one["uuid"] for one in jane.disks("GET").json()}
    assert jane.disks("GET", f"/{made['uuid']}").status_code == 403


def test_a_form_with_a_file_is_no_copy(jane: Caller) -> None:
    disk = jane.disk(type=ORIGIN)
    answer = jane.disks("POST", f"/{disk}", files={"Image File": ("x.gz", b"x")})
    assert answer.status_code == 415
    assert len(jane.disks("GET").json()) == 1
