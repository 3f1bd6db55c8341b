"""
The states that do not last, of machines and images, and what is refused in them
(opennebula-modern 4 to 7): on a site where nothing goes on before a test lets it.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import pytest
from engine_callers import One

from stratuslab_libcloud.sandbox.machines import Phase
from stratuslab_libcloud.sandbox.opennebula.new_images import made
from stratuslab_libcloud.sandbox.opennebula.states import KNOWN
from stratuslab_libcloud.sandbox.site import Sandbox

NAMES = itertools.count()
NEVER = 86_400.0
NEW = "Error allocating a new image. "
TO_RUNNING = (Phase.PROLOG, Phase.BOOT, Phase.RUNNING)
VOLATILE = 'DISK=[TYPE="fs",SIZE="1"]'


class Still:
    """A caller on a site where machines and steps wait for ever, and what lets them go on."""

    def __init__(self, site: Sandbox) -> None:
        self.her = One(site, "alice:pw-a")
        self.site = site
        self.core = site.opennebula._core

    def enter(self, number: int, *phases: Phase) -> int:
        """As the machinery reports it."""
        self.core.report(number, *phases)
        return number

    @contextlib.contextmanager
    def hurried(self) -> Iterator[None]:
        """Steps are over before the call is answered."""
        pool, self.core._pool = self.core._pool, None
        try:
            yield
        finally:
            self.core._pool = pool

    def running(self, *more: str) -> int:
        return self.enter(self.her.start(*more), *TO_RUNNING)

    def after(self, action: str, *phases: Phase) -> int:
        number = self.running()
        self.her("vm.action", action, number)
        return self.enter(number, *phases)

    def suspended(self, *more: str) -> int:
        number = self.running(*more)
        with self.hurried():
            self.her("vm.action", "suspend", number)
        return number

    def powered_off(self, *more: str) -> int:
        number = self.running(*more)
        self.her("vm.action", "poweroff", number)
        return self.enter(number, Phase.EPILOG, Phase.DONE)

    def undeployed(self, *more: str) -> int:
        number = self.running(*more)
        self.her("vm.action", "undeploy", number)
        return self.enter(number, Phase.EPILOG, Phase.DONE)

    def stopped(self, *more: str) -> int:
        number = self.suspended(*more)
        with self.hurried():
            self.her("vm.action", "stop", number)
        return number

    def failed(self, step: str, *phases: Phase) -> int:
        self.site.opennebula.fail(step, "injected: no")
        return self.enter(self.her.start(), *phases)

    def volume(self, *more: str) -> int:
        with self.hurried():
            return self.her.volume(f"s{next(NAMES)}", *more)

    def locked(self, *more: str) -> int:
        return self.her.volume(f"s{next(NAMES)}", *more)

    def cloning(self, *more: str) -> int:
        return self.her.start(f"DISK=[IMAGE_ID={self.locked(*more)}]")


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with Sandbox(
        users={"alice": "pw-a"},
        boot_seconds=NEVER,
        ending_seconds=NEVER,
        opennebula_seconds=NEVER,
    ) as site:
        yield site


@pytest.fixture
def still(site: Sandbox) -> Still:
    return Still(site)


def attaching(still: Still) -> int:
    number = still.running()
    still.her("vm.attach", number, VOLATILE)
    return number


def cloning_failure(still: Still) -> int:
    number = still.cloning()
    still.site.opennebula.fail("image", "injected: no")
    made(still.core, int(still.her.vm(number).findtext("TEMPLATE/DISK/IMAGE_ID", "")))
    return number


def epilog_failure(still: Still) -> int:
    still.site.opennebula.fail("epilog", "injected: no")
    return still.after("terminate", Phase.EPILOG, Phase.DONE)


STATES: dict[str, tuple[Callable[[Still], int], tuple[int, int]]] = {
    "PENDING": (lambda still: still.her.start(), (1, 0)),
    "CLONING": (lambda still: still.cloning(), (10, 0)),
    "CLONING_FAILURE": (cloning_failure, (11, 0)),
    "PROLOG": (lambda still: still.enter(still.her.start(), Phase.PROLOG), (3, 1)),
    "BOOT": (lambda still: still.enter(still.her.start(), *TO_RUNNING[:2]), (3, 2)),
    "SAVE_STOP": (lambda still: still.after("stop"), (3, 5)),
    "SAVE_SUSPEND": (lambda still: still.after("suspend"), (3, 6)),
    "EPILOG": (lambda still: still.after("terminate", Phase.EPILOG), (3, 11)),
    "SHUTDOWN": (lambda still: still.after("terminate"), (3, 12)),
    "UNKNOWN": (lambda still: still.enter(still.running(), Phase.UNKNOWN), (3, 16)),
    "HOTPLUG": (attaching, (3, 17)),
    "SHUTDOWN_POWEROFF": (lambda still: still.after("poweroff"), (3, 18)),
    "SHUTDOWN_UNDEPLOY": (lambda still: still.after("undeploy"), (3, 29)),
    "BOOT_FAILURE": (lambda still: still.failed("boot", *TO_RUNNING), (3, 36)),
    "PROLOG_FAILURE": (
        lambda still: still.enter(still.her.start(), Phase.PROLOG, Phase.FAILURE),
        (3, 39),
    ),
    "EPILOG_FAILURE": (epilog_failure, (3, 40)),
}
ENDS = {"terminate": (6, 0), "terminate-hard": (6, 0)}
CLEANED = {"terminate": (3, 23), "terminate-hard": (3, 23)}
ACCEPTED: dict[str, dict[str, tuple[int, int]]] = {
    "PENDING": {**ENDS, "hold": (2, 0)},
    "CLONING": {"terminate-hard": (6, 0)},
    "CLONING_FAILURE": ENDS,
    "SHUTDOWN": {"terminate-hard": (3, 12)},
    "SHUTDOWN_POWEROFF": {"poweroff-hard": (3, 18)},
    "UNKNOWN": {
        **dict.fromkeys(("terminate", "terminate-hard"), (3, 12)),
        **dict.fromkeys(("poweroff", "poweroff-hard"), (3, 18)),
        **dict.fromkeys(("undeploy", "undeploy-hard"), (3, 29)),
        "resume": (3, 19),
    },
    **dict.fromkeys(("BOOT_FAILURE", "PROLOG_FAILURE", "EPILOG_FAILURE"), CLEANED),
}


@pytest.mark.parametrize("state", STATES)
def test_every_action_in_a_state_that_passes(still: Still, state: str) -> None:
    her, (make, now) = still.her, STATES[state]
    accepted = ACCEPTED.get(state, {})
    number = make(still)
    assert her.state(number) == now
    for action in sorted(KNOWN - set(accepted)):
        words = f"This action is not available for state {state}"
        if action.startswith("terminate"):
            words = f"Could not terminate VM {number}, wrong state {state}."
        assert her.refusal("vm.action", action, number) == (
            2048,
            f'Error performing action "{action}": {words}',
        )
    assert her.state(number) == now
    for action, then in accepted.items():
        number = make(still)
        assert her("vm.action", action, number) == number
        assert her.state(number) == then, action


@pytest.mark.parametrize(
    "state", ["PROLOG", "BOOT", "SAVE_STOP", "EPILOG", "SHUTDOWN", "BOOT_FAILURE"]
)
def test_nothing_is_changed_in_a_state_that_passes(still: Still, state: str) -> None:
    her, number = still.her, STATES[state][0](still)
    assert her.refusal("vm.attach", number, VOLATILE) == (
        2048,
        f"Could not attach a new disk to VM {number}, wrong state {state}.",
    )
    words = f"Could not attach a new NIC to VM {number}, wrong state {state}."
    assert her.refusal("vm.attachnic", number, "NIC=[NETWORK_ID=0]") == (2048, words)
    words = f"Could not create a new snapshot for VM {number}, wrong state {state}."
    assert her.refusal("vm.snapshotcreate", number, "s") == (2048, words)
    words = f"Cannot resize a VM in state {state}"
    assert her.refusal("vm.resize", number, "CPU=2", True) == (2048, words)


def test_a_failure_says_why_and_cloning_does_not(still: Still) -> None:
    assert still.her.error(STATES["BOOT_FAILURE"][0](still)).endswith(": DEPLOY: injected: no")
    assert still.her.error(STATES["EPILOG_FAILURE"][0](still)).endswith(": EPILOG: injected: no")
    assert still.her.error(STATES["CLONING_FAILURE"][0](still)) == ""


@pytest.mark.parametrize("state", ["BOOT_FAILURE", "PROLOG_FAILURE", "EPILOG_FAILURE"])
def test_a_machine_that_ends_out_of_a_failure_spoils_its_volumes_only(
    still: Still, state: str
) -> None:
    her, volume = still.her, still.volume()
    disks = f"DISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID={volume}]"
    if state == "EPILOG_FAILURE":
        number = still.running(disks)
        still.site.opennebula.fail("epilog", "injected: no")
        her("vm.action", "terminate", number)
        still.enter(number, Phase.EPILOG, Phase.DONE)
    else:
        number = her.start(disks)
        failing = TO_RUNNING[:1] if state == "PROLOG_FAILURE" else TO_RUNNING[:2]
        still.enter(number, *failing, Phase.FAILURE)
    assert her.state(number) == STATES[state][1]
    her("vm.action", "terminate-hard", number)
    still.enter(number, Phase.DONE)
    assert her.state(number) == (6, 0)
    assert (her.image_state(volume), her.image_state(0) in (1, 2)) == (5, True)
    assert her.image(volume).find("TEMPLATE/ERROR") is None
    words = f"{NEW}Cannot clone image in state: ERROR"
    assert her.refusal("image.clone", volume, "c") == (16384, words)
    other = still.running()
    words = f"Cannot acquire image {volume}, it is in state: ERROR"
    assert her.refusal("vm.attach", other, f"DISK=[IMAGE_ID={volume}]") == (2048, words)
    her("image.enable", volume, True)
    with still.hurried():
        her("vm.attach", other, f"DISK=[IMAGE_ID={volume}]")
    assert her.image_state(volume) == 8


@pytest.mark.parametrize(
    "state", ["PENDING", "RUNNING", "POWEROFF", "SUSPENDED", "STOPPED", "UNDEPLOYED"]
)
def test_a_machine_that_ends_otherwise_does_not(still: Still, state: str) -> None:
    her, volume = still.her, still.volume()
    disk = f"DISK=[IMAGE_ID={volume}]"
    make = {
        "PENDING": her.start,
        "RUNNING": still.running,
        "POWEROFF": still.powered_off,
        "SUSPENDED": still.suspended,
        "STOPPED": still.stopped,
        "UNDEPLOYED": still.undeployed,
    }[state]
    number = make(disk)
    assert her.image_state(volume) == 8
    her("vm.action", "terminate-hard", number)
    still.enter(number, Phase.DONE)
    assert (her.state(number), her.image_state(volume)) == ((6, 0), 1)


# -- changes


Change = Callable[[One, int], object]
HOT: dict[str, tuple[Change, dict[str, tuple[int, int]]]] = {
    "attach": (
        lambda her, vm: her("vm.attach", vm, VOLATILE),
        {"RUNNING": (3, 17), "POWEROFF": (3, 33)},
    ),
    "detach": (
        lambda her, vm: her("vm.detach", vm, 0),
        {"RUNNING": (3, 17), "POWEROFF": (3, 34)},
    ),
    "attach nic": (
        lambda her, vm: her("vm.attachnic", vm, "NIC=[NETWORK_ID=0]"),
        {"RUNNING": (3, 25), "POWEROFF": (3, 65)},
    ),
    "save as": (
        lambda her, vm: her("vm.disksaveas", vm, 0, f"s{next(NAMES)}", "", -1),
        {"RUNNING": (3, 26), "POWEROFF": (3, 27), "SUSPENDED": (3, 28)},
    ),
    "snapshot": (lambda her, vm: her("vm.snapshotcreate", vm, ""), {"RUNNING": (3, 24)}),
    "disk snapshot": (
        lambda her, vm: her("vm.disksnapshotcreate", vm, 0, "s"),
        {"RUNNING": (3, 57), "POWEROFF": (3, 51), "SUSPENDED": (3, 54)},
    ),
    "disk snapshot revert": (
        lambda her, vm: her("vm.disksnapshotrevert", vm, 0, 0),
        {"POWEROFF": (3, 52)},
    ),
    "disk snapshot delete": (
        lambda her, vm: her("vm.disksnapshotdelete", vm, 0, 0),
        {"RUNNING": (3, 59), "POWEROFF": (3, 53)},
    ),
    "resize": (lambda her, vm: her("vm.resize", vm, "CPU=2", True), {"RUNNING": (3, 66)}),
    "disk resize": (
        lambda her, vm: her("vm.diskresize", vm, 0, "500"),
        {"RUNNING": (3, 62), "POWEROFF": (3, 63)},
    ),
}


def prepared(still: Still, what: str, state: str) -> int:
    """A machine in a state, with two snapshots of its disk if one is needed."""
    make = {
        "RUNNING": still.running,
        "POWEROFF": still.powered_off,
        "SUSPENDED": still.suspended,
    }[state]
    number = make("DISK=[IMAGE_ID=0]")
    if what in ("disk snapshot revert", "disk snapshot delete"):
        with still.hurried():
            for name in ("one", "two"):
                still.her("vm.disksnapshotcreate", number, 0, name)
    return number


@pytest.mark.parametrize(
    ("what", "state"), [(what, state) for what, (_, states) in HOT.items() for state in states]
)
def test_a_change_shows_before_it_is_answered(still: Still, what: str, state: str) -> None:
    call, states = HOT[what]
    number = prepared(still, what, state)
    call(still.her, number)
    assert still.her.state(number) == states[state]


@pytest.mark.parametrize(
    ("what", "state"), [(what, next(iter(states))) for what, (_, states) in HOT.items()]
)
def test_a_change_that_fails_only_shows(still: Still, what: str, state: str) -> None:
    """Everything is as before, and there is a new text."""
    her, number = still.her, prepared(still, what, state)
    now, before = her.state(number), without_error(her, number)
    still.site.opennebula.fail(what, "injected: no")
    with still.hurried():
        HOT[what][0](her, number)
    assert her.state(number) == now
    assert her.error(number).endswith(": injected: no")
    assert without_error(her, number) == before


def without_error(her: One, number: int) -> list[str]:
    """What a machine has, and how large it is."""
    machine = her.vm(number)
    found = [
        *(f"DISK {one.findtext('DISK_ID')}" for one in machine.iterfind("TEMPLATE/DISK")),
        *(f"NIC {one.findtext('NIC_ID')}" for one in machine.iterfind("TEMPLATE/NIC")),
        *(f"S {one.findtext('SNAPSHOT_ID')}" for one in machine.iterfind("TEMPLATE/SNAPSHOT")),
    ]
    for one in machine.iterfind("SNAPSHOTS/SNAPSHOT"):
        found.append(f"D {one.findtext('ID')} {one.findtext('ACTIVE')}")
    paths = ("CPU", "MEMORY", "DISK/SIZE", "DISK/ATTACH")
    return found + [str(machine.findtext(f"TEMPLATE/{path}")) for path in paths]


def test_what_is_larger_shows_before_it_is(still: Still) -> None:
    number = still.running()
    still.her("vm.resize", number, "CPU=2\nMEMORY=128", True)
    machine = still.her.vm(number)
    assert (still.her.state(number), machine.findtext("TEMPLATE/MEMORY")) == ((3, 66), "128")


def test_sizes_change_at_once_at_rest(still: Still) -> None:
    her = still.her
    number = her.start()
    her("vm.resize", number, "MEMORY=900000000", False)  # anything goes
    assert her.vm(number).findtext("TEMPLATE/MEMORY") == "900000000"
    held = her("vm.allocate", "CPU=1\nMEMORY=64", True)
    for number, now in ((held, (2, 0)), (still.powered_off(), (8, 0))):
        her("vm.resize", number, "CPU=2", True)
        assert her.state(number) == now
        assert her.vm(number).findtext("TEMPLATE/CPU") == "2"


# -- images


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
