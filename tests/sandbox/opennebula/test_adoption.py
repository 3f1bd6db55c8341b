"""What a sandbox makes of what the one before was in the middle of (opennebula-modern 5 to 7)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from callers import JANE
from engine_callers import One

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.site import Sandbox

RUNNING, POWEROFF, UNDEPLOYED = (3, 3), (8, 0), (9, 0)
SUSPENDED, STOPPED = (5, 0), (4, 0)
LONG = 3600.0  # seconds of a step that no test waits for

# What is asked of a machine; any other word is an action.
ASKED: dict[str, Callable[[One, int], object]] = {
    "attach": lambda her, number: her("vm.attach", number, "DISK=[TYPE=fs,SIZE=1]"),
    "snapshot": lambda her, number: her("vm.disksnapshotcreate", number, 0, "s"),
    "save": lambda her, number: her("vm.disksaveas", number, 0, "saved", "", -1),
    "resize": lambda her, number: her("vm.resize", number, "MEMORY=128", True),
}


# The action before, what is asked for then, the state meanwhile, and the one after adoption.
CASES = [
    ("", "attach", (3, 17), RUNNING),
    ("", "snapshot", (3, 57), RUNNING),
    ("", "save", (3, 26), RUNNING),
    ("", "resize", (3, 66), RUNNING),
    ("", "suspend", (3, 6), SUSPENDED),
    ("", "stop", (3, 5), STOPPED),
    ("poweroff", "attach", (3, 33), POWEROFF),
    ("poweroff", "snapshot", (3, 51), POWEROFF),
    ("poweroff", "undeploy", (3, 30), UNDEPLOYED),
    ("suspend", "snapshot", (3, 54), SUSPENDED),
    ("suspend", "save", (3, 28), SUSPENDED),
    ("suspend", "stop", (3, 10), STOPPED),
    ("suspend", "resume", (3, 21), RUNNING),
    ("stop", "resume", (1, 0), RUNNING),
]


def site_in(directory: Path) -> Sandbox:
    return Sandbox(directory, users=dict([JANE]), keep_machines=True)


def slow_down(site: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps that begin from now on take longer than the sandbox lives."""
    monkeypatch.setattr(site.opennebula._core, "_seconds", LONG)
    monkeypatch.setattr(site.opennebula._core, "_pool", ThreadPoolExecutor(1))


@pytest.mark.parametrize(
    ("before", "asked", "meanwhile", "then"),
    CASES,
    ids=[f"{before or 'run'}, {asked}" for before, asked, *_ in CASES],
)
def test_a_change_is_undone_and_a_pause_is_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    asked: str,
    meanwhile: tuple[int, int],
    then: tuple[int, int],
) -> None:
    with site_in(tmp_path) as site:
        her = One(site, ":".join(JANE))
        number = her.start("DISK=[IMAGE_ID=0]")
        if before:
            her("vm.action", before, number)
        slow_down(site, monkeypatch)
        if asked in ASKED:
            ASKED[asked](her, number)
        else:
            her("vm.action", asked, number)
        assert her.state(number) == meanwhile
    with site_in(tmp_path) as site:
        her = One(site, ":".join(JANE))
        assert her.state(number) == then
        assert her.vm(number).find("TEMPLATE/DISK/ATTACH") is None
        her("vm.action", "terminate", number)
        assert her.state(number) == (6, 0)


def test_a_machine_that_waits_for_an_image_that_was_being_made_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site_in(tmp_path) as site:
        her = One(site, ":".join(JANE))
        slow_down(site, monkeypatch)
        volume = her.volume("data")
        number = her.start(f"DISK=[IMAGE_ID={volume}]")
        assert her.state(number) == (10, 0)
    with site_in(tmp_path) as site:
        her = One(site, ":".join(JANE))
        assert (her.image_state(volume), her.state(number)) == (5, (11, 0))


@pytest.mark.parametrize(
    ("action", "call", "state", "words"),
    [("suspend", "pause", RUNNING, "SAVE: no"), ("resume", "go_on", SUSPENDED, "RESTORE: no")],
    ids=["suspend", "resume"],
)
def test_a_pause_that_fails_leaves_the_state_and_the_reason(
    site: Sandbox,
    alice: One,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    call: str,
    state: tuple[int, int],
    words: str,
) -> None:
    def refuse(number: int) -> None:
        raise MachineError("no")

    number = alice.start()
    if action == "resume":
        alice("vm.action", "suspend", number)
    monkeypatch.setattr(site.opennebula._core.machinery, call, refuse)
    alice("vm.action", action, number)
    assert alice.state(number) == state
    assert alice.error(number).endswith(f": {words}")
