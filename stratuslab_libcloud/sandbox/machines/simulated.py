"""Machines that go through their phases in real time, but run nothing."""

import heapq
import itertools
import logging
import pathlib
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.machines import (
    TRANSFER,
    Images,
    Machine,
    Phase,
    Report,
)

__all__ = ["Simulated"]

# The phase that follows by itself. In a phase not listed, a machine stays until somebody acts.
_NEXT = {
    Phase.PENDING: Phase.PROLOG,
    Phase.PROLOG: Phase.BOOT,
    Phase.BOOT: Phase.RUNNING,
    Phase.SHUTDOWN: Phase.EPILOG,
    Phase.EPILOG: Phase.DONE,
    Phase.CLEANUP: Phase.DONE,
    Phase.FAILURE: Phase.FAILED,
}
# The same for a machine whose disks cannot be transferred.
_THWARTED = {**_NEXT, Phase.PROLOG: Phase.FAILURE}
# The same for one that cannot be saved.
_UNSAVED = {**_NEXT, Phase.EPILOG: Phase.FAILURE}
_CONSOLE = b"This machine is simulated: nothing runs in it that could write here.\n"
_BOOT_STEPS, _SHUTDOWN_STEPS = 3, 2

_LOG = logging.getLogger(__name__)


class Simulated:
    """
    Simulated machines.

    :param boot_seconds: from PENDING to RUNNING.
    :param ending_seconds: from a kill or a shutdown to DONE. A step of a shutdown takes at least as
        long as a step of booting.
    :param is_missing: returns whether a disk's source names an image that this site lacks.
    :param saved: gets a few bytes for the disk of a machine that becomes an image.

    A step that takes no time is taken at once, in the caller's thread.
    """

    def __init__(
        self,
        report: Report,
        boot_seconds: float,
        ending_seconds: float = 0.0,
        is_missing: Callable[[str], bool] = lambda source: False,
        saved: Images | None = None,
    ) -> None:
        self._report = report
        self._is_missing = is_missing
        self._saved = saved
        step = boot_seconds / _BOOT_STEPS
        ending = max(step, ending_seconds / _SHUTDOWN_STEPS)
        self._seconds = dict.fromkeys(_NEXT, step)
        self._seconds |= {Phase.SHUTDOWN: ending, Phase.EPILOG: ending}
        self._seconds[Phase.CLEANUP] = ending_seconds
        self._due: list[tuple[float, int, Machine]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sandbox machines", daemon=True)
        if any(self._seconds.values()):
            self._thread.start()

    def enter(self, machine: Machine) -> None:
        if machine.phase in (Phase.PENDING, Phase.PROLOG) and not machine.obstacle:
            machine = replace(machine, obstacle=self._missing_image(machine))
        self._carry_on(machine)

    def _missing_image(self, machine: Machine) -> str:
        sources = [disk.get("SOURCE", "") for disk in machine.template.vectors("DISK")]
        missing = next(filter(self._is_missing, sources), None)
        return f"there is no image {missing}" if missing else ""

    def plug(self, machine_id: int, device: str, disk: pathlib.Path) -> None:
        """Do nothing: no guest could notice."""

    def unplug(self, machine_id: int, device: str) -> None:
        """Do nothing: no guest could notice."""

    def pause(self, machine_id: int) -> None:
        """Do nothing: no guest could notice."""

    def go_on(self, machine_id: int) -> None:
        """Do nothing: no guest could notice."""

    def grow(self, machine_id: int, device: str, size: int) -> None:
        """Do nothing: no guest could notice."""

    def folder(self, machine_id: int) -> pathlib.Path | None:
        """Return None: nothing is kept of what no guest writes."""
        return None

    def console(self, machine_id: int) -> bytes:
        return _CONSOLE

    def close(self, keep: bool) -> set[int]:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if any(self._seconds.values()):
            self._thread.join()
        return set()

    def _carry_on(self, machine: Machine, *phases: Phase) -> None:
        """Take the given steps and all that take no time, and schedule the next one."""
        life = _THWARTED if machine.obstacle else _NEXT
        last = phases[-1] if phases else machine.phase
        while last in life and not self._seconds[last] and not _saved_in(last, machine):
            last = life[last]
            phases = (*phases, last)
        error = f"{TRANSFER}: {machine.obstacle}" if Phase.FAILURE in phases else ""
        if phases and not self._report(machine.id, *phases, error=error):
            return
        if _saved_in(last, machine):
            machine = self._save(machine)
            life = _UNSAVED if machine.obstacle else _NEXT
        if last in life and self._seconds[last]:
            with self._changed:
                due = time.monotonic() + self._seconds[last]
                step = (due, next(self._order), replace(machine, phase=life[last]))
                heapq.heappush(self._due, step)
                self._changed.notify()
        elif last in life:  # it was only for saving that no further step was taken
            self._carry_on(machine, life[last])

    def _save(self, machine: Machine) -> Machine:
        """Save a machine; one that cannot be saved gets an obstacle."""
        try:
            if self._saved:
                content = f"machine {machine.id}, {uuid.uuid4()}\n".encode()
                self._saved.save(
                    machine.id, lambda path: path.write_bytes(content), threading.Event(), _nowhere
                )
        except MachineError as error:
            return replace(machine, obstacle=str(error))
        return machine

    def _run(self) -> None:
        while machine := self._await_step():
            try:
                self._carry_on(machine, machine.phase)
            except Exception:
                _LOG.exception("machine %d could not enter %s", machine.id, machine.phase.name)

    def _await_step(self) -> Machine | None:
        with self._changed:
            while not self._closed:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None


def _saved_in(phase: Phase, machine: Machine) -> bool:
    """Whether this phase is that in which the machine becomes an image."""
    return phase is Phase.EPILOG and machine.is_saved and not machine.obstacle


def _nowhere(url: str) -> Entry:
    raise MachineError(f"the Marketplace has no image {url}")
