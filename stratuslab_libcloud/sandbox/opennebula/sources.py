"""Where a new image has its content from: a URL, or an app of the marketplace (modern 3, 4)."""

import os
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from requests.utils import get_environ_proxies

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.images.downloads import Download
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.files import MIB
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image
from stratuslab_libcloud.sandbox.opennebula.refusals import INTERNAL, RefusedError
from stratuslab_libcloud.sandbox.opennebula.templates import whole

__all__ = ["Source", "app_images", "of_app", "of_path"]

_QCOW2 = b"QFI\xfb"
_CHUNK_BYTES = 1 << 20

Fill = Callable[[str], object]


class Source(NamedTuple):
    """
    The content of an image that is made.

    :ivar size: MiB.
    :ivar fill: called with the name of the image's file, to fill it; ``None``: it stays empty.
    """

    size: int
    fill: Fill | None = None


def of_path(core: Core, path: str) -> Source:
    """
    Look at a URL; this host's own files are nobody's to read.

    :raises RefusedError: it cannot be read, or its size is not known.
    """
    try:
        if not path.startswith(("http://", "https://")):
            raise MachineError(f"Not allowed to copy image file {path}")
        with Download(threading.Event()) as download:
            size = _size_of(download, path)
    except MachineError as error:
        raise RefusedError(f"Cannot parse image SIZE: {error}", INTERNAL) from None
    return Source(max(1, -(-size // MIB)), partial(_copy, core, path))


def _size_of(download: Download, url: str) -> int:
    answer = download.get(url, _way)
    length = whole(answer.headers.get("Content-Length", ""))
    if answer.status_code != 200 or length is None:
        raise MachineError(f"{url} answered {answer.status_code}, without the size of a file")
    return length


def _way(url: str) -> Mapping[str, Any]:
    return {"verify": True, "proxies": get_environ_proxies(url)}


def _copy(core: Core, url: str, name: str) -> None:
    """Download a file into an image of the same size."""
    path = core.files.path(name)
    with Download(core.stopping) as download, path.open("r+b") as file:
        size = _size_of(download, url)
        if size > path.stat().st_size:
            raise MachineError(f"{url} has become larger")
        while data := download.read(_CHUNK_BYTES):
            if file.tell() == 0 and data.startswith(_QCOW2):
                raise MachineError(f"{url} is not raw, and the sandbox takes no other image")
            if file.tell() + len(data) > size:
                raise MachineError(f"{url} is larger than it said")
            file.write(data)
        if file.tell() < size:
            raise MachineError(f"{url} broke off")
        file.flush()
        os.fsync(file.fileno())


def app_images(book: Book) -> list[Image]:
    """Return the images that the site offers, each of which is an app of the same id, too."""
    return [image for image in book.all(Image) if image.uid == 0]


def of_app(core: Core, number: str) -> Source:
    """
    Find an app.

    :raises RefusedError: there is none.
    """
    with core.reading() as book:
        offered = app_images(book)
    for image in offered:
        if str(image.id) == number:
            return Source(image.size, partial(core.files.fill, source=image.source))
    raise RefusedError("Cannot determine image SIZE.", INTERNAL)
