"""The ways to Libcloud (guide 9.1.3, design section 2), each in a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stratuslab_libcloud
from stratuslab_libcloud.sandbox.site import Sandbox

GUIDE = """\
from libcloud.compute.providers import set_driver

set_driver('STRATUSLAB',
           'stratuslab.libcloud.compute_driver',
           'StratusLabNodeDriver')

# Obtain an instance of the StratusLab driver.
from libcloud.compute.types import Provider
from libcloud.compute.providers import get_driver
StratusLabDriver = get_driver('stratuslab')
driver = StratusLabDriver('default')

# Use the Libcloud methods to find, create and control nodes.
nodes = driver.list_nodes()
"""

OURS = GUIDE.replace("'STRATUSLAB'", "'stratuslab'").replace(
    "stratuslab.libcloud.", "stratuslab_libcloud."
)

REGISTER = """\
import stratuslab_libcloud
from libcloud.compute.providers import DRIVERS, get_driver
assert not any('stratuslab' in str(name).lower() for name in DRIVERS)
stratuslab_libcloud.register()
stratuslab_libcloud.register()
nodes = get_driver('STRATUSLAB')('default').list_nodes()
"""

AFTER_THE_GUIDE = GUIDE + (
    "import stratuslab_libcloud\n"
    "stratuslab_libcloud.register()\n"
    "from libcloud.compute.providers import DRIVERS\n"
    "assert sum('stratuslab' in str(name).lower() for name in DRIVERS) == 1\n"
)


WAYS = [GUIDE, OURS, REGISTER, AFTER_THE_GUIDE]

# One Python that has loaded Libcloud, and a fork of it for each.
TRY = """
import json, os, sys
import libcloud.compute.base

for snippet in json.load(sys.stdin):
    if not os.fork():
        try:
            exec(snippet)
            print(nodes, flush=True)
        except BaseException as error:
            print(repr(error), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each way lists, or why not."""
    home = tmp_path_factory.mktemp("home")
    (home / ".stratuslab").mkdir()
    with Sandbox() as sandbox:
        shutil.copy(sandbox.config_path, home / ".stratuslab" / "stratuslab-user.cfg")
        ran = subprocess.run(
            [sys.executable, "-c", TRY],
            input=json.dumps(WAYS),
            env=os.environ | {"HOME": str(home)},
            cwd=home,  # not the source tree: what is installed is what is tested
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.splitlines()


@pytest.mark.parametrize("snippet", WAYS)
def test_each_way_works(snippet: str, listed: list[str]) -> None:
    assert listed[WAYS.index(snippet)] == "[]"


def test_the_readme_has_the_guides_snippet_to_the_letter() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    found = [block for block in blocks if "set_driver" in block or "get_driver" in block]
    assert "\n".join(found) == GUIDE


def test_this_is_the_install_that_was_to_be_tested() -> None:
    """tox says which: a wheel or an editable install."""
    meant = os.environ.get("INSTALLED_AS")
    if meant is None:
        pytest.skip("not run by tox")
    found = Path(stratuslab_libcloud.__file__).resolve()
    editable = found.is_relative_to(Path(__file__).resolve().parents[1] / "stratuslab_libcloud")
    assert ("editable" if editable else "wheel") == meant
