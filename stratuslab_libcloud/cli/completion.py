"""Shell completion, which is click's own: ids from the cloud, and ``stratus-completion``."""

import io
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from stratuslab_libcloud.cli.options import Given, command
from stratuslab_libcloud.untrusted.text import one_line

if TYPE_CHECKING:
    from stratuslab_libcloud import Cloud

__all__ = ["machine_ids", "script", "volume_ids"]

_PATIENCE = 0.4  # seconds for the cloud, of the half one that also has to do for starting Python

Described = Iterable[tuple[str, str]]
"""Ids, each with a text that some shells show beside it."""


def machine_ids(
    ctx: click.Context, _parameter: click.Parameter, begin: str
) -> list[CompletionItem]:
    """List the ids of the account's machines that begin so, for ``shell_complete``."""

    def machines(cloud: "Cloud", timeout: float) -> Described:
        for machine in cloud.machines(timeout):
            yield machine.id, f"{machine.name} {machine.summary}"

    return _completed(ctx, begin, machines)


def volume_ids(ctx: click.Context, _parameter: click.Parameter, begin: str) -> list[CompletionItem]:
    """List the ids of the account's disks that begin so, for ``shell_complete``."""

    def volumes(cloud: "Cloud", timeout: float) -> Described:
        for volume in cloud.volumes(timeout):
            yield volume.id, volume.name

    return _completed(ctx, begin, volumes)


def _completed(
    ctx: click.Context, begin: str, ask: Callable[["Cloud", float], Described]
) -> list[CompletionItem]:
    """Complete from the cloud; find nothing if it fails or is too slow."""
    end = time.monotonic() + _PATIENCE
    from stratuslab_libcloud import connect, errors  # loading counts

    given = ctx.ensure_object(Given)
    with redirect_stderr(io.StringIO()):  # would garble the line
        try:
            cloud = connect(given.config, given.section or None, options=given.options)
            found = list(ask(cloud, max(0.001, end - time.monotonic())))
        except errors.StratusLabError:
            return []
    return [
        CompletionItem(one, help=one_line(text)) for one, text in found if one.startswith(begin)
    ]


@command(
    "stratus-completion",
    examples=('eval "$(stratus-completion bash)"', "stratus-completion fish | source"),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def script(ctx: click.Context, shell: str) -> None:
    """
    Print what makes a shell complete the options of all stratus commands, and the ids of machines
    and disks.

    For bash and zsh put the first of these into ~/.bashrc or ~/.zshrc (there after compinit), for
    fish the second into ~/.config/fish/config.fish.
    """
    from importlib.metadata import entry_points

    kind = get_completion_class(shell)
    for point in sorted(entry_points(group="console_scripts"), key=lambda point: point.name):
        if kind and point.value.startswith(f"{__package__}."):
            variable = f"_{point.name}_COMPLETE".replace("-", "_").upper()
            click.echo(kind(ctx.command, {}, point.name, variable).source())
