"""What goes out and comes in, in Libcloud's own log of requests (``LIBCLOUD_DEBUG``)."""

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["write"]

_LOG = logging.getLogger(__name__)

_LOCK = threading.RLock()
_unwritable: Any = None  # the last log that could not be written

if hasattr(os, "register_at_fork"):
    # The file has locks of its own, which the child of a fork could find held, and text that has
    # not been written yet, which it would write once more. So nobody forks while one writes.
    os.register_at_fork(
        before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
    )


def write(line: str, body: bytes | None, masked: Callable[[str], str]) -> None:
    """
    Write a line and what belongs to it, if there is a log. One that cannot be written is reported
    once: no request fails on its account.

    :param masked: hides what is secret.
    """
    from libcloud.utils.loggingconnection import LoggingConnection  # brings minidom

    global _unwritable
    log = LoggingConnection.log
    if log is None:
        return
    with _LOCK:
        try:
            text = body.decode("utf-8", "replace") if body else ""
            log.write(masked(f"# {line}\n{text}\n"))
            log.flush()
        except Exception as error:  # whatever it is that somebody has given to Libcloud
            if log is not _unwritable:
                _LOG.warning("Libcloud's debug log cannot be written: %s", error)
            _unwritable = log
