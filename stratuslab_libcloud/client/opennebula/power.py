"""Stop machines, start them again, and change them (modern 6 and 7)."""

from collections.abc import Callable

from stratuslab_libcloud.client.data import Machine
from stratuslab_libcloud.client.engine.ids import checked_id
from stratuslab_libcloud.client.engine.template import single
from stratuslab_libcloud.client.opennebula.machines import Machines
from stratuslab_libcloud.client.opennebula.names import checked_name
from stratuslab_libcloud.client.opennebula.states import changing, stopping
from stratuslab_libcloud.client.opennebula.waiting import wait_until
from stratuslab_libcloud.errors import ConflictError, InvalidValueError, UnavailableError

__all__ = ["Power"]

_SHOWN_AFTER = 5.0  # seconds; the engine shows the old state for a tenth of one
_ON_HOLD = "state HOLD"


class Power(Machines):
    """The part of the cloud that changes machines."""

    def stop_machine(self, machine_id: str) -> None:
        """Ask a running machine to power off; two requests."""
        self._act("poweroff", machine_id, lambda machine: not machine.running)

    def start_machine(self, machine_id: str) -> None:
        """
        Start a machine that is stopped, suspended or on hold; two requests.

        One that is just stopping is waited for.
        """
        word = "resume"
        try:
            self._act(word, machine_id, _wakes)
            return
        except ConflictError as error:
            if _ON_HOLD in error.value:
                word = "release"
            elif not self._rests(machine_id):
                raise
        self._act(word, machine_id, _wakes)

    def reboot_machine(self, machine_id: str) -> None:
        """Ask a running machine to boot again; one request, as nothing shows that it does."""
        self._act("reboot", machine_id, None)

    def suspend_machine(self, machine_id: str) -> None:
        """Save a running machine with its memory, and stop it; two requests."""
        self._act("suspend", machine_id, lambda machine: not machine.running)

    def resume_machine(self, machine_id: str) -> None:
        """Let a suspended machine go on; two requests."""
        self.start_machine(machine_id)

    def resize_machine(self, machine_id: str, cpus: int, ram: int) -> None:
        """Give a machine other cores and memory; two requests and more while it lasts."""
        for what, number in (("CPUs", cpus), ("MiB of RAM", ram)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise InvalidValueError(f"a machine cannot have {number!r} {what}")
        number = int(checked_id(machine_id))
        text = "\n".join((single("CPU", cpus), single("VCPU", cpus), single("MEMORY", ram)))
        before = self.engine.info(machine_id)
        self.engine.change("one.vm.resize", number, text, True)
        after = wait_until(
            lambda machine: not changing(machine),
            lambda: self.engine.info(machine_id),
            self._patience,
            f"resizing node {machine_id}",
            "it goes on all the same",
        )
        if (after.cpus, after.memory) != (cpus, ram):
            reason = after.error if after.error != before.error else None
            raise ConflictError(
                f"node {machine_id} was not resized: {reason or 'the cloud gives no reason'}"
            )

    def rename_machine(self, machine_id: str, name: str) -> None:
        """Rename a machine; one request."""
        number = int(checked_id(machine_id))
        self.engine.change("one.vm.rename", number, checked_name("node", name))

    def _rests(self, machine_id: str) -> bool:
        """Wait for a machine that is stopping; whether it can be started then."""
        found = wait_until(
            lambda machine: not stopping(machine),
            lambda: self.engine.info(machine_id),
            self._patience,
            f"stopping node {machine_id}",
            "it goes on all the same",
        )
        return found.resting

    def _act(self, word: str, machine_id: str, done: Callable[[Machine], bool] | None) -> None:
        """
        Call an action, once, and look until it shows.

        :param done: tells it from the machine; ``None`` if nothing does.
        """
        number = checked_id(machine_id)
        if_lost = f"node {number} may have been asked to {word} all the same"
        self.engine.act(word, number, if_lost=if_lost)
        if done is None:
            return
        try:
            wait_until(
                done, lambda: self.engine.info(number), _SHOWN_AFTER, f"{word} of {number}", if_lost
            )
        except UnavailableError:
            return  # it was accepted, and the guest takes its time


def _wakes(machine: Machine) -> bool:
    return not machine.resting
