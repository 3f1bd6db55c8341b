"""The rules of the house (design, section 2) that import-linter, in setup.cfg, does not keep."""

import configparser
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

# All in one process, so that what they share is made once.
pytestmark = pytest.mark.xdist_group("architecture")

ROOT = Path(__file__).parents[1]
NAME = "stratuslab_libcloud"
HEAVY = {"cryptography", "libcloud", "requests", "lxml", "paramiko"}
# Rooms that everything else is built on, and the modules in them that are Libcloud's in part.
GROUND = {
    *("configuration", "errors", "metadata", "parallel", "paths", "portable", "ssh", "untrusted"),
}
LIBCLOUDS = {f"{NAME}.errors.tree", f"{NAME}.ssh.files"}


def modules() -> list[str]:
    """Those of the package, as they are imported."""
    paths = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / NAME).rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def ground_modules() -> list[str]:
    return [name for name in modules() if name.partition(".")[2].partition(".")[0] in GROUND]


def setup() -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    assert found.read(ROOT / "setup.cfg")
    return found


# One Python, and a fork of it for each: what starts is as new, but not started by reading files.
LOAD = """
import gc, os, sys
import stratuslab_libcloud  # which is loaded before any module of it

gc.freeze()
for name in sys.argv[1:]:
    sys.stdout.flush()
    if not os.fork():
        exec(f"import {name}")
        print(name, *{name.partition('.')[0] for name in sys.modules}, flush=True)
        os._exit(0)
    os.wait()
"""


@cache
def loaded() -> dict[str, set[str]]:
    """What a Python that imported a module has loaded, by the first part of its name."""
    names = [*ground_modules(), NAME, f"{NAME}.compute_driver", "lxml"]
    command = [sys.executable, "-W", "error", "-c", LOAD, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")
    lines = map(str.split, done.stdout.splitlines())
    return {name: set(found) for name, *found in lines}


def test_the_ground_is_there() -> None:
    assert {name.split(".")[1] for name in ground_modules()} == GROUND
    assert set(ground_modules()) > LIBCLOUDS


def test_what_is_heavy_would_be_seen() -> None:
    assert loaded()[f"{NAME}.compute_driver"] | loaded()["lxml"] > HEAVY


@pytest.mark.parametrize("name", ground_modules())
def test_a_ground_module_loads_alone_and_nothing_heavy(name: str) -> None:
    heavy = loaded()[name] & HEAVY
    assert not heavy or name in LIBCLOUDS


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not loaded()[NAME] & {*HEAVY, "click"}


def test_every_folder_of_the_package_is_installed() -> None:
    listed = setup()["options"]["packages"].split()
    folders = {path.parent for path in (ROOT / NAME).rglob("*.py")}
    folders -= {ROOT / NAME / "stratuslab_alias"}  # which is installed as stratuslab.libcloud
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert sorted(listed) == sorted({*names, "stratuslab.libcloud"})


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / NAME).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
