"""
A measurement in a process of its own: ``python -m benchmarks.measure WHAT FUNCTION URL SMALL N``.

``seconds`` is the mean time of N calls, by the clock and of the processor. ``peak`` is the number
of bytes by which one call raised the resident set's high-water mark: all memory, including that of
parsers in C and the allocator's waste. ``own`` is the size of the result by tracemalloc, which
excludes waste, but does not see memory of C; so it cannot measure the peak. WHAT may be several of
these, with commas; then the figures of the later ones mean little.

SMALL is the URL of a small listing, which is listed first, so that one-time imports and connections
are not measured. Without it, the first call is measured.
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
    """Measure, and print the results, a line each."""
    setup = pkgutil.resolve_name(f"benchmarks.{function}")
    if small:
        setup(small)()
    call = setup(url)
    for kind in what.split(","):
        measured = {"seconds": _seconds, "peak": _peak, "own": _own}[kind]
        print(*measured(call, int(calls)))


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
    call()  # makes what is made only once
    tracemalloc.start()
    result = call()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    del result
    return (size,)


if __name__ == "__main__":
    main(*sys.argv[1:])
