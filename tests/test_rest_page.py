"""The page "REST directly": each line does what it shows, from top to bottom."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from endorsers import ENTRY, certified

from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.sandbox.site import Sandbox

PAGE = (Path(__file__).parents[1] / "docs" / "rest.md").read_text()
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What there is to ask of a site, by words of the lines that do.
SHOWN = [
    *("/disks -d size", "/disks\n", "-X PUT", "-X DELETE", "-F 'Image File=", "x-gzip", "-X POST"),
    *("/mounts -d", "/mounts\n", "_0", "/console"),
    *("one.vm.allocate", "one.vm.info", "one.vmpool.info", "one.vm.action"),
    *(
        "application/json",
        "application/xml",
        "status=",
        "sSearch=",
        "iDisplayStart=",
        "T10:00:00Z ",
    ),
    *("/endorsers", "@entry.xml", "/query"),
]
if not shutil.which("curl") and os.environ.get("CI"):
    raise RuntimeError("not installed: curl")  # never skipped there


def steps() -> list[tuple[str, str]]:
    """The commands of the page, each with the output that it shows."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.M | re.S):
        for line in block.splitlines(keepends=True):
            if found and not complete(found[-1][0]):
                found[-1] = (found[-1][0] + line, "")
            elif line.startswith("$ "):
                found.append((line[2:], ""))
            else:
                found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def complete(command: str) -> bool:
    if command.endswith("\\\n"):
        return False
    try:
        shlex.split(command)
    except ValueError:  # a quotation goes on
        return False
    return True


def spaced(text: str) -> str:
    """JSON with the blanks of Python's, as libraries beneath the sandbox differ in them."""
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        return text


def compared(shown: str, seen: str, ids: dict[str, str]) -> bool:
    """
    Compare an output with the one that the page shows.

    :param ids: those of the page and the present ones; new ones are added.
    """
    new: list[str] = []
    pattern = ""
    if "..." not in shown:
        shown, seen = spaced(shown), spaced(seen)
    for part in re.split(rf"({UUID.pattern}|\.\.\.)", shown.strip()):
        if part == "...":
            pattern += ".*"
        elif not UUID.fullmatch(part) or part in ids:
            pattern += re.escape(ids.get(part, part))
        elif part in new:
            pattern += rf"(?P={'i' + str(new.index(part))})"
        else:
            pattern += rf"(?P<i{len(new)}>{UUID.pattern})"
            new.append(part)
    found = re.fullmatch(pattern, seen.strip(), re.S)
    if found:
        ids |= {part: found[f"i{number}"] for number, part in enumerate(new)}
    return bool(found)


@pytest.fixture
def folder(tmp_path: Path, home: Path) -> Path:
    """Where the commands run: what the page says is there beforehand."""
    entry = sign(
        write_entry(ENTRY),
        certified("P-256", email="jane@example.org"),
        digest="sha256",
        when=datetime(2025, 5, 1, 12, tzinfo=timezone.utc),
    )
    (tmp_path / "entry.xml").write_bytes(entry)
    (login,) = re.findall(r"^machine .* PASSWORD$", PAGE, re.M)
    netrc = home / ".netrc"
    netrc.touch(0o600)
    netrc.write_text(login.replace("USER", "jane").replace("PASSWORD", "s3cret"))
    return tmp_path


@pytest.fixture
def site() -> Iterator[Sandbox]:
    with Sandbox(users={"jane": "s3cret"}) as site:
        yield site


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_every_line_does_what_it_shows(site: Sandbox, folder: Path) -> None:
    ids = {"http://127.0.0.1:8445": site.url}
    variables: dict[str, str] = {}
    for command, shown in steps():
        for old, new in ids.items():
            command, shown = command.replace(old, new), shown.replace(old, new)
        if found := re.fullmatch(r"([A-Z]+)=(\S+)\n", command):
            variables[found[1]] = found[2]
            continue
        ran = subprocess.run(
            ["sh", "-c", command],
            cwd=folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), command
        assert compared(shown, ran.stdout, ids), f"{command}{ran.stdout}"


def test_it_has_all_that_there_is_to_ask() -> None:
    commands = "".join(command for command, _ in steps())
    assert [words for words in SHOWN if words not in commands] == []


def test_an_output_that_differs_is_noticed() -> None:
    one, other = "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "1" * 8 + "-1111" * 3 + "-" + "1" * 12
    ids: dict[str, str] = {}
    assert compared(f"a {one} ... {one}", f"a {other} b {other}", ids)
    assert ids == {one: other}
    assert not compared(one, one, ids)
    assert not compared("a", "b", ids)
    assert not compared("a ...", "b a c", ids)
