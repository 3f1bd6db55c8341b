"""``stratus-connect-instance``: log in to a machine (config-and-cli 3.9, 5)."""

import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from stratuslab_libcloud.cli.completion import machine_ids
from stratuslab_libcloud.cli.options import (
    ENDPOINT,
    LOGIN,
    PAT,
    Given,
    command,
    pass_given,
    seconds,
    setting,
)
from stratuslab_libcloud.cli.output import Progress

if TYPE_CHECKING:
    from stratuslab_libcloud import Machine
    from stratuslab_libcloud.configuration.settings import Settings

__all__ = ["connect_instance", "login"]

_KEY = setting(
    "user_private_key_file",
    "-k",
    "--key",
    metavar="FILE",
    text="The private key to log in with.  [default: the one that belongs to the public key that "
    "machines are started with]",
)


@command(
    "stratus-connect-instance",
    [_KEY],
    ENDPOINT,
    LOGIN,
    PAT,
    examples=("stratus-connect-instance 5507", "stratus-connect-instance 5507 -- uname -a"),
)
@seconds("--timeout", 300, "How long to wait for the machine.")
@click.argument("words", metavar="VM-ID [-- COMMAND]...", nargs=-1, shell_complete=machine_ids)
@pass_given
def connect_instance(given: Given, timeout: float, words: tuple[str, ...]) -> None:
    """
    Log in to a machine as root, with SSH.

    Waits until the machine runs and SSH answers, then becomes ssh. A command after -- is run there,
    and its exit status is the command's.
    """
    if not words:
        raise click.UsageError("Missing vm-id")
    vm_id, *there = words
    cloud = given.cloud()
    from stratuslab_libcloud.cli.waiting import until_running, until_ssh_answers

    _private_key(cloud.settings)  # fails while there is nothing yet to wait for
    port = cloud.settings.options.ssh_port
    end = time.monotonic() + timeout
    with Progress(bool(given.quiet)) as progress:
        machine = until_running(cloud, vm_id, end, progress)
        if not machine.address:
            raise click.ClickException(
                f"Couldn't find enough information to connect to VM '{vm_id}': it has no address"
            )
        until_ssh_answers(vm_id, machine.address, port, end, progress)
    cloud.close()
    ssh = [*login(machine, cloud.settings), *there]
    given.say(f"Calling: {' '.join(ssh)}")
    try:
        os.execvp(ssh[0], ssh)  # noqa: S606 - no shell is what we want
    except FileNotFoundError:
        raise click.ClickException("there is no ssh program: install an OpenSSH client") from None


def login(machine: "Machine", settings: "Settings") -> list[str]:
    """
    The ssh command that logs in to a machine; what it should run there may follow.

    :raises click.ClickException: there is no private key.
    """
    return [
        *("ssh", "-p", str(settings.options.ssh_port), "-i", _private_key(settings)),
        *("-o", "IdentitiesOnly=yes"),
        *("-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=accept-new"),
        *("-o", f"HostKeyAlias={_known_as(machine, settings)}"),
        *("--", f"root@{machine.address}"),
    ]


def _private_key(settings: "Settings") -> str:
    pair = settings.default_key_pair()
    if pair is None:
        raise click.ClickException("Unspecified user private key. See --key option.")
    private = str(pair[1])
    if not os.path.isfile(private):
        raise click.ClickException(f"Private key `{private}` does not exist")
    return private


def _known_as(machine: "Machine", settings: "Settings") -> str:
    """
    The name that SSH keeps the host key by: a machine's own, as addresses are used again, by
    machines with other keys.
    """
    host = urlsplit(settings.endpoint).hostname or "stratuslab"
    return f"vm-{machine.id}-{machine.started or 0}.{host}"
