"""Asking several at the same time."""

import queue
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

__all__ = ["ask_all"]

T = TypeVar("T")


def ask_all(
    questions: Mapping[str, Callable[[], T]],
) -> tuple[dict[str, T], dict[str, Exception]]:
    """
    Ask all at the same time; one alone is asked by the caller's own thread.

    The threads are daemons, so that Ctrl-C returns at once.

    :return: by name, the answers, and the errors of those that failed.
    """
    answers: queue.SimpleQueue[tuple[str, T | None, Exception | None]] = queue.SimpleQueue()

    def ask(name: str, question: Callable[[], T]) -> None:
        try:
            answers.put((name, question(), None))
        except Exception as error:  # whatever it is, somebody waits for an answer
            answers.put((name, None, error))

    if len(questions) == 1:
        ask(*next(iter(questions.items())))
    else:
        for item in questions.items():
            threading.Thread(target=ask, args=item, daemon=True).start()
    found: dict[str, T] = {}
    failures: dict[str, Exception] = {}
    for _ in questions:
        name, answer, error = answers.get()
        if error is not None:
            failures[name] = error
        else:
            found[name] = answer  # type: ignore[assignment] # None is an answer like any other
    return found, failures
