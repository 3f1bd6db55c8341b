"""How often a request is sent, and with which pauses."""

from stratuslab_libcloud.errors import StratusLabError, UnavailableError

__all__ = ["ATTEMPTS", "LATEST_START", "pause_after"]

ATTEMPTS = 3
_FIRST_PAUSE = 0.25  # seconds; doubled for each further attempt
# A part of the time; an attempt that began later would fail for lack of time, and hide the cause.
LATEST_START = 0.9


def pause_after(error: StratusLabError, attempt: int) -> float | None:
    """
    Return the seconds to wait before another attempt, or ``None`` if it would be useless.

    :param attempt: the number of the attempt that failed, from 1.
    """
    if not error.passing:
        return None
    asked_for = error.retry_after if isinstance(error, UnavailableError) else 0.0
    return max(asked_for, float(_FIRST_PAUSE * 2 ** (attempt - 1)))
