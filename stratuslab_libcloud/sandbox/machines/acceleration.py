"""
Find out whether this host can run machines with KVM, by booting one.

``/dev/kvm`` proves nothing: on some hosts QEMU aborts when it uses it, or the guest hangs.
"""

import gzip
import json
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
import time

from stratuslab_libcloud.sandbox.durable import write_private
from stratuslab_libcloud.sandbox.guest import GuestImage
from stratuslab_libcloud.sandbox.machines.command import KVM, PROGRAM

__all__ = ["accelerator"]

_READY = b"sandbox guest: ready"  # what /etc/init.d/rc of the guest writes to its console
_DEVICE = pathlib.Path("/dev/kvm")
_BOOT_SECONDS = 30.0
_POLL_SECONDS = 0.1
_MEMORY_MIB = 512


def accelerator(image: GuestImage, cache: pathlib.Path) -> str:
    """
    Return ``kvm`` if a guest boots with it, otherwise ``tcg`` (software emulation).

    :param image: the image to boot.
    :param cache: the folder that remembers the result for this host, kernel and QEMU.
    """
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return "tcg"  # not remembered, as it may change
    notes = cache / "acceleration.json"
    known = json.loads(notes.read_bytes()) if notes.exists() else {}
    host = _host()
    if host not in known:
        known[host] = "kvm" if _boots(image) else "tcg"
        write_private(notes, json.dumps(known).encode())
    return str(known[host])


def _host() -> str:
    machine_id = pathlib.Path("/etc/machine-id")
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True).stdout
    names = machine_id.read_text().strip() if machine_id.exists() else platform.node()
    return " ".join([names, platform.release(), *version.splitlines()[:1]])


def _boots(image: GuestImage) -> bool:
    """Try to boot the image with KVM, within a time limit."""
    with tempfile.TemporaryDirectory(prefix="stratuslab-kvm-") as folder:
        disk = pathlib.Path(folder) / "disk"
        with gzip.open(image.file) as packed, disk.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        command = [PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc"]
        command += [*KVM, "-m", f"{_MEMORY_MIB}M", "-serial", "file:serial", "-snapshot"]
        command += ["-drive", "file=disk,format=raw,if=virtio", "-no-reboot"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(
            command, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet
        ) as process:
            try:
                return _says_ready(process, pathlib.Path(folder) / "serial")
            finally:
                process.kill()


def _says_ready(process: subprocess.Popen[bytes], serial: pathlib.Path) -> bool:
    end = time.monotonic() + _BOOT_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if serial.exists() and _READY in serial.read_bytes():
            return True
        time.sleep(_POLL_SECONDS)
    return False
