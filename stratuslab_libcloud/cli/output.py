"""
What commands print: results on standard output, all else on standard error (config-and-cli 3.2).

Old scripts read the results, so they are as the User's Guide prints them. ``--json`` prints a
:func:`shape` instead.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import click

from stratuslab_libcloud import errors
from stratuslab_libcloud.untrusted.text import one_line, printable

if TYPE_CHECKING:
    from stratuslab_libcloud import Image, Machine, Volume

__all__ = ["Progress", "as_json", "box", "each", "error", "note", "paint", "shape", "warning"]

_BAR = 20  # characters
_WIDTH = 80  # of a terminal that does not say how wide it is


def error(text: str) -> None:
    """Say that something went wrong, in one line."""
    _mark("ERROR", "red", text)


def warning(text: str) -> None:
    """Say what somebody should know, in one line."""
    _mark("WARNING", "yellow", text)


def note(text: str) -> None:
    """Say what happens, to whoever asked for details with ``-v``."""
    click.echo(printable(text), err=True)


def box(text: str) -> str:
    """A headline as the guide has them (6.1.1)."""
    line = ":" * (len(text) + 6)
    return f"\n {line}\n :: {text} ::\n {line}"


def paint(text: str, colour: str, stream: IO[str] | None = None) -> str:
    """The text in a colour, where the stream is a terminal and nobody minds (no-color.org)."""
    stream = stream or sys.stdout
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not stream.isatty() else click.style(text, fg=colour)


def as_json(value: object) -> None:
    """Print a result for programs."""
    click.echo(json.dumps(value, indent=2))


def shape(thing: "Machine | Volume | Image") -> dict[str, Any]:
    """
    What ``--json`` shows of a machine, a disk or an image: the names of their fields.

    A machine has its ``summary`` besides, such as ``Running``. Names are added, never changed.
    """
    from stratuslab_libcloud import Machine, Volume

    if not isinstance(thing, (Machine, Volume)):
        return {"id": thing.id, "name": thing.name, **thing.details()}
    values = thing._asdict()
    if "lcm_state" in values:
        values["summary"] = getattr(thing, "summary", "")
    return values


def each(
    ids: Iterable[str],
    act: Callable[[str], object],
    told: Callable[[str, str], object] = lambda one, reason: error(f"{one}: {reason}"),
) -> int:
    """
    Do something to each, also when it fails for some of them.

    :param told: reports that it failed for this one, for that reason.
    :return: the exit status.
    """
    status = 0
    for one in ids:
        try:
            act(one)
        except errors.StratusLabError as failure:
            told(one, str(failure))
            status = 1
    return status


class Progress:
    """One line on a terminal that says what is waited for, and is gone afterwards."""

    def __init__(self, quiet: bool = False) -> None:
        """
        :param quiet: whether nothing is to be shown on a terminal either.
        """
        self._shows = sys.stderr.isatty() and not quiet
        self._began = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Leave the line to others, until something is shown again."""
        self._write("")

    def show(self, text: str, part: float | None = None) -> None:
        """
        Show this, and how long it has been.

        :param part: how much of it is done, from 0 to 1, for a bar; ``None`` if nobody knows.
        """
        seconds = int(time.monotonic() - self._began)
        bar = "" if part is None else f"[{'#' * int(_BAR * part):{_BAR}}] {part:4.0%} "
        self._write(f" :: {bar}{printable(text)} ({seconds // 60}:{seconds % 60:02d})")

    def _write(self, line: str) -> None:
        if self._shows:
            try:
                width = os.get_terminal_size(sys.stderr.fileno()).columns or _WIDTH
            except (OSError, ValueError):
                width = _WIDTH
            click.echo(f"\r\x1b[K{line[: width - 1]}", nl=False, err=True)


def _mark(mark: str, colour: str, text: str) -> None:
    click.echo(f"  {paint(f'[{mark}]', colour, sys.stderr)} {one_line(text)}", err=True)
