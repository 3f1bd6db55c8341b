"""The whole disk: boot sector, boot loader's partition and root file system's partition."""

import os
import pathlib
import shutil
import struct

from stratuslab_libcloud.sandbox.guest.filesystem import Files, ext4
from stratuslab_libcloud.sandbox.guest.packages import EPOCH, Packages

__all__ = ["make"]

_MIB = 1 << 20
_SECTOR = 512
_DISK_SIZE = 128 * _MIB
_BOOT_START, _ROOT_START = 1 * _MIB, 33 * _MIB
_BOOT_CODE_SIZE = 440
_SIGNATURE = 0x14060000  # of the disk; also the FAT's serial number
_FAT16, _LINUX = 0x0E, 0x83  # kinds of partitions
_HEADS, _SECTORS = 16, 63  # QEMU's geometry of a small disk
_CLUSTER_SECTORS = 8  # the largest of a FAT16 of this size: the BIOS reads the FAT sector by sector


def make(disk: pathlib.Path, boot: dict[str, bytes], root: Files, packages: Packages) -> None:
    """
    Make a disk that a PC's BIOS boots.

    :param disk: the file to make; temporary files are written beside it.
    :param boot: the files of the boot loader, by name.
    :param root: the root file system.
    :raises SandboxError: they do not fit.
    """
    fat, root_image = disk.with_name(f"{disk.name}.boot"), disk.with_name(f"{disk.name}.root")
    _make_fat(fat, boot, packages)
    ext4(root, root_image, _DISK_SIZE - _ROOT_START, packages)
    with disk.open("xb") as stream:
        stream.truncate(_DISK_SIZE)
        stream.write(packages.find("lib/syslinux/mbr/mbr.bin").read_bytes()[:_BOOT_CODE_SIZE])
        stream.seek(_BOOT_CODE_SIZE)
        stream.write(struct.pack("<IH", _SIGNATURE, 0))
        stream.write(_partition(True, _FAT16, _BOOT_START, _ROOT_START))
        stream.write(_partition(False, _LINUX, _ROOT_START, _DISK_SIZE))
        stream.write(bytes(2 * 16) + b"\x55\xaa")
        for start, part in (_BOOT_START, fat), (_ROOT_START, root_image):
            stream.seek(start)
            with part.open("rb") as content:
                shutil.copyfileobj(content, stream, _MIB)


def _partition(is_active: bool, kind: int, start: int, end: int) -> bytes:
    """Return an entry of the partition table."""
    first, last = start // _SECTOR, end // _SECTOR - 1
    active = 0x80 if is_active else 0
    number = last - first + 1
    return struct.pack("<B3sB3sII", active, _chs(first), kind, _chs(last), first, number)


def _chs(sector: int) -> bytes:
    """Return head, sector and cylinder, which fdisk checks."""
    cylinder, rest = divmod(sector, _HEADS * _SECTORS)
    head, number = divmod(rest, _SECTORS)
    return bytes((head, cylinder >> 8 << 6 | number + 1, cylinder & 0xFF))


def _make_fat(fat: pathlib.Path, files: dict[str, bytes], packages: Packages) -> None:
    sectors, hidden = (_ROOT_START - _BOOT_START) // _SECTOR, _BOOT_START // _SECTOR
    geometry = ["-T", str(sectors), "-h", str(_HEADS), "-s", str(_SECTORS), "-H", str(hidden)]
    geometry += ["-c", str(_CLUSTER_SECTORS)]
    packages.run("mformat", "-C", "-i", fat, *geometry, "-N", f"{_SIGNATURE:08x}", "::")
    for name, content in sorted(files.items()):
        source = fat.with_name(f"{fat.name}.{name}")
        source.write_bytes(content)
        os.utime(source, (EPOCH, EPOCH))
        packages.run("mcopy", "-m", "-i", fat, source, f"::{name}")
    packages.run("syslinux", "--install", fat)
