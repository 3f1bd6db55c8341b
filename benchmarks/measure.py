"""
One measurement in a process of its own: ``python -m benchmarks.measure WHAT FUNCTION URL SMALL N``.

``seconds`` is the mean of N calls, on the clock and of processor time. ``peak`` is by how many
bytes one call raised the resident set's high-water mark, which is all memory, that of parsers in C
and of the allocator's waste included. ``own`` is what the result keeps, by tracemalloc: that tells
objects from waste, but knows nothing of C, which is why the peak is not its.

SMALL is the URL of a small listing, which is listed first, so that what is imported or opened once
is not measured; without one, the first call is.
"""

import gc
import pkgutil
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable

__all__ = ["main"]


def main(what: str, function: str, url: str, small: str, calls: str) -> None:
    """Print what was measured."""
    setup = pkgutil.resolve_name(f"benchmarks.{function}")
    if small:
        setup(small)()
    measured = {"seconds": _seconds, "peak": _peak, "own": _own}[what]
    print(*measured(setup(url), int(calls)))


def _seconds(call: Callable[[], object], calls: int) -> tuple[float, float]:
    gc.collect()
    start, processor = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls, (time.process_time() - processor) / calls


def _peak(call: Callable[[], object], _: int) -> tuple[int]:
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = call()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del result
    return ((after - before) * (1 if sys.platform == "darwin" else 1024),)


def _own(call: Callable[[], object], _: int) -> tuple[int]:
    call()  # what is made once
    tracemalloc.start()
    result = call()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    del result
    return (size,)


if __name__ == "__main__":
    main(*sys.argv[1:])
