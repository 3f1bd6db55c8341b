"""The threads that answer requests."""

import threading
from typing import Any

import cheroot.workers.threadpool

__all__ = ["THREADS", "Threads"]

THREADS = 32


class Threads(cheroot.workers.threadpool.ThreadPool):
    """A pool that starts with the least number of threads, and adds one when there is work."""

    _threads: list[Any]
    _spawn_worker: Any

    def __init__(self, server: Any, least: int) -> None:
        super().__init__(server, min=least, max=THREADS)
        self._lock = threading.Lock()
        self._at_work = 0
        self._stopped = False

    def start(self) -> None:
        """Start without cheroot's sleep: requests can wait for a thread to begin."""
        self._threads.extend(self._spawn_worker() for _ in range(self.min))

    def put(self, conn: Any) -> None:
        with self._lock:
            if self._stopped:
                conn.close()
                return
            self._at_work += 1
            if len(self._threads) < min(self._at_work, THREADS):
                self._threads.append(self._spawn_worker())
            super().put(conn)

    def stop(self, timeout: int = 5) -> None:
        """Stop; cheroot's would wait for ever for a thread that begins meanwhile."""
        with self._lock:
            self._stopped = True
        super().stop(timeout)

    def done(self) -> None:
        """Note that a thread has finished its work."""
        with self._lock:
            self._at_work -= 1
