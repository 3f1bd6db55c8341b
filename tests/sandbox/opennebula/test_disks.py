"""Disks of machines: what is answered, and what only shows (opennebula-modern 5, 7)."""

import itertools

import pytest
from engine_callers import One
from looks import wait_for

from stratuslab_libcloud.sandbox.site import Sandbox

NAMES = itertools.count()
RUNNING = (3, 3)


@pytest.fixture
def her(both: Sandbox) -> One:
    return One(both, "alice:pw-a")


@pytest.fixture
def volume(her: One) -> int:
    return her.volume(f"d{next(NAMES)}", 'DEV_PREFIX="vd"')


@pytest.fixture
def vm(her: One) -> int:
    return her.start("DISK=[IMAGE_ID=0]", 'CONTEXT=[A="b"]')


def disk(number: int) -> str:
    return f'DISK=[IMAGE_ID="{number}"]'


def disks(her: One, vm: int) -> dict[str, tuple[str, str]]:
    """Image to DISK_ID and TARGET."""
    found = her.vm(vm).iterfind("TEMPLATE/DISK")
    return {
        one.findtext("IMAGE_ID", ""): (one.findtext("DISK_ID", ""), one.findtext("TARGET", ""))
        for one in found
    }


@pytest.mark.parametrize("state", ["RUNNING", "POWEROFF"])
def test_a_volume_comes_and_goes(her: One, vm: int, volume: int, state: str) -> None:
    if state == "POWEROFF":
        her("vm.action", "poweroff", vm)
    now = her.state(vm)
    assert her("vm.attach", vm, disk(volume)) == vm
    assert disks(her, vm)[str(volume)] == ("2", "vdb")
    assert (her.state(vm), her.image_state(volume)) == (now, 8)
    (one,) = [d for d in her.vm(vm).iterfind("TEMPLATE/DISK") if d.findtext("DISK_ID") == "2"]
    said = [one.findtext(tag) for tag in ("PERSISTENT", "CLONE", "SAVE", "TYPE", "ATTACH")]
    assert said == ["YES", "NO", "YES", "FILE", None]
    assert her("vm.detach", vm, 2) == vm
    assert str(volume) not in disks(her, vm)
    assert (her.state(vm), her.image_state(volume)) == (now, 1)


def test_an_attach_that_fails_only_shows(both: Sandbox, her: One, vm: int, volume: int) -> None:
    both.opennebula.fail("attach", "injected: no")
    assert her("vm.attach", vm, disk(volume)) == vm
    assert str(volume) not in disks(her, vm)
    assert (her.state(vm), her.image_state(volume)) == (RUNNING, 1)
    error = her.error(vm)
    assert error.endswith(": ATTACHDISK: injected: no")
    her("vm.attach", vm, disk(volume))
    assert her.error(vm) == error  # it is never cleared


def test_a_detach_that_fails_only_shows(both: Sandbox, her: One, vm: int, volume: int) -> None:
    her("vm.attach", vm, disk(volume))
    both.opennebula.fail("detach", "injected: no")
    her("vm.detach", vm, 2)
    assert disks(her, vm)[str(volume)] == ("2", "vdb")
    assert (her.state(vm), her.image_state(volume)) == (RUNNING, 8)
    assert her.error(vm).endswith(": DETACHDISK: injected: no")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('DISK=[IMAGE_ID="9999"]', 2048, "Image with ID: 9999 does not exist"),
        ("X=1", 2048, "Internal error parsing DISK attribute"),
        ('DISK=[TYPE="fs",SIZE="1",TARGET="vda"]', 2048, "Target vda is already in use."),
    ],
)
def test_what_is_not_attached(her: One, vm: int, text: str, code: int, words: str) -> None:
    assert her.refusal("vm.attach", vm, text) == (code, words)


def test_what_is_refused_by_rights(both: Sandbox, her: One, vm: int) -> None:
    him = One(both, "bob:pw-b")
    theirs = him.volume(f"b{next(NAMES)}")
    code, words = her.refusal("vm.attach", vm, disk(theirs))
    assert (code, words.split(" : ")[1]) == (
        512,
        f"Not authorized to perform USE IMAGE [{theirs}].",
    )
    code, words = him.refusal("vm.attach", vm, disk(theirs))
    assert (code, words.split(" : ")[1]) == (512, f"Not authorized to perform MANAGE VM [{vm}].")
    code, words = her.refusal("vm.attach", vm, 'DISK=[IMAGE_ID="abc"]')
    assert (code, words.split(" : ")[1]) == (512, "String 'abc' is not a valid ID.")
    him("image.chmod", theirs, -1, -1, -1, -1, -1, -1, 1, -1, -1)
    her("vm.attach", vm, disk(theirs))
    assert [one.text for one in him.image(theirs).iterfind("VMS/ID")] == [str(vm)]
    assert him.refusal("vm.info", vm)[0] == 512


def test_a_volume_is_in_one_machine(her: One, vm: int, volume: int) -> None:
    her("vm.attach", vm, disk(volume))
    words = f"Cannot acquire image {volume}, it is persistent and already in use"
    assert her.refusal("vm.attach", vm, disk(volume)) == (2048, words)
    text = f"CPU=1\nMEMORY=64\n{disk(volume)}"
    assert her.refusal("vm.allocate", text) == (8192, f"DISK 0: {words}")
    words = f"SIZE attribute is not supported for persistent image [{volume}]."
    assert her.refusal("vm.attach", vm, f"DISK=[IMAGE_ID={volume},SIZE=99]")[0] == 2048
    her("vm.detach", vm, 2)
    assert her.refusal("vm.attach", vm, f"DISK=[IMAGE_ID={volume},SIZE=99]") == (2048, words)


def test_a_disk_that_is_not_there(her: One, vm: int) -> None:
    new = her("system.version") == "7.4.0"
    for number in (99, -1, 1):  # 1 is the context's
        words = f"Could not detach disk with DISK_ID {number}, it does not exist."
        words = "VM disk does not exist" if new else words
        assert her.refusal("vm.detach", vm, number) == (2048, words)
    her("vm.action", "suspend", vm)
    wrong = f"Could not detach disk from VM {vm}, wrong state SUSPENDED."
    assert her.refusal("vm.detach", vm, 99)[1] == ("VM disk does not exist" if new else wrong)
    assert her.refusal("vm.detach", vm, 0) == (2048, wrong)
    wrong = f"Could not attach a new disk to VM {vm}, wrong state SUSPENDED."
    assert her.refusal("vm.attach", vm, "DISK=[TYPE=fs,SIZE=1]") == (2048, wrong)


def test_nothing_is_attached_before_there_is_a_host(her: One, volume: int) -> None:
    held = her("vm.allocate", "CPU=1\nMEMORY=64", True)
    words = "VM is not running in any host"
    assert her.refusal("vm.attach", held, disk(volume)) == (2048, words)


def test_nothing_protects_the_disk_of_the_system(her: One, vm: int) -> None:
    her("vm.detach", vm, 0)
    assert disks(her, vm) == {}


def test_a_volume_is_used_as_long_as_its_machine_rests(her: One, vm: int, volume: int) -> None:
    her("vm.attach", vm, disk(volume))
    for action in ("suspend", "resume", "stop", "resume", "undeploy", "resume", "poweroff"):
        her("vm.action", action, vm)
        assert her.image_state(volume) == 8
    her("vm.action", "terminate", vm)
    assert her.image_state(volume) == 1
    assert str(volume) in disks(her, vm)


def test_a_volume_grows_while_it_is_attached(her: One, vm: int, volume: int) -> None:
    her("vm.attach", vm, disk(volume))
    words = "New disk size has to be greater than current one"
    assert her.refusal("vm.diskresize", vm, 2, "10") == (2048, words)
    words = "Disk SIZE is not a valid integer"
    assert her.refusal("vm.diskresize", vm, 2, "abc") == (2048, words)
    assert her.refusal("vm.diskresize", vm, 9, "20") == (2048, "VM disk does not exist")
    her("vm.diskresize", vm, 2, "30")
    (one,) = [d for d in her.vm(vm).iterfind("TEMPLATE/DISK") if d.findtext("DISK_ID") == "2"]
    assert (one.findtext("SIZE"), one.findtext("ORIGINAL_SIZE")) == ("30", "10")
    assert her.image(volume).findtext("SIZE") == "10"
    her("vm.detach", vm, 2)
    assert her.image(volume).findtext("SIZE") == "10"
    her("vm.attach", vm, disk(volume))
    her("vm.action", "terminate", vm)
    assert her.image(volume).findtext("SIZE") == "30"


def test_a_disk_becomes_an_image(both: Sandbox, her: One, vm: int, volume: int) -> None:
    her("vm.attach", vm, disk(volume))
    name = f"s{next(NAMES)}"
    image = her.image(her("vm.disksaveas", vm, 2, name, "", -1))
    said = [image.findtext(tag) for tag in ("NAME", "STATE", "PERSISTENT", "TYPE", "FORMAT")]
    assert said == [name, "1", "0", "2", "raw"]
    assert image.findtext("TEMPLATE/SAVED_VM_ID") == str(vm)
    assert image.findtext("TEMPLATE/SAVED_IMAGE_ID") == str(volume)
    assert her.state(vm) == RUNNING
    taken = f"Error allocating a new image. NAME is already taken by IMAGE {image.findtext('ID')}."
    her("vm.attach", vm, "DISK=[TYPE=fs,SIZE=1]")
    for parameters, code, words in [
        ((2, name, "", -1), 16384, taken),
        ((9, "x", "", -1), 8192, "Cannot use DISK. DISK does not exist."),
        ((1, "x", "", -1), 8192, "Cannot use DISK. DISK does not exist."),
        ((3, "x", "", -1), 8192, "Cannot use DISK. DISK does not have a valid IMAGE_ID."),
        ((2, "x", "", 7), 8192, "Cannot use DISK. Snapshot does not exist."),
    ]:
        assert her.refusal("vm.disksaveas", vm, *parameters) == (code, words)
        new = her("system.version") == "7.4.0"
        assert her.raw("vm.disksaveas", vm, *parameters)[3] == (vm if new else -1)
    her("vm.action", "stop", vm)
    words = "VM has to be RUNNING, POWEROFF or SUSPENDED to save disks."
    assert her.refusal("vm.disksaveas", vm, 2, "x", "", -1) == (8192, words)


def test_saving_that_fails_leaves_an_image_in_error(both: Sandbox, her: One, vm: int) -> None:
    both.opennebula.fail("save as", "injected: no")
    image = her("vm.disksaveas", vm, 0, f"s{next(NAMES)}", "", -1)
    assert (her.image_state(image), her.state(vm)) == (5, RUNNING)
    assert her.error(vm).endswith("injected: no")


def test_snapshots_of_a_machine(both: Sandbox, her: One, vm: int) -> None:
    assert her("vm.snapshotcreate", vm, "") == 0
    both.opennebula.fail("snapshot")
    her("vm.snapshotcreate", vm, "lost")
    assert her("vm.snapshotcreate", vm, "a <b>") == 2
    found = her.vm(vm).findall("TEMPLATE/SNAPSHOT")
    assert [one.findtext("NAME") for one in found] == ["snapshot-0", "a <b>"]
    her("vm.snapshotrevert", vm, 0)
    her("vm.snapshotdelete", vm, 0)
    words = f"Could not delete snapshot 0 for VM {vm}, it does not exist."
    assert her.refusal("vm.snapshotdelete", vm, 0) == (2048, words)
    words = f"Could not revert VM {vm} to snapshot 77, it does not exist."
    assert her.refusal("vm.snapshotrevert", vm, 77) == (2048, words)
    her("vm.action", "poweroff", vm)
    words = f"Could not create a new snapshot for VM {vm}, wrong state POWEROFF."
    assert her.refusal("vm.snapshotcreate", vm, "x") == (2048, words)


def test_snapshots_of_a_disk_stay_with_the_volume(her: One, vm: int, volume: int) -> None:
    her("vm.attach", vm, disk(volume))
    assert [her("vm.disksnapshotcreate", vm, 2, name) for name in ("one", "")] == [0, 1]
    found = her.vm(vm).findall("SNAPSHOTS/SNAPSHOT")
    said = [(one.findtext("ID"), one.findtext("NAME"), one.findtext("ACTIVE")) for one in found]
    assert said == [("0", "one", None), ("1", None, "YES")]
    words = f"Could not revert to disk snapshot for VM {vm}, wrong state RUNNING."
    assert her.refusal("vm.disksnapshotrevert", vm, 2, 0) == (2048, words)
    assert her.refusal("vm.disksnapshotdelete", vm, 2, 9) == (2048, "Snapshot does not exist")
    assert her.refusal("vm.disksnapshotcreate", vm, 9, "x") == (2048, "VM disk does not exist")
    her("vm.action", "poweroff", vm)
    her("vm.disksnapshotrevert", vm, 2, 0)
    her("vm.disksnapshotdelete", vm, 2, 1)
    her("vm.detach", vm, 2)
    image = her.image(volume)
    assert [one.findtext("ID") for one in image.iterfind("SNAPSHOTS/SNAPSHOT")] == ["0"]
    assert her.refusal("image.snapshotdelete", volume, 5) == (2048, "Snapshot does not exist")
    her("image.snapshotrevert", volume, 0)
    her("image.snapshotdelete", volume, 0)
    assert her.image(volume).find("SNAPSHOTS/SNAPSHOT") is None


def test_while_a_disk_is_plugged_nothing_else_is_done() -> None:
    with Sandbox(users={"alice": "pw-a"}, opennebula_seconds=1) as slow:
        her = One(slow, "alice:pw-a")
        volume, vm = her.volume("v"), her.start()
        wait_for(lambda: her.image_state(volume), 1)
        her("vm.attach", vm, disk(volume))
        machine = her.vm(vm)
        assert her.state(vm) == (3, 17)
        assert machine.findtext("TEMPLATE/DISK/ATTACH") == "YES"
        assert machine.findtext("TEMPLATE/DISK/TARGET") == "sda"
        assert her.image_state(volume) == 8
        for action in ("reboot", "poweroff"):
            words = f'Error performing action "{action}": '
            words += "This action is not available for state HOTPLUG"
            assert her.refusal("vm.action", action, vm) == (2048, words)
        for action in ("terminate", "terminate-hard"):
            words = f'Error performing action "{action}": '
            words += f"Could not terminate VM {vm}, wrong state HOTPLUG."
            assert her.refusal("vm.action", action, vm) == (2048, words)
        words = f"Could not attach a new disk to VM {vm}, wrong state HOTPLUG."
        assert her.refusal("vm.attach", vm, "DISK=[TYPE=fs,SIZE=1]") == (2048, words)
        words = f"Could not detach disk from VM {vm}, wrong state HOTPLUG."
        assert her.refusal("vm.detach", vm, 0) == (2048, words)
        wait_for(lambda: her.state(vm), RUNNING)
        assert her.vm(vm).find("TEMPLATE/DISK/ATTACH") is None
        her("vm.detach", vm, 0)
        assert her.vm(vm).findtext("TEMPLATE/DISK/ATTACH") == "YES"
        wait_for(lambda: her.state(vm), RUNNING)
        assert her.image_state(volume) == 1


@pytest.mark.parametrize("state", ["STOPPED", "UNDEPLOYED", "DONE"])
def test_nothing_comes_or_goes_without_a_host(her: One, vm: int, state: str) -> None:
    action = {"STOPPED": "stop", "UNDEPLOYED": "undeploy", "DONE": "terminate"}[state]
    her("vm.action", action, vm)
    wrong = f"Could not attach a new disk to VM {vm}, wrong state {state}."
    assert her.refusal("vm.attach", vm, "DISK=[TYPE=fs,SIZE=1]") == (2048, wrong)
    wrong = f"Could not detach disk from VM {vm}, wrong state {state}."
    assert her.refusal("vm.detach", vm, 0) == (2048, wrong)
    wrong = f"Could not resize disk for VM {vm}, wrong state {state}."
    assert her.refusal("vm.diskresize", vm, 0, "900") == (2048, wrong)


@pytest.mark.parametrize(
    ("text", "target", "kind"),
    [
        ('DISK=[IMAGE_ID={},TARGET="vdq"]', "vdq", "FILE"),
        ('DISK=[IMAGE_ID={},TARGET="nonsense"]', "nonsense", "FILE"),
        ('DISK=[IMAGE_ID={},DEV_PREFIX="xvd"]', "xvda", "FILE"),
        ("DISK=[IMAGE_ID={}]\nDISK=[TYPE=fs,SIZE=1]", "vdb", "FILE"),
        ('DISK=[TYPE="fs",SIZE="50",FORMAT="raw",DEV_PREFIX="vd"]', "vdb", "fs"),
        ('DISK=[TYPE="swap",SIZE="50",DEV_PREFIX="vd"]', "vdb", "swap"),
        ("<X><DISK><IMAGE_ID>{}</IMAGE_ID></DISK></X>", "vdb", "FILE"),
    ],
    ids=["target", "nonsense", "prefix", "the first", "volatile", "swap", "XML"],
)
def test_devices(her: One, vm: int, volume: int, text: str, target: str, kind: str) -> None:
    her("vm.attach", vm, text.format(volume), "more")
    _, *added = her.vm(vm).findall("TEMPLATE/DISK")
    assert [(one.findtext("TARGET"), one.findtext("TYPE")) for one in added] == [(target, kind)]
    her("vm.detach", vm, 2)
    her("vm.attach", vm, "DISK=[TYPE=fs,SIZE=1]")
    assert her.vm(vm).findall("TEMPLATE/DISK")[1].findtext("DISK_ID") == "2"  # used again


def test_what_is_not_a_volume_can_be_attached_too(her: One, vm: int) -> None:
    disc = her("image.allocate", f'NAME="cd{next(NAMES)}"\nTYPE=CDROM\nSIZE=1', 1)
    for image in (disc, 0):
        her("vm.attach", vm, f"DISK=[IMAGE_ID={image}]")
    _, cd, copy = her.vm(vm).findall("TEMPLATE/DISK")
    new = her("system.version") == "7.4.0"
    said = [cd.findtext(tag) for tag in ("TYPE", "READONLY", "TARGET", "PERSISTENT")]
    assert said == ["CDROM", "YES", "sdb" if new else "hdb", None]
    said = [copy.findtext(tag) for tag in ("TYPE", "CLONE", "SAVE", "PERSISTENT", "IMAGE_STATE")]
    assert said == ["FILE", "YES", "NO", None, "2"]


def test_a_volume_in_use_is_in_no_machine_of_a_template(her: One, vm: int, volume: int) -> None:
    her("vm.attach", vm, disk(volume))
    text = f'NAME="t{next(NAMES)}"\nCPU=1\nMEMORY=64\n{disk(volume)}'
    template = her("template.allocate", text)
    words = "Error allocating a new virtual machine template. DISK 0: "
    words += f"Cannot acquire image {volume}, it is persistent and already in use"
    assert her.refusal("template.instantiate", template, "m") == (16384, words)
    code, words = her.refusal("template.instantiate", template, "m", False, "", True)
    assert (code, words[:22]) == (2048, "Failed to clone images")


def test_a_volume_that_others_may_use_blocks_its_owner(both: Sandbox, her: One, vm: int) -> None:
    him = One(both, "bob:pw-b")
    theirs = him.volume(f"b{next(NAMES)}")
    him("image.chmod", theirs, -1, -1, -1, -1, -1, -1, 1, -1, -1)
    her("vm.attach", vm, disk(theirs))
    words = "Cannot delete image. There are 1 VMs using it."
    assert him.refusal("image.delete", theirs) == (2048, words)
    assert him.refusal("vm.action", "terminate", vm)[0] == 512


@pytest.mark.parametrize("state", ["POWEROFF", "SUSPENDED"])
def test_a_disk_becomes_an_image_at_rest(her: One, vm: int, state: str) -> None:
    her("vm.action", "poweroff" if state == "POWEROFF" else "suspend", vm)
    now = her.state(vm)
    image = her("vm.disksaveas", vm, 0, f"s{next(NAMES)}", "", -1)
    assert (her.image_state(image), her.state(vm)) == (1, now)


def test_no_size_is_too_large_for_a_disk(her: One, vm: int) -> None:
    """No check against the datastore."""
    her("vm.diskresize", vm, 0, str(900 * 1024 * 1024))
    assert her.vm(vm).findtext("TEMPLATE/DISK/SIZE") == "943718400"


def test_snapshots_in_their_order(her: One, vm: int) -> None:
    for name in ("one", "two"):
        her("vm.disksnapshotcreate", vm, 0, name)
    first, second = her.vm(vm).findall("SNAPSHOTS/SNAPSHOT")
    assert (first.findtext("PARENT"), first.findtext("CHILDREN")) == ("-1", "1")
    assert (second.findtext("PARENT"), second.findtext("CHILDREN")) == ("0", None)
    found = her.vm(vm).find("SNAPSHOTS")
    assert found is not None
    said = [found.findtext(tag) for tag in ("ALLOW_ORPHANS", "DISK_ID", "NEXT_SNAPSHOT")]
    assert said == ["NO", "0", "2"]
    her("vm.disksnapshotdelete", vm, 0, 0)  # though it has a child
    assert her.refusal("vm.disksnapshotdelete", vm, 0, 1)[0] == 2048  # the active one
    assert her.refusal("vm.disksnapshotrevert", vm, 0, 9) == (2048, "Snapshot does not exist")
    assert her.refusal("vm.disksnapshotrevert", vm, 7, 0) == (2048, "VM disk does not exist")
