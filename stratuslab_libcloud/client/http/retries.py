"""How often a request is sent, and when."""

from stratuslab_libcloud.errors import StratusLabError, UnavailableError

__all__ = ["ATTEMPTS", "LATEST_START", "pause_after"]

ATTEMPTS = 3
_FIRST_PAUSE = 0.25  # seconds; doubled for each further attempt
LATEST_START = 0.95  # of the time; what is left then is no chance, and would hide the real trouble


def pause_after(error: StratusLabError, attempt: int) -> float | None:
    """Seconds to wait before another attempt; ``None``: it would be no use."""
    if not error.passing:
        return None
    asked_for = error.retry_after if isinstance(error, UnavailableError) else 0.0
    return max(asked_for, float(_FIRST_PAUSE * 2 ** (attempt - 1)))
