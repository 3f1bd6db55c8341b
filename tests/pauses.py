"""How long our client waits before it asks again."""

import contextlib
from collections.abc import Iterator

import pytest

from stratuslab_libcloud.client.http import retries

REAL = retries._FIRST_PAUSE


@contextlib.contextmanager
def pauses(first: float) -> Iterator[None]:
    """Have it wait so many seconds before the second attempt, and twice that before the third."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "_FIRST_PAUSE", first)
        yield
