"""Write requests and answers to Libcloud's own debug log (``LIBCLOUD_DEBUG``)."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["write"]

_LOG = logging.getLogger(__name__)

_LOCK = threading.RLock()
_unwritable: Any = None  # the last log that could not be written

if hasattr(os, "register_at_fork"):
    # The child of a fork could inherit the file's own lock while it is held, and buffered text that
    # it would write a second time. So a fork waits until nothing is being written.
    os.register_at_fork(
        before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
    )


def write(line: str, body: bytes | None, masked: Callable[[str], str]) -> None:
    """
    Write a line and a body, if Libcloud has a debug log.

    A log that cannot be written is reported once; it never makes a request fail.

    :param masked: hides secrets.
    """
    global _unwritable
    # Whoever sets a log loads this. Importing it here could lock it while another thread forks.
    loaded = sys.modules.get("libcloud.utils.loggingconnection")
    log = getattr(getattr(loaded, "LoggingConnection", None), "log", None)
    if log is None:
        return
    with _LOCK:
        try:
            text = body.decode("utf-8", "replace") if body else ""
            log.write(masked(f"# {line}\n{text}\n"))
            log.flush()
        except Exception as error:  # the log may be any object that the user gave to Libcloud
            if log is not _unwritable:
                _LOG.warning("Libcloud's debug log cannot be written: %s", error)
            _unwritable = log
