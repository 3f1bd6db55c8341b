"""Report long work, such as downloads, to whoever shows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["OnProgress", "ignored", "reported"]

OnProgress = Callable[[str, float], object]
"""Called with the name of some work and the part of it that is done: first 0.0, last 1.0."""


def ignored(work: str, part: float) -> None:
    """Show nothing."""


@contextmanager
def reported(on_progress: OnProgress, work: str) -> Iterator[Callable[[float], object]]:
    """Report the beginning and the end of some work, and yield a function for what is between."""
    on_progress(work, 0.0)
    try:
        yield lambda part: on_progress(work, min(part, 0.999))
    finally:
        on_progress(work, 1.0)
