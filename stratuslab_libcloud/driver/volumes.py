"""Volumes, as Libcloud has them: persistent disks."""

from libcloud.compute.base import Node, NodeLocation, StorageVolume, VolumeSnapshot
from libcloud.compute.types import StorageVolumeState

from stratuslab_libcloud.client.cloud import Cloud
from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import to_volume
from stratuslab_libcloud.driver.locations import LocationMethods
from stratuslab_libcloud.errors import InvalidValueError

__all__ = ["VolumeMethods"]


class VolumeMethods(LocationMethods):
    """The part of the driver that is about volumes."""

    def list_volumes(self, ex_location: NodeLocation | None = None) -> list[StorageVolume]:
        """
        The volumes of all locations, or of one (guide 7.2); one request each.

        ``extra`` has ``location`` (id), ``endpoint``, ``device`` and ``node`` (id), both ``None``
        unless just attached, ``owner``, ``visibility``, ``users`` (number of nodes that have it),
        ``type``, ``identifier``, ``created``; what the service does not tell is ``None``.

        :raises PartialListError: some locations failed; has what the others answered.
        :rtype: ``list`` of :class:`.StorageVolume`
        """
        if ex_location is not None:
            with self._asking(ex_location) as cloud:
                return self._volumes_of(cloud, None)
        return self._ask_all("volumes", lambda cloud: cloud.volume_account, self._volumes_of)

    def create_volume(
        self,
        size: int,
        name: str,
        location: NodeLocation | None = None,
        snapshot: VolumeSnapshot | None = None,
        ex_visibility: str = "private",
    ) -> StorageVolume:
        """
        Create a persistent disk (guide 7.1); one request.

        :param size: GiB, 1 to 1024.
        :param name: 40 characters at most.
        :param snapshot: not available.
        :param location: default: the default location.
        :param ex_visibility: ``private`` or ``public``.
        :raises InvalidValueError: of size, name or visibility; nothing was sent.
        :raises LostAnswerError: the volume may exist.
        :rtype: :class:`.StorageVolume`
        """
        if snapshot is not None:
            raise InvalidValueError("a volume cannot be made from a snapshot on a StratusLab cloud")
        with creating() as created, self._asking(location) as cloud:
            with created.asking(
                f"a volume named {name or ''!r} may have been created: look for it with "
                "list_volumes()"
            ) as sending:
                sending()
                made = cloud.create_volume(size, name or "", ex_visibility)
                volume = to_volume(made, cloud.settings, self)
                created.things.append(volume)
            return volume

    def attach_volume(self, node: Node, volume: StorageVolume, device: str | None = None) -> bool:
        """
        Plug a volume into a running node (guide 7.4); two requests.

        The cloud chooses the device: it is in ``volume.extra["device"]`` then, and the node's id in
        ``volume.extra["node"]``.

        :param node: of the volume's location.
        :param device: ignored.
        :raises ConflictError: the node does not run, or another one has the volume.
        :raises LostAnswerError: it may be attached.
        :rtype: ``bool``
        """
        with (
            creating() as created,
            self._asking_for(node) as cloud,
            self._asking_for(volume) as storing,
        ):
            self._check_same_storage(node, storing)
            with created.asking(
                f"volume {volume.id} may have been attached to node {node.id} all the same"
            ) as sending:
                device = cloud.attach_volume(volume.id, str(node.id), sending)
                _count_users(volume, +1, device=f"/dev/{device}", node=str(node.id))
            return True

    def detach_volume(self, volume: StorageVolume, ex_node: Node | None = None) -> bool:
        """
        Unplug a volume (guide 7.4); unmount it in the node first. One request; two if neither the
        caller nor ``volume.extra["node"]`` says which node has it, and the service has to be asked.

        :param ex_node: the node that has it.
        :raises NotFoundError: it is not attached, or not to that node: no other one loses it.
        :raises ConflictError: it was attached when the node started, or several nodes have it.
        :rtype: ``bool``
        """
        with self._asking_for(volume) as cloud:
            node_id = (volume.extra or {}).get("node")
            if ex_node is not None:
                self._check_same_storage(ex_node, cloud)
                node_id = str(ex_node.id)
            cloud.detach_volume(volume.id, node_id)
        _count_users(volume, -1, device=None, node=None)
        return True

    def destroy_volume(self, volume: StorageVolume) -> bool:
        """
        Delete a volume and its contents (guide 7.5); one request.

        :raises ConflictError: a node has it.
        :raises NotPermittedError: it is somebody else's.
        :rtype: ``bool``
        """
        with self._asking_for(volume) as cloud:
            cloud.delete_volume(volume.id)
            return True

    def ex_update_volume(
        self, volume: StorageVolume, name: str | None = None, visibility: str | None = None
    ) -> bool:
        """
        Rename a volume, or make it private or public (guide 7.1); one request.

        :param name: 40 characters at most.
        :param visibility: ``private`` or ``public``.
        :rtype: ``bool``
        """
        with self._asking_for(volume) as cloud:
            cloud.update_volume(volume.id, name=name, visibility=visibility)
        if name is not None:
            volume.name = name
        if visibility is not None:
            volume.extra = {**(volume.extra or {}), "visibility": visibility}
        return True

    def _volumes_of(self, cloud: Cloud, timeout: float | None) -> list[StorageVolume]:
        return [to_volume(one, cloud.settings, self) for one in cloud.volumes(timeout)]


def _count_users(volume: StorageVolume, change: int, device: str | None, node: str | None) -> None:
    """
    Keep a volume's description up to date when it was attached or detached.

    The node is remembered only where it is the only one: otherwise callers have to name it.
    """
    extra = volume.extra or {}
    users = max(0, (extra.get("users") or 0) + change)
    volume.extra = {**extra, "users": users, "device": device, "node": node if users == 1 else None}
    volume.state = StorageVolumeState.INUSE if users else StorageVolumeState.AVAILABLE
