"""
Snapshots over copy-on-write (pdisk-rest 2.2.3, 3.2).

The service copies images only. So a disk becomes an image for as long as it is being copied. The
copy becomes an image itself: that is what a snapshot is, for nothing writes to an image, and the
service can copy it. Its identifier names the disk, as in any copy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from stratuslab_libcloud.client.data import Volume
from stratuslab_libcloud.client.stratuslab.pdisk import StorageClient, advise, undoing
from stratuslab_libcloud.client.stratuslab.pdisk_fields import (
    IMAGE,
    RAW,
    checked_fields,
    checked_uuid,
)
from stratuslab_libcloud.errors import NotSupportedError, StratusLabError

__all__ = ["create", "list_of", "restore"]


def create(storage: StorageClient, uuid: str, name: str) -> Volume:
    """Make a snapshot; five requests, three if the disk is an image."""
    checked_fields(name, None)
    disk = storage.get(uuid)
    if disk.type is None:
        raise NotSupportedError("does not report the types of disks, which snapshots need")
    with _as_image(storage, disk):
        copied = storage.copy(uuid)
        return _turned(storage, copied, name, "private", IMAGE)


@contextmanager
def _as_image(storage: StorageClient, disk: Volume) -> Iterator[None]:
    """Have a disk be an image within the block."""
    if disk.type == IMAGE:
        yield
        return
    turn_back = partial(storage.update, disk.id, kind=disk.type)
    otherwise = f"volume {disk.id} may still have the type {IMAGE}, not {disk.type}"
    with undoing(turn_back, otherwise):
        storage.update(disk.id, kind=IMAGE)
        yield
    try:
        turn_back()
    except StratusLabError as error:
        advise(error, f"the snapshot exists, but {otherwise}")
        raise


def list_of(storage: StorageClient, uuid: str) -> list[Volume]:
    """List the snapshots of a disk; one request, and one for each copy of unknown type."""
    name = f"snapshot:{checked_uuid(uuid)}"
    copies = [disk for disk in storage.disks() if disk.identifier == name]
    known = [disk if disk.type else storage.get(disk.id) for disk in copies]
    return [disk for disk in known if disk.type == IMAGE]


def restore(storage: StorageClient, uuid: str, name: str, visibility: str) -> Volume:
    """Make a disk from a snapshot; two requests."""
    checked_fields(name, visibility)
    return _turned(storage, storage.copy(uuid), name, visibility, RAW)


def _turned(
    storage: StorageClient, copied: Volume, name: str, visibility: str, kind: str
) -> Volume:
    """Turn a new copy into what it was made for; without that, it is deleted again."""
    with storage.deleting(copied.id):
        storage.update(copied.id, tag=name, visibility=visibility, kind=kind)
    return copied._replace(name=name, users=0, visibility=visibility, type=kind)
