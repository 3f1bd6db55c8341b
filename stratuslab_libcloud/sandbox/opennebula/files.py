"""The files of images: raw and sparse, named by UUIDs, in a directory of their own."""

import os
import pathlib
import shutil
import subprocess
import threading
import uuid
from typing import Any

from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.images.fetched import FetchedImage, FetchedImages
from stratuslab_libcloud.sandbox.storage import contents

__all__ = ["MIB", "PREFIX", "Files", "OwnImages", "convert"]

MIB = 1 << 20
PREFIX = "image:"  # how a DISK/SOURCE names a file of this directory
_CONVERT_SECONDS = 600


class OwnImages(FetchedImages):
    """
    The images that machines start from: those of Marketplace entries, and those of the engine.

    :param own: the directory of the engine's images.
    """

    def __init__(self, own: pathlib.Path, *fetching: Any) -> None:
        super().__init__(*fetching)
        self._own = own

    def fetch(self, source: str, stop: threading.Event, *find: Any, **finding: Any) -> FetchedImage:
        """Return the image that a machine gets a layer over."""
        if source.startswith(PREFIX):
            return FetchedImage(self._own / source.removeprefix(PREFIX), "raw")
        return super().fetch(source, stop)


class Files:
    """
    The files of images.

    :ivar entries: the images of Marketplace entries; None where machines are simulated, and images
        are empty.
    """

    entries: OwnImages | None = None

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)

    def path(self, name: str) -> pathlib.Path:
        return self.directory / name

    def create(self, mib: int) -> str:
        """Create an empty one, and return its name."""
        name = str(uuid.uuid4())
        try:
            durable.create_sparse(self.path(name), mib * MIB)
        except OSError as error:
            raise MachineError(f"there is no room for {mib} MiB: {error.strerror}") from None
        return name

    def delete(self, name: str) -> None:
        """Delete one; what is not there is deleted already."""
        if name and "/" not in name:
            self.path(name).unlink(missing_ok=True)
            for snapshot in self.directory.glob(f"{name}.*"):
                snapshot.unlink(missing_ok=True)

    def fill(self, name: str, source: str) -> None:
        """
        Copy an image into a new one, which stays as large as it is.

        :param source: as an image has it: the name of a file, or the URL of an entry.
        :raises MachineError: it cannot be read or stored.
        """
        if not source:
            return
        if "/" not in source:
            self.copy(self.path(source), self.path(name))
        elif self.entries:
            image = self.entries.fetch(source, threading.Event())
            convert(image.path, image.format, self.path(name))

    def copy(self, source: pathlib.Path, target: pathlib.Path) -> None:
        """Copy a file, whole or not at all, without its holes; a larger target stays as large."""
        half = target.with_name(f"{target.name}.half")
        try:
            size = target.stat().st_size if target.exists() else 0
            with half.open("wb") as file:
                contents.copy(source, file)
                file.flush()
                os.truncate(file.fileno(), max(size, source.stat().st_size))
            half.replace(target)
        except OSError as error:
            half.unlink(missing_ok=True)
            raise MachineError(error.strerror or str(error)) from None


def convert(source: pathlib.Path, form: str, target: pathlib.Path) -> None:
    """
    Copy an image of any format into a raw file, even while a machine has it open.

    :raises MachineError: qemu-img fails.
    """
    command = ["qemu-img", "convert", "-U", "-f", form, "-O", "raw", str(source), str(target)]
    program = shutil.which("qemu-img")
    if program is None:
        raise MachineError("qemu-img is missing")
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=_CONVERT_SECONDS)
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.decode(errors="replace").split())
        raise MachineError(f"qemu-img failed: {reason}") from None
    except subprocess.TimeoutExpired:
        raise MachineError("qemu-img did not finish") from None
