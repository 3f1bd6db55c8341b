"""``stratus-sandbox``: a StratusLab site on this machine, from the command line."""

import contextlib
import gc
import os
import pathlib
import signal
import socket
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from stratuslab_libcloud import __version__
from stratuslab_libcloud.cli.options import shown_examples
from stratuslab_libcloud.cli.output import Progress
from stratuslab_libcloud.cli.serving import HOST, needing_extra, port
from stratuslab_libcloud.untrusted.text import one_line, printable

if TYPE_CHECKING:
    from stratuslab_libcloud.sandbox.site import Sandbox

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
DIRECTORY = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=pathlib.Path),
    default=DEFAULT_DIR,
    show_default=True,
    help="Directory that keeps all its state.",
)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def make_sandbox(**options: object) -> "Sandbox":
    """
    Make a sandbox with these options, without starting it.

    :raises click.ClickException: an option is invalid, or the extra ``sandbox`` is not installed.
    """
    with needing_extra("the sandbox", "sandbox"):
        from stratuslab_libcloud.sandbox import SandboxError
        from stratuslab_libcloud.sandbox.site import Sandbox

        if options["machines"] != "simulated":
            import_module("stratuslab_libcloud.sandbox.machines.qemu")  # needs more than the rest
    try:
        shown = _Shown()
        return Sandbox(on_notice=shown.notice, on_progress=shown.work, **options)  # type: ignore[arg-type]
    except SandboxError as error:
        raise click.ClickException(one_line(str(error))) from None


class _Shown:
    """
    Notices, and the progress of long work: a bar on a terminal, elsewhere a line when it begins.
    """

    def __init__(self) -> None:
        self._work = ""
        self._progress = Progress()

    def notice(self, line: str) -> None:
        """Print a line, which a bar must not be in the way of."""
        self._progress.clear()
        click.echo(printable(line), err=True)

    def work(self, work: str, part: float) -> None:
        """Show how much of some work is done."""
        if part == 0 and not sys.stderr.isatty():
            self.notice(work)
        if work != self._work:
            self._work, self._progress = work, Progress()
        if part < 1:
            self._progress.show(work, part)
        else:
            self._progress.clear()


def _users(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> object:
    """Read ``NAME:PASSWORD`` options as a mapping; None without any."""
    users = {}
    for value in values:
        name, colon, password = value.partition(":")
        if not (name and colon and password):
            raise click.BadParameter("must be NAME:PASSWORD")
        users[name] = password
    return users or None


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=shown_examples("stratus-sandbox up", "stratus-sandbox demo"),
)
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Run a StratusLab site on this machine."""


@main.command(
    epilog=shown_examples(
        "stratus-sandbox up",
        "stratus-sandbox up --tls --user jane:not-this-one --machines simulated",
    )
)
@DIRECTORY
@HOST
@port(DEFAULT_PORT)
@click.option(
    "--tls",
    is_flag=True,
    help="Speak HTTPS with a throw-away CA; adds the location 'certificate'.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME:PASSWORD",
    callback=_users,
    help="Account that may log in; may be repeated.",
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
@click.option(
    "--outbound",
    is_flag=True,
    help="Let machines reach the network and the services on this host.",
)
@click.option(
    "--confirm-uploads",
    is_flag=True,
    help="Publish an upload once its endorser confirms it: an e-mail is written to DIR/mail.",
)
def up(directory: pathlib.Path, machines: str, **options: object) -> None:
    """
    Serve until Ctrl-C or SIGTERM.

    When the site is ready, one line says so and names the configuration file for the driver, and
    the next has the address of its pages for a browser. The file is complete. Without --user there
    is one account with a random password.
    """
    sandbox = make_sandbox(dir=directory, machines=machines, **options)
    for number in ENDING:
        signal.signal(number, _end_once)  # does not wait for images being built
    with _signals() as arrived, _reported(), sandbox:
        for number in ENDING:
            signal.signal(number, _stop)
        gc.freeze()  # all this stays: garbage is looked for only in what comes after
        click.echo(f"ready: {sandbox.url}, configuration {sandbox.config_path}")
        click.echo(f"pages: {sandbox.pages_url}")
        ending = arrived.recv(1)[0]
    raise SystemExit(130 if ending == signal.SIGINT else 0)


@main.command(
    epilog=shown_examples("stratus-sandbox demo", "stratus-sandbox demo --machines simulated")
)
@MACHINES
def demo(machines: str) -> None:
    """
    Walk through chapter 9 of the User's Guide.

    The site is a throw-away one, which leaves nothing behind.
    """
    sandbox = make_sandbox(machines=machines, boot_seconds=2)

    from stratuslab_libcloud.cli.demo import walk

    # They take precedence over the configuration file, and could name somebody's real cloud.
    for name in set(os.environ) - {"STRATUSLAB_SANDBOX_CACHE"}:
        if name.startswith("STRATUSLAB_"):
            del os.environ[name]
    for number in ENDING:
        signal.signal(number, _end_once)
    with _reported(), sandbox:
        walk(sandbox.config_path, real=sandbox.machines == "qemu")


@main.command(
    epilog=shown_examples(
        "stratus-sandbox add-image debian-12-genericcloud-amd64.qcow2",
        "stratus-sandbox add-image --format raw --title Mine --os Debian mine.img",
    )
)
@DIRECTORY
@click.argument("file", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--format",
    "disk_format",
    type=click.Choice(["raw", "qcow2"]),
    default="qcow2",
    show_default=True,
    help="Format of FILE.",
)
@click.option("--title", help="Title in listings; default: the name of FILE.")
@click.option("--description", default="", help="Description of the image.")
@click.option("--os", default="Linux", show_default=True, help="Operating system.")
@click.option("--os-version", default="", help="Version of the operating system.")
@click.option(
    "--bus",
    "disks_bus",
    type=click.Choice(["virtio", "ide", "scsi"]),
    default="virtio",
    show_default=True,
    help="Bus that disks are attached to.",
)
@click.option(
    "--port",
    "inbound_ports",
    multiple=True,
    type=click.IntRange(1, 65535),
    default=(22,),
    show_default=True,
    help="Inbound port; may be repeated.",
)
def add_image(directory: pathlib.Path, file: pathlib.Path, **described: Any) -> None:
    """
    Register a bootable disk image, raw or qcow2, in the sandbox's Marketplace.

    The image is copied; the sandbox may be running. Stock cloud images work: cloud-init finds the
    public key and user data.
    """
    with needing_extra("the sandbox", "sandbox"):
        from stratuslab_libcloud.sandbox import SandboxError
        from stratuslab_libcloud.sandbox.registering import register_image
    described["title"] = described["title"] or file.stem
    for number in ENDING:
        signal.signal(number, _end_once)  # the copy is removed
    try:
        with Progress() as progress:
            identifier = register_image(directory, file, on_progress=progress.show, **described)
        click.echo(identifier)
    except SandboxError as error:
        raise click.ClickException(one_line(str(error))) from None


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """
    Give a socket that brings the number of each signal.

    Whatever else waits may miss one that comes just as it begins, or be locked by its handler.
    """
    ours, pythons = socket.socketpair()
    with ours, pythons:
        pythons.setblocking(False)
        before = signal.set_wakeup_fd(pythons.fileno())
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(before)


def _stop(_number: int, _frame: types.FrameType | None) -> None:
    """Do nothing: the socket brings the number."""


def _end_once(number: int, _frame: types.FrameType | None) -> None:
    """Exit with all clean-up, which a second Ctrl-C must not interrupt."""
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Report expected failures in one line; a bug keeps its traceback."""
    from libcloud.common.types import LibcloudError

    from stratuslab_libcloud.sandbox import SandboxError

    try:
        yield
    except BrokenPipeError:
        raise  # the reader of our output has gone; click handles this
    except (LibcloudError, SandboxError, OSError) as error:
        raise click.ClickException(one_line(str(error))) from error
