"""What the README and the examples show is what happens."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import commands
import pytest
from click.testing import CliRunner
from forked import Forked, printed

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
IDS = {
    "IMAGE-ID": r"^([\w-]{27}) ",
    "VM-ID": r"\(vm ID: (\d+)\)",
    "DISK-ID": r"^DISK ([0-9a-f-]{36})$",
}
SANDBOX_PAGE = (ROOT / "docs" / "sandbox.md").read_text()


def example(name: str, *arguments: str) -> Forked:
    """An example that runs."""
    path = ROOT / "examples" / name
    return Forked(f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')", *arguments)


def command(name: str) -> Path:
    """Where an installed command is, beside the Python that runs."""
    return Path(sys.executable).with_name(name)


def blocks(kind: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_quick_start_runs_from_top_to_bottom(home: Path) -> None:
    """And so does the page of the sandbox, after it."""
    shown = blocks("python") + blocks("python", SANDBOX_PAGE)
    with Sandbox() as sandbox:
        for folder in (home / ".stratuslab", home / ".stratuslab" / "sandbox"):
            folder.mkdir()
            shutil.copy(sandbox.config_path, folder)
        out = printed("\n".join(shown))
        driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
        assert [driver.list_nodes(), driver.list_volumes()] == [[], []]
    written = "This machine is simulated: nothing runs in it that could write here.\n\n"
    assert re.fullmatch(rf"\['127\.[0-9.]+'\]\n/dev/vd[a-z]\n{written}", out)


def test_the_command_line_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each id that stands in capitals is in what a command before it has printed."""
    # Nothing answers on a simulated machine.
    monkeypatch.setattr("stratuslab_libcloud.cli.waiting.until_ssh_answers", lambda *_: None)
    (shown,) = blocks("console")
    known = {point.name: point for point in entry_points(group="console_scripts")}
    ids: dict[str, str] = {}
    with Sandbox() as sandbox:
        for line in shown.splitlines():
            name, *words = [ids.get(word, word) for word in line.split()]
            words = ["--config", str(sandbox.config_path), *words]
            ran = CliRunner().invoke(known[name].load(), words)
            assert (ran.exit_code, ran.stderr) == (0, ""), line
            for word, pattern in IDS.items():
                if found := re.search(pattern, ran.stdout, re.MULTILINE):
                    ids[word] = found[1]
        driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
        assert [driver.list_nodes(), driver.list_volumes()] == [[], []]
    assert set(ids) == set(IDS)


def test_the_commands_that_it_names_are_there() -> None:
    for name in re.findall(r"\bstratus-[a-z]+(?:-[a-z]+)*\b", README):
        assert command(name).is_file(), name


def test_the_pages_that_it_names_are_there() -> None:
    links = re.findall(r"\]\((?!http)(.+?)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert {"docs/quickstart.md", "CONTRIBUTING.md"} <= set(links)


def test_it_is_a_front_page() -> None:
    assert len(README.splitlines()) <= 120


def test_the_scripts_that_it_names_are_there() -> None:
    for line in "".join(blocks("sh")).splitlines():
        assert (ROOT / line.removeprefix("sh ")).is_file()


def test_the_demo_tells_chapter_9_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    ran = subprocess.run(
        [command("stratus-sandbox"), "demo", "--machines", "simulated"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    guide = "list_images list_locations list_sizes create_node deploy_node destroy_node list_nodes "
    guide += "create_volume destroy_volume attach_volume detach_volume list_volumes"
    assert [name for name in guide.split() if name not in ran.stdout] == []
    assert os.listdir(folder) == []


def test_the_demo_keeps_away_from_real_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    with Sandbox(on_request=seen.append) as real:
        monkeypatch.setenv("STRATUSLAB_ENDPOINT", f"{real.url}/one-proxy/xmlrpc")
        monkeypatch.setenv("STRATUSLAB_USER_CONFIG_SECTION", "elsewhere")
        ran = commands.run("demo", *commands.SIMULATED)
    assert (ran.returncode, seen) == (0, [])


def test_several_clouds_are_treated_alike() -> None:
    with Sandbox() as one, Sandbox() as two:
        paths = [str(sandbox.config_path) for sandbox in (one, two)]
        with example("multi_cloud.py", *paths) as process:
            out, err = process.communicate(timeout=120)
            assert (process.returncode, err) == (0, "")
        assert "3 different nodes were started" in out
        assert out.count("1 node(s)") == 2
        for path in paths:
            assert StratusLabNodeDriver(stratuslab_user_config=path).list_nodes() == []


def test_an_interrupted_deployment_is_cleaned_up() -> None:
    with Sandbox(boot_seconds=3600) as sandbox:
        driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
        with example("node_with_disk.py", str(sandbox.config_path)) as process:
            while not driver.list_nodes():
                assert process.returncode is None
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode is not None
        assert [driver.list_nodes(), driver.list_volumes()] == [[], []]


def test_a_failing_deployment_is_cleaned_up() -> None:
    with Sandbox(boot_seconds=3600) as sandbox:
        driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)

        def fail_once_there() -> None:
            deadline = time.monotonic() + 100
            while not driver.list_nodes() and time.monotonic() < deadline:
                time.sleep(0.1)
            sandbox.fail(0, "the disk is full")

        failing = threading.Thread(target=fail_once_there)
        failing.start()
        with example("node_with_disk.py", str(sandbox.config_path)) as process:
            _, err = process.communicate(timeout=120)
            failing.join()
            assert process.returncode == 1
        assert "the disk is full" in err
        assert [driver.list_nodes(), driver.list_volumes()] == [[], []]
