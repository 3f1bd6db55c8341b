"""
Processes that are there at once: forks of a Python that has loaded much already.

All else is their own: what they print, the signals that they get, and how they end.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import IO

__all__ = ["Forked", "Process", "printed", "start", "unloaded"]

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "stratuslab_libcloud.cli.sandbox",
        "stratuslab_libcloud.compute_driver",
        "stratuslab_libcloud.sandbox.machines.qemu",
        "stratuslab_libcloud.sandbox.registering",
        "stratuslab_libcloud.sandbox.site",
    ]
)


def _run(
    code: str,
    arguments: Sequence[str],
    environment: dict[str, str],
    out: "Connection[object, object]",
    err: "Connection[object, object]",
) -> None:
    with open(os.devnull) as nothing, out, err:
        for number, end in enumerate((nothing.fileno(), out.fileno(), err.fileno())):
            os.dup2(end, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    names = {"__name__": "__main__"}
    gc.freeze()
    try:
        exec(code, names)
    finally:  # as a Python ends: what is left open may say so
        names.clear()
        gc.collect()


UNLOADED = """
import sys
for name in list(sys.modules):
    if name.partition(".")[0] == {!r}:
        del sys.modules[name]
"""


def unloaded(package: str) -> str:
    """Code after which no module of a package has been loaded."""
    return UNLOADED.format(package)


def printed(code: str, *arguments: str, timeout: float = 120) -> str:
    """What this prints in a process that has loaded none of our modules; warnings are errors."""
    before = f"{unloaded('stratuslab_libcloud')}\nimport warnings; warnings.simplefilter('error')"
    with Forked(f"{before}\n{code}", *arguments) as process:
        out, err = process.communicate(timeout=timeout)
        assert (err, process.returncode) == ("", 0)
    return out


class Forked:
    """A process that runs this code, with what :class:`subprocess.Popen` has for it."""

    def __init__(self, code: str, *arguments: str) -> None:
        (out, out_end), (err, err_end) = FORKS.Pipe(duplex=False), FORKS.Pipe(duplex=False)
        with out_end, err_end:
            given = (code, arguments, dict(os.environ), out_end, err_end)
            self._process = FORKS.Process(target=_run, args=given)
            self._process.start()
        with out, err:
            self.stdout, self.stderr = (
                os.fdopen(os.dup(out.fileno())),
                os.fdopen(os.dup(err.fileno())),
            )
        self.kill = self._process.kill

    def __enter__(self) -> "Forked":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self.stdout, self.stderr:
            self._process.join()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Read all that it prints until it ends; a test has a limit of its own, too."""
        read = self.stdout.read(), self.stderr.read()
        self._process.join(timeout)
        return read


Process = Forked | subprocess.Popen[str]


def start(
    code: str, *arguments: str, anew: bool = False, stderr: IO[str] | int | None = subprocess.PIPE
) -> Process:
    """
    Start a process that runs this code.

    :param anew: in a Python that has loaded nothing, which takes half a second; otherwise standard
        error is always piped.
    """
    if not anew:
        return Forked(code, *arguments)
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
