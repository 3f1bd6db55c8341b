"""What several tests of the driver look with."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from libcloud.compute.base import (
    NodeSize,
)

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver

__all__ = ["ENDS", "bare_size", "driver_volume", "interrupt_waiting", "wait_for"]


# Where nodes are gone as soon as they are ended; and where that takes a while, as on a real site.
ENDS = pytest.mark.parametrize(
    "site", [{}, {"ending_seconds": 0.3}], ids=["at once", "later"], indirect=True
)


def wait_for(probe: Callable[[], object], wanted: object) -> None:
    """Until the probe finds what is wanted: the guard is far longer than it takes."""
    end = time.monotonic() + 60
    while (found := probe()) != wanted:
        assert time.monotonic() < end, f"still {found}, not {wanted}"
        time.sleep(0.05)


def interrupt_waiting(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Ctrl-C when a module waits; the real ``sleep()`` is left to the sandbox, which needs it."""

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=interrupt)
    monkeypatch.setattr(f"{module}.time", clock)


def driver_volume(driver: StratusLabNodeDriver, volume_id: str) -> Any:
    return next(volume for volume in driver.list_volumes() if volume.id == volume_id)


def bare_size(size_id: str, driver: Any, **more: Any) -> NodeSize:
    values = {"name": None, "ram": None, "disk": None, "bandwidth": None, "price": None}
    return NodeSize(id=size_id, driver=driver, **{**values, **more})
