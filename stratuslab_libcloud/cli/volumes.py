"""Commands about persistent disks (guide 7.1, 7.2, 7.5; config-and-cli 3.10 to 3.12, 3.15)."""

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from stratuslab_libcloud import errors
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.completion import volume_ids
from stratuslab_libcloud.cli.options import (
    JSON,
    LOGIN,
    STORAGE,
    Given,
    command,
    pass_given,
)
from stratuslab_libcloud.untrusted.text import printable

if TYPE_CHECKING:
    from stratuslab_libcloud import Cloud, Volume

__all__ = [
    "TYPES",
    "checked_uuid",
    "checked_uuids",
    "create_volume",
    "delete_volume",
    "describe_volumes",
    "in_doubt",
    "refusals",
    "storage_of",
    "tag_option",
    "update_volume",
    "uuids",
]

_LARGEST = 1024  # GiB
_LONGEST_TAG = 40


def _checked_size(ctx: click.Context, option: click.Parameter, size: int | None) -> int | None:
    if size is not None and not 1 <= size <= _LARGEST:
        raise click.UsageError(f"Volume size must be a valid integer between 1 and {_LARGEST}")
    return size


def _checked_tag(ctx: click.Context, option: click.Parameter, tag: str | None) -> str | None:
    if tag and len(tag) > _LONGEST_TAG:
        raise click.UsageError(f"Tags must have at most {_LONGEST_TAG} characters")
    return tag


def checked_uuid(text: str) -> str:
    """Any spelling of a UUID becomes the service's; disks of an OpenNebula have numbers."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        if text.isascii() and text.isdecimal():
            return text
        raise click.UsageError(f"Invalid UUID {text}") from None


def checked_uuids(words: Sequence[str], missing: str) -> list[str]:
    """The UUIDs, all of which are read before anything is done; ``missing`` if there are none."""
    if not words:
        raise click.UsageError(missing)
    return [checked_uuid(word) for word in words]


TYPES = tuple(
    click.Option(
        [f"--{name}", "kind"],
        flag_value=name.upper().replace("-", "_"),
        help=f"Make it {text}.",
    )
    for name, text in {
        "machine-image-origin": "an image that machines' disks are made from",
        "machine-image-live": "a disk that a machine can start from",
        "data-image-origin": "an image that disks are made from",
        "data-image-live": "a disk that was made from an image",
        "data-image-raw-readonly": "data for reading",
        "data-image-raw-read-write": "data for reading and writing, as new disks are",
    }.items()
)
tag_option = click.option(
    "-t", "--tag", metavar="NAME", callback=_checked_tag, help="Its name, of 40 characters at most."
)
uuids = click.argument("words", metavar="UUID...", nargs=-1, shell_complete=volume_ids)


# -- disks ----------------------------------------------------------------------------------------


@command(
    "stratus-create-volume",
    *(STORAGE, LOGIN, JSON),
    examples=(
        "stratus-create-volume --size=5 --tag=myprivate-disk",
        "stratus-create-volume --public --size=10 --tag=mypublic-disk",
        "stratus-create-volume --cow=9c5a2c03-8243-4a1b-a248-0f0d22d948c2",
    ),
)
@click.option(
    "-s", "--size", type=int, metavar="GB", callback=_checked_size, help="Its size, 1 to 1024."
)
@tag_option
@click.option(
    "--private/--public",
    default=None,
    help="Who may see and attach it: you, as by default, or everybody.",
)
@click.option(
    "--cow",
    metavar="UUID",
    shell_complete=volume_ids,
    help="Make it a copy of this disk, which must be an image (machine-image-origin).",
)
@click.option(
    "--rebase",
    metavar="UUID",
    shell_complete=volume_ids,
    help="Make it an image of this disk, from which machines start (machine-image-live).",
)
@pass_given
def create_volume(
    given: Given,
    size: int | None,
    tag: str | None,
    private: bool | None,
    cow: str | None,
    rebase: str | None,
) -> None:
    """
    Create a persistent disk, and print its UUID.

    It is empty, or a copy as large as the disk that it is made of.
    """
    if cow and rebase:
        raise click.UsageError("--cow and --rebase exclude each other")
    if size is None and not (cow or rebase):
        raise click.UsageError("Missing mandatory -s/--size option")
    origin = checked_uuid(cow or rebase or "") if cow or rebase else ""
    visibility = None if private is None else "private" if private else "public"
    cloud = storage_of(given)
    doubt = "a disk may have been created: see stratus-describe-volumes"
    with refusals(), in_doubt(doubt) as sending:
        sending()
        if origin:
            volume = cloud.copy_volume(origin) if cow else cloud.rebase_volume(origin)
        else:
            volume = cloud.create_volume(size or 0, tag or "", visibility or "private")
    if origin and (tag is not None or visibility):
        with refusals():
            cloud.update_volume(volume.id, name=tag, visibility=visibility)
        volume = volume._replace(
            name=volume.name if tag is None else tag, visibility=visibility or volume.visibility
        )
    if given.json:
        output.as_json([output.shape(volume)])
    else:
        click.echo(f"DISK {volume.id}")


@command(
    "stratus-update-volume",
    *(TYPES, STORAGE, LOGIN),
    examples=(
        "stratus-update-volume --public 9c5a2c03-8243-4a1b-a248-0f0d22d948c2",
        "stratus-update-volume --tag=results 9c5a2c03-8243-4a1b-a248-0f0d22d948c2",
    ),
)
@tag_option
@click.option("--private/--public", default=None, help="Who may see and attach it.")
@click.argument("words", metavar="UUID", nargs=-1, shell_complete=volume_ids)
@pass_given
def update_volume(
    given: Given, words: tuple[str, ...], tag: str | None, private: bool | None, kind: str | None
) -> None:
    """
    Change the name of a persistent disk, who may see it, or its type.

    Prints nothing. Of several types the last one counts.
    """
    if not words:
        raise click.UsageError("A disk UUID must be supplied")
    if len(words) > 1:
        raise click.UsageError("Only one disk UUID can be specified")
    disk = checked_uuid(words[0])
    if (tag, private, kind) == (None, None, None):
        output.warning("there is nothing to change: give --tag, --public, --private or a type")
        return
    visibility = None if private is None else "private" if private else "public"
    with refusals():
        storage_of(given).update_volume(disk, name=tag, visibility=visibility, kind=kind)


@command(
    "stratus-describe-volumes",
    *(STORAGE, LOGIN, JSON),
    examples=(
        "stratus-describe-volumes",
        "stratus-describe-volumes -f tag:^my -f visibility:public",
    ),
)
@click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME:VALUE",
    help="Only those with this property, whose value has something that this regular expression "
    "matches; all filters must match.",
)
@click.argument("words", metavar="[UUID]...", nargs=-1, shell_complete=volume_ids)
@pass_given
def describe_volumes(given: Given, filters: tuple[str, ...], words: tuple[str, ...]) -> None:
    """
    Show your persistent disks, or those with these UUIDs: their names (tag), sizes in GiB, and how
    many machines have them (users).
    """
    tests = [_filter(text) for text in filters]
    wanted = [_filter(f"uuid:{word.lower()}") for word in words]
    with refusals():
        volumes = storage_of(given).volumes()
    shown = [
        volume
        for volume in volumes
        if all(test(volume) for test in tests)
        and (not wanted or any(test(volume) for test in wanted))
    ]
    if given.json:
        output.as_json([output.shape(volume) for volume in shown])
    elif not shown:
        click.echo("No disk to show")
    else:
        for volume in shown:
            _show(volume)


@command(
    "stratus-delete-volume",
    *(STORAGE, LOGIN),
    examples=(
        "stratus-delete-volume 9c5a2c03-8243-4a1b-a248-0f0d22d948c2",
        "stratus-delete-volume -S fav-cloud 9c5a2c03-8243-4a1b-a248-0f0d22d948c2",
    ),
)
@uuids
@pass_given
def delete_volume(given: Given, words: tuple[str, ...]) -> int:
    """Delete persistent disks and all that is on them."""
    disks = checked_uuids(words, "At least one disk UUID is required")
    cloud = storage_of(given)

    def delete(disk: str) -> None:
        with refusals():
            cloud.delete_volume(disk)
        click.echo(f"DELETED {disk}")

    def told(disk: str, reason: str) -> None:
        output.error(f"{disk}: {reason}" if len(disks) > 1 else reason)

    return output.each(disks, delete, told)


def _filter(text: str) -> Callable[["Volume"], bool]:
    """Whether a disk has a property, whose value the expression after the colon matches."""
    name, _, value = text.partition(":")
    try:
        pattern = re.compile(value.strip())
    except re.error as error:
        raise click.UsageError(f"Invalid filter {text}: {error}") from None

    def test(volume: "Volume") -> bool:
        # Later services wrote count for users.
        properties = {**_properties(volume), "uuid": volume.id, "count": volume.users}
        found = properties.get(name.strip())
        return found is not None and pattern.search(str(found)) is not None

    return test


def _properties(volume: "Volume") -> dict[str, object]:
    """All that is known of a disk: the guide's properties in its order (7.2), then the others."""
    properties = {
        "created": volume.created,
        "visibility": volume.visibility,
        "tag": volume.name,
        "owner": volume.owner,
        "size": volume.size,
        "users": volume.users,
        "identifier": volume.identifier,
        "quarantine": volume.quarantine,
        "type": volume.type,
    }
    return {name: value for name, value in properties.items() if value is not None}


def _show(volume: "Volume") -> None:
    click.echo(f":: DISK {volume.id}")
    for name, value in _properties(volume).items():
        click.echo("\t" + printable(f"{name}: {value}"))


# -- what the commands about mounts use, too ----------------------------------------------------


def storage_of(given: Given) -> "Cloud":
    """The cloud whose disks the command is about."""
    cloud = given.cloud("storage")
    where = cloud.settings.pdisk_endpoint or cloud.settings.endpoint
    given.say(f"Accessing storage service at: {where}")
    return cloud


@contextmanager
def refusals() -> Iterator[None]:
    """Show a refusal in the words of the service, as the guide does (7.5)."""
    try:
        yield
    except errors.ServiceError as error:
        if not error.said:
            raise
        text = f"Service error: {error.said}"
        raise errors.StratusLabError(text, advice=error.advice) from error


@contextmanager
def in_doubt(doubt: str) -> Iterator[Callable[[], object]]:
    """Say what there may be, if Ctrl-C comes after the function that is given was called."""
    sent: list[str] = []
    try:
        yield partial(sent.append, doubt)
    except KeyboardInterrupt:
        for text in sent:
            output.warning(text)
        raise
