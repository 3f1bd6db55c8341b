"""Looking at a machine again and again, until it is as it should be."""

import math
import time
from collections.abc import Callable

from stratuslab_libcloud.client.data import Machine
from stratuslab_libcloud.errors import ConnectionFailedError, NodeNotReadyError, StratusLabError

__all__ = ["until"]

_FIRST_PAUSE = 0.25  # seconds between two looks
_SHORTEST_LOOK = 1.0  # seconds that a look may take once the time is over
_WHOLE_LOOK = 60.0  # seconds that are enough for any look


def until(
    settled: Callable[[Machine], bool],
    look: Callable[[float], Machine],
    end: float,
    late: str,
    *,
    longest_pause: float,
    longest_look: float = math.inf,
    unseen: Callable[[], object] = lambda: None,
    advice: str = "",
) -> Machine:
    """
    Wait for a machine; faults that may pass do not end the waiting.

    :param settled: whether it is as it should be; raises an error if it never will be.
    :param look: looks at it, for this many seconds at most.
    :param end: by the monotonic clock.
    :param late: what to say, before what was met, if time runs out.
    :param unseen: called after a look that failed.
    :raises NodeNotReadyError: time ran out.
    """
    pause, trouble, failed = _FIRST_PAUSE, "", False
    while True:
        seconds = max(_SHORTEST_LOOK, min(end - time.monotonic(), longest_look))
        try:
            machine = look(seconds)
        except StratusLabError as error:
            if not error.passing:
                raise
            unseen()
            # A last look that was cut short says less than an earlier failure.
            cut_short = seconds < min(longest_look, _WHOLE_LOOK)
            if not (failed and cut_short and isinstance(error, ConnectionFailedError)):
                trouble, failed = str(error), True
        else:
            if settled(machine):
                return machine
            said = f" ({machine.scheduler})" if machine.scheduler else ""
            trouble, failed = f"it is {machine.summary}{said}", False
        left = end - time.monotonic()
        if left <= 0:
            raise NodeNotReadyError(f"{late}: {trouble}", advice=advice)
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, longest_pause)
