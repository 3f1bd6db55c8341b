"""OpenNebula's own Python binding, another code base, lives with the sandbox's engine."""

from typing import Any

import pyone
import pytest

from stratuslab_libcloud.sandbox.site import Sandbox

ALL = (-2, -1, -1)
POOLS: dict[str, tuple[int, ...]] = {
    "imagepool": ALL,
    "templatepool": ALL,
    "vnpool": ALL,
    "secgrouppool": ALL,
    "marketapppool": ALL,
    "vmgrouppool": ALL,
    "vrouterpool": ALL,
    "vmpool": (*ALL, -2),
    **dict.fromkeys(("datastorepool", "hostpool", "clusterpool", "zonepool", "marketpool"), ()),
    **dict.fromkeys(("grouppool", "userpool"), ()),
}


@pytest.fixture
def one(both: Sandbox) -> Any:
    return pyone.OneServer(f"{both.url}/RPC2", session="alice:pw-a")


def test_it_reads_every_pool(one: Any) -> None:
    one.vm.allocate({"TEMPLATE": {"CPU": "1", "MEMORY": "64", "DISK": {"IMAGE_ID": "0"}}})
    seen = {name: getattr(one, name).info(*parameters) for name, parameters in POOLS.items()}
    assert [network.NAME for network in seen["vnpool"].VNET] == ["public"]
    assert [store.TYPE for store in seen["datastorepool"].DATASTORE] == [1, 0, 2]
    assert len(seen["imagepool"].IMAGE) == len(seen["templatepool"].VMTEMPLATE) >= 3
    assert seen["vmpool"].VM[0].TEMPLATE["DISK"]["IMAGE_ID"] == "0"
    assert seen["hostpool"].HOST == []
    assert one.vmpool.infoextended(*ALL, -1).VM[0].TEMPLATE["DISK"]["TARGET"] == "vda"
    assert one.user.info(-1).NAME == "alice"
    assert one.vn.info(0).AR_POOL.AR[0].SIZE == 1000
    assert one.system.config() is not None


def test_a_whole_life(one: Any) -> None:
    volume = one.image.allocate(
        {
            "NAME": "life",
            "TYPE": "DATABLOCK",
            "PERSISTENT": "YES",
            "SIZE": "10",
            "DEV_PREFIX": "vd",
        },
        1,
    )
    assert one.image.info(volume).STATE == 1
    template = one.templatepool.info(*ALL).VMTEMPLATE[0]
    vm = one.template.instantiate(template.ID, "life", False, "", False)
    machine = one.vm.info(vm)
    assert (machine.STATE, machine.LCM_STATE, machine.NAME) == (3, 3, "life")
    assert machine.TEMPLATE["NIC"]["IP"].startswith("127.")
    one.vm.attach(vm, f'DISK=[IMAGE_ID="{volume}"]')
    disks = one.vm.info(vm).TEMPLATE["DISK"]
    assert [disk["TARGET"] for disk in disks] == ["vda", "vdb"]
    snapshot = one.vm.disksnapshotcreate(vm, 2, "s")
    assert snapshot == one.vm.info(vm).SNAPSHOTS[0].SNAPSHOT[0].ID
    one.vm.diskresize(vm, 2, "20")
    one.vm.resize(vm, 'CPU="2"\nMEMORY="1024"', True)
    saved = one.vm.disksaveas(vm, 0, "saved", "", -1)
    assert (one.image.info(saved).STATE, one.image.info(saved).TYPE) == (1, 0)
    one.vm.detach(vm, 2)
    assert one.image.info(volume).STATE == 1
    assert one.image.info(volume).SNAPSHOTS.SNAPSHOT[0].NAME == "s"
    for action, state in (("reboot", 3), ("poweroff", 8), ("resume", 3), ("suspend", 5)):
        one.vm.action(action, vm)
        assert state == one.vm.info(vm).STATE
    one.vm.action("terminate", vm)
    assert one.vm.info(vm).STATE == 6
    again = one.vm.allocate(f"CPU=1\nMEMORY=64\nDISK=[IMAGE_ID={saved}]")
    assert one.vm.info(again).LCM_STATE == 3
    one.vm.action("terminate-hard", again)
    copy = one.image.clone(volume, "copy")
    one.image.rename(copy, "copied")
    one.image.update(copy, 'A="b"', 1)
    one.image.persistent(copy, False)
    for image in (copy, saved, volume):
        one.image.delete(image)
        with pytest.raises(pyone.OneNoExistsException):
            one.image.info(image)


def test_its_errors_are_the_engines(both: Sandbox, one: Any) -> None:
    with pytest.raises(pyone.OneActionException):
        one.vm.attach(one.vm.allocate("CPU=1\nMEMORY=64"), "DISK=[IMAGE_ID=999]")
    with pytest.raises(pyone.OneAuthenticationException):
        pyone.OneServer(f"{both.url}/RPC2", session="a:b").system.version()
