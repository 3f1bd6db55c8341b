"""Wait for what the engine does after it has answered (modern 1)."""

import time
from collections.abc import Callable
from typing import TypeVar

from stratuslab_libcloud.errors import StratusLabError, UnavailableError

__all__ = ["wait_until"]

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between two looks


def wait_until(
    done: Callable[[T], bool], look: Callable[[], T], patience: float, what: str, known: str
) -> T:
    """
    Look at something until it is as it should be.

    :param patience: seconds.
    :param what: what is waited for, for the message when time runs out.
    :param known: advice for any error: what exists, or has been asked for, all the same.
    :return: what was seen last.
    :raises UnavailableError: time ran out.
    """
    end = time.monotonic() + patience
    pause = _FIRST_PAUSE
    try:
        while not done(found := look()):
            left = end - time.monotonic()
            if left <= 0:
                raise UnavailableError(
                    f"{what} took more than {patience:.3g} seconds", refused=True
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    except StratusLabError as error:
        error.advice = error.advice or known
        raise
    return found
