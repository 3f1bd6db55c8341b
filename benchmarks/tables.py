"""The results as tables in Markdown."""

import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.rows import LIMIT, OURS, Row

__all__ = ["Result", "machine", "memory", "per_item", "times"]

_LIBRARIES = ("apache-libcloud", "requests", "urllib3", "orjson", "pyone", "moto")


@dataclass(frozen=True)
class Result:
    """
    The results of a row, by contestant.

    :ivar clock: the seconds that a call took, one figure for each round.
    :ivar processor: the same in seconds of processor time.
    :ivar peak: bytes by which one call raised the high-water mark.
    :ivar own: bytes that the result keeps.
    """

    row: Row
    clock: dict[str, list[float]]
    processor: dict[str, list[float]]
    peak: dict[str, float]
    own: dict[str, float]

    def ratio(self, one: str, other: str) -> float:
        """Return the median of the rounds' ratios, since a disturbance affects the whole round."""
        return _median_ratio(self.clock[one], self.clock[other])

    def added(self) -> float:
        """Return the seconds that ours takes beyond the limit."""
        pairs = zip(self.clock[OURS], self.clock[LIMIT], strict=True)
        return median(ours - limit for ours, limit in pairs)


def machine() -> str:
    """Describe the machine and the date of the measurement."""
    cpus = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{time.strftime('%Y-%m-%d')}; {len(cpus)} x {cpus[0] if cpus else platform.machine()}, "
        f"{size:.0f} GiB, {platform.system()} {platform.release()}; load {os.getloadavg()[0]:.1f} "
        f"at the start; Python {platform.python_version()}; {libraries}"
    )


def times(results: Sequence[Result]) -> Iterator[str]:
    """Compare ours with the limit, and peers with ours."""
    yield "| | limit | ours | ours by limit | in processor time | target | peers by ours |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | --- |"
    for result in results:
        row = result.row
        ratio, added = result.ratio(OURS, LIMIT), result.added()
        target, met = "", True
        if row.at_most is not None:
            target, met = f"at most {row.at_most}", ratio <= row.at_most
        if row.adds_at_most is not None:
            target = f"adds {_shown(added)}, at most {_shown(row.adds_at_most)}"
            met = added <= row.adds_at_most
        peers = []
        for name in result.clock:
            if name not in (LIMIT, OURS):
                ahead = result.ratio(name, OURS)
                peers.append(f"{name} {ahead:.2f}")
                if row.ahead and row.ahead[0] == name:
                    peers[-1] += f" (at least {row.ahead[1]:.0f}{_met(ahead >= row.ahead[1])})"
        limit, ours = (_shown(median(result.clock[name])) for name in (LIMIT, OURS))
        busy = _median_ratio(result.processor[OURS], result.processor[LIMIT])
        figures = f"{limit} | {ours} | {ratio:.2f} | {busy:.2f} | {target}{_met(met)}"
        yield f"| {row.title} | {figures} | {', '.join(peers)} |"


def per_item(results: Sequence[Result]) -> Iterator[str]:
    """Show the processor time for one item of many, which other load hardly affects."""
    yield "| per item | limit | ours |"
    yield "| --- | ---: | ---: |"
    for result in results:
        if result.row.count >= 1000:
            limit, ours = (
                median(result.processor[name]) / result.row.count * 1e6 for name in (LIMIT, OURS)
            )
            yield f"| {result.row.title} | {limit:.1f} µs | {ours:.1f} µs |"


def memory(results: Sequence[Result]) -> Iterator[str]:
    """Show peaks, and the part of ours that is not the result."""
    yield "| peak memory | limit | ours | ours' result | beyond it | target | peers |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | --- |"
    for result in results:
        if result.peak:
            peak, own = result.peak, result.own[OURS]
            spare, row = peak[OURS] - own, result.row
            target = "" if row.spare == math.inf else f"at most {_size(row.spare or 0)}"
            target += _met(spare <= (row.spare or 0))
            peers = (f"{k} {_size(v)}" for k, v in peak.items() if k not in (LIMIT, OURS))
            figures = f"{_size(peak[LIMIT])} | {_size(peak[OURS])} | {_size(own)} | {_size(spare)}"
            yield f"| {row.title} | {figures} | {target} | {', '.join(peers)} |"


def _median_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    return median(one / other for one, other in zip(ones, others, strict=True))


def _met(met: bool) -> str:
    return "" if met else ": **missed**"


def _shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _size(size: float) -> str:
    return f"{size / 2**20:.1f} MiB"
