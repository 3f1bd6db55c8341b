"""The QEMU processes that run in the directories of machines."""

import pathlib

__all__ = ["PID_FILE", "live_on", "running_process"]

PID_FILE = "pid"


def running_process(folder: pathlib.Path) -> int | None:
    """Return the id of the QEMU process that runs in this directory, if any."""
    try:
        pid = int((folder / PID_FILE).read_text())
        process = pathlib.Path("/proc") / str(pid)
        # Ids are reused: the process must be QEMU, in this very directory.
        if b"qemu" in (process / "cmdline").read_bytes() and (process / "cwd").samefile(folder):
            return pid
    except (OSError, ValueError):
        pass
    return None


def live_on(directory: pathlib.Path) -> bool:
    """Return whether machines that an earlier sandbox kept run in this directory."""
    return directory.exists() and any(map(running_process, directory.iterdir()))
