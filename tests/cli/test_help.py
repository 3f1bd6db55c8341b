"""``--help`` is there at once."""

import json
import re
import subprocess
import sys
from importlib.metadata import distribution

import pytest

# All in one process, so that what they share is made once.
pytestmark = pytest.mark.xdist_group("help")

COMMANDS = {
    point.name: point.value
    for point in distribution("stratuslab-libcloud-drivers").entry_points
    if point.group == "console_scripts"
}
SANDBOX = [["stratus-sandbox", word] for word in ("up", "demo", "add-image")]
CIMI = [["stratus-cimi", "serve"]]
HELP = [[name] for name in sorted(COMMANDS)]


# One Python, and a fork of it for each: what starts is as new, but not started by reading files.
ASK = """
import gc, json, os, pkgutil, sys
import stratuslab_libcloud.cli.options  # which all of them need

gc.freeze()
for line in sys.stdin:
    place, *sys.argv = json.loads(line)
    if not os.fork():
        try:
            pkgutil.resolve_name(place)()
        except SystemExit as end:
            assert not end.code, end.code
        print(sorted({'libcloud', 'lxml', 'paramiko', 'requests'} & set(sys.modules)))
        print("\\0", end="", flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What each says, and which heavy modules it has loaded by then."""
    asked = [*HELP, *SANDBOX, *CIMI]
    lines = [json.dumps([COMMANDS[name], name, *rest, "--help"]) for name, *rest in asked]
    ran = subprocess.run(
        [sys.executable, "-c", ASK],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return dict(zip(map(" ".join, asked), ran.stdout.split("\0"), strict=False))


@pytest.mark.parametrize("words", [*HELP, *SANDBOX, *CIMI], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str], helps: dict[str, str]) -> None:
    shown = helps[" ".join(words)]
    assert shown.startswith("Usage:")
    examples = re.findall(rf"^    \$ .*{words[0]}\b", shown, re.MULTILINE)
    assert len(examples) >= 2
    assert shown.endswith("[]\n")
