"""Register disk images with a site, whether it is up or not."""

import contextlib
import os
import pathlib
from typing import Any

from stratuslab_libcloud.sandbox.directory import in_one_line, open_directory
from stratuslab_libcloud.sandbox.endorsing import site_key
from stratuslab_libcloud.sandbox.images.offered import OfferedImages
from stratuslab_libcloud.sandbox.marketplace.registry import Registry
from stratuslab_libcloud.sandbox.progress import OnProgress, ignored
from stratuslab_libcloud.sandbox.store import Settings, Store

__all__ = ["register_image"]


def register_image(
    dir: str | os.PathLike[str],  # noqa: A002
    file: pathlib.Path,
    disk_format: str,
    on_progress: OnProgress = ignored,
    **described: Any,
) -> str:
    """
    Register a disk image with the sandbox in ``dir``, which may be running.

    :param file: the image, which is copied.
    :param disk_format: ``raw`` or ``qcow2``.
    :param on_progress: called while it is copied.
    :param described: fields of its :class:`.metadata.Entry`.
    :return: its identifier.
    :raises SandboxError: the image or the directory cannot be used.
    """
    with contextlib.ExitStack() as stack:
        directory = open_directory(dir, stack)
        stack.enter_context(in_one_line(directory))
        images = OfferedImages(directory / "images")
        entry = images.add(file, disk_format, on_progress, **described)
        store = Store(directory / "sandbox.db")
        stack.callback(store.close)
        with store.reading() as db:
            url = Settings(db).get("url")
        if url:  # otherwise the first start publishes it
            images.publish(Registry(store), url, site_key(directory))
    return entry.identifier
