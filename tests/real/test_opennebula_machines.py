"""Machines of the modern engine on QEMU that boot next to nothing: states, ends, adoption."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from callers import JANE, Elsewhere, elsewhere
from engine_callers import One
from machines import counting, obliging, processes, real_sandbox, still, wait_for

from stratuslab_libcloud.sandbox import SandboxError
from stratuslab_libcloud.sandbox.machines import console
from stratuslab_libcloud.sandbox.registering import register_image
from stratuslab_libcloud.sandbox.site import Sandbox

PENDING, RUNNING, POWEROFF = (1, 0), (3, 3), (8, 0)
STOPPED, SUSPENDED, DONE = (4, 0), (5, 0), (6, 0)
USERS = dict([JANE])
LONG = 3600.0  # seconds of a step that no test waits for


class Lab:
    """A site's modern engine, and somebody who starts machines in it."""

    def __init__(self, site: Sandbox | Elsewhere, directory: Path) -> None:
        self.site: Any = site  # some tests look into their own Sandbox
        self.her = One(site, ":".join(JANE))
        self.directory = directory

    def start(self, image: str, *more: str, hold: bool = False) -> int:
        pool = self.her.document("imagepool.info", -2, -1, -1)
        (number,) = (one.findtext("ID") for one in pool if one.findtext("NAME") == image)
        lines = ("CPU=1", "MEMORY=64", f"DISK=[IMAGE_ID={number}]", *more)
        return int(self.her("vm.allocate", "\n".join(lines), hold))

    def run(self, image: str, *more: str) -> int:
        number = self.start(image, *more)
        self.reaches(number, RUNNING)
        return number

    def act(self, action: str, number: int, state: tuple[int, int]) -> None:
        self.her("vm.action", action, number)
        self.reaches(number, state)

    def reaches(self, number: int, state: tuple[int, int]) -> None:
        wait_for(
            lambda: self.her.state(number) == state,
            f"machine {number} does not get to {state}",
        )

    def volume(self, name: str) -> int:
        volume = self.her.volume(name, 'DEV_PREFIX="vd"', size=1)
        wait_for(lambda: self.her.image_state(volume) == 1, "the volume is not ready")
        return volume

    def folder(self, number: int) -> Path:
        return self.directory / "vms" / str(number)

    def counted(self, number: int) -> list[int]:
        """The numbers that a machine that counts has written since it booted."""
        lines = console.read(self.folder(number)).decode().split("\n")[:-1]
        return [int("".join(f"{ord(one) - ord('A'):x}" for one in line), 16) for line in lines]

    def counts_on(self, number: int) -> None:
        """Assert that it goes on from where it was."""
        before = len(self.counted(number))
        wait_for(lambda: len(self.counted(number)) > before + 5, "it does not count on")
        counted = self.counted(number)
        assert counted == list(range(1, len(counted) + 1))

    def status(self, number: int) -> str:
        """What QEMU says of a machine's processors; nothing until it has been adopted."""
        machinery = self.site.opennebula._core.machinery
        life = machinery._lives.get(number)
        if life is None or life.monitor is None:
            return ""
        return str(machinery._loop.wait_for(life.monitor.execute("query-status"))["status"])


def offer(directory: Path) -> None:
    """The engine of a site offers those images that were registered before it started."""
    images = directory / "images of the tests"
    images.mkdir(parents=True)
    for make in (still, counting, obliging):
        register_image(directory, make(images), "raw", title=make.__name__)


@contextlib.contextmanager
def lab_in(directory: Path, **options: object) -> Iterator[Lab]:
    with real_sandbox(directory, users=USERS, **options) as site:
        yield Lab(site, directory)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("site")
    offer(directory)
    with lab_in(directory) as lab:
        yield lab


# -- states


def test_suspended_and_stopped_machines_keep_their_memory_and_others_do_not(lab: Lab) -> None:
    number = lab.run("counting")
    lab.counts_on(number)
    pids = processes(lab.directory)
    for action, state in (("suspend", SUSPENDED), ("stop", STOPPED)):
        lab.act(action, number, state)
        assert lab.status(number) == "paused"
    lab.act("resume", number, RUNNING)
    lab.counts_on(number)
    lab.act("stop", number, STOPPED)
    assert lab.status(number) == "paused"
    lab.act("resume", number, RUNNING)
    lab.counts_on(number)
    assert processes(lab.directory) == pids
    lab.act("poweroff-hard", number, POWEROFF)
    assert processes(lab.directory) == []
    lab.act("resume", number, RUNNING)
    lab.counts_on(number)  # from 1, in a console that is new
    lab.act("terminate-hard", number, DONE)


def test_a_held_machine_does_not_run_until_it_is_released(lab: Lab) -> None:
    number = lab.start("still", hold=True)
    assert lab.her.state(number) == (2, 0)
    assert not lab.folder(number).exists()
    lab.act("release", number, RUNNING)
    assert len(processes(lab.directory)) == 1
    lab.act("terminate-hard", number, DONE)


def test_what_has_ended_leaves_neither_process_nor_files(lab: Lab) -> None:
    ways = (("suspend", SUSPENDED), ("stop", STOPPED), ("poweroff-hard", POWEROFF))
    for action, state in (*ways, ("undeploy-hard", (9, 0))):
        number = lab.run("still")
        lab.act(action, number, state)
        assert lab.folder(number).exists()
        lab.act("terminate", number, DONE)
        wait_for(lambda: processes(lab.directory) == [], f"{action}: its process lives on")
        wait_for(lambda number=number: not lab.folder(number).exists(), "its files are left")


def test_one_that_is_ended_on_its_way_back_is_gone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(tmp_path)
    with real_sandbox(tmp_path, users=USERS) as site:
        lab = Lab(site, tmp_path)
        number = lab.run("still")
        lab.act("stop", number, STOPPED)
        monkeypatch.setattr(site.opennebula._core, "_seconds", LONG)
        lab.act("resume", number, PENDING)
        lab.act("terminate", number, DONE)
        wait_for(lambda: processes(tmp_path) == [], "its process lives on")
        wait_for(lambda: not lab.folder(number).exists(), "its files are left")


def test_a_sandbox_that_stops_ends_what_runs_and_keeps_what_is_off(
    lab: Lab, tmp_path: Path
) -> None:
    offer(tmp_path)
    with lab_in(tmp_path) as lab:
        off, suspended, running = (lab.run("still") for _ in range(3))
        lab.act("poweroff-hard", off, POWEROFF)
        lab.act("suspend", suspended, SUSPENDED)
        volume = lab.volume("data")
        lab.her("vm.attach", off, f"DISK=[IMAGE_ID={volume}]")
        lab.reaches(off, POWEROFF)
    assert processes(tmp_path) == []
    assert [path.name for path in (tmp_path / "vms").iterdir()] == [str(off)]
    with lab_in(tmp_path) as lab:
        assert [lab.her.state(number) for number in (suspended, running)] == [DONE, DONE]
        lab.act("resume", off, RUNNING)
        assert lab.her.image_state(volume) == 8


# -- adoption


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM])
def test_machines_that_outlive_the_sandbox_are_adopted(
    lab: Lab, tmp_path: Path, ended_by: signal.Signals
) -> None:
    offer(tmp_path)
    with elsewhere(tmp_path, "--keep-machines", machines="qemu") as site:
        lab = Lab(site, tmp_path)
        running, suspended, off = lab.run("obliging"), lab.run("counting"), lab.run("still")
        kept, moved = lab.volume("kept"), lab.volume("moved")
        for volume in (kept, moved):
            lab.her("vm.attach", running, f"DISK=[IMAGE_ID={volume}]")
            lab.reaches(running, RUNNING)
        lab.counts_on(suspended)
        lab.act("suspend", suspended, SUSPENDED)
        lab.act("poweroff-hard", off, POWEROFF)
        site.process.send_signal(ended_by)
        site.process.communicate(timeout=120)
    pids = processes(tmp_path)
    assert len(pids) == 2
    with pytest.raises(SandboxError, match=r"^real machines live on in .*: start it with real"):
        Sandbox(tmp_path, users=USERS).start()
    with lab_in(tmp_path) as lab:
        states = [lab.her.state(number) for number in (running, suspended, off)]
        assert states == [RUNNING, SUSPENDED, POWEROFF]
        assert processes(tmp_path) == pids
        assert wait_for(lambda: lab.status(suspended), "it is not adopted") == "paused"
        lab.act("resume", suspended, RUNNING)
        lab.counts_on(suspended)
        lab.act("resume", off, RUNNING)
        assert wait_for(lambda: lab.status(running), "it is not adopted") == "running"
        lab.her("vm.detach", running, 2)
        lab.reaches(running, RUNNING)
        assert lab.her.image_state(moved) == 1, lab.her.error(running)
        lab.act("terminate-hard", running, DONE)
        assert (lab.her.image_state(kept), lab.her.image_state(moved)) == (1, 1)
        lab.act("terminate-hard", suspended, DONE)
        lab.act("terminate-hard", off, DONE)
        wait_for(lambda: list((tmp_path / "vms").iterdir()) == [], "files are left")


def test_what_was_asked_for_is_done_by_the_sandbox_that_adopts(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(tmp_path)
    with real_sandbox(tmp_path, users=USERS, keep_machines=True) as site:
        lab = Lab(site, tmp_path)
        pausing, going_on = lab.run("counting"), lab.run("counting")
        lab.counts_on(pausing)
        lab.counts_on(going_on)
        lab.act("suspend", going_on, SUSPENDED)
        monkeypatch.setattr(site.opennebula._core, "_seconds", LONG)
        lab.act("suspend", pausing, (3, 6))
        lab.act("resume", going_on, (3, 21))
    with lab_in(tmp_path) as lab:
        states = [lab.her.state(number) for number in (pausing, going_on)]
        assert states == [SUSPENDED, RUNNING]
        lab.counts_on(going_on)
        wait_for(lambda: lab.status(pausing) == "paused", "it is not paused")
        lab.act("resume", pausing, RUNNING)
        lab.counts_on(pausing)
