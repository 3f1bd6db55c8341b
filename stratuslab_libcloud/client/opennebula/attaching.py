"""Attach and detach volumes; the engine's answer comes before it has tried (modern 1, 5)."""

from collections.abc import Callable

from stratuslab_libcloud.client.data import Machine, MachineDisk
from stratuslab_libcloud.client.engine.ids import checked_id
from stratuslab_libcloud.client.engine.template import vector
from stratuslab_libcloud.client.opennebula.states import plugging
from stratuslab_libcloud.client.opennebula.volumes import Volumes
from stratuslab_libcloud.client.opennebula.waiting import wait_until
from stratuslab_libcloud.errors import ConflictError, NotFoundError, ServiceError

__all__ = ["Attaching"]

_RUNNING, _POWEROFF = (3, 3), 8


class Attaching(Volumes):
    """The part of the cloud that plugs volumes into machines and unplugs them."""

    def attach_volume(
        self, volume_id: str, machine_id: str, sending: Callable[[], object] = lambda: None
    ) -> str:
        """Plug a volume into a machine; three requests and more while it lasts."""
        number = checked_id(volume_id, "volume")
        before = self.engine.info(machine_id)
        if (before.state, before.lcm_state) != _RUNNING and before.state != _POWEROFF:
            raise ConflictError(
                f"node {machine_id} is neither running nor stopped (it is {before.summary}), so "
                "nothing can be attached to it"
            )
        sending()
        try:
            self._plug(number, machine_id)
        except ConflictError as error:
            if not self._mended(error, [number]):
                raise
            self._plug(number, machine_id)
        after = self._plugged(machine_id, f"volume {number} may be attached all the same")
        disk = _disk_of(after, number)
        if disk is None:
            raise ServiceError(
                f"volume {number} was not attached to node {machine_id}: {_reason(before, after)}"
            )
        return disk["target"] or ""

    def detach_volume(self, volume_id: str, machine_id: str | None = None) -> str:
        """Unplug a volume; three requests, one more to find its machine, more while it lasts."""
        number = checked_id(volume_id, "volume")
        machine_id = machine_id or self._only_machine(number)
        before = self.engine.info(machine_id)
        disk = _disk_of(before, number)
        if disk is None or not disk["id"]:
            raise NotFoundError(
                f"volume {number} is not attached to node {machine_id}",
                advice=f"it is not attached to node {machine_id}",
            )
        if disk is before.disks[0]:  # which the engine would pull out from under the machine
            raise ConflictError(
                f"volume {number} is what node {machine_id} started from; end the node to detach it"
            )
        if_lost = f"volume {number} may be detached all the same"
        self.engine.change("one.vm.detach", int(machine_id), int(disk["id"]), if_lost=if_lost)
        after = self._plugged(machine_id, if_lost)
        if _disk_of(after, number) is not None:
            raise ServiceError(
                f"volume {number} was not detached from node {machine_id}: {_reason(before, after)}"
            )
        return disk["target"] or ""

    def _plug(self, volume_id: str, machine_id: str) -> None:
        disk = vector("DISK", [("IMAGE_ID", volume_id), ("DEV_PREFIX", "vd")])
        if_lost = f"volume {volume_id} may have been attached to node {machine_id} all the same"
        self.engine.change("one.vm.attach", int(machine_id), disk, if_lost=if_lost)

    def _plugged(self, machine_id: str, known: str) -> Machine:
        return wait_until(
            lambda machine: not plugging(machine),
            lambda: self.engine.info(machine_id),
            self._patience,
            f"changing the disks of node {machine_id}",
            known,
        )

    def _only_machine(self, volume_id: str) -> str:
        machines = self._volume(volume_id).machines
        if not machines:
            raise NotFoundError(f"volume {volume_id} is not attached to any node")
        if len(machines) > 1:
            raise ConflictError(
                f"volume {volume_id} is attached to nodes {', '.join(machines)}: say which"
            )
        return machines[0]


def _disk_of(machine: Machine, volume_id: str) -> MachineDisk | None:
    return next((disk for disk in machine.disks if disk["image"] == volume_id), None)


def _reason(before: Machine, after: Machine) -> str:
    """What the engine says; an old text stays in the document for ever, and says nothing now."""
    if after.error and after.error != before.error:
        return after.error
    return f"the cloud gives no reason (the node is {after.summary})"
