import threading
import time
from collections.abc import Container

import pytest

from stratuslab_libcloud.sandbox.machines import Machine, Phase
from stratuslab_libcloud.sandbox.machines.simulated import Simulated
from stratuslab_libcloud.sandbox.template import Template

EMPTY = Template([])
LIFE = [Phase.PROLOG, Phase.BOOT, Phase.RUNNING]


class Book:
    """What was reported, and when there is no more."""

    def __init__(self, refuse: Container[Phase] = ()) -> None:
        self.lines: list[tuple[int, Phase, str]] = []
        self.refuse = refuse
        self.last = threading.Event()

    def __call__(self, machine_id: int, *phases: Phase, error: str = "") -> bool:
        if any(phase in self.refuse for phase in phases):
            return False
        self.lines += [(machine_id, phase, error) for phase in phases]
        if phases[-1] in (Phase.RUNNING, Phase.DONE, Phase.FAILED):
            self.last.set()
        return True

    def phases(self, machine_id: int = 1) -> list[Phase]:
        return [phase for machine, phase, _ in self.lines if machine == machine_id]


@pytest.mark.parametrize("boot_seconds", [0, 0.15])
@pytest.mark.parametrize(
    ("entered", "followed"),
    [
        (Phase.PENDING, LIFE),
        (Phase.BOOT, [Phase.RUNNING]),
        (Phase.SHUTDOWN, [Phase.EPILOG, Phase.DONE]),
        (Phase.CLEANUP, [Phase.DONE]),
        (Phase.FAILURE, [Phase.FAILED]),
    ],
)
def test_a_machine_goes_on_from_any_phase(
    boot_seconds: float, entered: Phase, followed: list[Phase]
) -> None:
    book = Book()
    machines = Simulated(book, boot_seconds)
    machines.enter(Machine(1, entered, EMPTY))
    assert book.last.wait(30)
    machines.close(keep=False)
    assert book.phases() == followed


def test_without_boot_seconds_nothing_is_left_for_later() -> None:
    book, before = Book(), set(threading.enumerate())
    machines = Simulated(book, 0)
    machines.enter(Machine(1, Phase.PENDING, EMPTY))
    assert book.phases() == LIFE
    assert set(threading.enumerate()) <= before
    machines.close(keep=False)


def test_a_report_that_comes_too_late_ends_the_story() -> None:
    book = Book(refuse=[Phase.BOOT])
    machines = Simulated(book, 0.03)
    machines.enter(Machine(1, Phase.PENDING, EMPTY))
    machines.enter(Machine(2, Phase.BOOT, EMPTY))
    machines.enter(Machine(3, Phase.FAILURE, EMPTY))
    end = time.monotonic() + 30
    while len(book.lines) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.05)
    machines.close(keep=False)
    assert book.phases(1) == [Phase.PROLOG]


def test_closing_waits_for_the_thread_and_forgets_what_was_planned() -> None:
    book, before = Book(), set(threading.enumerate())
    machines = Simulated(book, 60)
    machines.enter(Machine(1, Phase.PENDING, EMPTY))
    machines.close(keep=True)
    assert set(threading.enumerate()) <= before
    assert book.lines == []


def test_a_machine_whose_image_is_missing_fails_with_a_reason() -> None:
    book = Book()
    disk = {"SOURCE": "https://example.org/metadata/x"}
    machines = Simulated(book, 0, is_missing=lambda source: source == disk["SOURCE"])
    machines.enter(Machine(1, Phase.PENDING, Template([("DISK", disk)])))
    reason = f"Error excuting image transfer script: there is no image {disk['SOURCE']}"
    assert book.lines[-2:] == [(1, Phase.FAILURE, reason), (1, Phase.FAILED, reason)]


@pytest.mark.parametrize("boot_seconds", [0, 0.15])
@pytest.mark.parametrize("entered", [Phase.PENDING, Phase.PROLOG])
def test_a_machine_whose_disks_cannot_be_transferred_fails_when_they_would_be(
    boot_seconds: float, entered: Phase
) -> None:
    book = Book()
    machines = Simulated(book, boot_seconds)
    machines.enter(Machine(1, entered, EMPTY, "no disk"))
    assert book.last.wait(30)
    machines.close(keep=False)
    followed = [Phase.PROLOG, Phase.FAILURE, Phase.FAILED]
    assert book.phases() == (followed if entered is Phase.PENDING else followed[1:])
    reason = "Error excuting image transfer script: no disk"
    assert [error for _, phase, error in book.lines if phase is Phase.FAILURE] == [reason]


@pytest.mark.parametrize("boot_seconds", [0, 0.15])
@pytest.mark.parametrize(
    ("entered", "followed"),
    [(Phase.SHUTDOWN, [Phase.EPILOG, Phase.DONE]), (Phase.CLEANUP, [Phase.DONE])],
)
def test_an_end_takes_its_time(boot_seconds: float, entered: Phase, followed: list[Phase]) -> None:
    book, threads = Book(), []
    begun = time.monotonic()

    def report(machine_id: int, *phases: Phase, error: str = "") -> bool:
        threads.append(threading.current_thread())
        return book(machine_id, *phases, error=error)

    machines = Simulated(report, boot_seconds, ending_seconds=0.3)
    machines.enter(Machine(1, entered, EMPTY))
    assert book.last.wait(30)
    assert time.monotonic() - begun >= 0.3
    machines.close(keep=False)
    assert book.phases() == followed
    assert threading.current_thread() not in threads


def test_a_report_that_breaks_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    book = Book()

    def report(machine_id: int, *phases: Phase, error: str = "") -> bool:
        if machine_id == 1:
            raise OSError("disk full")
        return book(machine_id, *phases, error=error)

    machines = Simulated(report, 0.03)
    for number in (1, 2):
        machines.enter(Machine(number, Phase.BOOT, EMPTY))
    assert book.last.wait(30)
    machines.close(keep=False)
    assert book.phases(2) == [Phase.RUNNING]
    assert "machine 1 could not enter RUNNING" in caplog.text
