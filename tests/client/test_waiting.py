"""Waiting for a machine: what ends it, and what is said when it took too long."""

import re
import time
from collections.abc import Callable, Sequence

import pytest

from stratuslab_libcloud.client.data import Machine
from stratuslab_libcloud.client.waiting import until
from stratuslab_libcloud.errors import (
    ConnectionFailedError,
    NodeNotReadyError,
    NotFoundError,
    StratusLabError,
    UnavailableError,
)

BUSY = UnavailableError("HTTP 503", passing=True)
SILENT = ConnectionFailedError("did not answer for 1 s", passing=True)


def machine(lcm_state: int) -> Machine:
    return Machine("7", "n", None, 3, lcm_state, [], [], None, 1, 512, None, None, None, None)


BOOTING, RUNNING = machine(2), machine(3)


def seeing(looks: Sequence[Machine | StratusLabError]) -> Callable[[float], Machine]:
    """A look that has these results, the last one again and again."""
    rest = list(looks)

    def look(_seconds: float) -> Machine:
        seen = rest.pop(0) if len(rest) > 1 else rest[0]
        if isinstance(seen, StratusLabError):
            raise seen
        return seen

    return look


def wait(*looks: Machine | StratusLabError, seconds: float = 1.0) -> Machine:
    end = time.monotonic() + seconds
    return until(
        lambda seen: seen.running, seeing(looks), end, "too late", longest_pause=0.05, advice="wait"
    )


def test_faults_that_may_pass_do_not_end_it() -> None:
    assert wait(BUSY, SILENT, BOOTING, RUNNING, seconds=60) is RUNNING


def test_others_do_at_once() -> None:
    with pytest.raises(NotFoundError):
        wait(NotFoundError("gone"), RUNNING, seconds=60)


@pytest.mark.parametrize(
    ("looks", "met"),
    [
        ([BOOTING], "it is Boot"),
        ([BUSY], "HTTP 503"),
        ([BUSY, BOOTING], "it is Boot"),
        ([BOOTING, SILENT], "did not answer for 1 s"),
        ([SILENT, BUSY], "HTTP 503"),
        ([BUSY, SILENT], "HTTP 503"),  # not the last look, which was cut short
    ],
    ids=["boots", "busy", "busy, boots", "boots, silent", "silent, busy", "busy, silent"],
)
def test_what_was_met_is_said_when_time_runs_out(
    looks: list[Machine | StratusLabError], met: str
) -> None:
    with pytest.raises(NodeNotReadyError, match=f"^too late: {re.escape(met)}; wait$"):
        wait(*looks)
