"""A driver that was used before its process forked (multiprocessing, prefork servers)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forked import Forked

import stratuslab_libcloud
from stratuslab_libcloud.sandbox.site import Sandbox

CHILDREN, EACH = 4, 5

# Programs of their own, as these tests have threads, with which nobody should fork.
BEGIN = """
import json, os, signal, sys, threading, time
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver

driver = StratusLabNodeDriver(stratuslab_user_config=sys.argv[1])
parent, there, forked = os.getpid(), threading.Event(), threading.Event()

def until_forked():
    "Keep the parent's other thread where it is until there is a child."
    if os.getpid() == parent and threading.current_thread() is not threading.main_thread():
        there.set()
        forked.wait(60)

def in_child(work):
    "What work() returns in a child; None where it hangs."
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends it, whatever it waits for
        try:
            os.write(theirs, json.dumps(work()).encode())
        except BaseException as error:
            os.write(theirs, json.dumps(repr(error)).encode())
        os._exit(0)
    os.close(theirs)
    forked.set()
    return child, ours

def result(child, ours):
    with os.fdopen(ours) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None
"""

SHARED = """
size, image = driver.list_sizes()[0], driver.list_images()[0]

def nodes(name):
    def work():
        made = [driver.create_node(f"{name}-{n}", size, image) for n in range(int(sys.argv[3]))]
        return [(node.name, driver.ex_get_node(node.id).name) for node in made]
    return work

before = nodes("parent")()
children = [in_child(nodes(f"child{number}")) for number in range(int(sys.argv[2]))]
told = [result(*child) for child in children]
print(json.dumps([before, *told, nodes("after")()]))
"""

LOCKED = """
from stratuslab_libcloud.client.stratuslab import services

usual = services.ComputeClient.__init__

def slow(*arguments):
    until_forked()
    usual(*arguments)

services.ComputeClient.__init__ = slow
thread = threading.Thread(target=driver.list_nodes)
thread.start()
there.wait()
child = in_child(lambda: len(driver.list_nodes()))
thread.join()
print(json.dumps(result(*child)))
"""

COMPUTED = """
one, other = driver.list_images()[:2]
usual = type(one._described).details

def slow(described):
    until_forked()
    return usual(described)

type(one._described).details = slow
thread = threading.Thread(target=lambda: one.extra)
thread.start()
there.wait()
child = in_child(lambda: len(other.extra))
thread.join()
print(json.dumps([result(*child), len(other.extra)]))
"""

LOGGED = """
import libcloud

class Log:
    "A file, with a lock as files have them."
    lock, writing, text = threading.Lock(), threading.Event(), ""

    def write(self, text):
        with self.lock:
            self.writing.set()
            time.sleep(0.5)
            self.text += text

    def flush(self):
        pass

log, here = Log(), driver.list_locations()[0]
libcloud.enable_debug(log)
thread = threading.Thread(target=driver.ex_list_nodes, args=[here])
thread.start()
log.writing.wait()
child = in_child(lambda: [len(driver.ex_list_nodes(here)), log.text.count("# >")])
thread.join()
print(json.dumps(result(*child)))
"""


def run(program: str, config: Path, *arguments: object) -> Any:
    with Forked(BEGIN + program, str(config), *map(str, arguments)) as process:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_each_process_has_connections_of_its_own(tmp_path: Path, tls: bool) -> None:
    seen: list[Any] = []
    with Sandbox(tmp_path / "site", on_request=seen.append, tls=tls) as sandbox:
        told = run(SHARED, sandbox.config_path, CHILDREN, EACH)
    names = ["parent", *(f"child{number}" for number in range(CHILDREN)), "after"]
    assert told == [[[f"{name}-{n}"] * 2 for n in range(EACH)] for name in names]
    peers = [one.peer for one in seen if "/xmlrpc" in one.path]
    asked = 3 * EACH  # allocate, info, info
    assert len(peers) == asked * len(names)
    assert len(set(peers)) == 1 + CHILDREN
    # The parent goes on with the connection that its children had copies of.
    assert len({*peers[:asked], *peers[-asked:]}) == 1


def test_each_process_asks_an_engine_by_itself(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "site") as sandbox:
        told = run(SHARED, sandbox.opennebula_config_path, 1, 1)
    assert told == [[[name] * 2] for name in ("parent-0", "child0-0", "after-0")]


def test_a_child_waits_for_no_lock_of_a_thread_that_it_does_not_have(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "site") as sandbox:
        assert run(LOCKED, sandbox.config_path) == 0


def test_nor_for_one_that_computes_something(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "site") as sandbox:
        in_the_child, in_the_parent = run(COMPUTED, sandbox.config_path)
    assert in_the_child == in_the_parent


def test_a_listing_imports_nothing(tmp_path: Path) -> None:
    """A module that a thread of the parent is loading would stay locked in the child."""
    listing = """
before = set(sys.modules)
driver.list_nodes(), driver.list_images(), driver.list_volumes()
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    with Sandbox(tmp_path / "site") as sandbox:
        command = [sys.executable, "-c", BEGIN + listing, str(sandbox.config_path)]
        assert json.loads(subprocess.run(command, stdout=subprocess.PIPE, timeout=300).stdout) == []


def test_nothing_that_forks_may_meet_is_computed_under_a_lock_of_its_class() -> None:
    package = Path(stratuslab_libcloud.__file__).parent
    modules = [path for path in package.rglob("*.py") if "sandbox" not in path.parts]
    assert len(modules) > 50
    assert [path for path in modules if "cached_property\n" in path.read_text()] == []


def test_nor_for_the_debug_logs(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "site") as sandbox:
        assert run(LOGGED, sandbox.config_path) == [0, 2]
