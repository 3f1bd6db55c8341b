"""Commands about persistent disks in machines (guide 7.4; config-and-cli 3.13, 3.14)."""

from collections.abc import Callable, Sequence

import click

from stratuslab_libcloud import errors
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.completion import machine_ids
from stratuslab_libcloud.cli.options import (
    ENDPOINT,
    JSON,
    LOGIN,
    STORAGE,
    Given,
    command,
    pass_given,
)
from stratuslab_libcloud.cli.volumes import checked_uuids, in_doubt, storage_of, uuids
from stratuslab_libcloud.untrusted.text import printable

__all__ = ["attach_volume", "detach_volume"]

_NOT_PLUGGED = "Disk have not been hot-plugged"  # the guide's words
_instance = click.option(
    "-i",
    "--instance",
    "vm_id",
    type=int,
    metavar="VM-ID",
    shell_complete=machine_ids,
    help="The machine; it is mandatory.",
)


@command(
    "stratus-attach-volume",
    *(STORAGE, ENDPOINT, LOGIN, JSON),
    examples=(
        "stratus-attach-volume -i 24 1e8e9104-681c-4269-8aae-e513c6723ac6",
        "stratus-attach-volume -i 24 --json 1e8e9104-681c-4269-8aae-e513c6723ac6",
    ),
)
@_instance
@uuids
@pass_given
def attach_volume(given: Given, vm_id: int | None, words: tuple[str, ...]) -> int:
    """
    Plug persistent disks into a running machine, and print the devices that they are there.

    A disk is for one machine at a time.
    """
    disks = checked_uuids(words, "Please provide at least one persistent disk UUID to attach")
    machine_id = _checked_machine(vm_id, "Please provide a VM ID on which to attach disk")
    cloud = given.cloud()
    machine = cloud.machine(machine_id)
    if not machine.running:
        raise click.ClickException(
            f"VM {machine_id} is not in running state: it is {machine.summary}"
        )

    def attach(disk: str) -> str:
        doubt = f"disk {disk} may have been attached: see stratus-describe-volumes"
        with in_doubt(doubt) as sending:
            if cloud.volume(disk).users:
                raise errors.ConflictError("Disk not available: it is already mounted")
            return cloud.attach_volume(disk, machine_id, sending)

    return _each(given, disks, machine_id, attach, f"ATTACHED {{}} in VM {machine_id}")


@command(
    "stratus-detach-volume",
    *(STORAGE, ENDPOINT, LOGIN, JSON),
    examples=(
        "stratus-detach-volume -i 24 1e8e9104-681c-4269-8aae-e513c6723ac6",
        "stratus-detach-volume -i 24 --json 1e8e9104-681c-4269-8aae-e513c6723ac6",
    ),
)
@_instance
@uuids
@pass_given
def detach_volume(given: Given, vm_id: int | None, words: tuple[str, ...]) -> int:
    """
    Unplug persistent disks from a machine; unmount them there first.

    A disk that a machine started with stays in it until the machine ends.
    """
    disks = checked_uuids(words, "Please provide at least one persistent disk UUID to detach")
    machine_id = _checked_machine(vm_id, "Please provide a VM ID on which to detach disk")
    cloud = storage_of(given)

    def detach(disk: str) -> str:
        try:
            return cloud.detach_volume(disk, machine_id)
        except (errors.ConflictError, errors.NotFoundError) as error:
            if error.said and isinstance(error, errors.ConflictError):
                raise
            raise errors.ConflictError(
                error.value,
                said=_NOT_PLUGGED,
                advice=error.advice,
                location=error.location,
                endpoint=error.endpoint,
                http_code=error.http_code,
            ) from error

    return _each(given, disks, machine_id, detach, f"DETACHED {{}} from VM {machine_id}")


def _checked_machine(vm_id: int | None, missing: str) -> str:
    if vm_id is None or vm_id < 0:
        raise click.UsageError(missing)
    return str(vm_id)


def _each(
    given: Given, disks: Sequence[str], machine_id: str, act: Callable[[str], str], line: str
) -> int:
    """
    Plug or unplug each disk. That one of them is refused is a result, too: scripts look for it.

    :param act: does it to one, and returns the device.
    :param line: what is printed about one, before the device.
    """
    done: list[dict[str, str]] = []
    refused: list[str] = []

    def do(disk: str) -> None:
        try:
            device = act(disk)
        except errors.ServiceError as error:
            if given.json or not error.refused or isinstance(error, errors.CredentialsError):
                raise
            given.say(str(error))
            click.echo(f"DISK {disk}: {error.said or error}")
            refused.append(disk)
            return
        done.append({"id": disk, "machine": machine_id, "device": device})
        if not given.json:
            click.echo(printable(line.format(disk) + (device and f" on /dev/{device}")))

    status = output.each(disks, do)
    if given.json:
        output.as_json(done)
    return 1 if refused else status
