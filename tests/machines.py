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

from stratuslab_libcloud.sandbox import SandboxError
from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = [
    "BOOT_SECONDS",
    "children",
    "counting",
    "obliging",
    "processes",
    "real_sandbox",
    "soon",
    "ssh",
    "still",
    "talking",
    "wait_for",
]

BOOT_SECONDS = 240  # a hang guard: it takes 7 on an idle machine
CONNECT_FAILED = 255  # ssh's own exit status

# 16-bit code, in a loop: sleep until the timer ticks; write the slots that QEMU wants back (port
# 0xae04) to the port that ejects them (0xae08); and for each slot from 4 on give its device an I/O
# address, 0xc000 + 0x100 * slot, and if it is a virtio disk that nobody has set up, do so and read
# its first sector (virtio 1.1, 2.6 and 5.2, the legacy interface).
_TICK = bytes.fromhex("fbf4fa")
_LET_GO = bytes.fromhex("ba10ae6631c066efba04ae66edba08ae66ef")
_TAKE_UP = bytes.fromhex(
    "66bb002000806689d8b010baf80c66ef6689d966c1e9036681e1001f00006681c100c000006689c8bafc0c66ef"
    "6689d8b004baf80c66efbafc0c66b80500000066ef678d5112ec84c00f85a700b003ee678d510e31c0ef6689d8"
    "66c1e8096683e07c6683c010678d510866ef6689c666c1e0088ec066c1e60c67668d86000100002666a3000026"
    "66c7060800100000002666c7060c000100010067668d86003000002666a310002666c7061800000200002666c7"
    "061c000300020067668d86000200002666a320002666c7062800010000002666c7062c00020000002666c70600"
    "1001000100678d5112b007ee678d511031c0ef6681c3000800006681fb000001800f8200ff"
)

# Count the ticks of the timer, from 1; write each number as four of the letters A to P, in a line.
_COUNT = bytes.fromhex("31dbfbf4fa43b90400c1c30488d8240f0441baf803eee2f1b00aeeebe5")

# Write the text that begins at 0x7c16 to the serial line, byte by byte; then halt, or begin again.
_TALK = bytes.fromhex("31c08ed8be167cac84c07406baf803eeebf5")
_HALT, _AGAIN = bytes.fromhex("faf4ebfc"), bytes.fromhex("ebf09090")


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


def ssh(sandbox: Sandbox | Path, node: Node, command: str) -> str:
    """
    What a command prints that root runs on a node, which may still be booting.

    :param sandbox: or its directory.
    """
    folder = sandbox if isinstance(sandbox, Path) else sandbox.dir
    arguments = ["ssh", "-F", "none", "-q", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
    arguments += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    arguments += ["-i", str(folder / "id_ed25519"), "-p", str(node.extra.get("ssh_port", 22))]
    arguments += [f"root@{node.public_ips[0]}", command]
    end = time.monotonic() + BOOT_SECONDS
    while True:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=BOOT_SECONDS)
        if done.returncode != CONNECT_FAILED:
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            return done.stdout
        assert time.monotonic() < end, f"no SSH: {done.stderr}"
        time.sleep(0.5)


def soon(command: str) -> str:
    """What has a shell run a command that ends the connection, once it has said that it does."""
    return f"(sleep 2; {command}) </dev/null >/dev/null 2>&1 &"


def still(folder: Path) -> Path:
    """A disk image that boots, halts the processor, and obeys nobody: the quickest machine."""
    return _booting(folder / "still.raw", b"\xfa\xf4\xeb\xfc")  # cli; hlt; and again


def obliging(folder: Path, lets_go: bool = True) -> Path:
    """A disk image that boots, uses disks that are plugged in, and lets go of them if asked."""
    code = _TICK + (_LET_GO if lets_go else b"") + _TAKE_UP
    again = b"\xe9" + (-len(code) - 3).to_bytes(2, "little", signed=True)
    return _booting(folder / f"obliging-{lets_go}.raw", code + again)


def counting(folder: Path) -> Path:
    """A disk image that boots, and counts on its serial line, in memory alone: see _COUNT."""
    return _booting(folder / "counting.raw", _COUNT)


def talking(folder: Path, text: str, *, for_ever: bool = False) -> Path:
    """A disk image that boots, and writes a text to the serial line, once or again and again."""
    end = _AGAIN if for_ever else _HALT
    return _booting(folder / f"talking-{for_ever}.raw", _TALK + end + text.encode() + b"\0")


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
