"""
The disk images that the site itself offers at ``/images``, and their Marketplace entries.

Images built by ``guest`` are in its cache. Images that users registered are in a directory of the
sandbox, each beside a note with the fields of its entry.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator

from stratuslab_libcloud.metadata import rdf
from stratuslab_libcloud.metadata.entry import Entry, MetadataError
from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.copying import copy_with_checksums
from stratuslab_libcloud.sandbox.endorsing import endorse
from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.guest import GuestImage
from stratuslab_libcloud.sandbox.images.fetched import refusal
from stratuslab_libcloud.sandbox.marketplace.descriptions import Endorser, describe_image
from stratuslab_libcloud.sandbox.marketplace.registry import Registry
from stratuslab_libcloud.sandbox.progress import OnProgress, ignored, reported

__all__ = ["OfferedImages"]

_SITE_EMAIL = "sandbox@localhost"
_SITE = Endorser(_SITE_EMAIL, "StratusLab Sandbox", "StratusLab Sandbox")
_IMAGE = re.compile(r"[\w-]{27}\.(?:raw|qcow2)", re.ASCII)  # the names that add() gives
_GUESTS = {
    "standard": "A small Debian-based Linux with SSH and SFTP, made by the sandbox itself.",
    "ttylinux": "The same without SFTP, as the ttylinux of the User's Guide was.",
}


class OfferedImages:
    """The images that a site offers; registered ones are in this directory."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._offers: dict[str, tuple[pathlib.Path, Entry]] = {}  # by the name in a URL
        directory.mkdir(mode=0o700, exist_ok=True)
        self._clean()
        self._read_notes()

    def __len__(self) -> int:
        return len(self._offers)

    @property
    def entries(self) -> list[Entry]:
        """The entries of all images."""
        return [entry for _, entry in self._offers.values()]

    def find(self, name: str) -> pathlib.Path | None:
        """Return the file offered under this name, if any."""
        if name not in self._offers:
            self._read_notes()  # another process may have registered it
        return self._offers[name][0] if name in self._offers else None

    def offer_guest(self, flavour: str, image: GuestImage) -> None:
        """Offer an image that ``guest`` built."""
        self._offer(
            image.file,
            _describe(
                image.checksums,
                image.size,
                image.file.stat().st_mtime,
                title=f"{flavour} (sandbox)",
                description=_GUESTS[flavour],
                os="ttylinux" if flavour == "ttylinux" else "Debian",
                os_version="1.0",
                tag=flavour,
                format="raw",
                compression="gz",
                disks_bus="virtio",
            ),
        )

    def add(
        self,
        file: pathlib.Path,
        disk_format: str,
        on_progress: OnProgress = ignored,
        **described: object,
    ) -> Entry:
        """
        Register a copy of a disk image.

        :param on_progress: called while it is copied.
        :param described: fields of its entry.
        :raises SandboxError: it is not in that format, or cannot be copied or described.
        """
        try:
            with (
                self._locked(fcntl.LOCK_SH),
                tempfile.TemporaryDirectory(dir=self._directory, prefix="new-") as folder,
            ):
                half = pathlib.Path(folder) / "image"
                checksums, size = _copy(file, half, on_progress)
                if reason := refusal(half, disk_format):
                    raise SandboxError(f"{file} cannot be used: {reason}")
                entry = _describe(checksums, size, time.time(), format=disk_format, **described)
                rdf.write_entry(entry)  # fails unless it can be published
                image = self._directory / f"{entry.identifier}.{disk_format}"
                durable.rename(half, image)
                note = {name: v for name, v in dataclasses.asdict(entry).items() if v is not None}
                durable.write_private(_note(image), json.dumps(note).encode())
        except OSError as error:
            raise SandboxError(f"{file} cannot be copied: {error.strerror}") from None
        except MetadataError as error:
            raise SandboxError(f"{file} cannot be described: {error}") from None
        self._offer(image, entry)
        return entry

    def publish(self, marketplace: Registry, url: str, key: SigningKey) -> None:
        """
        Publish the entries of all images in the Marketplace of the site at ``url``.

        :param key: the site's, which endorses them.
        """
        marketplace.add(
            *(
                endorse(dataclasses.replace(entry, locations=(f"{url}/images/{name}",)), key)
                for name, (_, entry) in self._offers.items()
            )
        )

    def withdraw_others(self, marketplace: Registry) -> None:
        """Remove the site's entries of images that it no longer offers."""
        marketplace.withdraw(_SITE_EMAIL, {entry.identifier for _, entry in self._offers.values()})

    def _clean(self) -> None:
        """Remove what interrupted calls of add() left, unless one is running now."""
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                for path in self._directory.iterdir():
                    if path.name.startswith("new-"):
                        shutil.rmtree(path)
                    elif _IMAGE.fullmatch(path.name) and not _note(path).exists():
                        path.unlink()
        except BlockingIOError:
            pass  # the next start cleans up

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Hold a lock on the directory; it ends with this process at the latest."""
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def _offer(self, file: pathlib.Path, entry: Entry) -> None:
        self._offers[file.name] = file, entry

    def _read_notes(self) -> None:
        for note in self._directory.glob("*.json"):
            try:
                values = json.loads(note.read_bytes())
                values["inbound_ports"] = tuple(values["inbound_ports"])
                self._offer(note.with_suffix(""), Entry(**values))
            except (OSError, ValueError, KeyError, TypeError):
                raise SandboxError(
                    f"{note} is damaged: remove it and add the image again"
                ) from None


def _note(image: pathlib.Path) -> pathlib.Path:
    return image.with_name(f"{image.name}.json")


def _copy(
    file: pathlib.Path, copy: pathlib.Path, on_progress: OnProgress
) -> tuple[dict[str, str], int]:
    with (
        file.open("rb") as source,
        copy.open("wb") as target,
        reported(on_progress, f"copying {file.name}") as report,
    ):
        full = max(1, file.stat().st_size)
        return copy_with_checksums(source, target, lambda size: report(size / full))


def _describe(checksums: dict[str, str], size: int, moment: float, **fields: object) -> Entry:
    endorsed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    return describe_image(_SITE, checksums, size, endorsed, **fields)
