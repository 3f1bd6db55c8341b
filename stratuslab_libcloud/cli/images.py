"""Commands that read the Marketplace: list, search and show images (config-and-cli 3.17)."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.options import JSON, MARKETPLACE, Given, command, pass_given
from stratuslab_libcloud.untrusted.text import printable

if TYPE_CHECKING:
    from stratuslab_libcloud import Image

__all__ = ["list_images", "search_image", "show_image"]

Details = dict[str, Any]
Criterion = tuple[str, Callable[[str, Details], bool]]
"""Its name in a search with ``--long``, and a test of an image's id and details."""

_EXAMPLE = "BN1EEkPiBx87_uLj2-sdybSI-Xb"
_COLUMNS = ("id", "os", "arch", "endorser", "name")
_LEAST_NAME = 16  # columns that the name keeps on a narrow terminal
_WIDEST = 40  # of the other cells
# What entries say, and the images of an OpenNebula do not.
_UNKNOWN: Details = {
    **dict.fromkeys(("creator", "os", "os_version", "os_arch", "endorser", "valid", "version")),
    **dict.fromkeys(("compression", "publisher", "hypervisor")),
    "endorsers": [],
    "locations": [],
    "checksums": {},
}


def _pattern(*names: str, what: str) -> click.Option:
    return click.Option(names, metavar="PATTERN", help=f"Only images of this {what}.")


_CRITERIA = (
    _pattern("--os", what="operating system, with or without its version"),
    _pattern("-a", "--arch", what="architecture"),
    _pattern("-e", "--endorser", "--email", "endorser", what="endorser's e-mail address"),
)
_LONG = (
    click.Option(
        ["--long"], is_flag=True, help="Show more of each image, as the client of 2013 did."
    ),
)


@command(
    "stratus-list-images",
    *(_CRITERIA, _LONG, MARKETPLACE, JSON),
    examples=("stratus-list-images", "stratus-list-images --os 'ubuntu*' --arch x86_64"),
)
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@pass_given
def list_images(given: Given, /, long: bool, **asked: Any) -> None:
    """
    List the current images of the Marketplace, or those with TEXT in their id, name or description.
    On OpenNebula they are the images that the account may use.

    A PATTERN is the whole value, where * stands for anything. Capital letters make no difference.
    """
    criteria = _criteria(asked)
    _show(given, _found(given, criteria, long), _brief_lines if long else None)


@command(
    "stratus-search-image",
    *(_CRITERIA, _LONG, MARKETPLACE, JSON),
    examples=(
        "stratus-search-image debian",
        "stratus-search-image --endorser ada@example.org --os centos",
    ),
)
@click.option("--creator", metavar="PATTERN", help="Only images of this creator.")
@click.option("-d", "--description", metavar="PATTERN", help="Only images described so.")
@click.option(
    "--description_regexp",
    metavar="REGEXP",
    help="Only images whose description has a match of this expression; replaces -d.",
)
@click.argument("words", metavar="[TEXT]...", nargs=-1)
@pass_given
def search_image(given: Given, /, long: bool, **asked: Any) -> None:
    """
    Show the current images that meet all criteria; a TEXT is looked for in id, name and
    description. Images on OpenNebula have neither system, architecture, endorser nor creator.

    A PATTERN is the whole value, where * stands for anything. Capital letters make no difference.
    """
    criteria = _criteria(asked)
    if not criteria:
        raise click.UsageError("Specify search criteria")
    met = [f"{label} FOUND" for label, _ in criteria]
    count = f"{len(met)} {'criterion matches' if len(met) == 1 else 'criteria match'}"
    header = ["####", *met, f"{count} your search for this image", "####"]

    def lines(image_id: str, details: Details) -> list[str]:
        return [*header, *_all_lines(image_id, details)]

    whole = long or asked["creator"] is not None
    _show(given, _found(given, criteria, whole), lines if long else None)


@command(
    "stratus-show-image",
    *(MARKETPLACE, JSON),
    examples=(f"stratus-show-image {_EXAMPLE}", f"stratus-show-image --json {_EXAMPLE}"),
)
@click.argument("ids", metavar="IMAGE-ID", nargs=-1)
@pass_given
def show_image(given: Given, ids: tuple[str, ...]) -> None:
    """Show everything that the Marketplace, or an OpenNebula, knows about an image."""
    if len(ids) != 1:
        raise click.UsageError("Only specify one image to show" if ids else "Specify image to show")
    _show(given, [given.cloud("marketplace").image(ids[0])], _all_lines)


# -- which ---------------------------------------------------------------------------------------


def _criteria(asked: dict[str, Any]) -> list[Criterion]:
    """Collect the criteria that are given, in the order of the original."""
    known: dict[str, Callable[[Details], Sequence[str | None]]] = {
        "creator": lambda details: [details["creator"]],
        "os": lambda details: [details["os"], _joined(details["os"], details["os_version"])],
        "arch": lambda details: [details["os_arch"]],
        "description": lambda details: [details["description"]],
        "endorser": lambda details: details["endorsers"],
    }
    criteria = []
    for name, values in known.items():
        pattern = asked.get(name)
        if name == "description" and asked.get("description_regexp") is not None:
            criteria.append(_described(asked["description_regexp"]))
        elif pattern is not None:
            label = "EMAIL" if name == "endorser" else name.upper()
            criteria.append((label, _like(pattern, values)))
    return [*criteria, *map(_with, asked["words"])]


def _like(
    pattern: str, values: Callable[[Details], Sequence[str | None]]
) -> Callable[[str, Details], bool]:
    pattern = pattern.casefold()
    return lambda _, details: any(
        fnmatchcase((value or "").casefold(), pattern) for value in values(details)
    )


def _described(expression: str) -> Criterion:
    try:
        found = re.compile(expression).search
    except re.error as error:
        raise click.UsageError(f"--description_regexp: {error}") from None
    return "DESCRIPTION[REGEXP]", lambda _, details: found(details["description"] or "") is not None


def _with(text: str) -> Criterion:
    text = text.casefold()

    def found(image_id: str, details: Details) -> bool:
        texts = (image_id, details["title"] or "", details["description"] or "")
        return any(text in one.casefold() for one in texts)

    return "TEXT", found


def _found(given: Given, criteria: Sequence[Criterion], whole: bool) -> list["Image"]:
    images = given.cloud("marketplace").images(whole)
    if not criteria:
        return list(images)
    found = []
    for image in images:
        details = _details(image)
        if all(meets(image.id, details) for _, meets in criteria):
            found.append(image)
    return found


def _details(image: "Image") -> Details:
    """All that is known of an image; one of an OpenNebula has no Marketplace entry."""
    told = image.details()
    return (
        told if "title" in told else {"title": image.name, "name": image.name, **_UNKNOWN, **told}
    )


# -- how they look --------------------------------------------------------------------------------


def _show(
    given: Given,
    images: Sequence["Image"],
    lines: Callable[[str, Details], Sequence[str]] | None,
) -> None:
    """Print images as JSON, as these lines of each, or as a table."""
    if given.json:
        output.as_json([output.shape(image) for image in images])
        return
    if not images and not given.quiet:
        output.note("No image to show")
    if lines:
        for image in images:
            shown = [printable(line) for line in lines(image.id, _details(image))]
            click.echo("\n".join([*shown, "####", ""]))
    elif images:
        for line in _table(images, _width()):
            click.echo(line)


def _width() -> int:
    """Return the width of the terminal; elsewhere lines are as long as they need to be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def _table(images: Sequence["Image"], width: int) -> Iterator[str]:
    """Format lines of at most ``width``, without columns that do not fit beside id and name."""
    rows = [_COLUMNS, *map(_cells, images)]
    widths = [1 + max(len(row[place]) for row in rows) for place in range(len(_COLUMNS) - 1)]
    shown, left = [0], width - widths[0] - _LEAST_NAME
    for place in range(1, len(widths)):
        if widths[place] <= left:
            shown.append(place)
            left -= widths[place]
    for row in rows:
        line = "".join(row[place].ljust(widths[place]) for place in shown) + row[-1]
        yield line if len(line) <= width else f"{line[: width - 3]}..."


def _cells(image: "Image") -> tuple[str, ...]:
    details = _details(image)
    os = _joined(details["os"], details["os_version"])
    cells = os, details["os_arch"] or "", details["endorser"] or ""
    return (image.id, *(printable(cell)[:_WIDEST] for cell in cells), image.name)


def _brief_lines(image_id: str, details: Details) -> list[str]:
    """Format an image as the original's list does; absent values are left out."""
    return [
        *_labelled("Name", details.get("name")),
        *_labelled("Description", details["description"]),
        *_labelled("ID", image_id),
        *_os_line(details),
        *_labelled("Creator", details["creator"]),
        *_labelled("Created at", _date(details["created"])),
    ]


def _all_lines(image_id: str, details: Details) -> list[str]:
    """Format an image as the original's ``stratus-show-image`` does."""
    return [
        *_labelled("Name", details.get("name")),
        *_labelled("Description", details["description"]),
        *_labelled("ID", image_id),
        *_labelled("Creator", details["creator"]),
        *_labelled("Created at", _date(details["created"])),
        *_labelled("Validity", _date(details["valid"])),
        *_os_line(details),
        *_labelled("Version", details["version"]),
        *_labelled("Compression", details["compression"]),
        *_labelled("Location", *details["locations"]),
        *_labelled("Format", details["format"]),
        *_labelled("Publisher", details["publisher"]),
        *_labelled("Hypervisor", details["hypervisor"]),
        *_labelled("Endorser", *details["endorsers"]),
        *_labelled("Owner", details.get("owner")),
        *_labelled("State", details.get("state")),
        *_labelled("Datastore", details.get("datastore")),
        *(f"{algorithm} {digest}" for algorithm, digest in details["checksums"].items()),
    ]


def _labelled(label: str, *values: str | None) -> list[str]:
    return [f"{label}: {' '.join(value.split())}" for value in values if value]


def _os_line(details: Details) -> list[str]:
    os = _joined(details["os"], details["os_version"])
    arch = _labelled("Arch", details["os_arch"])
    line = " | ".join([*_labelled("OS", os), *arch])
    return [line] if line else []


def _joined(*parts: str | None) -> str:
    return " ".join(filter(None, parts))


def _date(text: str | None) -> str:
    """Write ``2013-05-13T10:00:00Z`` without its letters."""
    return (text or "").replace("T", " ").removesuffix("Z")
