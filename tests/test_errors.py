"""The tree of errors, and the door that loads it when one is needed."""

import pickle
import re
import subprocess
import sys
from functools import cache
from importlib import import_module

import pytest
from forked import printed
from libcloud.common.types import LibcloudError

from stratuslab_libcloud import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_one_of_ours_wherever_it_is_imported_from(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.StratusLabError)
    assert issubclass(kind, LibcloudError)
    assert (kind.__module__, kind.__qualname__) == ("stratuslab_libcloud.errors", name)
    assert getattr(import_module("stratuslab_libcloud.client.errors"), name) is kind
    assert vars(errors)[name] is kind  # from the second use on without the door's help


# A fork for each, of a Python that has loaded nothing of ours yet.
UNPICKLE = """
import os, pickle
import libcloud.common.types  # which takes long

for pickled in {}:
    if not os.fork():
        error = pickle.loads(pickled)
        print(type(error).__name__, error, flush=True)
        os._exit(0)
    os.wait()
"""


@cache
def unpickled() -> list[str]:
    """Each error, as another Python prints it."""
    found = [pickle.dumps(getattr(errors, name)("what happened")) for name in errors.__all__]
    return printed(UNPICKLE.format(found)).splitlines()


@pytest.mark.xdist_group("errors")  # so that all are unpickled once
@pytest.mark.parametrize("name", errors.__all__)
def test_an_error_is_pickled_by_its_public_name(name: str) -> None:
    assert b"tree" not in pickle.dumps(getattr(errors, name)("what happened"))
    assert unpickled()[errors.__all__.index(name)] == f"{name} what happened"


def test_the_door_shows_every_error_that_there_is() -> None:
    tree = import_module("stratuslab_libcloud.errors.tree")
    made = {
        name
        for name, value in vars(tree).items()
        if getattr(value, "__module__", "") == errors.__name__
    }
    assert made == set(errors.__all__)


def test_the_tree_that_is_drawn_is_the_one_that_is_there() -> None:
    assert errors.__doc__
    path: list[str] = []
    drawn = {}
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ([ |]*)(?:\+- )?(\w+Error)\b *(?:\((\w+)\))?", line):
            depth = (len(match[1]) + 3) // 4 if match[1] else 0
            path[depth:] = [match[2]]
            drawn[match[2]] = {*path[-2:-1], *([match[3]] if match[3] else [])}
    assert drawn.pop("LibcloudError") == set()
    there = {name: getattr(errors, name).__bases__ for name in errors.__all__}
    assert drawn == {name: {base.__name__ for base in bases} for name, bases in there.items()}


def test_libcloud_is_loaded_when_an_error_is_used() -> None:
    code = """
import sys
from stratuslab_libcloud import errors
assert "ServiceError" in dir(errors)
assert not hasattr(errors, "NoSuchError")
assert "libcloud" not in sys.modules
try:
    raise errors.NotFoundError("gone")
except errors.ConflictError:
    pass
except errors.ServiceError as error:
    print(isinstance(error, errors.StratusLabError), "libcloud" in sys.modules)
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "True True\n")


@pytest.mark.parametrize("module", ["errors", "client.errors"])
def test_errors_may_be_imported_by_name_or_all(module: str) -> None:
    code = f"from stratuslab_libcloud.{module} import"
    names = ", ".join(errors.__all__)
    assert printed(f"{code} {names}\nprint(StratusLabError.__name__)") == "StratusLabError\n"
    assert printed(f"{code} *\nprint({names}, sep='\\n')").count("\n") == len(errors.__all__)


def test_an_error_that_there_is_not_is_an_import_error() -> None:
    missing = "NoSuch"
    with pytest.raises(AttributeError, match=r"'stratuslab_libcloud\.errors' has no .*'NoSuch'"):
        getattr(errors, missing)
