"""The demo, an example and the command line, with machines that run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import ends, up
from machines import processes, real_sandbox

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver

PROGRAM = Path(sys.executable).with_name("stratus-sandbox")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.early
def test_the_demo_shows_that_disks_keep_their_data(tmp_path: Path) -> None:
    with real_sandbox():
        pass  # real machines can be had
    folder = tmp_path / "tmp"
    folder.mkdir()
    ran = subprocess.run(
        [PROGRAM, "demo", "--machines", "qemu"],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert ran.returncode == 0
    assert "      Testing Persistent Disk\n" in ran.stdout
    assert os.listdir(folder) == []
    assert processes(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demo_leaves_nothing_when_it_is_interrupted(
    number: signal.Signals, tmp_path: Path
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    process = subprocess.Popen(
        [PROGRAM, "demo"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    with process.stdout:
        while "create_node" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        time.sleep(0.005)
        process.send_signal(number)  # as who is impatient does, and who forwards signals
        process.stdout.read()
    assert process.wait(60) == 128 + number
    assert os.listdir(folder) == []
    assert processes(folder) == []


def test_a_script_is_deployed_on_a_node_with_a_disk() -> None:
    with real_sandbox() as sandbox:
        path = sandbox.config_path
        command = [sys.executable, str(EXAMPLES / "node_with_disk.py"), str(path)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "Hello from sandbox" in ran.stdout
        driver = StratusLabNodeDriver(stratuslab_user_config=path)
        assert [driver.list_nodes(), driver.list_volumes()] == [[], []]


def test_auto_says_that_machines_are_real(tmp_path: Path) -> None:
    with real_sandbox():
        pass  # they can be had
    with up(tmp_path) as (process, _):
        code, _, err = ends(process, signal.SIGTERM)
        assert code == 0
        assert err.splitlines()[-1].startswith(("machines are real: QEMU with ", "SSH of machines"))
