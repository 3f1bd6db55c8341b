"""Machines: list, start and end them (modern 6)."""

import uuid
from collections.abc import Callable
from dataclasses import replace

from stratuslab_libcloud.client.data import Machine, MachineTemplate, NewMachine
from stratuslab_libcloud.client.engine.ids import checked_id, is_id
from stratuslab_libcloud.client.opennebula.attaching import Attaching
from stratuslab_libcloud.client.opennebula.orders import render
from stratuslab_libcloud.client.opennebula.states import changing, gone
from stratuslab_libcloud.client.opennebula.waiting import wait_until
from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    NotFoundError,
    NotSupportedError,
    ServiceError,
)

__all__ = ["Machines"]

_LIMIT = 1000  # failed machines that are remembered


class Machines(Attaching):
    """The part of the cloud that is about machines."""

    def machines(self, timeout: float | None = None) -> list[Machine]:
        """List the account's machines that have not ended; one request."""
        found = self.engine.machines(timeout)
        for machine in found:
            if machine.failed:
                self._note(machine)
        return found

    def machine(self, machine_id: str, timeout: float | None = None) -> Machine:
        """Look up one machine, in any state; one request."""
        found = self.engine.info(machine_id, timeout)
        if found.failed:
            self._note(found)
        return found

    def machine_attributes(self, machine_id: str) -> list[tuple[str, str]]:
        """All that a machine's document says; one request."""
        return self.engine.attributes(machine_id)

    def create_machine(self, new: NewMachine, sending: Callable[[], object] = lambda: None) -> str:
        """Start a machine; two requests, one without a network to look for."""
        if new.save_as:
            raise NotSupportedError(
                "this cloud speaks OpenNebula's dialect: nodes do not become images as they end",
                advice="save a node with create_image(), as often as you like",
            )
        new = replace(new, mark=new.mark or f"stratuslab-{uuid.uuid4().hex[:12]}")
        base = self.engine.template(new.template) if new.template else None
        text = render(new, self._network(new), base)
        sending()
        try:
            return self._allocate(new, text, base)
        except ConflictError as error:
            if not self._mended(error, new.volumes):
                raise
        return self._allocate(new, text, base)

    def kill_machine(self, machine_id: str) -> None:
        """
        End a machine at once; one request.

        While it is being started or changed, the engine refuses that: it is waited for, then ended.
        The volumes of one that has failed are made usable again.
        """
        number = checked_id(machine_id)
        try:
            self.engine.act("terminate-hard", number)
        except NotFoundError as error:
            if not error.retried:
                raise
        except ConflictError:
            if not gone(self.engine.info(number)):
                self._end_later(number)
        for volume in self._failed.pop(number, ()):
            self._release(number, volume)

    def shut_down_machine(self, machine_id: str) -> None:
        """Ask a machine to shut down, and end it then; one request."""
        # Sent once: after it has had its effect, a second one would find the wrong state.
        if_lost = f"node {machine_id} may be shutting down all the same"
        self.engine.act("terminate", checked_id(machine_id), if_lost=if_lost)

    def _allocate(self, new: NewMachine, text: str, base: MachineTemplate | None) -> str:
        if_lost = (
            f"a node named {new.name!r} may have been created: it is the one with the label "
            f"{new.mark} in the list of nodes"
        )
        if base is None:
            return self.engine.create("one.vm.allocate", text, new.hold, if_lost=if_lost)
        return self.engine.create(
            "one.template.instantiate",
            *(int(base.id), new.name, new.hold, text, False),
            if_lost=if_lost,
        )

    def _end_later(self, machine_id: str) -> None:
        found = wait_until(
            lambda machine: gone(machine) or not changing(machine),
            lambda: self.machine(machine_id),
            self._patience,
            f"what is being done to node {machine_id}",
            f"node {machine_id} could not be ended meanwhile, and still exists; try again later",
        )
        if not gone(found):
            self.engine.act("terminate-hard", machine_id)

    def _release(self, machine_id: str, volume_id: str) -> None:
        """Mend a volume, once its machine has ended."""
        wait_until(
            gone,
            lambda: self.engine.info(machine_id),
            self._patience,
            f"ending node {machine_id}",
            f"volume {volume_id} may be in the state ERROR, which attaching it mends",
        )
        try:
            wait_until(
                # Others may have the image that it started from, which is none of its own.
                lambda image: not image.persistent or machine_id not in image.machines,
                lambda: self.engine.image(volume_id),
                self._patience,
                f"detaching volume {volume_id}",
                "attaching it again mends it",
            )
            self._mend(volume_id)
        except ServiceError:
            return  # somebody else's, or gone: nothing that could be done about it here

    def _note(self, failed: Machine) -> None:
        """Remember what a failed machine has, as the engine spoils it at the end (modern 1)."""
        images = [disk["image"] for disk in failed.disks]
        if len(self._failed) < _LIMIT:
            self._failed[failed.id] = [image for image in images if image and is_id(image)]

    def _network(self, new: NewMachine) -> str | None:
        """Find the network's id: the one that is asked for, or the only one that there is."""
        wanted = new.network
        if not isinstance(wanted, str) or (wanted and not wanted.strip()):
            raise InvalidValueError(f"{wanted!r} is not the name of a network")
        if is_id(wanted):
            return wanted
        if not wanted and new.template:
            return None
        known = self.engine.networks()
        fitting = [one for one in known if not wanted or one.name == wanted]
        if len(fitting) == 1:
            return fitting[0].id
        names = ", ".join(f"{one.name} ({one.id})" for one in fitting or known) or "none"
        if fitting:
            what = f"several networks named {wanted!r}" if wanted else "several networks"
            raise InvalidValueError(
                f"there are {what}; choose one by ex_network, or by the location's option "
                f"network: {names}"
            )
        raise InvalidValueError(
            f"there is no network {wanted!r}; there are: {names}"
            if wanted
            else "there is no network"
        )
