"""The packages: what they contain, and that they work where nothing else is."""

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.xdist_group("packages"),  # which are made once
    pytest.mark.usefixtures("home"),  # tools that make packages leave something there
]

ROOT = Path(__file__).parents[2]
LITTER = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
GUIDE = """
from libcloud.compute.providers import get_driver, set_driver
set_driver('STRATUSLAB', 'stratuslab.libcloud.compute_driver', 'StratusLabNodeDriver')
driver = get_driver('stratuslab')('u', 'p', host='cloud.example.org')
print([size.id for size in driver.list_sizes()][:2])
"""
SITE = """
import urllib.request
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox import Sandbox, guest
assert (guest.contents._OUR_FILES / 'root/etc/init.d/rc').is_file()
with Sandbox() as site:
    driver = StratusLabNodeDriver(stratuslab_user_config=site.config_path)
    print(len(driver.list_images()))
    driver.ex_close()
    for page in ('', 'static/style.css', 'static/icon.svg'):
        assert urllib.request.urlopen(site.pages_url + page).read()
"""


def run(*command: object) -> str:
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel made from it, where an old build lies about."""
    folder = tmp_path_factory.mktemp("packages")
    shutil.copytree(ROOT, folder / "tree", ignore=LITTER)
    shutil.copytree(ROOT / ".ci", folder / "tree" / ".ci")
    stale = folder / "tree" / "build" / "lib" / "stratuslab_libcloud" / "stale.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("raise ImportError('from an old build')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "tree")
    (sdist,), (wheel,) = (list((folder / "dist").glob(f"*.{kind}")) for kind in ("tar.gz", "whl"))
    return sdist, wheel


def test_the_wheel_has_the_package_and_nothing_else(packages: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(packages[1]).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "stratuslab",
        "stratuslab_libcloud",
    }
    package = ROOT / "stratuslab_libcloud"
    ours = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    alias = {name for name in ours if name.startswith("stratuslab_libcloud/stratuslab_alias/")}
    assert {name for name in names if name.startswith("stratuslab_libcloud/")} == ours - alias
    assert {name for name in names if name.startswith("stratuslab/")} == {
        name.replace("stratuslab_libcloud/stratuslab_alias", "stratuslab/libcloud")
        for name in alias
    }


def test_the_source_distribution_has_what_the_tests_need(packages: tuple[Path, Path]) -> None:
    with tarfile.open(packages[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in ("stratuslab_libcloud", "tests", "examples", "benchmarks"):
        missing = {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        } - names
        assert not missing
    assert {"README.md", "CHANGES.md", "LICENSE", "tox.ini", ".ci/run"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".db"))]


def test_the_wheel_works_where_nothing_else_is(packages: tuple[Path, Path], tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    programs = tmp_path / "venv" / "bin"
    python, pip = programs / "python", (programs / "pip", "--disable-pip-version-check")
    install = (*pip, "install", "--quiet", "--no-compile")
    run(*install, packages[1])
    assert "No broken requirements" in run(*pip, "check")
    assert run(python, "-W", "error::ResourceWarning", "-c", GUIDE) == "['t1.micro', 'm1.small']\n"
    assert "wrote configuration file" in run(programs / "stratus-copy-config")
    assert "Run a StratusLab site" in run(programs / "stratus-sandbox", "--help")
    bare = subprocess.run([programs / "stratus-sandbox", "up"], capture_output=True, text=True)
    assert bare.returncode == 1
    assert "pip install 'stratuslab-libcloud-drivers[sandbox]==" in bare.stderr
    run(*install, f"{packages[1]}[sandbox]")
    assert "No broken requirements" in run(*pip, "check")
    assert int(run(python, "-c", SITE)) > 0


def test_what_lies_about_in_build_is_not_tested(packages: tuple[Path, Path]) -> None:
    """tox makes its wheel from a source distribution, as above: an old build/lib stays behind."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "tox.ini")
    assert settings["testenv"]["package"] == "external"
    command, *words = settings["testenv:.pkg_external"]["commands"].split()
    assert (command, words[0]) == ("uv", "build")
    assert not {"--wheel", "--sdist"} & set(words)  # without them, uv makes one of the other
    assert not [name for name in zipfile.ZipFile(packages[1]).namelist() if "stale" in name]
