"""The commands, as a shell runs them, but within this process."""

from pathlib import Path

import click
from click.testing import CliRunner, Result

from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["done", "refused", "run"]


def run(command: click.Command, *words: Sandbox | Path | str) -> Result:
    """A command with these words; a sandbox stands for ``-c`` and its configuration file."""
    written: list[str] = []
    for word in words:
        written += ["-c", str(word.config_path)] if isinstance(word, Sandbox) else [str(word)]
    return CliRunner().invoke(command, written)


def done(command: click.Command, *words: Sandbox | Path | str) -> str:
    """What a command prints that works, and has nothing else to say."""
    result = run(command, *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def refused(status: int, command: click.Command, *words: Sandbox | Path | str) -> str:
    """The one line of a command that does not work, without what all of them begin with."""
    result = run(command, *words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (status, "", 1)
    assert result.stderr.startswith("  [ERROR] ")
    return result.stderr.removeprefix("  [ERROR] ").removesuffix("\n")
