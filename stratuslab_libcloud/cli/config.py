"""Commands about the user configuration file."""

import contextlib
import os
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

import click

from stratuslab_libcloud import __version__
from stratuslab_libcloud.paths import expanded

__all__ = ["copy_config"]


@click.command("stratus-copy-config", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "--config", metavar="FILE", help="Where to put it, if not the default place.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing on success.")
@click.version_option(__version__, message="%(version)s")
def copy_config(config: str | None, force: bool, quiet: bool) -> None:
    """Put a commented reference configuration file in place, to be edited."""
    from stratuslab_libcloud.configuration.file import default_path

    if config == "":
        _fail("the FILE of -c is empty")
    try:
        path = expanded(config) if config else default_path()
    except ValueError as error:  # there is no home directory
        _fail(f"the FILE of -c {error}" if config else f"{error} with -c")
    if path.is_dir():
        _fail(f"{path} is a directory")
    reference = files("stratuslab_libcloud").joinpath("conf/stratuslab-user.cfg.ref").read_bytes()
    try:
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
    except OSError as error:
        _fail(f"cannot create directory {path.parent}: {error.strerror}")
    try:
        _write(path, reference, force)
    except FileExistsError:
        _fail(f"won't overwrite file ({path}); use --force to overwrite")
    except OSError as error:
        _fail(f"cannot write {path}: {error.strerror}")
    if not quiet:
        click.echo(f"wrote configuration file: {path}")


def _write(path: Path, content: bytes, force: bool) -> None:
    """Write atomically, mode 0600; never overwrite unless forced."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(content)
        if force:
            os.replace(name, path)
        else:
            os.link(name, path)  # unlike a rename, refuses an existing name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _fail(message: str) -> NoReturn:
    click.echo(f"  [ERROR] {message}", err=True)
    raise SystemExit(1)
