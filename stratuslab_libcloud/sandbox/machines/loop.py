"""An event loop in a thread of its own, with threads for what would block it."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Loop"]

T = TypeVar("T")

_THREADS, _DOWNLOADS = 8, 64


class Loop:
    """A loop that runs until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # Separate pools: slow downloads must not delay the end of other machines.
        self._reporting = ThreadPoolExecutor(_THREADS, "sandbox report")
        self._preparing = ThreadPoolExecutor(_DOWNLOADS, "sandbox image")
        self._thread = threading.Thread(target=self._run, name="sandbox machines", daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Let the loop run a coroutine; for other threads."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Let the loop run a coroutine, and return what comes of it; for other threads."""
        return self.submit(coroutine).result()

    async def soon(self, function: Callable[[], T]) -> T:
        """Call a function that may block, but not for long."""
        return await self._in_thread(self._reporting, function)

    async def at_length(self, function: Callable[[], T]) -> T:
        """Call a function that may take very long, as a download does."""
        return await self._in_thread(self._preparing, function)

    async def _in_thread(self, pool: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        """
        Call a function in a thread.

        A cancelled task still waits for it, because it is using the machine's files.
        """
        job = pool.submit(function)
        try:
            return await asyncio.shield(asyncio.wrap_future(job))
        except asyncio.CancelledError:
            if not job.cancel():
                await asyncio.gather(asyncio.wrap_future(job), return_exceptions=True)
            raise

    def close(self) -> None:
        """Stop the loop, and wait for its threads."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._preparing.shutdown()
            self._reporting.shutdown()
            self._loop.close()
