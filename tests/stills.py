"""A site with a modern engine on which nothing goes on before a test lets it."""

import contextlib
import itertools
from collections.abc import Iterator

from engine_callers import One

from stratuslab_libcloud.sandbox.machines import Phase
from stratuslab_libcloud.sandbox.opennebula.new_images import made
from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["NAMES", "NEVER", "TO_RUNNING", "Still", "cloning_failure"]

NAMES = itertools.count()
NEVER = 86_400.0  # seconds, the most that a step can take
TO_RUNNING = (Phase.PROLOG, Phase.BOOT, Phase.RUNNING)


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


def cloning_failure(still: Still) -> int:
    number = still.cloning()
    still.site.opennebula.fail("image", "injected: no")
    made(still.core, int(still.her.vm(number).findtext("TEMPLATE/DISK/IMAGE_ID", "")))
    return number
