"""
Origins: the disk images that machines start from, fetched once and checked.

The way of a real site (marketplace-rest 7.2): a template names a Marketplace entry, the entry
names the locations, size and SHA-1 of the image.
"""

import bz2
import contextlib
import gzip
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import requests
from urllib3.exceptions import HTTPError

from stratuslab_libcloud import metadata, safe_xml
from stratuslab_libcloud.metadata import Entry
from stratuslab_libcloud.sandbox.machines import MachineError

__all__ = ["Origin", "Origins", "refusal"]

FORMATS = ("raw", "qcow2")
SILENCE_SECONDS = 15
POLL_SECONDS = 0.1
CHUNK_BYTES = 1 << 20
MAX_ENTRY_BYTES = 1 << 20
NOT_AS_SAID = "is not what its Marketplace entry says:"


@dataclass(frozen=True)
class Origin:
    """A disk image that is here, and what it was checked against; it is never written to."""

    path: pathlib.Path
    format: str  #: ``raw`` or ``qcow2``


# Compression to what reads it.
UNPACKING: dict[str, Callable[[Any], contextlib.AbstractContextManager[Any]]] = {
    "gz": lambda raw: gzip.GzipFile(fileobj=raw),
    "bz2": bz2.BZ2File,
    "none": contextlib.nullcontext,
    "": contextlib.nullcontext,
}


class Origins:
    """
    The origins in a directory.

    :param own_url: of this site itself, which is asked past any proxy.
    :param ca: the file with this site's CA; None without TLS.
    """

    def __init__(self, directory: pathlib.Path, own_url: str, ca: pathlib.Path | None) -> None:
        self._directory = directory
        self._own_url = own_url
        self._ca = ca
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        directory.mkdir(mode=0o700, exist_ok=True)
        for half in directory.glob("*.part"):
            half.unlink()

    def fetch(self, source: str, stop: threading.Event) -> Origin:
        """
        The origin of a Marketplace entry; downloaded if it is not here yet.

        :param source: the URL of the entry, as in ``DISK/SOURCE``.
        :param stop: set when nobody wants it any more.
        :raises MachineError: it cannot be had, or is not what its entry says.
        """
        with self._asking(source) as session:
            entry = self._read_entry(session, source)
        disk_format = (entry.format or "").lower() or "raw"
        if disk_format not in FORMATS:
            raise MachineError(f"the image is in the format {disk_format}, not raw or qcow2")
        path = self._directory / f"{entry.identifier}.{disk_format}"
        with _held(self._locks[entry.identifier], stop):
            if not path.exists():
                self._download(entry, disk_format, path, stop)
        return Origin(path, disk_format)

    @contextlib.contextmanager
    def _asking(self, url: str) -> Iterator[requests.Session]:
        """A session for this URL; what fails on the wire is told in one line."""
        ours = url.startswith(f"{self._own_url}/")
        with requests.Session() as session:
            session.trust_env = not ours
            if ours and self._ca:
                session.verify = str(self._ca)
            try:
                yield session
            except requests.RequestException as error:
                raise MachineError(f"{url} cannot be fetched: {_reason(error)}") from error

    def _read_entry(self, session: requests.Session, url: str) -> Entry:
        wanted = url.rstrip("/").rpartition("/")[2]
        if not url.startswith(("http://", "https://")) or not metadata.is_identifier(wanted):
            raise MachineError(f"{url} is neither a Marketplace entry nor a persistent disk")
        headers = {"Accept": "application/xml"}
        with session.get(url, headers=headers, timeout=SILENCE_SECONDS, stream=True) as answer:
            if answer.status_code == 404:
                raise MachineError(f"there is no image {url}, or it has expired or is deprecated")
            if answer.status_code != 200:
                raise MachineError(f"{url} answered {answer.status_code} {answer.reason}")
            document = answer.raw.read(MAX_ENTRY_BYTES, decode_content=True)
        try:
            entry = metadata.latest(metadata.read_entries(document))
        except (metadata.MetadataError, safe_xml.UnsafeXMLError):
            entry = None
        if entry is None or entry.identifier != wanted:
            raise MachineError(f"{url} is not the Marketplace entry of {wanted}")
        return entry

    def _download(
        self, entry: Entry, disk_format: str, path: pathlib.Path, stop: threading.Event
    ) -> None:
        """Try one location after the other; all or nothing is left."""
        reasons = []
        for location in entry.locations:
            if not location.startswith(("http://", "https://")):
                continue
            try:
                with _new_file(path) as file, self._asking(location) as session:
                    _copy(session, location, entry, file, stop)
                    file.flush()
                    if reason := refusal(pathlib.Path(file.name), disk_format):
                        raise MachineError(f"{location} cannot be used: {reason}")
                return
            except MachineError as error:
                reasons.append(str(error))
        raise MachineError("; ".join(reasons) or "the image has no http or https location")


def _reason(error: BaseException) -> str:
    """The innermost cause, which says what happened; the outer ones are libraries' names."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@contextlib.contextmanager
def _new_file(path: pathlib.Path) -> Iterator[IO[bytes]]:
    """A file that takes this place if the block ends well, and leaves nothing otherwise."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                yield file
            except BaseException:
                os.unlink(file.name)
                raise
            os.replace(file.name, path)
    except OSError as error:
        raise MachineError(f"the image cannot be stored: {error.strerror or error}") from error


def _copy(
    session: requests.Session,
    location: str,
    entry: Entry,
    file: IO[bytes],
    stop: threading.Event,
) -> None:
    """Download, unpack and check. What is longer than it should be is not read to its end."""
    if entry.size is None:
        raise MachineError("the image's Marketplace entry does not tell its size")
    sha1, size = hashlib.sha1(usedforsecurity=False), 0
    headers = {"Accept-Encoding": "identity"}  # an image is packed as its entry says, and only so
    with session.get(location, headers=headers, timeout=SILENCE_SECONDS, stream=True) as answer:
        if answer.status_code != 200:
            raise MachineError(f"{location} answered {answer.status_code} {answer.reason}")
        for data in _unpacked(answer, (entry.compression or "").lower(), stop):
            size += len(data)
            if size > entry.size:
                raise MachineError(f"{location} {NOT_AS_SAID} {entry.size} bytes, but it has more")
            sha1.update(data)
            file.write(data)
    if size != entry.size:
        raise MachineError(f"{location} {NOT_AS_SAID} {entry.size} bytes, but it has {size}")
    found, wanted = sha1.hexdigest(), metadata.sha1_of(entry.identifier)
    if found != wanted:
        raise MachineError(f"{location} {NOT_AS_SAID} SHA-1 {wanted}, but it has {found}")


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise MachineError("the download was stopped")


@contextlib.contextmanager
def _held(lock: threading.Lock, stop: threading.Event) -> Iterator[None]:
    """Wait while another machine fetches the same image."""
    while not lock.acquire(timeout=POLL_SECONDS):
        _check(stop)
    try:
        yield
    finally:
        lock.release()


class _Download:
    """What comes, as it comes: who does not want it any more need not wait for a slow server."""

    def __init__(self, answer: requests.Response, stop: threading.Event) -> None:
        self._answer = answer
        self._stop = stop

    def read(self, size: int) -> bytes:
        _check(self._stop)
        return bytes(self._answer.raw.read1(size))


def _unpacked(
    answer: requests.Response, compression: str, stop: threading.Event
) -> Iterator[bytes]:
    if compression not in UNPACKING:
        raise MachineError(f"the image is compressed with {compression}, not with gz or bz2")
    with UNPACKING[compression](_Download(answer, stop)) as stream:
        while True:
            try:
                data = stream.read(CHUNK_BYTES)
            except HTTPError as error:
                raise MachineError(f"{answer.url} broke off: {error}") from error
            except (OSError, EOFError, zlib.error) as error:
                raise MachineError(f"{answer.url} is corrupt: {error}") from error
            if not data:
                return
            yield data


def refusal(path: pathlib.Path, disk_format: str) -> str | None:
    """
    Why machines must not be started from this file; None if they may.

    An image that names other files could show its machine any file of this host.
    """
    command = ["qemu-img", "info", "--output=json", "-f", disk_format, str(path)]
    try:
        told = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return "qemu-img is missing; Debian's package qemu-utils has it"
    if told.returncode:
        return f"it is not in the format {disk_format}"
    info = json.loads(told.stdout)
    details = info.get("format-specific", {}).get("data", {})
    if "backing-filename" in info or "data-file" in details:
        return "it refers to other files"
    return None
