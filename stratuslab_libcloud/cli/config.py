"""Commands about the user configuration file."""

import contextlib
import os
import tempfile
from importlib.resources import files
from pathlib import Path

import click

from stratuslab_libcloud.cli.options import Given, command, pass_given
from stratuslab_libcloud.paths import expanded

__all__ = ["copy_config"]


@command(
    "stratus-copy-config",
    examples=("stratus-copy-config", "stratus-copy-config -c ~/other-cloud.cfg"),
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@pass_given
def copy_config(given: Given, force: bool) -> None:
    """
    Put a commented reference configuration file in place, to be edited.

    It is put where -c says, or in the default place; no configuration file is read.
    """
    from stratuslab_libcloud.configuration.file import default_path

    if given.config == "":
        raise click.ClickException("the FILE of -c is empty")
    try:
        path = expanded(given.config) if given.config else default_path()
    except ValueError as error:  # there is no home directory
        what = f"the FILE of -c {error}" if given.config else f"{error} with -c"
        raise click.ClickException(what) from None
    if path.is_dir():
        raise click.ClickException(f"{path} is a directory")
    reference = files("stratuslab_libcloud").joinpath("conf/stratuslab-user.cfg.ref").read_bytes()
    try:
        os.makedirs(path.parent, mode=0o700, exist_ok=True)
    except OSError as error:
        raise click.ClickException(
            f"cannot create directory {path.parent}: {error.strerror}"
        ) from None
    try:
        _write(path, reference, force)
    except FileExistsError:
        raise click.ClickException(
            f"won't overwrite file ({path}); use --force to overwrite"
        ) from None
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
    if not given.quiet:
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
