"""
Machines that become images when they are shut down (compute-xmlrpc 4.7).

The site is told at the start of a machine what the image should be called. It saves the machine as
it ends: on a new persistent disk, which has the title as its tag and the image's identifier, and in
the Marketplace.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from stratuslab_libcloud.client import waiting
from stratuslab_libcloud.client.data import Machine, NewImage, NewMachine, Volume
from stratuslab_libcloud.client.stratuslab.compute import ComputeClient
from stratuslab_libcloud.client.stratuslab.listed import JudgedImage
from stratuslab_libcloud.client.stratuslab.marketplace import MarketplaceClient
from stratuslab_libcloud.client.stratuslab.pdisk import StorageClient
from stratuslab_libcloud.client.stratuslab.pdisk_fields import is_uuid
from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    NodeFailedError,
    NotFoundError,
)
from stratuslab_libcloud.metadata.entry import is_identifier

__all__ = ["Patience", "described", "ordered", "save"]

_LONGEST_PAUSE = 5.0  # seconds between two looks
_DONE = 6


@dataclass(frozen=True)
class Patience:
    """
    How to wait for a machine.

    :ivar end: by the monotonic clock.
    :ivar look: seconds that one look at it may take.
    :ivar told: called with its state after each.
    """

    end: float
    look: float
    told: Callable[[str], object]


def ordered(new: NewMachine, marketplace: str) -> NewMachine:
    """
    Complete the order for a machine that becomes an image.

    :param marketplace: the endpoint of the location's.
    """
    if new.save_as is None:
        return new
    if not isinstance(new.save_as, NewImage):
        raise InvalidValueError(f"save_as must be a NewImage, not {new.save_as!r}")
    if is_uuid(new.image):
        raise InvalidValueError(
            f"a node of disk {new.image} does not become an image: the disk itself keeps what is "
            "written to it"
        )
    if new.save_as.marketplace:
        return new
    return replace(new, save_as=replace(new.save_as, marketplace=marketplace))


def save(
    compute: ComputeClient,
    storage: StorageClient,
    machine_id: str,
    title: str,
    comment: str | None,
    sending: Callable[[], object],
    patience: Patience,
) -> Volume:
    """
    Shut a machine down, and wait for the disk that it becomes; unless it has been shut down.

    :return: the disk, whose ``identifier`` is that of the image.
    """
    attributes = dict(reversed(compute.attributes(machine_id)))  # the first of a name counts
    _check(machine_id, attributes, title, comment)
    running = (attributes.get("state"), attributes.get("lcm_state")) == ("3", "3")
    before = {disk.id for disk in storage.disks()} if running else set()
    if running:
        sending()
        compute.shutdown(machine_id)
    _wait(compute, machine_id, patience)
    for disk in storage.disks():  # the newest first
        named = is_identifier(disk.identifier or "") and disk.name == title
        if named and disk.id not in before:
            return disk
    raise NotFoundError(
        f"node {machine_id} has ended, but there is no disk with the tag {title!r}: it was killed, "
        "or the site does not save nodes"
    )


def described(marketplace: MarketplaceClient, disk: Volume) -> JudgedImage:
    """Look up the entry of an image that is on this disk."""
    try:
        return marketplace.get(str(disk.identifier))
    except NotFoundError as error:
        raise NotFoundError(
            error.value,
            advice=f"it is saved on disk {disk.id}, and may be described in another Marketplace",
            endpoint=error.endpoint,
            http_code=error.http_code,
        ) from error


def _check(machine_id: str, attributes: dict[str, str], title: str, comment: str | None) -> None:
    if "template_create_image_newimage_title" not in attributes:
        raise ConflictError(
            f"node {machine_id} was not started to be saved: start it with ex_save_as, or with "
            "stratus-run-instance --save"
        )
    for what, given, key in (
        ("name", title, "template_create_image_newimage_title"),
        ("description", comment, "template_create_image_newimage_comment"),
    ):
        known = attributes.get(key, "")
        if given is not None and given != known:
            raise InvalidValueError(
                f"the {what} of the image was chosen when node {machine_id} was started, and is "
                f"{known!r}, not {given!r}"
            )


def _wait(compute: ComputeClient, machine_id: str, patience: Patience) -> None:
    """Wait until a machine has ended."""

    def ended(machine: Machine) -> bool:
        if machine.state == _DONE:
            return True
        _check_ends(machine)
        patience.told(machine.summary)
        return False

    waiting.until(
        ended,
        lambda seconds: compute.info(machine_id, seconds),
        patience.end,
        f"node {machine_id} is not saved yet, and the time is over",
        longest_pause=_LONGEST_PAUSE,
        longest_look=patience.look,
        advice="ask again to go on waiting",
    )


def _check_ends(machine: Machine) -> None:
    if machine.failed:
        reason = machine.error or "the cloud gives no reason"
        raise NodeFailedError(f"node {machine.id} was not saved, it is {machine.summary}: {reason}")
    if not machine.ending:
        why = "its operating system does not shut down" if machine.running else "it does not run"
        raise ConflictError(f"node {machine.id} cannot be saved, it is {machine.summary}: {why}")
