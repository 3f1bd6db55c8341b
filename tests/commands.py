"""``stratus-sandbox``, as somebody at a terminal runs it."""

import contextlib
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import forked
from forked import Process, unloaded
from present import present

__all__ = ["SIMULATED", "ends", "run", "start", "up", "without"]

COMMAND = "from stratuslab_libcloud.cli.sandbox import main; main(prog_name='stratus-sandbox')"
SIMULATED = ("--machines", "simulated")


def without(package: str) -> str:
    """Code after which a package cannot be imported, and none of our modules has been."""
    gone = unloaded("stratuslab_libcloud") + unloaded(package)
    return f"{gone}\nsys.modules[{package!r}] = None"


def start(*arguments: str, before: str = "", anew: bool = False) -> Process:
    """
    Start a command.

    :param before: code to run before it.
    :param anew: in a Python that has loaded nothing, which takes half a second.
    """
    return forked.start(f"{before}\n{COMMAND}", *arguments, anew=anew)


def run(*arguments: str, before: str = "", anew: bool = False) -> subprocess.CompletedProcess[str]:
    with start(*arguments, before=before, anew=anew) as process:
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, present(process.returncode), out, err)


@contextlib.contextmanager
def up(
    directory: Path, *options: str, before: str = "", anew: bool = False
) -> Iterator[tuple[Process, str]]:
    """The process of a sandbox that is up, and its URL."""
    arguments = ["up", "--dir", str(directory), "--port", "0", *options]
    with start(*arguments, before=before, anew=anew) as process:
        try:
            match = re.fullmatch(
                r"ready: (\S+), configuration (.*)\n", present(process.stdout).readline()
            )
            assert match, present(process.stderr).read()
            assert match[2] == f"{directory}/stratuslab-user.cfg"
            assert present(process.stdout).readline() == f"pages: {match[1]}/pages/\n"
            yield process, match[1]
        finally:
            process.kill()


def ends(process: Process, number: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return present(process.returncode), out, err
