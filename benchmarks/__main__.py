"""``python -m benchmarks``: every comparison, on this machine, as tables in Markdown."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from benchmarks.rows import ROWS, Contestant, Row
from benchmarks.tables import Result, machine, memory, per_item, times

_SMALL = 10
_MEASURE = (sys.executable, "-m", "benchmarks.measure")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; nothing fails for being slow."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only rows whose titles contain TEXT"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny listings, to check that everything still works"
    )
    options = parser.parse_args(arguments)
    rows = [row for row in ROWS if options.only in row.title]
    if options.quick:
        print("Quick: this only checks that the benchmark works; ignore the figures.\n")
        kinds: dict[object, Row] = {}
        for row in rows:
            tiny = replace(row, count=min(row.count, 3), delay=min(row.delay, 10))
            kinds.setdefault(row.contestants, tiny)
        rows = list(kinds.values())
    print(machine(), end="\n\n", flush=True)
    with _server() as server:
        results = [_result(row, server, options.rounds, options.quick) for row in rows]
    for table in (times, per_item, memory):
        print(*table(results), sep="\n", end="\n\n")


def _result(row: Row, server: str, rounds: int, quick: bool) -> Result:
    """Measure in rounds in which all take turns, so that other load affects them alike."""
    print(f"{row.title} ...", end="", file=sys.stderr, flush=True)
    kinds = ["seconds"] if row.spare is None else ["seconds", "peak", "own"]
    # Each in a new process, so that no call profits from what another one left; the first round
    # warms up the server and the bytecode.
    passes = [kinds] if quick else [["seconds"]] * (1 + rounds) + [[kind] for kind in kinds[1:]]
    found: dict[str, dict[str, list[list[float]]]] = {}
    for some in passes:
        for one in row.contestants:
            for kind, figures in _measured(some, row, one, server).items():
                found.setdefault(kind, {}).setdefault(one.name, []).append(figures)
    warm = 0 if quick else 1
    clock, processor = (
        {name: [pair[which] for pair in pairs[warm:]] for name, pairs in found["seconds"].items()}
        for which in (0, 1)
    )
    peak, own = (
        {name: size for name, [[size]] in found.get(kind, {}).items()} for kind in ("peak", "own")
    )
    print(" done", file=sys.stderr)
    return Result(row, clock, processor, peak, own)


def _measured(
    kinds: Sequence[str], row: Row, one: Contestant, server: str
) -> dict[str, list[float]]:
    """Measure these in one new process."""
    url = f"{server}/{row.delay}/{one.kind}"
    small = "" if row.cold else f"{url}/{min(_SMALL, row.count)}"
    command = [*_MEASURE, ",".join(kinds), one.function, f"{url}/{row.count}", small]
    # As users run the package: with bytecode.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    ran = subprocess.run(
        [*command, str(row.calls)], env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    lines = [[float(number) for number in line.split()] for line in ran.stdout.splitlines()]
    return dict(zip(kinds, lines, strict=True))


@contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        if server.stdin is None or server.stdout is None:
            raise AssertionError("Popen has opened both pipes")
        with server.stdin:  # closing it ends the server
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"


if __name__ == "__main__":
    main()
