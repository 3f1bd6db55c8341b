"""
The current request, which errors are built with.

Each layer adds what it knows while it asks: the driver adds itself, :mod:`.locations` the location,
an HTTP service its endpoint, the number of the attempt and the secrets to hide. Code that raises an
error within such a block, however deep, need not know any of it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from stratuslab_libcloud.untrusted.text import one_line

__all__ = ["Asked", "asking", "current"]


@dataclass(frozen=True)
class Asked:
    """
    The current request, as far as the layers have described it.

    :ivar driver: the driver that was called, or ``None``.
    :ivar location: id of the location, or ``""``.
    :ivar endpoint: URL of the service, or ``""``.
    :ivar attempt: 1 for the first of the attempts at a request.
    :ivar begun: when the first began, by the monotonic clock.
    :ivar retried: whether an earlier attempt may have had its effect.
    :ivar sent: returns whether this attempt may have reached the service.
    :ivar doubt: advice for errors that leave open whether the request was carried out.
    :ivar masked: hides secrets in a text.
    """

    driver: Any = None
    location: str = ""
    endpoint: str = ""
    attempt: int = 1
    begun: float = 0.0
    retried: bool = False
    sent: Callable[[], bool] | None = None
    doubt: str = ""
    masked: Callable[[str], str] | None = None

    def masking(self, text: str) -> str:
        """Hide secrets in a text."""
        return one_line(self.masked(text)) if self.masked else text

    def text(self, value: str, *, passing: bool) -> str:
        """Complete the text of an error: hide secrets, and add the number of repeated attempts."""
        value = self.masking(value)
        if self.attempt > 1 and passing:
            seconds = time.monotonic() - self.begun
            value += f" (attempt {self.attempt}; {seconds:.3g} s in all)"
        return value


_CURRENT: ContextVar[Asked] = ContextVar("asked", default=Asked())  # noqa: B039 - it is frozen


def current() -> Asked:
    """Return the current request of this thread."""
    return _CURRENT.get()


@contextmanager
def asking(**known: Any) -> Iterator[None]:
    """
    Build the errors of a block with these details.

    :param known: fields of :class:`Asked`; the others stay as they are.
    """
    token = _CURRENT.set(replace(_CURRENT.get(), **known))
    try:
        yield
    finally:
        _CURRENT.reset(token)
