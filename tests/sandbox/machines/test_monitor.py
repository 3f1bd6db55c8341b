"""The connection to a QEMU: what is reported when it breaks."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
from machines import wait_for

from stratuslab_libcloud.sandbox.errors import MachineError, UnsettledError
from stratuslab_libcloud.sandbox.machines.monitor import Monitor
from stratuslab_libcloud.sandbox.machines.processes import PID_FILE

# A stand-in that does what a QEMU that is being killed does: its connections are closed first, and
# its process is there for a while yet. Also the first words of QMP, and the answer to one command.
DYING = """
import json, socket, sys, time
place, answers = sys.argv[2], int(sys.argv[3])
server = socket.socket(socket.AF_UNIX)
server.bind("monitor")
server.listen()
open("listening", "w").close()
connection, _ = server.accept()
def say(message):
    connection.sendall(json.dumps(message).encode() + b"\\n")
if answers:
    say({"QMP": {"version": {"qemu": {"major": 9, "minor": 2, "micro": 0}, "package": ""},
                 "capabilities": []}})
for _ in range(answers):
    request = json.loads(connection.recv(65536))  # one message; no line break ends it
    if request["execute"] == "fill":
        print("qemu: out of luck", file=open("qemu.log", "w"))
        break
    say({"return": {}, "id": request["id"]} if "id" in request else {"return": {}})
connection.shutdown(socket.SHUT_RDWR)
connection.close()
time.sleep(float(place))
"""


Dying: TypeAlias = Callable[[float, int], Path]


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dying]:
    """Starts one: how long it lingers, and how much it answers before."""
    processes = []

    def start(lingers: float, answers: int) -> Path:
        command = [sys.executable, "-c", DYING, "qemu", str(lingers), str(answers)]
        process = subprocess.Popen(command, cwd=tmp_path)
        processes.append(process)
        (tmp_path / PID_FILE).write_text(str(process.pid))
        wait_for((tmp_path / "listening").exists, "it does not listen")
        return tmp_path

    yield start
    for process in processes:
        process.kill()
        process.wait()


async def ask(folder: Path, command: str) -> None:
    monitor = await Monitor.connect(folder)
    try:
        await monitor.execute("query-status")
        await monitor.execute(command)
    finally:
        await monitor.close()


def test_a_qemu_that_dies_while_it_is_asked_is_reported_as_ended_in_its_last_words(
    dying: Dying,
) -> None:
    with pytest.raises(MachineError) as caught:
        asyncio.run(ask(dying(0.5, 9), "fill"))
    assert str(caught.value) == "the QEMU process has ended: qemu: out of luck"
    assert not isinstance(caught.value, UnsettledError)


def test_one_that_dies_before_it_says_anything_is_reported_as_ended(dying: Dying) -> None:
    with pytest.raises(MachineError, match=r"^the QEMU process has ended$"):
        asyncio.run(ask(dying(0.5, 0), "fill"))


def test_one_that_hangs_up_and_lives_on_is_not_reported_as_ended(
    dying: Dying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.monitor._QUIT_SECONDS", 0.3)
    with pytest.raises(UnsettledError, match=r"^QEMU has hung up, but its process still runs$"):
        asyncio.run(ask(dying(600, 9), "fill"))
