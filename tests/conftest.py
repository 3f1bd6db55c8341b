"""What every test starts from: no environment, no home directory of anybody's."""

import faulthandler
import gc
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from clouds import Site
from machines import children
from pauses import REAL, pauses
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

from stratuslab_libcloud.sandbox import guest
from stratuslab_libcloud.sandbox.accounts import LEAST_COST
from stratuslab_libcloud.sandbox.site import Sandbox

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell that runs the tests in the background has them ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What takes a minute to build is built once, for whoever runs the tests.
os.environ["STRATUSLAB_SANDBOX_CACHE"] = str(guest.default_cache())


# Five times what all tests may take.
_END = time.monotonic() + 75 * 60
_STDERR = pytest.StashKey[int]()


def _watch(config: pytest.Config, seconds: float) -> None:
    """
    When the time is over, say where each thread is, and end.

    The limit of a test (``timeout`` in ``setup.cfg``) does not help where one that has failed waits
    for others all the same, where every test reaches its limit, or where Python does not end.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[_STDERR])


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STDERR] = os.dup(2)  # what tests write there is caught
    _watch(config, _END - time.monotonic())


@pytest.hookimpl(trylast=True)  # pytest itself has just ended the watch
def pytest_exception_interact(node: pytest.Item) -> None:
    _watch(node.config, max(1, _END - time.monotonic()))


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # a worker of xdist stays until all are done
        _watch(config, 60)


@pytest.fixture(scope="session")
def nobodys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home directory for all tests that do not ask for one of their own."""
    return tmp_path_factory.mktemp("nobodys")


@pytest.fixture(scope="session", autouse=True)
def _environment(nobodys: Path) -> Iterator[None]:
    """None of the variables that configure us."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(nobodys))
        for name in set(os.environ) - {"STRATUSLAB_SANDBOX_CACHE"}:
            if name.startswith(("STRATUSLAB_", "LIBCLOUD_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _nothing_is_left_at_home(nobodys: Path) -> Iterator[None]:
    """A directory for each test takes a tenth of the time of all of them."""
    yield
    left = os.listdir(nobodys)
    for name in left:
        shutil.rmtree(nobodys / name)
    assert left == []


@pytest.fixture(scope="session", autouse=True)
def _passwords_are_checked_at_once() -> Iterator[None]:
    """Nobody steals the hashes of sites that are gone after a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stratuslab_libcloud.sandbox.site.SCRYPT_COST", LEAST_COST)
        yield


@pytest.fixture(scope="session", autouse=True)
def _next_attempts_come_at_once() -> Iterator[None]:
    """But in tests that ask for ``real_pauses``: a quarter of a second each adds up to minutes."""
    with pauses(0.001):
        yield


@pytest.fixture
def real_pauses() -> Iterator[None]:
    """Between two attempts it is waited as users see it."""
    with pauses(REAL):
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory of this test's own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture(scope="session", autouse=True)
def _no_machine_is_left() -> Iterator[None]:
    """Whatever a test did, and however it ended: no QEMU process of ours lives on."""
    yield
    assert children() == []


@pytest.fixture(scope="session", autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Python would wait for it in the end."""
    before = set(threading.enumerate())
    yield
    assert [it for it in threading.enumerate() if it not in before and not it.daemon] == []


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A sandbox (its parameter: with these options) with a driver, and what it was asked."""
    seen: list[Any] = []
    options = getattr(request, "param", {})
    with Sandbox(on_request=seen.append, **options) as sandbox:
        found = Site(sandbox, seen)
        yield found
        found.driver.ex_close()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let garbage be looked for only in what comes after: all this stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Tests that share what takes long to make are run by one process, so that it is made once.

    What takes a minute begins first, so that nothing is left to wait for alone at the end. Modules
    are shuffled, differently for each Python, so that not all wait at the same time.
    """
    for item in items:
        if item.path.parent.name not in ("browser", "real"):
            continue
        for name in ("machine", "node", "visitor"):
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(f"{item.path.name} {name}"))
    early = {"early", "xdist_group"}
    shuffled = random.Random(sys.version)
    places = {path: shuffled.random() for path in dict.fromkeys(item.path for item in items)}
    items.sort(
        key=lambda item: (
            early.isdisjoint(mark.name for mark in item.iter_markers()),
            places[item.path],
        )
    )


class _ByFunction(LoadGroupScheduling):  # type: ignore[misc]
    """Gives out all cases of a function at once: one by one, to find the next takes seconds."""

    def _split_scope(self, nodeid: str) -> str:
        return str(super()._split_scope(nodeid)).partition("[")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFunction | None:
    return _ByFunction(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of the matrix of faults, of which each cell is a test."""
    passed, failed = (
        sum(
            "test_faults.py::test_cell[" in report.nodeid
            for report in terminalreporter.getreports(outcome)
        )
        for outcome in ("passed", "failed")
    )
    if passed or failed:
        terminalreporter.section("matrix of faults")
        terminalreporter.line(f"{passed + failed} cells tried, {passed} passed")
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, figures in report.user_properties:
            if name == "figures":  # what a test has measured
                terminalreporter.section(report.nodeid.partition("::")[2])
                terminalreporter.write_line(figures)
