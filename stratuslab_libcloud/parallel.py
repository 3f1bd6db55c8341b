"""
Ask several questions at once, or one for a limited time; compute a value once, without a lock.

No thread is left when a call returns, not even one that is about to end: a thread that used TLS
cleans up at its very end, holding a lock of OpenSSL. With an ``os.fork()`` at that moment the child
would inherit the lock, and wait for it for ever.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, Generic, TypeVar, overload

__all__ = ["ask_all", "ask_within", "lazy"]

T = TypeVar("T")

_LONGEST_END = 1.0  # seconds; a thread with nothing left to do ends far sooner
_POLL_PAUSE = 0.0001


class lazy(Generic[T]):  # noqa: N801 - used like property
    """
    A property that is computed when it is first read.

    Threads that read it at the same moment may each compute it. ``functools.cached_property`` has a
    lock in Python 3.10 and 3.11, for all objects of a class, which the child of a fork could
    inherit while it is held.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, thing: None, owner: type) -> "lazy[T]": ...

    @overload
    def __get__(self, thing: object, owner: type) -> T: ...

    def __get__(self, thing: object, owner: type) -> "lazy[T] | T":
        if thing is None:
            return self
        made: T = thing.__dict__.setdefault(self._make.__name__, self._make(thing))
        return made


def ask_all(
    questions: Mapping[str, Callable[[], T]],
) -> tuple[dict[str, T], dict[str, Exception]]:
    """
    Ask all questions at once; a single one is asked in the caller's own thread.

    The threads are daemons, so that Ctrl-C returns at once; only then do they outlive the call.

    :return: the answers by name, and the errors of the others by name, in the order of questions.
    """
    answers: queue.SimpleQueue[tuple[str, tuple[T | None, BaseException | None]]]
    answers = queue.SimpleQueue()

    def ask(name: str, question: Callable[[], T]) -> None:
        try:
            answers.put((name, (question(), None)))
        except BaseException as error:  # of any kind, as somebody waits for an answer
            answers.put((name, (None, error)))

    threads = []
    for item in questions.items():
        # In the caller's context, which errors are built with.
        within = copy_context().run
        thread = threading.Thread(target=within, args=(ask, *item), daemon=True)
        try:
            if len(questions) == 1:
                ask(*item)
            else:
                thread.start()
                threads.append(thread)
        except RuntimeError:  # the system allows no more threads
            ask(*item)
    outcomes = dict(answers.get() for _ in questions)
    for thread in threads:
        _wait_for_end(thread)
    found: dict[str, T] = {}
    failures: dict[str, Exception] = {}
    for name in questions:
        answer, error = outcomes[name]
        if error is None:
            found[name] = answer  # type: ignore[assignment] # None is an answer like any other
        elif isinstance(error, Exception):
            failures[name] = error
        else:
            raise error
    return found, failures


def ask_within(seconds: float, question: Callable[[], T]) -> T:
    """
    Ask a question that has no time-out and cannot be interrupted.

    Without an answer in time, the thread that waits for it is left behind, as a daemon.

    :raises TimeoutError: there is no answer in time.
    """
    answers: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((question(), None))
        except Exception as error:
            answers.put((None, error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        answer, error = answers.get(timeout=max(0.0, seconds))
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.3g} s") from None
    _wait_for_end(thread)
    if error is not None:
        raise error
    return answer  # type: ignore[return-value] # None is an answer like any other


def _wait_for_end(thread: threading.Thread) -> None:
    """Wait until a thread has ended. Up to Python 3.12 join() returns a moment before that."""
    thread.join()
    end = time.monotonic() + _LONGEST_END
    while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < end:
        time.sleep(_POLL_PAUSE)
