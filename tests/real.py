"""Sandboxes whose machines are real, and ways into them."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from libcloud.compute.base import Node

from stratuslab_libcloud.sandbox import Sandbox, SandboxError

__all__ = [
    "BOOT_SECONDS",
    "children",
    "obliging",
    "processes",
    "real_sandbox",
    "ssh",
    "still",
    "wait_for",
]

BOOT_SECONDS = 240  # a hang guard: it takes 7 on an idle machine
CONNECT_FAILED = 255  # ssh's own exit status

# 16-bit code, in a loop: sleep until the timer ticks; write the slots that QEMU wants back (port
# 0xae04) to the port that ejects them (0xae08); give the device in each slot from 4 on an I/O
# address of 0xc000 + 0x100 * slot, by the ports of PCI's configuration (0xcf8, 0xcfc).
_TICK = bytes.fromhex("fbf4fa")
_LET_GO = bytes.fromhex("ba10ae6631c066efba04ae66edba08ae66ef")
_TAKE_UP = bytes.fromhex(
    "66bb002000806689d8b010baf80c66efbafc0c6689d866c1e8036625001f0000660500c0000066ef6689d8b004"
    "baf80c66efbafc0c66b80100000066ef6681c3000800006681fb0000018072b9"
)


@contextlib.contextmanager
def real_sandbox(directory: Path | None = None, **options: Any) -> Iterator[Sandbox]:
    """A sandbox with QEMU machines; where they cannot be had, the reason for a skipped test."""
    sandbox = Sandbox(directory, machines="qemu", **options)
    try:
        sandbox.start()
    except SandboxError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with contextlib.ExitStack() as stack:
        stack.callback(sandbox.stop)
        yield sandbox


def ssh(sandbox: Sandbox, node: Node, command: str) -> str:
    """What a command prints that root runs on a node, which may still be booting."""
    arguments = ["ssh", "-F", "none", "-q", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
    arguments += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    arguments += ["-i", str(sandbox.dir / "id_ed25519"), "-p", str(node.extra.get("ssh_port", 22))]
    arguments += [f"root@{node.public_ips[0]}", command]
    end = time.monotonic() + BOOT_SECONDS
    while True:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=BOOT_SECONDS)
        if done.returncode != CONNECT_FAILED:
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            return done.stdout
        assert time.monotonic() < end, f"no SSH: {done.stderr}"
        time.sleep(0.5)


def still(folder: Path) -> Path:
    """A disk image that boots, halts the processor, and obeys nobody: the quickest machine."""
    return _booting(folder / "still.raw", b"\xfa\xf4\xeb\xfc")  # cli; hlt; and again


def obliging(folder: Path, lets_go: bool = True) -> Path:
    """A disk image that boots, takes up disks that are plugged in, and lets go of them if asked."""
    code = _TICK + (_LET_GO if lets_go else b"") + _TAKE_UP
    again = b"\xeb" + (-len(code) - 2).to_bytes(1, "little", signed=True)
    return _booting(folder / f"obliging-{lets_go}.raw", code + again)


def _booting(image: Path, code: bytes) -> Path:
    image.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    return image


def processes(folder: Path) -> list[int]:
    """The QEMU processes that run below this directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (process / "cmdline").read_bytes()
            if b"qemu-system" in name and folder in (process / "cwd").resolve().parents:
                found.append(int(process.name))
    return found


def children() -> list[int]:
    """The QEMU processes that this process has started, and that have not ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            if lines["PPid"] == str(os.getpid()) and lines["Name"].startswith("qemu"):
                found.append(int(lines["Pid"]))
    return found


def wait_for(condition: Any, what: str, seconds: float = BOOT_SECONDS) -> Any:
    """What the condition gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found
