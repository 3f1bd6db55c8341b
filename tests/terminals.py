"""A shell at a terminal, and somebody who types there."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Terminal"]

_PROMPT = r"<(\d+)> $"  # with the status of what was before
_PATIENCE = 300.0  # seconds; a hang guard


class Terminal:
    """
    A window of this width, with a shell in it.

    :ivar all: what was shown in it, from the beginning.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], columns: int) -> None:
        self.all = ""
        self._seen = 0
        self._more = threading.Condition()
        self._window, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        more = {"PS1": "<$?> ", "TERM": "xterm-256color", "HISTFILE": ""}
        self._shell = subprocess.Popen(
            # Without line editing, so that what is typed is shown as it is.
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env={**environment, **more},
        )
        os.close(terminal)
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> "Terminal":
        self._reader.start()
        self.until(_PROMPT)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the window, which ends whatever runs in it."""
        for number in (*self.processes(), self._shell.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self._shell.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        os.close(self._window)

    def _read(self) -> None:
        """As windows do, whether somebody looks at it or not: Ctrl-C drops what is unread."""
        with contextlib.suppress(OSError):  # which is how it says that nobody has it any longer
            while read := os.read(self._window, 65536):
                with self._more:
                    self.all += read.decode(errors="replace")
                    self._more.notify_all()

    def type(self, text: str) -> None:
        os.write(self._window, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.type("\x03")

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until something matches in what was shown since the last time."""
        with self._more:
            found = self._more.wait_for(
                lambda: re.search(pattern, self.all[self._seen :]), _PATIENCE
            )
            assert found, f"no {pattern!r} in {self.all[self._seen :]!r}"
            self._seen += found.end()
        return found

    def finished(self) -> tuple[str, int]:
        """What is left on the screen when the shell is back, and the status before."""
        found = self.until(_PROMPT)
        shown = found.string[: found.start()].replace("\r\n", "\n")
        # A line that was shown again begins anew.
        return re.sub(r"[^\n]*\r\x1b\[K", "", shown), int(found[1])

    def run(self, line: str, status: int = 0) -> str:
        """What a command line prints that ends with this status."""
        self.type(f"{line}\n")
        printed, ended = self.finished()
        assert ended == status, printed
        return printed.removeprefix(f"{line}\n")

    def processes(self) -> list[int]:
        """What runs in this window beside its shell."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            number = int(process.name)
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(number) == self._shell.pid != number:
                    found.append(number)
        return found
