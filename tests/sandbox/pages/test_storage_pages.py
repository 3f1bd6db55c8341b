"""The pages about disks: what they show, and what their forms do."""

import gzip
import io
from collections.abc import Callable
from xml.etree.ElementTree import Element

import pytest
import requests
from callers import Caller
from markup import checked, text_of

from stratuslab_libcloud.sandbox.site import Sandbox

STORAGE = "/pages/pswd/storage"
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title><h1>another",
    "' onfocus='alert(1)",
    "{{ 7 * 7 }}{% endblock %}",
    "&lt;b&gt; &amp;",
    "javascript:alert(1)",
]
UNKNOWN = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"


def get(caller: Caller, path: str = STORAGE) -> Element:
    page = caller.request("GET", path)
    assert page.status_code == 200, page.text
    return checked(page)


def post(caller: Caller, path: str, **fields: object) -> requests.Response:
    """Send a form with the token that the visitor's pages have."""
    token = get(caller).find(".//input[@name='token']")
    assert token is not None
    return caller.request("POST", path, data={"token": token.get("value"), **fields})


def refusal(page: requests.Response) -> str:
    return text_of(checked(page).find(".//*[@role='alert']"))


def follow(caller: Caller, answer: requests.Response) -> Element:
    assert (answer.status_code, answer.content) == (303, b"")
    return get(caller, answer.headers["Location"])


def said(page: Element) -> str:
    return text_of(page.find(".//*[@role='status']"))


def listed(page: Element, table: str = "yours") -> list[str]:
    return [text_of(row) for row in page.iterfind(f".//table[@aria-labelledby='{table}']/tbody/tr")]


def test_the_life_of_a_disk(jane: Caller) -> None:
    assert listed(get(jane)) == []
    created = post(jane, STORAGE, tag="mine", size="2", visibility="private")
    page = follow(jane, created)
    assert said(page) == "The disk has been created."
    (disk,) = jane.disks("GET").json()
    assert (disk["tag"], disk["size"], disk["visibility"]) == ("mine", "2", "PRIVATE")
    path = f"{STORAGE}/{disk['uuid']}"
    assert created.headers["Location"] == f"{path}?done=created"
    (row,) = listed(get(jane))
    assert row.startswith("mine 2 GiB private nothing")

    assert (
        said(follow(jane, post(jane, f"{path}/tag", tag="yours"))) == "The disk has been renamed."
    )
    assert text_of(get(jane, path).find(".//h1")) == "Disk yours"
    for visibility in ("public", "private"):
        page = follow(jane, post(jane, f"{path}/visibility", visibility=visibility))
        assert said(page).startswith(f"The disk is {visibility} now")
        assert jane.disks("GET").json()[0]["visibility"] == visibility.upper()

    vm_id = jane.start()
    page = follow(jane, post(jane, f"{path}/attach", machine=vm_id))
    assert said(page) == "The disk has been attached."
    (mount,) = jane.disks("GET", f"/{disk['uuid']}/mounts").json()
    assert mount["vmId"] == str(vm_id)
    assert f"machine {vm_id} ({mount['device']})" in listed(get(jane))[0]
    page = follow(jane, post(jane, f"{path}/detach", machine=vm_id))
    assert said(page) == "The disk has been detached."
    assert jane.disks("GET", f"/{disk['uuid']}/mounts").json() == []

    question = get(jane, f"{path}/delete")
    assert text_of(question.find(".//h1")) == "Delete the disk yours?"
    assert jane.disks("GET").json() != []
    assert said(follow(jane, post(jane, f"{path}/delete"))) == "The disk has been deleted."
    assert jane.disks("GET").json() == []


def test_a_disk_is_downloaded(jane: Caller) -> None:
    disk = jane.disk()
    answer = jane.request("GET", f"{STORAGE}/{disk}/download")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == f"attachment; filename={disk}.gz"
    with gzip.open(io.BytesIO(answer.content)) as unpacked:
        assert sum(map(len, iter(lambda: unpacked.read(1 << 18), b""))) == 1 << 30


@pytest.mark.parametrize("tag", HOSTILE)
def test_a_hostile_name_shows_as_text(jane: Caller, joerg: Caller, tag: str) -> None:
    disk = jane.disk(tag=tag, visibility="public")
    path = f"{STORAGE}/{disk}"
    for caller, table in ((jane, "yours"), (joerg, "others")):
        assert text_of(get(caller).find(f".//table[@aria-labelledby='{table}']//a")) == tag
        assert text_of(get(caller, path).find(".//h1")) == f"Disk {tag}"
    field = get(jane, path).find(".//input[@name='tag']")
    assert field is not None
    assert field.get("value") == tag
    assert text_of(get(jane, f"{path}/delete").find(".//h1")) == f"Delete the disk {tag}?"
    page = post(jane, STORAGE, tag=tag, size=tag)
    assert page.status_code == 400
    assert tag in refusal(page) or " ".join(tag.split()) in refusal(page)


def test_what_does_not_show_is_blanked_out(jane: Caller) -> None:
    jane.disk(tag="a\x00\x1b\u202eb")
    (row,) = listed(get(jane))
    assert not set("\x00\x1b\u202e") & set(row)


def test_what_is_refused_is_said_in_the_words_of_the_service_and_nothing_is_lost(
    jane: Caller,
) -> None:
    page = post(jane, STORAGE, tag="big", size="9999", visibility="public")
    served = jane.disks("POST", data={"size": 9999})
    assert (page.status_code, refusal(page)) == (served.status_code, served.json()["message"])
    root = checked(page)
    for name, value in (("tag", "big"), ("size", "9999")):
        (field,) = root.findall(f".//input[@name='{name}']")
        assert field.get("value") == value
    (chosen,) = root.findall(".//option[@selected]")
    assert chosen.get("value") == "public"
    assert jane.disks("GET").json() == []


def test_a_disk_in_use_stays(jane: Caller) -> None:
    disk, vm_id = jane.disk(), jane.start()
    path = f"{STORAGE}/{disk}"
    assert post(jane, f"{path}/attach", machine=vm_id).status_code == 303
    for again in (
        post(jane, f"{path}/attach", machine=vm_id),
        post(jane, f"{path}/delete"),
        jane.request("GET", f"{path}/download"),
    ):
        assert again.status_code == 409
        assert disk in refusal(again)
        assert text_of(checked(again).find(".//h1")) == f"Disk {disk}"
    assert len(jane.disks("GET", f"/{disk}/mounts").json()) == 1


@pytest.mark.parametrize("machine", ["", "x", "77", "-1"])
def test_a_machine_that_is_none_gets_no_disk(jane: Caller, machine: str) -> None:
    disk = jane.disk()
    for action in ("attach", "detach"):
        page = post(jane, f"{STORAGE}/{disk}/{action}", machine=machine)
        assert page.status_code in (400, 404)
        assert refusal(page)


def forms(caller: Caller, disk: str, vm_id: int) -> list[requests.Response]:
    """Everything that could be done to a disk."""
    path = f"{STORAGE}/{disk}"
    return [
        post(caller, f"{path}/tag", tag="stolen"),
        post(caller, f"{path}/visibility", visibility="public"),
        post(caller, f"{path}/attach", machine=vm_id),
        post(caller, f"{path}/detach", machine=vm_id),
        post(caller, f"{path}/delete"),
        caller.request("GET", path),
        caller.request("GET", f"{path}/download"),
        caller.request("GET", f"{path}/delete"),
    ]


def test_the_disks_of_others_are_out_of_reach(jane: Caller, joerg: Caller, site: Sandbox) -> None:
    disk, vm_id = jane.disk(tag="secret name"), jane.start()
    before = jane.disks("GET").json()
    assert "secret name" not in text_of(get(joerg))
    for page in forms(joerg, disk, vm_id):
        assert page.status_code in (403, 404)
        assert "secret name" not in page.text
        assert refusal(page)
    assert jane.disks("GET").json() == before


def test_a_public_disk_of_somebody_else_is_marked_and_has_no_actions(
    jane: Caller, joerg: Caller
) -> None:
    disk = jane.disk(tag="for all", visibility="public")
    page = get(joerg)
    assert listed(page) == []
    (row,) = listed(page, "others")
    assert row.startswith("for all 1 GiB jane")
    page = get(joerg, f"{STORAGE}/{disk}")
    assert "public disk of jane" in text_of(page.find("body/main"))
    assert page.findall(".//form") == []
    assert [link.get("href") for link in page.iterfind("body/main//a")] == []
    assert listed(get(jane), "others") == []


def test_the_storage_service_sees_all_disks_once(jane: Caller, service: Caller) -> None:
    jane.disk(tag="for all", visibility="public")
    page = get(service)
    assert [len(listed(page, table)) for table in ("yours", "others")] == [1, 0]


def test_a_name_says_nothing_of_ones_rights(calling: Callable[[str], Caller]) -> None:
    """Fields that only the storage service may set are not taken from a page's form."""
    jane = calling("jane")
    fields = {"size": "1", "owner": "jörg", "identifier": "x", "quarantine": "x"}
    assert post(jane, STORAGE, **fields).status_code == 303
    (disk,) = jane.disks("GET").json()
    assert (disk["owner"], disk["identifier"]) == ("jane", "")
    assert post(jane, f"{STORAGE}/{disk['uuid']}/tag", tag="t", owner="jörg").status_code == 303
    assert jane.disks("GET").json()[0]["owner"] == "jane"


@pytest.mark.parametrize("path", [f"/{UNKNOWN}", "/x", "/%00", "/..%2f", f"/{UNKNOWN}/download"])
def test_a_disk_that_does_not_exist_is_unknown(jane: Caller, path: str) -> None:
    page = jane.request("GET", STORAGE + path)
    assert page.status_code == 404
    assert "does not exist" in refusal(page)
