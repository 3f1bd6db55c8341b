"""What the commands that serve have in common: their options, and the packages that they need."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import click

from stratuslab_libcloud import __version__

__all__ = ["HOST", "needing_extra", "port"]

HOST = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
EXTRA = {
    *("cheroot", "cryptography", "jinja2", "lxml", "pycdlib", "pyparsing", "qemu", "trustme"),
    "werkzeug",
}


def port(default: int) -> Callable[[Any], Any]:
    """Make the option ``--port``."""
    return click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        help="Port to listen on; 0 for any free port.",
    )


@contextlib.contextmanager
def needing_extra(what: str, extra: str) -> Iterator[None]:
    """
    Report packages that are missing in one line.

    :param what: needs them.
    :param extra: brings them.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise click.ClickException(
            f"{what} needs more packages: "
            f"pip install 'stratuslab-libcloud-drivers[{extra}]=={__version__}'"
        ) from None
