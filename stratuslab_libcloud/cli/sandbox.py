"""``stratus-sandbox``: a StratusLab site on this machine, from the command line."""

import contextlib
import os
import pathlib
import signal
import sys
import threading
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from stratuslab_libcloud import __version__

if TYPE_CHECKING:
    from stratuslab_libcloud.sandbox import Sandbox

__all__ = ["main", "make_sandbox"]

DEFAULT_DIR = pathlib.Path("~/.stratuslab/sandbox")
DEFAULT_PORT = 8445
MACHINES = click.option(
    "--machines",
    type=click.Choice(["auto", "qemu", "simulated"]),
    default="auto",
    show_default=True,
    help="What machines run on.",
)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXTRA = {"cheroot", "cryptography", "trustme", "werkzeug"}


def make_sandbox(**options: object) -> "Sandbox":
    """
    A sandbox made with these options, not started.

    :raises click.ClickException: it cannot be, or what it needs is not installed. One line.
    """
    try:
        from stratuslab_libcloud.sandbox import Sandbox, SandboxError
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise click.ClickException(
            "the sandbox needs more packages: "
            f"pip install 'stratuslab-libcloud-drivers[sandbox]=={__version__}'"
        ) from None
    try:
        return Sandbox(**options)  # type: ignore[arg-type]
    except SandboxError as error:
        raise click.ClickException(str(error)) from None


def _users(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> object:
    """``NAME:PASSWORD`` options as a mapping; None without any."""
    users = {}
    for value in values:
        name, colon, password = value.partition(":")
        if not (name and colon and password):
            raise click.BadParameter("must be NAME:PASSWORD")
        users[name] = password
    return users or None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """A StratusLab site that runs on this machine."""


@main.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=pathlib.Path),
    default=DEFAULT_DIR,
    show_default=True,
    help="Where all its state is kept.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; 0 for any.",
)
@click.option(
    "--tls",
    is_flag=True,
    help="Speak HTTPS, with a throw-away CA; adds the location 'certificate'.",
)
@click.option(
    "--user", "users", multiple=True, metavar="NAME:PASSWORD", callback=_users, help="An account."
)
@MACHINES
@click.option(
    "--boot-seconds",
    type=click.FloatRange(0, 86400),
    default=0.0,
    show_default=True,
    help="Seconds from PENDING to RUNNING of a simulated machine.",
)
@click.option("--keep-machines", is_flag=True, help="Do not end the machines on exit.")
def up(directory: pathlib.Path, machines: str, **options: object) -> None:
    """
    Serve until Ctrl-C or SIGTERM.

    Once it serves, one line says so and names the configuration file to give to the driver. The
    file is complete: without --user there is one account with a random password.
    """
    sandbox = make_sandbox(dir=directory, machines=machines, **options)
    received: list[int] = []
    told = threading.Event()

    def stop(number: int, _frame: types.FrameType | None) -> None:
        received.append(number)
        told.set()

    for number in ENDING:
        signal.signal(number, stop)
    with _reported(), sandbox:
        if machines == "auto":
            click.echo("machines are simulated: they boot, but run nothing", err=True)
        if not received:
            click.echo(f"ready: {sandbox.url}, configuration {sandbox.config_path}")
        told.wait()
    raise SystemExit(130 if received[0] == signal.SIGINT else 0)


@main.command()
@MACHINES
def demo(machines: str) -> None:
    """Tell chapter 9 of the User's Guide on a throw-away site."""
    sandbox = make_sandbox(machines=machines, boot_seconds=2)

    from stratuslab_libcloud.cli.demo import walk

    # They come before the configuration file, and would take the demo to somebody's real cloud.
    for name in [name for name in os.environ if name.startswith("STRATUSLAB_")]:
        del os.environ[name]
    for number in ENDING:
        signal.signal(number, _end_once)
    with _reported(), sandbox:
        walk(sandbox.config_path)


def _end_once(number: int, _frame: types.FrameType | None) -> None:
    """End by way of all that cleans up, which a second Ctrl-C must not interrupt."""
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Put what can be expected to fail in one line; a bug keeps its traceback."""
    from libcloud.common.types import LibcloudError

    from stratuslab_libcloud.sandbox import SandboxError

    try:
        yield
    except BrokenPipeError:
        raise  # click's to handle: who reads our output has had enough
    except (LibcloudError, SandboxError, OSError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error
