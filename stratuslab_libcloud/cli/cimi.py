"""``stratus-cimi``: a CIMI provider in front of a cloud, from the command line."""

import contextlib
import gc
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stratuslab_libcloud import __version__, connect
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.options import CONFIG, Command, Given, pass_given, shown_examples
from stratuslab_libcloud.cli.serving import HOST, needing_extra, port
from stratuslab_libcloud.untrusted.text import one_line

if TYPE_CHECKING:
    from stratuslab_libcloud import Cloud

__all__ = ["main", "serving"]

DEFAULT_DIR = Path("~/.stratuslab/cimi")
DEFAULT_PORT = 8446
LOOPBACK = ("127.0.0.1", "::1", "localhost")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXAMPLES = shown_examples("stratus-cimi serve", "stratus-cimi serve -S mycloud --tls --port 0")


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Offer a cloud by CIMI, the interface of DMTF."""


@main.command(cls=Command, params=[*CONFIG], epilog=EXAMPLES)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=DEFAULT_DIR,
    show_default=True,
    help="Directory that keeps templates, public keys and the certificate.",
)
@HOST
@port(DEFAULT_PORT)
@click.option("--tls", is_flag=True, help="Speak HTTPS with a throw-away CA, ca.pem in DIR.")
@pass_given
def serve(given: Given, directory: Path, host: str, port: int, tls: bool) -> None:
    """
    Serve a location of the configuration file until Ctrl-C or SIGTERM.

    Users log in with their names and passwords of the cloud, which gets them and nobody keeps. The
    logins in the file are not used.
    """
    if not tls and host not in LOOPBACK:
        output.warning("without --tls anybody on the network path can read all passwords")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # as there are no threads yet
    try:
        with serving(directory, given.config, given.section, host=host, port=port, tls=tls) as url:
            gc.freeze()  # all this stays: garbage is looked for only in what comes after
            click.echo(f"ready: {url}")
            number = signal.sigwait(ENDING)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    raise SystemExit(130 if number == signal.SIGINT else 0)


@contextlib.contextmanager
def serving(
    directory: Path,
    config: str | Path | None = None,
    section: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: bool = False,
) -> Iterator[str]:
    """
    Serve in a thread of its own, as :func:`serve`; gives the URL of the CloudEntryPoint.

    :raises click.ClickException: the extra is not installed, or the address cannot be used.
    """
    with needing_extra("stratus-cimi", "cimi"):
        from stratuslab_libcloud.cimi.provider import Provider
        from stratuslab_libcloud.cimi.resources import CHANGES, root
        from stratuslab_libcloud.sandbox.certificates import server_context
        from stratuslab_libcloud.sandbox.errors import SandboxError
        from stratuslab_libcloud.sandbox.http.browsers import Names
        from stratuslab_libcloud.sandbox.http.screening import refusal
        from stratuslab_libcloud.sandbox.http.server import Server
    connect(config, section).close()  # a configuration that cannot be used is an error now
    directory = directory.expanduser()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = directory / "kept.db"
    database.touch(mode=0o600)

    def of_login(username: str, password: str) -> "Cloud":
        login = {"username": username, "password": password}
        return connect(config, section, options=login | {f"pdisk_{k}": login[k] for k in login})

    try:
        server = Server(host, port, server_context(directory, host) if tls else None)
        server.prepare()
    except SandboxError as error:
        raise click.ClickException(one_line(str(error))) from None
    bound = server.bind_addr
    screen = partial(refusal, names=Names(host, bound[0]))
    server.wsgi_app = Provider(of_login, root, CHANGES, database, screen)
    thread = threading.Thread(target=server.serve, name="cimi", daemon=True)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"{'https' if tls else 'http'}://{shown}:{bound[1]}/cimi"
    finally:
        server.stop()
        thread.join()
