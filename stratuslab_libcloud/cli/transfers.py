"""Commands that move disks' contents (config-and-cli 3.23; pdisk-rest 2.1.3, 2.2.2)."""

from pathlib import Path

import click

from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.completion import volume_ids
from stratuslab_libcloud.cli.options import JSON, LOGIN, STORAGE, Given, command, pass_given
from stratuslab_libcloud.cli.volumes import (
    TYPES,
    checked_uuid,
    in_doubt,
    refusals,
    storage_of,
    tag_option,
)

__all__ = ["download_volume", "upload_image"]


class _Bar:
    """The progress of a transfer, on a terminal."""

    def __init__(self, progress: output.Progress, work: str) -> None:
        self._progress = progress
        self._work = work
        self._shown = -1

    def show(self, done: int, whole: int | None) -> None:
        """Show how much is done, whenever that is another MiB."""
        if done >> 20 != self._shown:
            self._shown = done >> 20
            part = done / whole if whole else None
            self._progress.show(f"{self._work}: {self._shown} MiB", part)


@command(
    "stratus-upload-image",
    *(TYPES, STORAGE, LOGIN, JSON),
    examples=(
        "stratus-upload-image --image-only --tag=calibration calib.img",
        "stratus-upload-image --image-only --public calib.img.gz",
    ),
)
@click.option(
    "-C",
    "--compress",
    metavar="FORMAT",
    default="gz",
    help="How it is compressed on its way: gz, which is all that services understand.",
)
@click.option(
    "--image-only", is_flag=True, help="Do not say that the Marketplace learns nothing of it."
)
@tag_option
@click.option("--private/--public", default=None, help="Who may see and attach it.")
@click.argument("words", metavar="IMAGE", nargs=-1, type=click.Path())
@pass_given
def upload_image(
    given: Given,
    words: tuple[str, ...],
    compress: str,
    image_only: bool,
    tag: str | None,
    private: bool | None,
    kind: str | None,
) -> None:
    """
    Make a persistent disk of an image file, and print where it is.

    The file may be in gzip; it stays as it is. The checksum of the disk is compared with its own.
    """
    if len(words) != 1:
        raise click.UsageError("Please specify an image as <filename>.img")
    if compress != "gz":
        raise click.UsageError(f"Unknown compression format {compress}: services take gz only")
    path = Path(words[0])
    if not path.is_file():
        raise click.UsageError(f"Image file does not exist: {path}")
    visibility = "private" if private in (None, True) else "public"
    cloud = storage_of(given)
    doubt = "a disk may have been created: see stratus-describe-volumes"
    with (
        output.Progress(bool(given.quiet)) as progress,
        refusals(),
        in_doubt(doubt) as sending,
    ):
        sending()
        bar = _Bar(progress, f"uploading {path.name}")
        volume = cloud.upload_volume(path, tag or "", visibility, kind, bar.show)
    if given.json:
        output.as_json([output.shape(volume)])
    else:
        click.echo(f"Image uploaded: {cloud.volume_url(volume.id)}")
    if not image_only:
        output.warning("only the image was uploaded: the Marketplace has no entry of it")


@command(
    "stratus-download-volume",
    *(STORAGE, LOGIN),
    examples=(
        "stratus-download-volume 9c5a2c03-8243-4a1b-a248-0f0d22d948c2 data.img",
        "stratus-download-volume 9c5a2c03-8243-4a1b-a248-0f0d22d948c2 data.img.gz",
    ),
)
@click.argument("disk", metavar="UUID", shell_complete=volume_ids)
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@pass_given
def download_volume(given: Given, disk: str, file: Path) -> None:
    """
    Write what is on a persistent disk to a file, in gzip if its name ends in .gz.

    The file appears, or is replaced, when all of it has come. No machine may have the disk.
    """
    uuid = checked_uuid(disk)
    cloud = storage_of(given)
    with output.Progress(bool(given.quiet)) as progress, refusals():
        cloud.download_volume(uuid, file, _Bar(progress, f"downloading {uuid}").show)
    click.echo(f"DOWNLOADED {uuid} to {file}")
