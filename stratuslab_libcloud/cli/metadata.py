"""Commands that make, sign, check, publish and deprecate metadata (config-and-cli 3.18 to 3.22)."""

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from stratuslab_libcloud import errors
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.options import MARKETPLACE, P12, Given, command, pass_given

__all__ = [
    "build_metadata",
    "deprecate_metadata",
    "sign_metadata",
    "upload_metadata",
    "validate_metadata",
]

_BUSES = ("ide", "scsi", "virtio")
_DIGESTS = ("sha1", "sha256", "sha384", "sha512")
_CHECKSUMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha512": "SHA-512"}
_LARGEST = 2**20  # bytes of metadata
_BAR = 30  # characters
_FIELD = "entry_"  # --version is every command's own


def _described(field: str, *names: str, metavar: str = "TEXT", text: str) -> click.Option:
    """An option that is a field of an entry; without it the field has its default."""
    return click.Option([*names, f"{_FIELD}{field}"], metavar=metavar, help=text)


_DESCRIPTION = (
    _described("creator", "--author", metavar="NAME", text="Who made the image."),
    _described("type", "--type", metavar="NAME", text="base or grid.  [default: base]"),
    _described("kind", "--kind", metavar="NAME", text="machine or disk.  [default: machine]"),
    _described("os", "--os", metavar="NAME", text="Its operating system."),
    _described("os_version", "--os-version", metavar="VERSION", text="Version of that."),
    _described("os_arch", "--os-arch", metavar="ARCH", text="Architecture, such as x86_64."),
    _described("version", "--image-version", metavar="VERSION", text="Version of the image."),
    _described("format", "--format", metavar="FORMAT", text="raw or qcow2.  [default: raw]"),
    _described("hypervisor", "--hypervisor", metavar="NAME", text="[default: kvm]"),
    _described(
        "compression",
        "--compression",
        metavar="EXT",
        text="gz, bz2 or xz.  [default: by the file's suffix]",
    ),
    _described("title", "--title", text="A short title."),
    _described("tag", "--tag", text="A name that stays the same for later versions."),
    _described("description", "--comment", text="A description, which may be long."),
    _described("disks_bus", "--disks-bus", metavar="TYPE", text="ide, scsi, virtio [default: ide]"),
)
_SUMS = (
    *(
        click.Option([f"--{name}"], metavar="HEX", help=f"Its {text}, if that is known already.")
        for name, text in _CHECKSUMS.items()
    ),
    *(
        click.Option([f"--no-{name}"], is_flag=True, help=f"Leave the {text} out.")
        for name, text in _CHECKSUMS.items()
        if name != "sha1"
    ),
)


@command(
    "stratus-build-metadata",
    *(_DESCRIPTION, _SUMS),
    examples=(
        "stratus-build-metadata --title 'Debian 12' debian.img",
        "stratus-build-metadata --os Debian --os-version 12 --os-arch x86_64 "
        "--location https://example.org/debian.img.gz debian.img.gz",
    ),
)
@click.option(
    "--location",
    "locations",
    multiple=True,
    metavar="URI",
    help="Where the image can be fetched; may be repeated.",
)
@click.argument("images", metavar="IMAGE", nargs=-1)
@pass_given
def build_metadata(
    given: Given, /, images: tuple[str, ...], locations: tuple[str, ...], **asked: Any
) -> None:
    """
    Make metadata for IMAGE, a local file, and write it into the current directory.

    Its checksums are those of the image itself: a file named .gz, .bz2 or .xz is decompressed.
    """
    from stratuslab_libcloud.metadata.building import build
    from stratuslab_libcloud.metadata.rdf import write_entry

    if len(images) != 1:
        raise click.UsageError("Please specify an image")
    image = Path(images[0])
    if not image.is_file():
        raise click.UsageError(f"Image does not exist: {image}")
    names = [str(option.name) for option in _DESCRIPTION if asked[str(option.name)] is not None]
    values = {name.removeprefix(_FIELD): asked[name] for name in names}
    if values.get("disks_bus", "ide") not in _BUSES:
        raise click.UsageError(
            f"Unknown disks bus type {values['disks_bus']}. Available types: {', '.join(_BUSES)}"
        )
    if not locations:
        output.warning(
            "Image physical location (URL) was not provided. You'll have to set it manually in the "
            "resulting manifest."
        )
    with _refusals(), _reading(image, given) as progress:
        entry = build(
            image,
            given={text: asked[name] for name, text in _CHECKSUMS.items() if asked[name]},
            without=[text for name, text in _CHECKSUMS.items() if asked.get(f"no_{name}")],
            progress=progress,
            locations=locations,
            **values,
        )
        document = write_entry(entry)
    parts = entry.os, entry.os_version, entry.os_arch, entry.type, entry.version
    # Values are free text, and this is the name of a file.
    manifest = Path(re.sub(r"[^\w.+ -]", "_", "-".join(part or "" for part in parts)) + ".xml")
    manifest.write_bytes(document)
    if not given.quiet:
        click.echo(f"Manifest: {manifest}")


@command(
    "stratus-sign-metadata",
    P12,
    examples=(
        "stratus-sign-metadata debian.xml",
        "stratus-sign-metadata --p12-cert ~/me.p12 --output signed.xml debian.xml",
    ),
)
@click.option(
    "--output",
    "target",
    metavar="FILE",
    help="Write the signed metadata here, and leave METADATA-FILE as it is.",
)
@click.option("--email", metavar="EMAIL", help="Your address, if the certificate has none.")
@click.option(
    "--digest",
    type=click.Choice(_DIGESTS),
    help="sha1 is the only one that Marketplaces of 2014 take.  [default: sha1, for RSA keys]",
)
@click.argument("files", metavar="METADATA-FILE", nargs=-1)
@pass_given
def sign_metadata(
    given: Given, /, files: tuple[str, ...], target: str | None, email: str | None, digest: str
) -> None:
    """
    Sign metadata with a PKCS12 file, in place of whatever signature it has.

    The file is kept with .orig after its name, unless --output says where the result should go.
    """
    from stratuslab_libcloud.metadata.signature import sign

    source = _file(
        files, "Missing metadata file", "Metadata file doesn't exist or is not a file: {}"
    )
    with _refusals("Error signing metadata file"):
        key = given.signing_key()
        certified = key.certificate.email
        if certified and email and email != certified:
            output.warning(f"the certificate has the address {certified}, which is used")
        digest = digest or ("sha1" if key.kind == "rsa" else "sha256")
        signed = sign(_read(source), key, digest=digest, email=email)
    if target is None:
        _replace(source, signed)
    else:
        Path(target).write_bytes(signed)
    given.say(f"Metadata file successfully signed: {target or source}")


@command(
    "stratus-validate-metadata",
    examples=("stratus-validate-metadata debian.xml", "stratus-validate-metadata -q debian.xml"),
)
@click.argument("files", metavar="METADATA-FILE", nargs=-1)
@pass_given
def validate_metadata(given: Given, /, files: tuple[str, ...]) -> int:
    """
    Check the signature of metadata, and every rule for its contents.

    Says who has signed it; whether to trust them is for the reader to say.
    """
    from stratuslab_libcloud.metadata.rules import violations
    from stratuslab_libcloud.metadata.signature import verify

    source = _file(
        files, "Missing manifest file", "Manifest file doesn't exist or is not a file: {}"
    )
    with _refusals():
        document = _read(source)
        wrong = violations(document)
        verdict = verify(document)
    if verdict.reason:
        wrong.insert(0, verdict.reason)
    for reason in wrong:
        output.error(f"{source}: {reason}")
    endorser = verdict.endorser
    if wrong or endorser is None or verdict.entry is None:
        return 1
    if not endorser.in_force:
        output.warning("the certificate was not valid when the metadata was signed")
    if not given.quiet:
        click.echo(f"Valid: {source}")
        click.echo(f"Image: {verdict.entry.identifier}")
        click.echo(f"Endorser: {endorser.email} ({endorser.certificate.subject})")
        click.echo(f"Endorsed: {verdict.entry.endorsed}")
        click.echo(f"Fingerprint: {endorser.certificate.fingerprint}")
    return 0


@command(
    "stratus-upload-metadata",
    MARKETPLACE,
    examples=(
        "stratus-upload-metadata debian.xml",
        "stratus-upload-metadata --marketplace-endpoint https://mp.example.org debian.xml",
    ),
)
@click.argument("files", metavar="METADATA-FILE", nargs=-1)
@pass_given
def upload_metadata(given: Given, /, files: tuple[str, ...]) -> None:
    """
    Publish signed metadata in the Marketplace, and print the address that it has there.

    An OpenNebula has none: make images there with stratus-create-image.
    """
    source = _file(files, "Please specify an image manifest", "Image manifest does not exist: {}")
    document = _read(source)
    cloud = given.cloud("marketplace")
    try:
        address = cloud.upload_metadata(document)
    except errors.StratusLabError as error:
        raise click.ClickException(f"Failed to upload: {error}") from error
    click.echo(address)


@command(
    "stratus-deprecate-metadata",
    *(MARKETPLACE, P12),
    examples=(
        "stratus-deprecate-metadata --email ada@example.org BN1EEkPiBx87_uLj2-sdybSI-Xb",
        "stratus-deprecate-metadata --email ada@example.org --reason 'It has a hole.' "
        "BN1EEkPiBx87_uLj2-sdybSI-Xb",
    ),
)
@click.option("--email", metavar="EMAIL", help="The endorser of the entry, which is you.")
@click.option("--created", metavar="DATE", help="Which of your entries.  [default: the latest]")
@click.option(
    "--reason", default="This image has been deprecated", metavar="TEXT", help="Why, for people."
)
@click.argument("images", metavar="IMAGE-ID", nargs=-1)
@pass_given
def deprecate_metadata(
    given: Given,
    /,
    images: tuple[str, ...],
    email: str | None,
    created: str | None,
    reason: str,
) -> None:
    """
    Withdraw your endorsement of an image from the Marketplace, and print the new entry's address.

    The image is no longer listed then, unless others endorse it. An OpenNebula has no endorsements:
    delete images there with stratus-delete-volume.
    """
    if len(images) != 1:
        raise click.UsageError("Please specify an image ID")
    if not email:
        raise click.UsageError("Missing email address. Please provide email of endorser")
    cloud = given.cloud("marketplace")
    key = given.signing_key
    click.echo(cloud.deprecate_image(images[0], key, reason, email=email, created=created))


def _file(files: tuple[str, ...], none: str, missing: str) -> Path:
    """The only file that is named."""
    if len(files) != 1:
        raise click.UsageError(none)
    path = Path(files[0])
    if not path.is_file():
        raise click.UsageError(missing.format(path))
    return path


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        document = file.read(_LARGEST + 1)
    if len(document) > _LARGEST:
        raise click.ClickException(f"{path} has more than {_LARGEST >> 20} MiB: it is no metadata")
    return document


def _replace(path: Path, content: bytes) -> None:
    """Put the content in place of a file, which is kept as ``.orig``: all of it, or nothing."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(content)
        os.chmod(name, stat.S_IMODE(path.stat().st_mode))
        os.replace(path, f"{path}.orig")
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


@contextmanager
def _refusals(what: str = "") -> Iterator[None]:
    """What cannot be signed or read is said in one line."""
    from stratuslab_libcloud.metadata.entry import MetadataError
    from stratuslab_libcloud.untrusted.xml import UnsafeXMLError

    try:
        yield
    except (MetadataError, UnsafeXMLError, errors.ConfigurationError) as error:
        raise click.ClickException(f"{what}: {error}" if what else str(error)) from error


@contextmanager
def _reading(path: Path, given: Given) -> Iterator[Callable[[int], object]]:
    """A bar that shows how much of a file was read; it is called with the bytes since."""
    size, done, shown = path.stat().st_size, 0, -1
    with output.Progress(bool(given.quiet)) as progress:

        def advance(count: int) -> None:
            nonlocal done, shown
            done += count
            percent = 100 * done // size if size else 100
            if percent != shown:
                shown = percent
                bar = "#" * (_BAR * percent // 100)
                progress.show(f"{path.name} [{bar:.<{_BAR}}] {percent} %")

        yield advance
