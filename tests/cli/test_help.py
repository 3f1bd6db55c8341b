"""``--help`` is there at once."""

import re
import subprocess
import sys
from importlib.metadata import distribution

import pytest

COMMANDS = {
    point.name: point.value
    for point in distribution("stratuslab-libcloud-drivers").entry_points
    if point.group == "console_scripts"
}
SANDBOX = [["stratus-sandbox", word] for word in ("up", "demo", "add-image")]
CIMI = [["stratus-cimi", "serve"]]
HELP = [[name] for name in sorted(COMMANDS)]


@pytest.mark.parametrize("words", [*HELP, *SANDBOX, *CIMI], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import pkgutil, sys\n"
        "command = pkgutil.resolve_name(sys.argv.pop(1))\n"
        "try:\n"
        "    command()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print(sorted({'libcloud', 'lxml', 'paramiko', 'requests'} & set(sys.modules)))\n"
    )
    name, *rest = words
    ran = subprocess.run(
        [sys.executable, "-c", code, COMMANDS[name], *rest, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stderr == ""
    assert ran.stdout.startswith("Usage:")
    examples = re.findall(rf"^    \$ .*{name}\b", ran.stdout, re.MULTILINE)
    assert len(examples) >= 2
    assert ran.stdout.endswith("[]\n")
