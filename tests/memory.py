"""
How large processes become.

Not by ``getrusage``: its peak begins with that of the process that started this one, and is never
forgotten, so that what comes later is not seen.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["grown", "peak"]


def peak(process: int | str = "self") -> int:
    """The most memory that a process has had, in bytes."""
    return _status(process, "VmHWM")


def grown(action: Callable[[], object]) -> int:
    """By how many bytes this process became larger at most."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    except OSError as error:
        pytest.skip(f"this system does not tell how large a process became: {error}")
    before = _status("self", "VmRSS")
    action()
    return peak() - before


def _status(process: int | str, field: str) -> int:
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.M)
    assert found is not None
    return int(found[1]) * 1024
