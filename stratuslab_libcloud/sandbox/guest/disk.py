"""The whole disk: boot sector, the boot loader's partition, and the root file system's."""

import os
import pathlib
import shutil
import struct

from stratuslab_libcloud.sandbox.guest.filesystem import Files, ext4
from stratuslab_libcloud.sandbox.guest.packages import EPOCH, Packages

__all__ = ["make"]

MIB = 1 << 20
SECTOR = 512
DISK_SIZE = 128 * MIB
BOOT_START, ROOT_START = 1 * MIB, 33 * MIB
BOOT_CODE_SIZE = 440
SIGNATURE = 0x14060000  # of the disk; also the FAT's serial number
FAT16, LINUX = 0x0E, 0x83  # kinds of partitions
HEADS, SECTORS = 16, 63  # what QEMU makes of a small disk


def make(disk: pathlib.Path, boot: dict[str, bytes], root: Files, packages: Packages) -> None:
    """
    Make a disk that a PC's BIOS boots.

    :param disk: the file to make; beside it there is room for others.
    :param boot: the files of the boot loader, by name.
    :param root: the root file system.
    :raises SandboxError: they do not fit.
    """
    fat, root_image = disk.with_name(f"{disk.name}.boot"), disk.with_name(f"{disk.name}.root")
    _make_fat(fat, boot, packages)
    ext4(root, root_image, DISK_SIZE - ROOT_START, packages)
    with disk.open("xb") as stream:
        stream.truncate(DISK_SIZE)
        stream.write(packages.find("lib/syslinux/mbr/mbr.bin").read_bytes()[:BOOT_CODE_SIZE])
        stream.seek(BOOT_CODE_SIZE)
        stream.write(struct.pack("<IH", SIGNATURE, 0))
        stream.write(_partition(True, FAT16, BOOT_START, ROOT_START))
        stream.write(_partition(False, LINUX, ROOT_START, DISK_SIZE))
        stream.write(bytes(2 * 16) + b"\x55\xaa")
        for start, part in (BOOT_START, fat), (ROOT_START, root_image):
            stream.seek(start)
            with part.open("rb") as content:
                shutil.copyfileobj(content, stream, MIB)


def _partition(is_active: bool, kind: int, start: int, end: int) -> bytes:
    """An entry of the partition table."""
    first, last = start // SECTOR, end // SECTOR - 1
    active = 0x80 if is_active else 0
    number = last - first + 1
    return struct.pack("<B3sB3sII", active, _chs(first), kind, _chs(last), first, number)


def _chs(sector: int) -> bytes:
    """Head, sector and cylinder, which fdisk compares."""
    cylinder, rest = divmod(sector, HEADS * SECTORS)
    head, number = divmod(rest, SECTORS)
    return bytes((head, cylinder >> 8 << 6 | number + 1, cylinder & 0xFF))


def _make_fat(fat: pathlib.Path, files: dict[str, bytes], packages: Packages) -> None:
    sectors, hidden = (ROOT_START - BOOT_START) // SECTOR, BOOT_START // SECTOR
    geometry = ["-T", str(sectors), "-h", str(HEADS), "-s", str(SECTORS), "-H", str(hidden)]
    packages.run("mformat", "-C", "-i", fat, *geometry, "-N", f"{SIGNATURE:08x}", "::")
    for name, content in sorted(files.items()):
        source = fat.with_name(f"{fat.name}.{name}")
        source.write_bytes(content)
        os.utime(source, (EPOCH, EPOCH))
        packages.run("mcopy", "-m", "-i", fat, source, f"::{name}")
    packages.run("syslinux", "--install", fat)
