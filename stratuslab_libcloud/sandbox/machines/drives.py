"""The drives of a machine: makes files for the DISKs of its template (compute-xmlrpc 4.3, 4.4)."""

import contextlib
import os
import pathlib
import re
import string
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.images.fetched import FetchedImage
from stratuslab_libcloud.sandbox.references import referenced_disk
from stratuslab_libcloud.sandbox.template import Template, Vector

__all__ = ["PATH", "SERIAL_LENGTH", "Drive", "flatten", "lay_out"]

_MIB = 1 << 20
_MAX_MIB = 1 << 20
SERIAL_LENGTH = 20  # of a virtio drive: the beginning of a disk's UUID
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # users' PATH often lacks sbin
_POLL_SECONDS = 0.1
_FILE_SYSTEMS = ("ext2", "ext3", "ext4")

Fetch = Callable[[str, threading.Event], FetchedImage]


@dataclass(frozen=True)
class Drive:
    """One drive of a machine."""

    target: str  #: ``hdX``, ``sdX`` or ``vdX``: the bus, and the place on it
    file: str  #: relative to the machine's directory, or absolute
    format: str = "raw"
    read_only: bool = False
    serial: str = ""


def lay_out(
    template: Template,
    folder: pathlib.Path,
    disks: pathlib.Path,
    fetch: Fetch,
    stop: threading.Event,
) -> list[Drive]:
    """
    Make the files of a new machine's drives.

    :param folder: the machine's directory.
    :param disks: the directory of the persistent disks.
    :param fetch: fetches the image of a Marketplace entry.
    :param stop: set when the machine is no longer needed.
    :raises MachineError: a drive cannot be made.
    """
    drives: list[Drive] = []
    for number, disk in enumerate(template.vectors("DISK")):
        target = disk.get("TARGET") or f"hd{string.ascii_lowercase[number % 26]}"
        # It becomes a file name.
        if not re.fullmatch("[hsv]d[a-z]", target):
            raise MachineError(f"{target} is not the target of a disk")
        if any(drive.target == target for drive in drives):
            raise MachineError(f"two disks have the target {target}")
        source = disk.get("SOURCE", "")
        uuid = referenced_disk(source)
        if uuid:
            drives.append(Drive(target, str(disks / uuid), serial=uuid[:SERIAL_LENGTH]))
        elif source:
            size = disk.get("GROWN_TO", "")
            drives.append(_layer(target, fetch(source, stop), size, folder, stop))
        elif volatile := _volatile(target, disk, folder, stop):
            drives.append(volatile)
    return drives


def flatten(
    template: Template, folder: pathlib.Path, path: pathlib.Path, stop: threading.Event
) -> None:
    """
    Write what is on a machine's first disk to a file, raw.

    :raises MachineError: it cannot be written, or the disk is not the machine's own.
    """
    disk = template.vectors("DISK")[0]
    target = disk.get("TARGET") or "hda"
    if referenced_disk(disk.get("SOURCE", "")) is not None:
        raise MachineError(f"disk {target} is a persistent disk, which stays as it is")
    _run(folder, ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", target, str(path)], stop)


def _layer(
    target: str, image: FetchedImage, size: str, folder: pathlib.Path, stop: threading.Event
) -> Drive:
    """
    Make the machine's own layer over an image, which itself is never written to.

    One that is there already has what the machine has written before.

    :param size: to enlarge it to, in MiB; empty for that of the image.
    """
    if not (folder / target).exists():
        # Relative: QEMU takes the text before a colon for a protocol.
        backing = os.path.relpath(image.path, folder)
        form = ["-f", "qcow2", "-b", backing, "-F", image.format]
        with _whole(folder, target) as half:
            _run(folder, ["qemu-img", "create", "-q", *form, half], stop)
    if re.fullmatch("[0-9]{1,9}", size):  # which never shrinks it
        _run(folder, ["qemu-img", "resize", "-q", "-f", "qcow2", target, f"{size}M"], stop)
    return Drive(target, target, "qcow2")


def _volatile(
    target: str, disk: Vector, folder: pathlib.Path, stop: threading.Event
) -> Drive | None:
    """Make a disk that goes with its machine; None if its size is 0."""
    kind, size = disk.get("TYPE", "").lower(), disk.get("SIZE", "0")
    if not re.fullmatch("[0-9]{1,9}", size) or int(size) > _MAX_MIB:
        raise MachineError(f"disk {target} cannot have a SIZE of {size[:20]} MiB")
    if int(size) == 0:
        return None
    command: list[str] = []
    if kind == "blank":
        pass  # its guest makes of it what it likes
    elif kind == "swap":
        command = ["mkswap"]
    elif kind == "fs" and disk.get("FORMAT") in _FILE_SYSTEMS:
        command = ["mke2fs", "-q", "-F", "-t", disk["FORMAT"]]
    else:
        raise MachineError(f"disk {target} has no SOURCE, and is neither swap nor a file system")
    if not (folder / target).exists():
        with _whole(folder, target) as half:
            (folder / half).touch(mode=0o600)
            os.truncate(folder / half, int(size) * _MIB)
            if command:
                _run(folder, [*command, half], stop)
    return Drive(target, target)


@contextlib.contextmanager
def _whole(folder: pathlib.Path, target: str) -> Iterator[str]:
    """Make a file by another name, so that none is there by its own until it is whole."""
    half = f"{target}.half"
    (folder / half).unlink(missing_ok=True)  # of a sandbox that was killed
    yield half
    (folder / half).rename(folder / target)


def _run(folder: pathlib.Path, command: list[str], stop: threading.Event) -> None:
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PATH": PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        while True:
            try:
                _, complaint = process.communicate(timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if stop.is_set():
                    process.kill()
                    raise MachineError(f"{command[0]} was stopped") from None
    if process.returncode:
        reason = " ".join(complaint.split()) or f"exit status {process.returncode}"
        raise MachineError(f"{command[0]} failed: {reason}")
