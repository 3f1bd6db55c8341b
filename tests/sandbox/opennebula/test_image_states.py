"""The states of images that do not last, and what is refused in them (opennebula-modern 4, 7)."""

from collections.abc import Callable

import pytest
from stills import NAMES, Still, cloning_failure

from stratuslab_libcloud.sandbox.opennebula.new_images import made

NEW = "Error allocating a new image. "


def test_an_image_that_is_copied(still: Still) -> None:
    """A persistent one cannot be used meanwhile, another one can, and neither be deleted."""
    her, volume = still.her, still.volume()
    copy = her("image.clone", volume, f"c{next(NAMES)}")
    found = her.image(copy)
    assert (found.findtext("STATE"), found.findtext("CLONING_ID")) == ("4", str(volume))
    assert (found.findtext("PERSISTENT"), found.findtext("TYPE")) == ("1", "2")
    assert (her.image_state(volume), her.image(volume).findtext("CLONING_OPS")) == (6, "1")
    machine = still.running()
    words = f"Cannot acquire image {volume}, it is in state: CLONE"
    assert her.refusal("vm.attach", machine, f"DISK=[IMAGE_ID={volume}]") == (2048, words)
    words = "Cannot delete image. There are 0 VMs using it."
    assert her.refusal("image.delete", volume) == (2048, words)
    with still.hurried():
        plain = her.volume(f"s{next(NAMES)}")
        her("image.persistent", plain, False)
    her("image.clone", plain, f"c{next(NAMES)}")
    assert her.image_state(plain) == 2
    assert her.refusal("image.delete", plain) == (2048, words)
    with still.hurried():
        her("vm.attach", machine, f"DISK=[IMAGE_ID={plain}]")
    made(still.core, copy)
    assert (her.image_state(volume), her.image(copy).findtext("CLONING_ID")) == (1, "-1")


def test_an_image_that_is_deleted(still: Still) -> None:
    """It is there for a while, keeps its name, and is deleted again without an error."""
    her, volume = still.her, still.volume()
    name = her.image(volume).findtext("NAME")
    for _ in range(2):
        assert her("image.delete", volume) == volume
        assert her.image_state(volume) == 7
    words = f"{NEW}NAME is already taken by IMAGE {volume}."
    assert her.refusal("image.allocate", f'NAME="{name}"\nSIZE=1', 1) == (16384, words)
    words = f"Cannot acquire image {volume}, it is in state: DELETE"
    machine = still.running()
    assert her.refusal("vm.attach", machine, f"DISK=[IMAGE_ID={volume}]") == (2048, words)


def test_an_image_that_is_saved(still: Still) -> None:
    her, number = still.her, still.running("DISK=[IMAGE_ID=0]")
    image = her("vm.disksaveas", number, 0, f"s{next(NAMES)}", "DATABLOCK", -1)
    found = her.image(image)
    said = {tag: found.findtext(tag) for tag in ("STATE", "FORMAT", "TYPE", "PERSISTENT")}
    assert said == {"STATE": "4", "FORMAT": "save_as", "TYPE": "2", "PERSISTENT": "0"}
    assert found.findtext("TEMPLATE/SAVED_VM_ID") == str(number)
    assert her.refusal("image.delete", image)[1].startswith("Image locked, use --force flag")


def test_machines_wait_for_an_image_that_is_made(still: Still) -> None:
    her, volume = still.her, still.locked()
    machine = her.start(f"DISK=[IMAGE_ID={volume}]")
    assert her.vm(machine).findtext("TEMPLATE/DISK/CLONING") == "YES"
    assert (her.state(machine), her.image_state(volume)) == ((10, 0), 10)
    plain = her("image.allocate", f'NAME="s{next(NAMES)}"\nSIZE=1', 1)
    other = her.start(f"DISK=[IMAGE_ID={plain}]")
    assert (her.state(other), her.image_state(plain)) == ((10, 0), 9)
    for image in (volume, plain):
        made(still.core, image)
    assert (her.image_state(volume), her.image_state(plain)) == (8, 2)
    for number in (machine, other):
        assert her.state(number) == (1, 0)
        assert her.vm(number).find("TEMPLATE/DISK/CLONING") is None


def test_a_machine_whose_image_fails_ends_and_leaves_it(still: Still) -> None:
    her, number = still.her, cloning_failure(still)
    image = int(her.vm(number).findtext("TEMPLATE/DISK/IMAGE_ID", ""))
    her("vm.action", "terminate", number)
    assert (her.state(number), her.image_state(image)) == ((6, 0), 5)
    assert her("image.delete", image) == image


IN_STATES: dict[str, tuple[Callable[[Still], int], bool]] = {
    "READY": (lambda still: still.volume(), True),
    "DISABLED": (lambda still: with_call(still, "image.enable", False), True),
    "ERROR": (lambda still: spoilt(still), True),
    "LOCKED": (lambda still: still.locked(), False),
    "CLONE": (lambda still: with_call(still, "image.clone", f"c{next(NAMES)}"), False),
    "DELETE": (lambda still: with_call(still, "image.delete"), False),
    "USED": (lambda still: used(still), False),
    "LOCKED_USED_PERS": (
        lambda still: int(
            still.her.vm(still.cloning()).findtext("TEMPLATE/DISK/IMAGE_ID", ""),
        ),
        False,
    ),
}


def with_call(still: Still, method: str, *more: object) -> int:
    volume = still.volume()
    still.her(method, volume, *more)
    return volume


def spoilt(still: Still) -> int:
    still.site.opennebula.fail("image", "injected: no")
    return still.volume()


def used(still: Still) -> int:
    volume = still.volume()
    still.her.start(f"DISK=[IMAGE_ID={volume}]")
    return volume


@pytest.mark.parametrize("state", IN_STATES)
def test_what_an_image_is_changes_at_rest_only(still: Still, state: str) -> None:
    her, (make, at_rest) = still.her, IN_STATES[state]
    image = make(still)
    if state == "USED":  # what it says of 8, too
        assert her.image_state(image) == 8
    calls: list[tuple[str, object, str]] = [
        ("image.persistent", False, "make image non-persistent"),
        ("image.persistent", True, "make image persistent"),
        ("image.enable", False, "disable image"),
        ("image.enable", True, "enable image"),
    ]
    for method, on, what in calls:
        if at_rest:
            assert her(method, image, on) == image
        else:
            words = f"Could not {what}: Image cannot be in state {state}."
            assert her.refusal(method, image, on) == (8192, words)
    for kind in ("CDROM", "os", "DATABLOCK"):
        assert her("image.chtype", image, kind) == image
    assert her.image(image).findtext("TYPE") == "2"
    assert her.refusal("image.chtype", image, "FLOPPY") == (8192, "known type ")
    assert her("image.lock", image, 1) == image
    words = f"Not authorized to perform MANAGE IMAGE [{image}]."
    assert her.refusal("image.chtype", image, "OS")[1].endswith(words)


def test_a_snapshot_of_an_image_is_taken_back_to_while_it_is_locked(still: Still) -> None:
    her, volume = still.her, still.volume()
    number = still.running()
    with still.hurried():
        her("vm.attach", number, f"DISK=[IMAGE_ID={volume}]")
        her("vm.disksnapshotcreate", number, 0, "s")
        her("vm.detach", number, 0)
    her("image.snapshotrevert", volume, 0)
    assert her.image_state(volume) == 4
    words = "Cannot revert to snapshot in state LOCKED"
    assert her.refusal("image.snapshotrevert", volume, 0) == (2048, words)
