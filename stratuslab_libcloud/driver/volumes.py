"""The driver's methods for volumes: StratusLab's persistent disks."""

from libcloud.compute.base import Node, NodeLocation, StorageVolume, VolumeSnapshot
from libcloud.compute.types import StorageVolumeState

from stratuslab_libcloud.client.cloud import Cloud
from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import to_volume
from stratuslab_libcloud.driver.locations import LocationMethods
from stratuslab_libcloud.errors import InvalidValueError, NotFoundError

__all__ = ["VolumeMethods"]


class VolumeMethods(LocationMethods):
    """The part of the driver that is about volumes."""

    def list_volumes(self, ex_location: NodeLocation | None = None) -> list[StorageVolume]:
        """
        List the volumes of all locations, or of one. One request per location.

        ``size`` is in GiB. ``extra`` has these keys; what the service does not say is ``None``:

        * ``location``: the id of the location
        * ``endpoint``: the URL of its storage service
        * ``device``, ``node``: where :meth:`attach_volume` attached this object, such as
          ``/dev/vdc``, and the node's id
        * ``owner``: the account
        * ``visibility``: ``private`` or ``public``
        * ``users``: the number of nodes to which it is attached
        * ``type``: StratusLab's (pdisk-rest 3.2)
        * ``identifier``: of the image it was made from
        * ``created``: when, as the service writes it

        Snapshots are not among them where the service reports the types of disks.

        On OpenNebula volumes are the persistent datablocks of the account.

        Source: guide 7.2; pdisk-rest 2.1.1; opennebula-modern 4.

        >>> [(volume.name, volume.size) for volume in driver.list_volumes()]
        [('data', 5)]

        :param ex_location: The only location to ask (optional); all of them if not given.
        :raises PartialListError: Some locations failed. ``error.found`` has the volumes of the
            others, ``error.failures`` the errors.
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
        Create a volume: an empty persistent disk, or one with what is on a snapshot. One request,
        which is sent once; from a snapshot it is two.

        On OpenNebula it is in the location's ``datastore`` or, without that, in the first one for
        images. Two requests and more, as the volume can be used when it is returned; one more for
        the first, and from a snapshot five and more.

        Source: guide 7.1; pdisk-rest 2.1.2, 2.2.3; opennebula-modern 4.

        >>> scratch = driver.create_volume(size=1, name="scratch", ex_visibility="public")
        >>> scratch.extra["visibility"]
        'public'

        :param size: GiB, 1 to 1024, on OpenNebula as many as there is room for (required); with a
            snapshot, its size.
        :param name: 40 characters at most; on OpenNebula 128 bytes, and no other image or volume of
            the account may have it (required).
        :param location: Where to create it (optional); the default location if not given.
        :param snapshot: A snapshot, from :meth:`create_volume_snapshot` (optional). The volume is
            created where the snapshot is.
        :param ex_visibility: ``private`` (the default) or ``public`` (optional).
        :raises InvalidValueError: The size, name or visibility is not allowed. Nothing was sent.
        :raises ConflictError: The name is taken, or there is no room (OpenNebula).
        :raises QuotaExceededError: The account may not have that much (OpenNebula).
        :raises ServiceError: The cloud could not make it, for the reason in the text (OpenNebula).
        :raises LostAnswerError: The answer was lost; the volume may exist.
        :rtype: :class:`.StorageVolume`
        """
        if snapshot is not None:
            _check_fits(snapshot, size, location)
        where = (
            self._asking(location)
            if snapshot is None
            else self._asking_for(snapshot, VolumeSnapshot)
        )
        with creating() as created, where as cloud:
            with created.asking(
                f"a volume named {name or ''!r} may have been created: look for it with "
                "list_volumes()"
            ) as sending:
                sending()
                if snapshot is None:
                    made = cloud.create_volume(size, name or "", ex_visibility)
                else:
                    made = cloud.create_volume_from(str(snapshot.id), name or "", ex_visibility)
                volume = to_volume(made, cloud.settings, self)
                created.things.append(volume)
            return volume

    def attach_volume(self, node: Node, volume: StorageVolume, device: str | None = None) -> bool:
        """
        Attach a volume to a running node. Two requests; the one that attaches it is sent once.

        The cloud chooses the device. Afterwards ``volume.extra["device"]`` has its path and
        ``volume.extra["node"]`` the id of the node.

        On OpenNebula it is three requests and more, until the volume is attached; the node may be
        stopped, too.

        Source: guide 7.4; pdisk-rest 2.3, 3.3; opennebula-modern 5.

        >>> driver.attach_volume(node, volume)
        True
        >>> volume.extra["device"]
        '/dev/vdc'

        :param node: A node in the same location as the volume (required).
        :param volume: The volume (required).
        :param device: Ignored.
        :return: ``True``.
        :raises ConflictError: The node is not running, or another node has the volume.
        :raises ServiceError: The cloud could not attach it, for the reason in the text
            (OpenNebula).
        :raises LostAnswerError: The answer was lost; the volume may be attached.
        :rtype: ``bool``
        """
        with (
            creating() as created,
            self._asking_for(node, Node) as cloud,
            self._asking_for(volume, StorageVolume) as storing,
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
        Detach a volume from a node; unmount it in the node first. One request; two if neither
        ``ex_node`` nor ``volume.extra["node"]`` says which node has it. On OpenNebula two more, and
        more until it is detached.

        Source: guide 7.4; pdisk-rest 2.4; opennebula-modern 5.

        >>> _ = driver.attach_volume(node, volume)
        >>> driver.detach_volume(volume)
        True

        :param volume: The volume (required); one from :meth:`list_volumes` will do.
        :param ex_node: The node that has it (optional).
        :return: ``True``.
        :raises NotFoundError: The volume is not attached, or not to that node. Nothing changed.
        :raises ConflictError: The volume was attached when the node started, on OpenNebula only if
            the node started from it; or several nodes have it.
        :raises ServiceError: The cloud could not detach it, for the reason in the text
            (OpenNebula).
        :rtype: ``bool``
        """
        with self._asking_for(volume, StorageVolume) as cloud:
            node_id = (volume.extra or {}).get("node")
            if ex_node is not None:
                self._check_same_storage(arguments.expected(ex_node, Node, "ex_node"), cloud)
                node_id = str(ex_node.id)
            try:
                cloud.detach_volume(volume.id, node_id)
            except NotFoundError as error:
                if not node_id:
                    raise
                raise NotFoundError(
                    error.value,
                    advice=f"{error.advice}; one from list_volumes() is detached from whichever "
                    "node has it",
                    said=error.said,
                    http_code=error.http_code,
                ) from error
        _count_users(volume, -1, device=None, node=None)
        return True

    def destroy_volume(self, volume: StorageVolume) -> bool:
        """
        Delete a volume with its contents. One request; on OpenNebula two and more, until its name
        is free again.

        Source: guide 7.5; pdisk-rest 2.2.5.

        >>> driver.destroy_volume(volume)
        True

        :param volume: The volume (required).
        :return: ``True``.
        :raises NotFoundError: There is no such volume.
        :raises ConflictError: A node has it.
        :raises NotPermittedError: It belongs to somebody else.
        :rtype: ``bool``
        """
        with self._asking_for(volume, StorageVolume) as cloud:
            cloud.delete_volume(volume.id)
            return True

    def ex_disk_mounts(self, volume: StorageVolume) -> list[dict[str, str]]:
        """
        List where a volume is attached. One request.

        Each item has ``node``, the id of a node, and ``device``: its path, such as ``/dev/vdc``,
        or ``static`` if the volume was attached when the node started. It is empty if the node is
        somebody else's, as may be on OpenNebula.

        Source: pdisk-rest 2.3.

        >>> _ = driver.attach_volume(node, volume)
        >>> driver.ex_disk_mounts(volume) == [{"node": node.id, "device": "/dev/vdc"}]
        True

        :param volume: The volume (required).
        :raises NotFoundError: There is no such volume.
        :rtype: ``list`` of ``dict``
        """
        with self._asking_for(volume, StorageVolume) as cloud:
            return [
                {
                    "node": mount.machine_id,
                    "device": f"/dev/{mount.device}" if mount.hot_plugged else mount.device,
                }
                for mount in cloud.volume_mounts(volume.id)
            ]

    def ex_update_volume(
        self, volume: StorageVolume, name: str | None = None, visibility: str | None = None
    ) -> bool:
        """
        Rename a volume, or make it private or public. One request; on OpenNebula one for each.

        Source: guide 7.1; pdisk-rest 2.2.4.

        >>> driver.ex_update_volume(volume, name="results", visibility="public")
        True
        >>> volume.name
        'results'

        :param volume: The volume (required); it is updated, too.
        :param name: 40 characters at most (optional); unchanged if not given.
        :param visibility: ``private`` or ``public`` (optional); unchanged if not given.
        :return: ``True``.
        :raises InvalidValueError: The name or visibility is not allowed. Nothing was sent.
        :raises NotPermittedError: It belongs to somebody else.
        :rtype: ``bool``
        """
        with self._asking_for(volume, StorageVolume) as cloud:
            cloud.update_volume(volume.id, name=name, visibility=visibility)
        if name is not None:
            volume.name = name
        if visibility is not None:
            volume.extra = {**(volume.extra or {}), "visibility": visibility}
        return True

    def _volumes_of(self, cloud: Cloud, timeout: float | None) -> list[StorageVolume]:
        return [
            to_volume(one, cloud.settings, self)
            for one in cloud.volumes(timeout)
            if not one.is_snapshot
        ]


def _check_fits(snapshot: VolumeSnapshot, size: int, location: NodeLocation | None) -> None:
    """Refuse what a volume that is made from a snapshot cannot have."""
    if not isinstance(snapshot, VolumeSnapshot):
        raise InvalidValueError(f"{snapshot!r} is not a snapshot")
    if snapshot.size not in (None, size):
        raise InvalidValueError(
            f"a volume from snapshot {snapshot.id} has its size, {snapshot.size} GiB, not {size!r}"
        )
    place = (snapshot.extra or {}).get("location")
    wanted = None if location is None else str(getattr(location, "id", location))
    if wanted and place and wanted != place:
        raise InvalidValueError(
            f"snapshot {snapshot.id} is in location {place}: a volume cannot be made from it in "
            f"{wanted}"
        )


def _count_users(volume: StorageVolume, change: int, device: str | None, node: str | None) -> None:
    """
    Keep a volume's description up to date after it was attached or detached.

    The node is remembered only if it is the only one; otherwise callers have to name it.
    """
    extra = volume.extra or {}
    users = max(0, (extra.get("users") or 0) + change)
    volume.extra = {**extra, "users": users, "device": device, "node": node if users == 1 else None}
    volume.state = StorageVolumeState.INUSE if users else StorageVolumeState.AVAILABLE
