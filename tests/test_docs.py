"""The documentation: citations lead somewhere, and the pictures are those of the code."""

import configparser
import re
import runpy
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from stratuslab_libcloud import errors
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver

ROOT = Path(__file__).parents[1]
PROTOCOLS = ROOT / "docs" / "protocols"
PAGES = (
    "compute-xmlrpc|opennebula-engines|opennebula-modern|pdisk-rest|marketplace-rest|config-and-cli"
)
# "pdisk-rest 1.8", "compute-xmlrpc 5.1, 5.5", "engines 5": a name, then sections.
SHORT = {"engines": "opennebula-engines", "modern": "opennebula-modern"}
CITATION = re.compile(
    rf"\b({PAGES}|engines|modern)\s((?:\d+(?:\.\d+)*)(?:(?:, | and )\d+(?:\.\d+)*)*)", re.I
)
SOURCES = sorted(
    path
    for folder in ("stratuslab_libcloud", "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
)


def sections(page: str) -> set[str]:
    text = (PROTOCOLS / f"{page}.md").read_text()
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)", text, re.M))


def citations(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\s*\n\s*(?:# )?", " ", path.read_text())
    return [
        (SHORT.get(name.lower(), name.lower()), section)
        for name, cited in CITATION.findall(text)
        for section in re.findall(r"\d+(?:\.\d+)*", cited)
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_the_code_cites_is_there(path: Path) -> None:
    missing = [
        f"{page} {section}" for page, section in citations(path) if section not in sections(page)
    ]
    assert missing == []


def test_the_code_cites_every_page() -> None:
    cited = {page for path in SOURCES for page, _ in citations(path)}
    assert cited == set(PAGES.split("|"))


@pytest.mark.parametrize("contract", ["package", "client"])
def test_the_pictures_of_the_layers_are_the_contracts(contract: str) -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    # What is in parentheses may be missing: the alias of the guide's path, and what comes later.
    layers = re.sub(r"( \| )?\(\w+\)", "", parser[f"importlinter:contract:{contract}"]["layers"])
    lines = [line.strip() for line in layers.split("\n") if line.strip()]
    pictures = re.findall(
        r"```text\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.S
    )
    drawn = [
        [re.split(r"\s{2,}", line)[0] for line in picture.splitlines()] for picture in pictures
    ]
    assert lines in drawn


def test_the_files_that_contributors_are_sent_to_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = re.search(r"^## Where a change goes\n(.*?)^## ", text, re.S | re.M)
    assert table is not None
    changes = re.findall(r"^\| [A-Z][^|]*\. \| (`[^|]*) \|$", table[1], re.M)
    assert len(changes) >= 10
    for change in changes:
        assert re.findall(r"`([\w/]+\.py)`", change) != []
    named = re.findall(r"`((?:\w+/)+\w+\.(?:py|rst))`", text)
    folders = re.findall(r"`((?:\w+/)+)`", text)
    missing = [
        name
        for name in named + folders
        if not (ROOT / name).exists() and not (ROOT / "stratuslab_libcloud" / name).exists()
    ]
    assert missing == []


def test_the_page_of_errors_has_every_error() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    listed = re.findall(r"^\* `(\w+)`", page, re.M)
    assert sorted(listed) == sorted(set(errors.__all__) - {"ServiceError", "StratusLabError"})


def test_every_command_has_its_help_on_a_page() -> None:
    """As Sphinx would find it: the configuration writes what the pages include."""
    built = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    shown: list[str] = []
    for page in built["PAGES"]:
        included = (built["generated"] / f"{page}.md").read_text()
        shown += re.findall(r"^## (\S+)$", included, re.M)
        text = (ROOT / "docs" / "commands" / f"{page}.md").read_text()
        assert f"{{include}} ../_generated/{page}.md" in text
        assert f"\ncommands/{page}\n" in (ROOT / "docs" / "index.md").read_text()
    installed = entry_points(group="console_scripts")
    ours = [point.name for point in installed if point.value.startswith("stratuslab_libcloud.")]
    assert sorted(shown) == sorted(ours)
    images = (built["generated"] / "images.md").read_text()
    assert "Usage: stratus-show-image [options] IMAGE-ID\n" in images
    assert "  --json" in images
    assert "    $ stratus-list-images --os 'ubuntu*' --arch x86_64\n" in images


def test_the_file_on_the_page_about_opennebula_is_one(home: Path) -> None:
    text = (ROOT / "docs" / "opennebula.md").read_text()
    (written,) = re.findall(r"^```ini\n(.*?)^```", text, re.M | re.S)
    (home / ".stratuslab").mkdir()
    path = home / ".stratuslab" / "stratuslab-user.cfg"
    path.touch(0o600)
    path.write_text(written)
    (examples,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    for line in examples.splitlines():
        made = eval(line.removeprefix("driver = "), {"StratusLabNodeDriver": StratusLabNodeDriver})
        (location,) = made.list_locations()
        endpoint = made._locations.cloud(location.id).settings.endpoint
        assert endpoint == "https://one.example.org:2633/RPC2"
        made.ex_close()
