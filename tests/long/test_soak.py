"""
Thousands of requests of several clients, on a thousand machines: nothing fails, nothing is lost,
and the sandbox's process does not grow.
"""

import os
import re
import signal
import time
import xml.etree.ElementTree as ET
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from callers import JANE, Caller, Elsewhere, elsewhere
from requests.adapters import HTTPAdapter

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox

MACHINES = 1000  # alive at the same time
CLIENTS = 8  # every other one uses the driver
TURNS = 8  # of each client, from one look at the process to the next
LOOKS = int(os.environ.get("SOAK_LOOKS", "6"))  # with 100 it lasts as long as it may
SECONDS = 110  # nothing is begun after that
# The first looks see it get the connections and buffers that stay.
WARM_UP = 2
# What it may have got since then, at the most.
MORE_MEMORY = 16 << 20  # bytes: 4 KiB a request, of which the longest soak sees an eighth
MORE_FILES = 2 * CLIENTS  # a connection to the database, made when it is needed first, has two


@dataclass(frozen=True)
class Look:
    """What the process of a sandbox has, while nobody asks for anything."""

    memory: int
    files: int
    threads: int

    @classmethod
    def at(cls, pid: int) -> "Look":
        process = Path("/proc", str(pid))
        (kib,) = re.findall(r"^RssAnon:\s*(\d+) kB$", (process / "status").read_text(), re.M)
        files, threads = (len(os.listdir(process / name)) for name in ("fd", "task"))
        return cls(int(kib) << 10, files, threads)

    def __str__(self) -> str:
        return f"{self.memory / 2**20:.1f} MiB, {self.files} files, {self.threads} threads"


class Raw:
    """The wire, with a new connection for each call. Ids are text."""

    def __init__(self, site: Elsewhere | Sandbox) -> None:
        self.jane = Caller(site, JANE)

    def start(self) -> str:
        return str(self.jane.start())

    def runs(self, machine: str) -> bool:
        return self.jane.states(int(machine)) == (3, 3)

    def end(self, machine: str, *, gently: bool) -> None:
        self.jane.act("shutdown" if gently else "finalize", int(machine))

    def machines(self) -> set[str]:
        return set(map(str, self.jane.pool()))

    def make_disk(self, tag: str) -> str:
        return self.jane.disk(tag=tag)

    def rename(self, disk: str, tag: str) -> None:
        self.jane.disks("PUT", f"/{disk}", data={"tag": tag})

    def attach(self, disk: str, machine: str) -> None:
        form = {"node": "sandbox", "vm_id": machine}
        self.jane.disks("POST", f"/{disk}/mounts", data=form)

    def detach(self, disk: str, machine: str) -> None:
        self.jane.disks("DELETE", f"/{disk}/mounts/{disk}_{machine}")

    def delete(self, disk: str) -> None:
        self.jane.disks("DELETE", f"/{disk}")

    def disks(self) -> dict[str, tuple[str, int]]:
        listing = self.jane.disks("GET").json()
        return {disk["uuid"]: (disk["tag"], int(disk["users"])) for disk in listing}

    def images(self) -> list[str]:
        return [row[7] for row in self._rows("")]

    def title(self, image: str) -> str:
        return str(self._rows(f"/{image}")[0][10])

    def _rows(self, path: str) -> Any:
        answer = self.jane.request("GET", f"/marketplace/metadata{path}?media=json")
        return answer.json()["aaData"]


class Driven:
    """The same through the driver, which several clients share."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._size, self._image = driver.list_sizes()[0], driver.list_images()[0]
        self._things: dict[str, Any] = {}  # nodes and volumes

    def start(self) -> str:
        return self._known(self._driver.create_node("n", self._size, self._image))

    def runs(self, machine: str) -> bool:
        return bool(self._driver.ex_get_node(machine).state == "running")

    def end(self, machine: str, *, gently: bool) -> None:
        end = self._driver.ex_shutdown_node if gently else self._driver.destroy_node
        end(self._things.pop(machine))

    def machines(self) -> set[str]:
        return {node.id for node in self._driver.list_nodes()}

    def make_disk(self, tag: str) -> str:
        return self._known(self._driver.create_volume(1, tag))

    def rename(self, disk: str, tag: str) -> None:
        self._driver.ex_update_volume(self._things[disk], tag)

    def attach(self, disk: str, machine: str) -> None:
        self._driver.attach_volume(self._things[machine], self._things[disk])

    def detach(self, disk: str, machine: str) -> None:
        self._driver.detach_volume(self._things[disk], self._things[machine])

    def delete(self, disk: str) -> None:
        self._driver.destroy_volume(self._things.pop(disk))

    def disks(self) -> dict[str, tuple[str, int]]:
        volumes = self._driver.list_volumes()
        return {volume.id: (volume.name, volume.extra["users"]) for volume in volumes}

    def images(self) -> list[str]:
        return [image.id for image in self._driver.list_images()]

    def title(self, image: str) -> str:
        return str(self._driver.get_image(image).name)

    def _known(self, thing: Any) -> str:
        self._things[thing.id] = thing
        return str(thing.id)


class Client:
    """Somebody who is never idle, and remembers what was acknowledged."""

    def __init__(self, wire: Raw | Driven) -> None:
        self.wire = wire
        self.alive: deque[str] = deque()
        self.ended: set[str] = set()
        self.disks: dict[str, tuple[str, str]] = {}  # their tag, and the machine that has them

    def fill(self) -> None:
        for _ in range(MACHINES // CLIENTS):
            self.alive.append(self.wire.start())

    def turns(self) -> None:
        for number in range(TURNS):
            self._turn(number)

    def _turn(self, number: int) -> None:
        """After it there are as many machines as before, and after the first one disk more."""
        wire = self.wire
        machine = wire.start()
        assert wire.runs(machine)
        disk, other = wire.make_disk(""), wire.make_disk("other")
        wire.attach(disk, machine)
        wire.attach(other, machine)
        wire.detach(other, machine)
        wire.delete(other)
        tag = f"of {machine}"
        wire.rename(disk, tag)
        listed = wire.disks()
        assert listed[disk] == (tag, 1)
        assert other not in listed
        images = wire.images()
        assert wire.title(images[number % len(images)])
        if number == 0:
            assert wire.machines() >= {machine, *self.alive}
            self._end(self.alive.popleft(), gently=False)
        else:
            self._end(self.alive.pop(), gently=number % 2 == 0)
        self.alive.append(machine)
        self.disks[disk] = (tag, machine)

    def _end(self, machine: str, *, gently: bool) -> None:
        """A machine, and the disk that is free then, if it had one."""
        self.wire.end(machine, gently=gently)
        self.ended.add(machine)
        for disk in [disk for disk, (_, there) in self.disks.items() if there == machine]:
            self.wire.delete(disk)
            del self.disks[disk]


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What was answered to each request of this process; 0 where nothing was."""
    found: list[int] = []
    send = HTTPAdapter.send

    def sent(*arguments: Any, **options: Any) -> requests.Response:
        status = 0
        try:
            answer = send(*arguments, **options)
            status = answer.status_code
            return answer
        finally:
            found.append(status)

    monkeypatch.setattr(HTTPAdapter, "send", sent)
    return found


@pytest.mark.early
def test_nothing_fails_is_lost_or_leaks(
    tmp_path: Path, statuses: list[int], monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    # What glibc keeps back, for each thread apart and ever more, is many times what is looked for.
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", str(128 << 10))  # its own, which now stays
    folder, log = tmp_path / "site", tmp_path / "log"
    with log.open("w") as stderr, elsewhere(folder, stderr=stderr) as site:
        present = set(os.listdir(folder))
        driver = StratusLabNodeDriver(stratuslab_user_config=folder / "stratuslab-user.cfg")
        wires = [Driven(driver) if number % 2 else Raw(site) for number in range(CLIENTS)]
        clients = [Client(wire) for wire in wires]
        begun = time.monotonic()
        looks = soak(site.process.pid, clients, begun + SECONDS)
        seconds = time.monotonic() - begun
        record_property(
            "figures",
            f"{len(statuses)} requests of {CLIENTS} clients on {MACHINES} machines in "
            f"{seconds:.0f} seconds: {len(statuses) / seconds:.0f} a second\n"
            f"the sandbox when it was new: {looks[0]}\n"
            f"the sandbox when it was warm: {looks[WARM_UP]}\n"
            f"the sandbox at the end: {looks[-1]}",
        )
        assert set(statuses) <= {200, 201, 303}
        check_all_is_there(clients, Raw(site))
        driver.ex_close()
        site.process.send_signal(signal.SIGTERM)
        out, _ = site.process.communicate(timeout=60)
        assert (site.process.returncode, out, log.read_text()) == (0, "", "")
    check_what_is_left(clients, folder, present)
    warm, last = looks[WARM_UP], looks[-1]
    assert last.memory <= warm.memory + MORE_MEMORY
    assert last.files <= warm.files + MORE_FILES
    assert last.threads == warm.threads


def soak(pid: int, clients: list[Client], end: float) -> list[Look]:
    """Let the clients work, and look at the sandbox from time to time."""
    looks = [Look.at(pid)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(Client.fill, clients))
        while len(looks) <= WARM_UP + 1 or (len(looks) <= LOOKS and time.monotonic() < end):
            list(pool.map(Client.turns, clients))
            looks.append(Look.at(pid))
    return looks


def check_all_is_there(clients: list[Client], wire: Raw) -> None:
    """Everything that was acknowledged, and nothing else."""
    alive = {machine for client in clients for machine in client.alive}
    ended = {machine for client in clients for machine in client.ended}
    assert len(alive) == MACHINES
    pool = ET.fromstring(wire.jane.call("one.vmpool.info", -3, -1, -1, -1))
    assert {machine.findtext("ID") for machine in pool} == alive
    assert {machine.findtext("LCM_STATE") for machine in pool} == {"3"}
    assert len({machine.findtext("TEMPLATE/NIC/IP") for machine in pool}) == MACHINES
    assert set(map(str, wire.jane.pool(state=-2))) == alive | ended
    disks = {disk: kept for client in clients for disk, kept in client.disks.items()}
    assert wire.disks() == {disk: (tag, 1) for disk, (tag, _) in disks.items()}
    for disk, (_, machine) in disks.items():
        (mount,) = wire.jane.disks("GET", f"/{disk}/mounts").json()
        assert mount["vmId"] == machine


def check_what_is_left(clients: list[Client], folder: Path, present: set[str]) -> None:
    """No machine, and none of SQLite's files that mean work to do; but every disk, and free."""
    assert set(os.listdir(folder)) == present - {"sandbox.db-wal", "sandbox.db-shm"}
    with Sandbox(folder, users=dict([JANE])) as again:
        wire = Raw(again)
        assert wire.machines() == set()
        disks = {disk: (tag, 0) for client in clients for disk, (tag, _) in client.disks.items()}
        assert wire.disks() == disks
        assert {path.name for path in (folder / "disks").iterdir()} == set(disks)
