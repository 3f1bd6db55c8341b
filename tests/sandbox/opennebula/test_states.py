"""
The states of machines that do not last, and what is refused in them (opennebula-modern 5 to 7).
"""

from collections.abc import Callable

import pytest
from engine_callers import One
from stills import NAMES, TO_RUNNING, Still, cloning_failure

from stratuslab_libcloud.sandbox.machines import Phase
from stratuslab_libcloud.sandbox.opennebula.states import KNOWN

NEW = "Error allocating a new image. "
VOLATILE = 'DISK=[TYPE="fs",SIZE="1"]'


def attaching(still: Still) -> int:
    number = still.running()
    still.her("vm.attach", number, VOLATILE)
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
