"""What the machinery reports about machines, in the states of a modern engine (modern 6)."""

import time

from stratuslab_libcloud.sandbox.machines import DEPLOYING, TRANSFER, Phase
from stratuslab_libcloud.sandbox.machines import Machine as Run
from stratuslab_libcloud.sandbox.opennebula import drives, machines
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.hot import CHANGING
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image, Machine
from stratuslab_libcloud.sandbox.opennebula.states import (
    BOOT_FAILURE,
    DONE,
    EPILOG_FAILURE,
    FAILURES,
    FOLLOWING,
    POWEROFF,
    PROLOG_FAILURE,
    RUNNING,
    STEPS,
    STOPPED,
    SUSPENDED,
    UNDEPLOYED,
)

__all__ = ["adopt", "end_all", "report"]

_UNKNOWN = (3, 16)
# The phases that each may follow; a report that comes too late does not fit.
_BEFORE = {
    "PROLOG": {"PENDING"},
    "BOOT": {"PROLOG"},
    "RUNNING": {"BOOT", "SHUTDOWN", "UNKNOWN"},
    "UNKNOWN": {"BOOT", "RUNNING", "SHUTDOWN", "UNKNOWN"},
    "EPILOG": {"RUNNING", "SHUTDOWN"},
    "FAILURE": {"PENDING", "PROLOG", "BOOT", "RUNNING", "SHUTDOWN", "UNKNOWN", "EPILOG"},
    "FAILED": {"FAILURE"},
    "DONE": {"CLEANUP", "EPILOG"},
}


def report(core: Core, number: int, *phases: Phase, error: str = "") -> bool:
    """Record the phases of a machine: see :class:`.machines.Report`."""
    with core.changing() as book:
        machine = book.find(Machine, number)
        if machine is None:
            return False
        fits = all(_enter(core, book, machine, phase.name, error) for phase in phases)
        book.put(machine)
    return fits


def _enter(core: Core, book: Book, machine: Machine, phase: str, error: str) -> bool:
    before = machine.phase
    if before not in _BEFORE.get(phase, ()):
        return False
    machine.phase = phase
    if phase == "FAILURE":
        _fail(machine, before, error)
        return True
    if phase == "UNKNOWN":
        machine.move(_UNKNOWN)
        return True
    if phase == "RUNNING" and before == "BOOT" and (reason := core.failure("boot")):
        machine.phase = "FAILURE"
        _fail(machine, before, reason)
        return False
    if phase == "RUNNING" and before == "SHUTDOWN":
        machine.complain(f"SHUTDOWN: {error or 'the guest does not switch itself off'}")
    if phase == "PROLOG" and machine.task != "reboot":
        machines.open_history(machine)
    if phase == "BOOT" and machine.history:
        machine.history[-1]["PETIME"] = machine.history[-1]["RSTIME"] = int(time.time())
    now = STEPS[machine.task].get(phase)
    if machine.task == "reboot" and machine.now != RUNNING:  # paused or changed meanwhile
        now = None
        if phase == "RUNNING" and machine.now in (SUSPENDED, STOPPED):
            book.then.append(lambda: core.machinery.pause(machine.id))
    if phase == "DONE":
        _end(core, book, machine, now)
    elif now:
        machine.move(now)
    if phase == "RUNNING":
        machine.task = "run"
    return True


def _fail(machine: Machine, before: str, error: str) -> None:
    reason = error.removeprefix(f"{TRANSFER}: ").removeprefix(f"{DEPLOYING}: ")
    if before in ("PENDING", "PROLOG"):
        machine.move(PROLOG_FAILURE)
        machine.complain(f"PROLOG: {reason}")
    elif before == "BOOT":
        machine.move(BOOT_FAILURE)
        machine.complain(f"DEPLOY: {reason}")
    else:
        machine.move(_UNKNOWN)
        machine.complain(f"MONITOR: {reason}")


def _end(core: Core, book: Book, machine: Machine, now: tuple[int, int] | None) -> None:
    """Let a machine end, or rest, or start anew."""
    if machine.task == "reboot":
        machine.phase = "PENDING"
        book.then.append(lambda: machines.start(core, machine.id))
        return
    machines.close_history(machine)
    if now != DONE:
        machine.move(now or POWEROFF)
        return
    if machine.now not in FAILURES and (reason := core.failure("epilog")):
        machine.move(EPILOG_FAILURE)
        machine.phase = "FAILED"
        machine.complain(f"EPILOG: {reason}")
        return
    failed = machine.lcm == 23 and (machine.prev_state, machine.prev_lcm) in FAILURES
    machine.move(DONE)
    machines.finish(book, machine, failed=failed)


def adopt(core: Core) -> None:
    """Adopt what an earlier process left, and undo what it was in the middle of."""
    runs = []
    waiting: list[int] = []
    with core.changing() as book:
        for image in book.all(Image):
            if image.state == 7:
                book.drop(image)
            elif image.state in (4, 9, 10) and not image.source:
                image.state = 5
                image.template["ERROR"] = f"{time.ctime()} : the sandbox was stopped meanwhile"
                book.put(image)
                waiting += image.vms
        for machine in book.all(Machine):
            if machine.now != DONE and machine.phase not in ("FAILURE", "FAILED"):
                _catch_up(book, machine)
                if machine.state in (3, 5, 4, 1):
                    template = drives.run_template(book, machine)
                    paused = machine.now in (SUSPENDED, STOPPED)
                    phase = Phase[machine.phase]
                    keeps = machine.task != "terminate"
                    runs.append(Run(machine.id, phase, template, keeps_files=keeps, paused=paused))
    for run in runs:
        core.machinery.enter(run)
    core.image_settled(waiting)


def _catch_up(book: Book, machine: Machine) -> None:
    """Undo a change that nobody will finish; record a pause, or its end, which QEMU will do."""
    if machine.phase not in ("RUNNING", "DONE"):
        return  # the machinery carries on
    if machine.now in CHANGING:
        machine.move((machine.prev_state, machine.prev_lcm))
        for _, value in machine.template.attributes:
            if isinstance(value, dict):
                value.pop("ATTACH", None)
    elif machine.now in FOLLOWING:
        machine.move(FOLLOWING[machine.now])
    book.put(machine)


def end_all(core: Core, alive: set[int]) -> None:
    """Record the end of the machines; those that rest on disk stay, and so do those alive."""
    with core.changing() as book:
        for machine in book.all(Machine):
            resting = machine.now in (DONE, POWEROFF, UNDEPLOYED, (2, 0))
            if machine.id not in alive and not resting:
                machine.move(DONE)
                machine.phase = "DONE"
                machines.finish(book, machine, failed=False)
                book.put(machine)
