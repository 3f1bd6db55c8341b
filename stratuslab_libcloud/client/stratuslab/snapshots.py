"""
Snapshots over copy-on-write (pdisk-rest 2.2.3, 3.2).

The service copies images only. So a disk becomes an image for as long as it is being copied. The
copy becomes an image itself: that is what a snapshot is, for nothing writes to an image, and the
service can copy it. Its identifier names the disk, as in any copy.
"""

from contextlib import suppress

from stratuslab_libcloud.client.data import Volume
from stratuslab_libcloud.client.stratuslab.pdisk import StorageClient
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
    if disk.type == IMAGE:
        copied = storage.copy(uuid)
    else:
        storage.update(uuid, kind=IMAGE)
        try:
            copied = storage.copy(uuid)
        finally:
            storage.update(uuid, kind=disk.type)
    return _turned(storage, copied, name, "private", IMAGE)


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
    try:
        storage.update(copied.id, tag=name, visibility=visibility, kind=kind)
    except BaseException:
        with suppress(StratusLabError):
            storage.delete(copied.id)
        raise
    return copied._replace(name=name, users=0, visibility=visibility, type=kind)
