"""Options about the image that a machine becomes (config-and-cli 3.6, 3.16)."""

import time
from typing import TYPE_CHECKING, Any

import click

from stratuslab_libcloud.cli import output

if TYPE_CHECKING:
    from stratuslab_libcloud import NewImage

__all__ = ["IMAGE", "SAVE", "described", "new_image", "saved_name"]

IMAGE = (
    click.Option(["--author"], metavar="NAME", help="Who makes the image."),
    click.Option(["--author-email"], metavar="EMAIL", help="The author's address."),
    click.Option(["--image-version"], metavar="VERSION", help="Version of the image."),
    click.Option(["--title"], metavar="TEXT", help="Its title, of 40 characters at most."),
    click.Option(["--comment"], metavar="TEXT", help="What is new in it."),
    click.Option(
        ["--marketplace-endpoint-newimage"],
        metavar="URL",
        help="The Marketplace to describe it in.  [default: that of the machine's image]",
    ),
)
SAVE = (
    click.Option(
        ["--save"],
        is_flag=True,
        help="Make an image of it when it is shut down; needs the five options that follow.",
    ),
    *IMAGE,
)
_MANDATORY = {
    "author": "a valid author name of the image (--author)",
    "author_email": "a valid email address of the author of the image (--author-email)",
    "image_version": "a version number for the new image (--image-version)",
    "title": "a title for the image (--title)",
    "comment": "a comment for the image (--comment)",
}


def new_image(asked: dict[str, Any]) -> "NewImage | None":
    """
    The image that ``--save`` and the options with it ask for.

    :raises click.UsageError: one of them is missing.
    """
    if not asked["save"]:
        for option in IMAGE:
            if asked[str(option.name)]:
                output.warning(f"{option.opts[0]}: without --save it changes nothing")
        return None
    for name, what in _MANDATORY.items():
        if not asked[name]:
            raise click.UsageError(f"With the --save option, please provide {what}.")
    return described(asked)


def described(asked: dict[str, Any]) -> "NewImage":
    """The image that the options describe."""
    from stratuslab_libcloud import NewImage
    from stratuslab_libcloud.metadata.rules import is_email

    if not is_email(asked["author_email"]):
        raise click.UsageError(f"{asked['author_email']!r} is not an e-mail address")
    return NewImage(
        title=asked["title"],
        comment=asked["comment"],
        author=asked["author"],
        email=asked["author_email"],
        version=asked["image_version"] or "",
        marketplace=(asked["marketplace_endpoint_newimage"] or "").rstrip("/"),
    )


def saved_name() -> str:
    """What a machine is called that becomes an image, unless its owner says otherwise."""
    return time.strftime("creator: %Y-%m-%dT%H:%M:%SZ", time.gmtime())
