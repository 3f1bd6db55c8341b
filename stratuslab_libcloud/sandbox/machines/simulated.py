"""Machines that go through their phases in real time, and run nothing."""

import heapq
import itertools
import logging
import pathlib
import threading
import time
from collections.abc import Callable

from stratuslab_libcloud.sandbox.machines import Machine, Phase, Report

__all__ = ["Simulated"]

# What follows by itself; in a phase that is not named a machine stays until somebody acts.
NEXT = {
    Phase.PENDING: Phase.PROLOG,
    Phase.PROLOG: Phase.BOOT,
    Phase.BOOT: Phase.RUNNING,
    Phase.SHUTDOWN: Phase.EPILOG,
    Phase.EPILOG: Phase.DONE,
    Phase.CLEANUP: Phase.DONE,
    Phase.FAILURE: Phase.FAILED,
}
BOOT_STEPS = 3

log = logging.getLogger(__name__)


class Simulated:
    """
    Simulated machines.

    :param boot_seconds: from PENDING to RUNNING; a step of a shutdown takes a third of it.
        With 0 every step is taken at once, in the caller's thread.
    :param is_missing: whether a disk's source names an image that ought to be here and is not.
    """

    def __init__(
        self,
        report: Report,
        boot_seconds: float,
        is_missing: Callable[[str], bool] = lambda source: False,
    ) -> None:
        self._report = report
        self._is_missing = is_missing
        self._step_seconds = boot_seconds / BOOT_STEPS
        self._due: list[tuple[float, int, int, Phase]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sandbox machines", daemon=True)
        if self._step_seconds:
            self._thread.start()

    def enter(self, machine: Machine) -> None:
        phase = machine.phase
        missing = self._missing_image(machine) if phase is Phase.PENDING else None
        if missing:
            reason = f"Error executing image transfer script: there is no image {missing}"
            if not self._report(machine.id, Phase.PROLOG, Phase.FAILURE, error=reason):
                return
            phase = Phase.FAILURE
        if self._step_seconds and phase is not Phase.CLEANUP:
            self._plan(machine.id, phase)
        else:
            self._rush(machine.id, phase)

    def _missing_image(self, machine: Machine) -> str | None:
        sources = [disk.get("SOURCE", "") for disk in machine.template.vectors("DISK")]
        return next(filter(self._is_missing, sources), None)

    def plug(self, machine_id: int, device: str, disk: pathlib.Path) -> None:
        """Nobody looks."""

    def unplug(self, machine_id: int, device: str) -> None:
        """Nobody looks."""

    def close(self, keep: bool) -> set[int]:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._step_seconds:
            self._thread.join()
        return set()

    def _rush(self, machine_id: int, phase: Phase) -> None:
        phases = []
        while phase in NEXT:
            phase = NEXT[phase]
            phases.append(phase)
        if phases:
            self._report(machine_id, *phases)

    def _plan(self, machine_id: int, phase: Phase) -> None:
        if phase in NEXT:
            with self._changed:
                due = time.monotonic() + self._step_seconds
                step = (due, next(self._order), machine_id, NEXT[phase])
                heapq.heappush(self._due, step)
                self._changed.notify()

    def _run(self) -> None:
        while step := self._await_step():
            machine_id, phase = step
            try:
                if self._report(machine_id, phase):
                    self._plan(machine_id, phase)
            except Exception:
                log.exception("machine %d could not enter %s", machine_id, phase.name)

    def _await_step(self) -> tuple[int, Phase] | None:
        with self._changed:
            while not self._closed:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2:]
                self._changed.wait(wait)
        return None
