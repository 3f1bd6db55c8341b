"""What all rules of the modern engine share: its records, its files, its pace and its faults."""

import contextlib
import logging
import pathlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.machines import Machinery, Report
from stratuslab_libcloud.sandbox.opennebula.files import Files
from stratuslab_libcloud.sandbox.opennebula.records import SCHEMA, Book
from stratuslab_libcloud.sandbox.store import Store

__all__ = ["VERSIONS", "Core"]

VERSIONS = ("6.10.5", "7.4.0")
_THREADS = 8
_LOG = logging.getLogger(__name__)


class Core:
    """
    What all rules share.

    :param version: one of ``VERSIONS``: how it answers where they differ.
    :param seconds: how long a step takes, such as attaching a disk. Without, and on simulated
        machines, it is over before the call is answered.
    :ivar stopping: set when the site is stopped.
    :ivar machinery: what machines run on; set once it is there.
    :ivar report: what it reports to.
    :ivar image_settled: called with the machines that wait for an image that is made, or failed.
    """

    machinery: Machinery
    report: Report
    image_settled: Callable[[list[int]], object]

    def __init__(
        self, store: Store, directory: pathlib.Path, version: str, seconds: float, real: bool
    ) -> None:
        if version not in VERSIONS:
            known = ", ".join(VERSIONS)
            raise SandboxError(f"the OpenNebula version must be one of {known}, not {version!r}")
        self.version = version
        self.is_new = version.startswith("7")
        self.real = real
        self.files = Files(directory)
        self._store = store
        self._seconds = seconds
        self._failures: defaultdict[str, list[str]] = defaultdict(list)
        self.stopping = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS, "sandbox step") if seconds or real else None
        with store.transaction() as db:
            for statement in SCHEMA.split(";"):
                db.execute(statement)

    @contextlib.contextmanager
    def changing(self) -> Iterator[Book]:
        """Change records; what is to be done ``then`` is done once they are written."""
        with self._store.transaction() as db:
            book = Book(db)
            yield book
        for work in book.then:
            work()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Book]:
        """Read records."""
        with self._store.reading() as db:
            yield Book(db)

    def step(self, work: Callable[[], object]) -> None:
        """Do some work that takes time: now, or in a thread."""
        if self._pool is None:
            work()
        elif not self.stopping.is_set():
            self._pool.submit(self._do, work)

    def _do(self, work: Callable[[], object]) -> None:
        try:
            if not self.stopping.wait(self._seconds):
                work()
        except Exception:
            _LOG.exception("a step could not be taken")

    def fail(self, step: str, text: str) -> None:
        """Let the next step of this kind fail."""
        self._failures[step].append(text)

    def failure(self, step: str) -> str:
        """Return why a step fails that is now taken; empty if it does not."""
        return self._failures[step].pop(0) if self._failures[step] else ""

    def close(self) -> None:
        """Wait for the steps that are being taken; the others are not."""
        self.stopping.set()
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
