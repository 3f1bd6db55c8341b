"""The driver's methods for snapshots of volumes."""

from libcloud.compute.base import StorageVolume, VolumeSnapshot

from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import to_snapshot
from stratuslab_libcloud.driver.locations import LocationMethods

__all__ = ["SnapshotMethods"]


class SnapshotMethods(LocationMethods):
    """The part of the driver that is about snapshots."""

    def create_volume_snapshot(
        self, volume: StorageVolume, name: str | None = None
    ) -> VolumeSnapshot:
        """
        Keep what is on a volume now. Five requests; the one that copies it is sent once.

        The service knows copies on write of images, and no snapshots. So the volume is made an
        image (``MACHINE_IMAGE_ORIGIN``) for as long as it is being copied, and the copy stays one.
        Thus a snapshot is a persistent disk of its own, which counts as such and which no node
        uses: what is written to the volume later does not change it, and any number of volumes can
        be made from it. The volume cannot be deleted as long as it has snapshots.

        On OpenNebula a snapshot is a copy, as large as the volume, which nodes may have meanwhile,
        and which may be deleted before its snapshots. Five requests and more, until it is made.

        ``size`` is in GiB. ``extra`` has ``location``, ``endpoint``, ``owner`` and ``volume_id``.

        Source: pdisk-rest 2.2.3, 3.2.

        >>> snapshot = driver.create_volume_snapshot(volume, "before the upgrade")
        >>> again = driver.create_volume(size=5, name="again", snapshot=snapshot)
        >>> driver.destroy_volume(again) and driver.destroy_volume_snapshot(snapshot)
        True

        :param volume: The volume (required); on StratusLab clouds no node may have it.
        :param name: 40 characters at most, on OpenNebula 128 bytes (optional); empty or, on
            OpenNebula, the cloud's choice if not given.
        :raises InvalidValueError: The name is not allowed. Nothing was sent.
        :raises ConflictError: A node has the volume.
        :raises NotPermittedError: It belongs to somebody else.
        :raises LostAnswerError: The answer was lost; the snapshot may exist.
        :rtype: :class:`.VolumeSnapshot`
        """
        with creating() as created, self._asking_for(volume, StorageVolume) as cloud:
            with created.asking(
                f"a snapshot of volume {volume.id} may have been created: look for it with "
                "list_volume_snapshots()"
            ) as sending:
                sending()
                made = cloud.create_snapshot(volume.id, name or "")
                snapshot = to_snapshot(made, volume.id, cloud.settings, self)
                created.things.append(snapshot)
            return snapshot

    def list_volume_snapshots(self, volume: StorageVolume) -> list[VolumeSnapshot]:
        """
        List the snapshots of a volume, the newest first. One request; on services of 2012 and
        later one more for each copy of the volume.

        Source: pdisk-rest 2.1.1, 3.2.

        >>> snapshot = driver.create_volume_snapshot(volume, "monday")
        >>> [snapshot.name for snapshot in driver.list_volume_snapshots(volume)]
        ['monday']
        >>> driver.destroy_volume_snapshot(snapshot)
        True

        :param volume: The volume (required).
        :rtype: ``list`` of :class:`.VolumeSnapshot`
        """
        with self._asking_for(volume, StorageVolume) as cloud:
            return [
                to_snapshot(one, volume.id, cloud.settings, self)
                for one in cloud.snapshots(volume.id)
            ]

    def destroy_volume_snapshot(self, snapshot: VolumeSnapshot) -> bool:
        """
        Delete a snapshot. One request; on OpenNebula two and more.

        Source: pdisk-rest 2.2.5.

        >>> snapshot = driver.create_volume_snapshot(volume)
        >>> driver.destroy_volume_snapshot(snapshot)
        True

        :param snapshot: The snapshot (required).
        :return: ``True``.
        :raises NotFoundError: There is no such snapshot.
        :raises ConflictError: There are volumes that were made from it.
        :raises NotPermittedError: It belongs to somebody else.
        :rtype: ``bool``
        """
        with self._asking_for(snapshot, VolumeSnapshot) as cloud:
            cloud.delete_volume(str(snapshot.id))
            return True
