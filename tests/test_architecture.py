"""The rules of the house (design, section 2) that import-linter, in setup.cfg, does not keep."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

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


def loaded(code: str) -> set[str]:
    """What a Python that ran this has loaded, by the first part of its name."""
    report = "import sys\nprint('\\n', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_the_ground_is_there() -> None:
    assert {name.split(".")[1] for name in ground_modules()} == GROUND
    assert set(ground_modules()) > LIBCLOUDS


def test_what_is_heavy_would_be_seen() -> None:
    assert loaded(f"import {NAME}.compute_driver, lxml") > HEAVY


@pytest.mark.parametrize("name", ground_modules())
def test_a_ground_module_loads_alone_and_nothing_heavy(name: str) -> None:
    heavy = loaded(f"import {name}") & HEAVY
    assert not heavy or name in LIBCLOUDS


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not loaded(f"import {NAME}") & {*HEAVY, "click"}


def test_every_folder_of_the_package_is_installed() -> None:
    listed = setup()["options"]["packages"].split()
    folders = {path.parent for path in (ROOT / NAME).rglob("*.py")}
    folders -= {ROOT / NAME / "stratuslab_alias"}  # which is installed as stratuslab.libcloud
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert sorted(listed) == sorted({*names, "stratuslab.libcloud"})


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / NAME).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
