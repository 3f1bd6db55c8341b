"""The pages about machines."""

from xml.etree.ElementTree import Element

import pytest
from callers import Caller, NotOkError
from markup import checked, text_of

from stratuslab_libcloud.sandbox.site import Sandbox

MACHINES = "/pages/pswd/machines"
TEMPLATE = """NAME = "mine"
VCPU = 2
MEMORY = 512
NIC = [ NETWORK_UNAME = oneadmin, NETWORK = "public" ]
NIC = [ NETWORK_UNAME = oneadmin, NETWORK = "local" ]
"""


def get(caller: Caller, path: str = MACHINES) -> Element:
    page = caller.request("GET", path)
    assert page.status_code == 200, page.text
    return checked(page)


def kill(caller: Caller, vm_id: int) -> tuple[int, str, str]:
    """The status, the address that it sends to, and the page."""
    token = get(caller, "/pages/pswd/storage").find(".//input[@name='token']")
    assert token is not None
    form = {"token": token.get("value")}
    answer = caller.request("POST", f"{MACHINES}/{vm_id}/kill", data=form)
    return answer.status_code, answer.headers.get("Location", ""), answer.text


def test_machines_are_listed_with_state_addresses_and_size(jane: Caller) -> None:
    assert "You have no machines" in text_of(get(jane))
    vm_id = jane.start(TEMPLATE)
    addresses = [nic.findtext("IP", "") for nic in jane.info(vm_id).iterfind("TEMPLATE/NIC")]
    assert len(addresses) == 2
    page = get(jane)
    (row,) = [text_of(row) for row in page.iterfind(".//tbody/tr")]
    assert row.startswith(f"{vm_id}: mine RUNNING {', '.join(addresses)} 2 512 MiB ")
    (link,) = [link.get("href") for link in page.iterfind(".//tbody//a")]
    assert link == f"{MACHINES}/{vm_id}"
    page = get(jane, link)
    assert text_of(page.find(".//h1")) == f"Machine {vm_id}: mine"
    for address in addresses:
        assert address in text_of(page)


def test_a_machine_shows_its_console_its_disks_and_its_error(site: Sandbox, jane: Caller) -> None:
    vm_id = jane.start(TEMPLATE)
    disk = jane.disk(tag="<i>data</i>")
    mount = jane.disks("POST", f"/{disk}/mounts", data={"node": "sandbox", "vm_id": vm_id})
    page = get(jane, f"{MACHINES}/{vm_id}")
    assert f"<i>data</i> ({mount.json()['target']})" in text_of(page)
    console = page.find(".//*[@aria-labelledby='console']")
    assert text_of(console)
    site.fail(vm_id, "<b>no</b> space left")
    page = get(jane, f"{MACHINES}/{vm_id}")
    assert "<b>no</b> space left" in text_of(page.find(".//dd[@class='error']"))


@pytest.mark.parametrize("name", ["'><script>alert(1)</script>", "</title>", "{{ 7*7 }}", "a & b"])
def test_a_hostile_name_shows_as_text(jane: Caller, name: str) -> None:
    try:
        vm_id = jane.start(f'NAME = "{name}"\nMEMORY = 512\n')
    except NotOkError:  # the engine takes no name with markup
        assert set("<&") & set(name)
        return
    assert text_of(get(jane, f"{MACHINES}/{vm_id}").find(".//h1")) == f"Machine {vm_id}: {name}"
    assert f"{vm_id}: {name}" in text_of(get(jane))


def test_a_machine_is_killed_only_when_that_is_confirmed(jane: Caller) -> None:
    vm_id = jane.start(TEMPLATE)
    page = get(jane, f"{MACHINES}/{vm_id}/kill")
    assert text_of(page.find(".//h1")) == f"Kill machine {vm_id} (mine)?"
    assert jane.pool() == [vm_id]
    status, address, _ = kill(jane, vm_id)
    assert (status, address) == (303, f"{MACHINES}?done=killed")
    said = text_of(get(jane, address).find(".//*[@role='status']"))
    assert said == "The machine has been killed."
    assert jane.pool() == []
    page = get(jane, f"{MACHINES}/{vm_id}")
    assert page.findall(f".//a[@href='{MACHINES}/{vm_id}/kill']") == []


def test_the_machines_of_others_are_out_of_reach(jane: Caller, joerg: Caller) -> None:
    vm_id = jane.start(TEMPLATE)
    address = jane.info(vm_id).findtext("TEMPLATE/NIC/IP", "")
    assert "You have no machines" in text_of(get(joerg))
    for path in (f"{MACHINES}/{vm_id}", f"{MACHINES}/{vm_id}/kill"):
        page = joerg.request("GET", path)
        assert page.status_code == 403
        assert address not in page.text
        assert "Not authorized" in text_of(checked(page).find(".//*[@role='alert']"))
    assert kill(joerg, vm_id)[0] == 403
    assert jane.pool() == [vm_id]


@pytest.mark.parametrize(("machine", "status"), [("77", 404), ("x", 403), ("9" * 20, 403)])
def test_a_machine_that_does_not_exist_is_refused(jane: Caller, machine: str, status: int) -> None:
    page = jane.request("GET", f"{MACHINES}/{machine}")
    assert page.status_code == status
    assert text_of(checked(page).find(".//*[@role='alert']"))
