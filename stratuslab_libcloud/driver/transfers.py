"""The driver's methods that move volumes from and to files."""

import os
from collections.abc import Callable
from pathlib import Path

from libcloud.compute.base import NodeLocation, StorageVolume

from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import to_volume
from stratuslab_libcloud.driver.locations import LocationMethods

__all__ = ["TransferMethods"]


class TransferMethods(LocationMethods):
    """The part of the driver that is about image files."""

    def ex_upload_volume(
        self,
        path: str | os.PathLike[str],
        name: str,
        location: NodeLocation | None = None,
        visibility: str = "private",
        progress: Callable[[int, int | None], object] | None = None,
    ) -> StorageVolume:
        """
        Create a volume from an image file. Three requests; the one that sends it is sent once.

        The file is sent in gzip, piece by piece; if it is not in gzip already, a temporary file
        beside it is. The volume is as large as the image, rounded up to GiB, and the service calls
        it read-only (``DATA_IMAGE_RAW_READONLY``), which nothing enforces.

        Source: pdisk-rest 2.1.3.

        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "data.img")
        >>> _ = path.write_bytes(b"measurements")
        >>> driver.ex_upload_volume(path, "measured").size
        1

        :param path: The file (required).
        :param name: 40 characters at most (required).
        :param location: Where to create it (optional); the default location if not given.
        :param visibility: ``private`` (the default) or ``public`` (optional).
        :param progress: Called again and again with the number of bytes that were sent, and with
            how many there are (optional).
        :raises InvalidValueError: The file cannot be read, or the name or visibility is not
            allowed. No volume was created.
        :raises ConflictError: A volume of this account was uploaded from the same image.
        :raises MalformedAnswerError: The checksum of the volume is not that of the file; the volume
            was deleted.
        :raises LostAnswerError: The answer was lost; the volume may exist.
        :rtype: :class:`.StorageVolume`
        """
        with creating() as created, self._asking(location) as cloud:
            with created.asking(
                f"a volume may have been created from {path}: look for it with list_volumes()"
            ) as sending:
                sending()
                made = cloud.upload_volume(
                    Path(path), name or "", visibility, progress=progress or _unseen
                )
                volume = to_volume(made, cloud.settings, self)
                created.things.append(volume)
            return volume

    def ex_download_volume(
        self,
        volume: StorageVolume,
        path: str | os.PathLike[str],
        progress: Callable[[int, int | None], object] | None = None,
    ) -> bool:
        """
        Write what is on a volume to a file. Two requests; one more for each time that the
        connection breaks, for what is missing if the service can send just that.

        The volume comes in gzip, piece by piece, with checksums. The file appears, or is replaced,
        when it is whole; blank parts of it take no space.

        Source: pdisk-rest 2.2.2.

        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "small.img")
        >>> small = driver.create_volume(size=1, name="small")
        >>> driver.ex_download_volume(small, path)
        True
        >>> path.stat().st_size >> 30
        1

        :param volume: The volume (required); no node may have it.
        :param path: The file (required); it is left in gzip if the name ends in ``.gz``.
        :param progress: Called again and again with the number of bytes that have come, and with
            how many there are, or ``None`` if that is unknown (optional).
        :return: ``True``.
        :raises InvalidValueError: The file cannot be written.
        :raises NotFoundError: There is no such volume.
        :raises ConflictError: A node has the volume.
        :rtype: ``bool``
        """
        with self._asking_for(volume, StorageVolume) as cloud:
            cloud.download_volume(volume.id, Path(path), progress or _unseen)
            return True


def _unseen(done: int, whole: int | None) -> None:
    """Show no progress."""
