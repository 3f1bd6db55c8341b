"""
The disk images that machines start from, fetched once and checked.

As on a real site (marketplace-rest 7.2), a template names a Marketplace entry, and the entry names
the locations, size and SHA-1 of the image.
"""

import bz2
import contextlib
import gzip
import hashlib
import json
import pathlib
import subprocess
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from requests.utils import get_environ_proxies

from stratuslab_libcloud.metadata import rdf
from stratuslab_libcloud.metadata.entry import Entry, MetadataError, latest, sha1_of
from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.images.downloads import Download, Way
from stratuslab_libcloud.sandbox.progress import OnProgress, ignored, reported
from stratuslab_libcloud.sandbox.references import named_image
from stratuslab_libcloud.untrusted import xml

__all__ = ["FetchedImage", "FetchedImages", "refusal"]

_FORMATS = ("raw", "qcow2")
_POLL_SECONDS = 0.1
_QEMU_IMG_SECONDS = 60
_CHUNK_BYTES = 1 << 20
_MAX_ENTRY_BYTES = 1 << 20
_NOT_AS_SAID = "is not what its Marketplace entry says:"


@dataclass(frozen=True)
class FetchedImage:
    """A disk image that has been fetched and checked; it is never written to."""

    path: pathlib.Path
    format: str  #: ``raw`` or ``qcow2``


# Compression to the function that opens it.
_UNPACKING: dict[str, Callable[[Any], contextlib.AbstractContextManager[Any]]] = {
    "gz": lambda raw: gzip.GzipFile(fileobj=raw),
    "bz2": bz2.BZ2File,
    "none": contextlib.nullcontext,
    "": contextlib.nullcontext,
}


Find = Callable[[str], pathlib.Path]


def _nowhere(image_id: str) -> pathlib.Path:
    raise MachineError(f"there is no persistent disk with image {image_id}")


class FetchedImages:
    """
    The images that have been fetched into a directory.

    :param own_url: the URL of this site itself, which is reached without a proxy.
    :param ca: the file with this site's CA; None without TLS.
    :param on_progress: called while an image is downloaded, by the thread that fetches it.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        own_url: str,
        ca: pathlib.Path | None,
        on_progress: OnProgress = ignored,
    ) -> None:
        self._directory = directory
        self._own_url = own_url
        self._ca = ca
        self._on_progress = on_progress
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        directory.mkdir(mode=0o700, exist_ok=True)
        for half in directory.glob("*.part"):
            half.unlink()

    def fetch(self, source: str, stop: threading.Event, find: Find = _nowhere) -> FetchedImage:
        """
        Return the image of a Marketplace entry, downloading it if necessary.

        :param source: the URL of the entry, as in ``DISK/SOURCE``.
        :param stop: set when the image is no longer needed.
        :param find: finds the persistent disk with this image, where the entry has no other place.
        :raises MachineError: it cannot be downloaded, or does not match its entry.
        """
        entry = self.read_entry(source, stop)
        disk_format = (entry.format or "").lower() or "raw"
        if disk_format not in _FORMATS:
            raise MachineError(f"the image's format must be raw or qcow2, not {disk_format}")
        path = self._directory / f"{entry.identifier}.{disk_format}"
        stored = None
        if any(map(_is_disk, entry.locations)) and not any(map(_is_web, entry.locations)):
            stored = find(entry.identifier)
            # Apart from images that everybody may have.
            path = self._directory / f"{entry.identifier}.{stored.name}.{disk_format}"
        with _held(self._locks[entry.identifier], stop):
            if not path.exists():
                work = f"downloading image {entry.identifier}"
                with reported(self._on_progress, work) as report:
                    if stored:
                        _take(stored, entry, disk_format, path, stop, report)
                    else:
                        self._download(entry, disk_format, path, stop, report)
        return FetchedImage(path, disk_format)

    def _way(self, url: str) -> dict[str, Any]:
        """Return the proxies and the trusted certificates for a URL, as requests takes them."""
        if url.startswith(f"{self._own_url}/"):
            return {"verify": str(self._ca) if self._ca else True}
        return {"verify": True, "proxies": get_environ_proxies(url)}

    def read_entry(self, url: str, stop: threading.Event) -> Entry:
        """
        Read the Marketplace entry at a URL.

        :raises MachineError: there is none, or it cannot be reached.
        """
        identifier = named_image(url)
        if not identifier:
            raise MachineError(f"{url} is neither a Marketplace entry nor a persistent disk")
        document = b""
        with Download(stop) as download:
            answer = download.get(url, self._way, "application/xml")
            if answer.status_code == 404:
                raise MachineError(f"there is no image {url}, or it has expired or is deprecated")
            if answer.status_code != 200:
                raise MachineError(f"{url} answered {answer.status_code} {answer.reason}")
            while (data := download.read(_CHUNK_BYTES)) and len(document) <= _MAX_ENTRY_BYTES:
                document += data
        try:
            entry = latest(rdf.read_entries(document))
        except (MetadataError, xml.UnsafeXMLError):
            entry = None
        if entry is None or entry.identifier != identifier:
            raise MachineError(f"{url} is not the Marketplace entry of {identifier}")
        return entry

    def _download(
        self,
        entry: Entry,
        disk_format: str,
        path: pathlib.Path,
        stop: threading.Event,
        report: Callable[[float], object],
    ) -> None:
        """Try one location after another; leave a complete file or none."""
        reasons = []
        for location in entry.locations:
            if not _is_web(location):
                continue
            try:
                with _new_image(path, disk_format, location) as file, Download(stop) as download:
                    _copy(download, self._way, location, entry, file, report)
                return
            except MachineError as error:
                if stop.is_set():
                    raise
                reasons.append(str(error))
        raise MachineError("; ".join(reasons) or "the image has no http or https location")


def _is_web(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _is_disk(location: str) -> bool:
    return location.startswith("pdisk:")


@contextlib.contextmanager
def _new_image(path: pathlib.Path, disk_format: str, place: str) -> Iterator[IO[bytes]]:
    """
    Open a file for an image, which stays if the block succeeds and machines may start from it.

    :param place: where the image comes from.
    """
    try:
        with durable.new_file(path) as file:
            yield file
            file.flush()
            if reason := refusal(pathlib.Path(file.name), disk_format):
                raise MachineError(f"{place} cannot be used: {reason}")
    except OSError as error:
        raise MachineError(f"the image cannot be stored: {error.strerror or error}") from error


def _copy(
    download: Download,
    way: Way,
    location: str,
    entry: Entry,
    file: IO[bytes],
    report: Callable[[float], object],
) -> None:
    """Download, unpack and check. An image that is too long is not read to its end."""
    answer = download.get(location, way)
    if answer.status_code != 200:
        raise MachineError(f"{location} answered {answer.status_code} {answer.reason}")
    size = _size_of(entry)
    packed = _Packed(download, size + size // 8 + _CHUNK_BYTES, _has_more(location, entry))
    _check(
        _unpacked(packed, location, (entry.compression or "").lower()),
        location,
        entry,
        file,
        report,
    )


def _take(
    disk: pathlib.Path,
    entry: Entry,
    disk_format: str,
    path: pathlib.Path,
    stop: threading.Event,
    report: Callable[[float], object],
) -> None:
    """Copy an image from the persistent disk that has it; leave a complete file or none."""
    place = f"persistent disk {disk.name}"
    with _new_image(path, disk_format, place) as file, disk.open("rb") as source:
        pieces = _pieces(source, _size_of(entry), stop)
        _check(pieces, place, entry, file, report)


def _pieces(source: IO[bytes], size: int, stop: threading.Event) -> Iterator[bytes]:
    """Read the beginning of a file; what may follow is no part of the image."""
    while size > 0 and (data := source.read(min(size, _CHUNK_BYTES))):
        if stop.is_set():
            raise MachineError("copying the image was stopped")
        size -= len(data)
        yield data


def _size_of(entry: Entry) -> int:
    if entry.size is None:
        raise MachineError("the image's Marketplace entry does not have its size")
    return entry.size


def _has_more(location: str, entry: Entry) -> str:
    return f"{location} {_NOT_AS_SAID} {entry.size} bytes, but it has more"


def _check(
    pieces: Iterable[bytes],
    location: str,
    entry: Entry,
    file: IO[bytes],
    report: Callable[[float], object],
) -> None:
    """Write an image, and check that it is what its entry says."""
    whole = _size_of(entry)
    sha1, size = hashlib.sha1(usedforsecurity=False), 0
    for data in pieces:
        size += len(data)
        if size > whole:
            raise MachineError(_has_more(location, entry))
        sha1.update(data)
        file.write(data)
        report(size / whole)
    if size != whole:
        raise MachineError(f"{location} {_NOT_AS_SAID} {entry.size} bytes, but it has {size}")
    found, wanted = sha1.hexdigest(), sha1_of(entry.identifier)
    if found != wanted:
        raise MachineError(f"{location} {_NOT_AS_SAID} SHA-1 {wanted}, but it has {found}")


@contextlib.contextmanager
def _held(lock: threading.Lock, stop: threading.Event) -> Iterator[None]:
    """Wait while another machine fetches the same image."""
    while not lock.acquire(timeout=_POLL_SECONDS):
        if stop.is_set():
            raise MachineError("the download was stopped")
    try:
        yield
    finally:
        lock.release()


class _Packed:
    """The packed data. Its length is limited too, since it may unpack to nothing."""

    def __init__(self, download: Download, longest: int, complaint: str) -> None:
        self._download = download
        self._longest = longest
        self._complaint = complaint

    def read(self, size: int) -> bytes:
        if self._download.received > self._longest:
            raise MachineError(self._complaint)
        return self._download.read(size)


def _unpacked(packed: _Packed, location: str, compression: str) -> Iterator[bytes]:
    if compression not in _UNPACKING:
        raise MachineError(f"the image is compressed with {compression}, not with gz or bz2")
    with _UNPACKING[compression](packed) as stream:
        while True:
            try:
                data = stream.read(_CHUNK_BYTES)
            except (OSError, EOFError, zlib.error) as error:
                raise MachineError(f"{location} is corrupt: {error}") from error
            if not data:
                return
            yield data


def refusal(path: pathlib.Path, disk_format: str) -> str | None:
    """
    Return why machines must not start from this file; None if they may.

    An image that refers to other files could show its machine any file of this host.
    """
    command = ["qemu-img", "info", "--output=json", "-f", disk_format, str(path)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_QEMU_IMG_SECONDS)
    except FileNotFoundError:
        return "qemu-img is missing; Debian's package qemu-utils has it"
    except subprocess.TimeoutExpired:
        return f"qemu-img did not finish within {_QEMU_IMG_SECONDS} seconds"
    if result.returncode:
        return f"it is not in the format {disk_format}"
    info = json.loads(result.stdout)
    details = info.get("format-specific", {}).get("data", {})
    if "backing-filename" in info or "data-file" in details:
        return "it refers to other files"
    return None
