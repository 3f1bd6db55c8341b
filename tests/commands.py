"""``stratus-sandbox``, as somebody at a terminal runs it."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from present import present

__all__ = ["COMMAND", "SIMULATED", "ends", "run", "up"]

COMMAND = "from stratuslab_libcloud.cli.sandbox import main; main(prog_name='stratus-sandbox')"
SIMULATED = ("--machines", "simulated")


def run(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{before}\n{COMMAND}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextlib.contextmanager
def up(
    directory: Path, *options: str, before: str = ""
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of a sandbox that is up, and its URL."""
    code = f"{before}\n{COMMAND}"
    command = [sys.executable, "-c", code, "up", "--dir", str(directory), "--port", "0"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
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


def ends(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err
