"""
The small Linux that the Marketplace of a new sandbox offers: images of whole disks.

A PC's BIOS boots it from any bus; what a machine writes stays on its disk. ``root`` holds what is
ours in it; the rest comes from Debian's packages.
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

__all__ = ["FLAVOURS", "GuestImage", "build", "default_cache"]

FLAVOURS = ("standard", "ttylinux")
"""With an SFTP server, and without (guide 9.1.4): nothing else differs."""


@dataclass(frozen=True)
class GuestImage:
    """
    An image in the cache.

    :ivar file: the disk, compressed by gzip.
    :ivar size: bytes of the disk, uncompressed.
    :ivar checksums: of the uncompressed disk: hexadecimal, by the names that the Marketplace uses.
    """

    file: pathlib.Path
    size: int
    checksums: dict[str, str]


def default_cache() -> pathlib.Path:
    """
    Where images are kept unless one says otherwise.

    :raises SandboxError: there is no home directory.
    """
    try:
        if chosen := os.environ.get("STRATUSLAB_SANDBOX_CACHE"):
            return expanded(chosen)
        return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "stratuslab-sandbox"
    except ValueError as error:
        raise SandboxError(
            f"the folder for images {error}; STRATUSLAB_SANDBOX_CACHE names another one"
        ) from None


def build(
    flavour: str, cache: pathlib.Path, progress: Callable[[str], object] = lambda line: None
) -> GuestImage:
    """
    The image of that flavour; made where the cache does not have it. That takes a minute or so.

    :param cache: a folder, made if it is missing. It may be shared.
    :param progress: told, in a line each, what takes time.
    :raises ValueError: there is no such flavour.
    :raises SandboxError: it cannot be made on this machine.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"no flavour {flavour!r}: there are {', '.join(FLAVOURS)}")
    cache = cache.absolute()
    try:
        with _locked(cache):
            if not _description(flavour, cache).exists():
                _build_all(cache, progress)
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
    """Where an image is described. Another builder's, or other files', has another name."""
    builder = hashlib.sha256()
    top = pathlib.Path(__file__).parent
    for path in sorted(top.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            builder.update(f"{path.relative_to(top)}\0{path.stat().st_size}\0".encode())
            builder.update(path.read_bytes())
    return cache / f"{flavour}-{builder.hexdigest()[:16]}.json"


def _build_all(cache: pathlib.Path, progress: Callable[[str], object]) -> None:
    """All flavours at once: nearly everything in them is the same."""
    work = cache / "building"
    if work.exists():
        shutil.rmtree(work)  # left by one that was killed
    work.mkdir(0o700)  # among the packages are setuid programs
    try:
        progress("downloading the Linux image's Debian packages (about 50 MB)")
        found = packages.fetch(work)
        kernel = Kernel(found)
        boot = contents.boot(found, kernel)
        for flavour in FLAVOURS:
            progress(f"building the Linux image ({flavour})")
            raw = work / flavour
            disk.make(raw, boot, contents.root(found, kernel, flavour == "standard"), found)
            _keep(raw, _description(flavour, cache))
    finally:
        shutil.rmtree(work)


def _keep(raw: pathlib.Path, description: pathlib.Path) -> None:
    """Put an image in the cache. It counts as there when its description is."""
    compressed, described = raw.with_suffix(".gz"), raw.with_suffix(".json")
    with (
        raw.open("rb") as source,
        compressed.open("wb") as target,
        gzip.GzipFile("", "wb", 6, target, mtime=0) as packed,
    ):
        checksums, size = copy_with_checksums(source, packed)
    image = description.with_suffix(".img.gz")
    known = {"file": image.name, "size": size, "checksums": checksums}
    described.write_text(json.dumps(known, indent=2) + "\n")
    durable.rename(compressed, image)
    durable.rename(described, description)
