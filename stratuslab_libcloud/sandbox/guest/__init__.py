"""
The small Linux that the Marketplace of a new sandbox offers: images of whole disks.

A PC's BIOS boots it from any bus, and what a machine writes stays on its disk. The folder ``root``
holds our own files; the others come from Debian's packages.
"""

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stratuslab_libcloud.paths import expanded
from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.copying import copy_with_checksums
from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.guest import contents, disk, packages
from stratuslab_libcloud.sandbox.guest.kernel import Kernel
from stratuslab_libcloud.sandbox.progress import OnProgress, ignored, reported

__all__ = ["FLAVOURS", "GuestImage", "build", "default_cache"]

_LEVEL = 2  # of gzip: more takes twice as long, for a twentieth of the size

FLAVOURS = ("standard", "ttylinux")
"""They differ only in the SFTP server, which ``ttylinux`` lacks (guide 9.1.4)."""


@dataclass(frozen=True)
class GuestImage:
    """
    An image in the cache.

    :ivar file: the disk, compressed with gzip.
    :ivar size: of the uncompressed disk, in bytes.
    :ivar checksums: of the uncompressed disk, hexadecimal, by the names that the Marketplace uses.
    """

    file: pathlib.Path
    size: int
    checksums: dict[str, str]


def default_cache() -> pathlib.Path:
    """
    Return the folder in which images are kept by default.

    :raises SandboxError: there is no home directory.
    """
    try:
        if chosen := os.environ.get("STRATUSLAB_SANDBOX_CACHE"):
            return expanded(chosen)
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "stratuslab-sandbox"
    except ValueError as error:
        raise SandboxError(
            f"the folder for images {error}; or set STRATUSLAB_SANDBOX_CACHE to another one"
        ) from None


def build(flavour: str, cache: pathlib.Path, on_progress: OnProgress = ignored) -> GuestImage:
    """
    Return the image of a flavour, building it (in about a minute) if the cache does not have it.

    :param cache: a folder, created if it is missing. It may be shared.
    :param on_progress: called during each step that takes time.
    :raises ValueError: there is no such flavour.
    :raises SandboxError: the image cannot be built on this machine.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"no flavour {flavour!r}: there are {', '.join(FLAVOURS)}")
    cache = cache.absolute()
    try:
        with _locked(cache):
            if not _description(flavour, cache).exists():
                _build_all(cache, on_progress)
            known = json.loads(_description(flavour, cache).read_text())
    except OSError as error:
        raise SandboxError(f"the Linux image cannot be built in {cache}: {error}") from error
    return GuestImage(cache / known["file"], known["size"], known["checksums"])


@contextlib.contextmanager
def _locked(cache: pathlib.Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _description(flavour: str, cache: pathlib.Path) -> pathlib.Path:
    """Return the description of an image. Its name changes with the builder and our files."""
    builder = hashlib.sha256()
    top = pathlib.Path(__file__).parent
    for path in sorted(top.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            builder.update(f"{path.relative_to(top)}\0{path.stat().st_size}\0".encode())
            builder.update(path.read_bytes())
    return cache / f"{flavour}-{builder.hexdigest()[:16]}.json"


def _build_all(cache: pathlib.Path, on_progress: OnProgress) -> None:
    """Build all flavours at once, as they differ little."""
    work = cache / "building"
    if work.exists():
        shutil.rmtree(work)  # left by a build that was killed
    work.mkdir(0o700)  # the packages contain setuid programs
    try:
        with reported(on_progress, "downloading the Linux image's packages") as report:
            found = packages.fetch(work, report)
        kernel = Kernel(found)
        boot = contents.boot(found, kernel)
        for flavour in FLAVOURS:
            with reported(on_progress, f"building the Linux image ({flavour})") as report:
                raw = work / flavour
                disk.make(raw, boot, contents.root(found, kernel, flavour == "standard"), found)
                _keep(raw, _description(flavour, cache), report)
    finally:
        shutil.rmtree(work)


def _keep(raw: pathlib.Path, description: pathlib.Path, report: Callable[[float], object]) -> None:
    """Put an image into the cache. Its description comes last, and makes it valid."""
    compressed, described = raw.with_suffix(".gz"), raw.with_suffix(".json")
    with (
        raw.open("rb") as source,
        compressed.open("wb") as target,
        gzip.GzipFile("", "wb", _LEVEL, target, mtime=0) as packed,
    ):
        full = raw.stat().st_size
        checksums, size = copy_with_checksums(source, packed, lambda size: report(size / full))
    image = description.with_suffix(".img.gz")
    known = {"file": image.name, "size": size, "checksums": checksums}
    described.write_text(json.dumps(known, indent=2) + "\n")
    durable.rename(compressed, image)
    durable.rename(described, description)
