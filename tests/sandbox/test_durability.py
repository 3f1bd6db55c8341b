"""What was acknowledged is there after ``kill -9``."""

import contextlib
import gzip
import hashlib
import re
import secrets
import threading
from dataclasses import replace
from pathlib import Path

import requests
from callers import JANE, TEMPLATE, Caller, Elsewhere, elsewhere, kill_at_work
from endorsers import ENTRY, certified

from stratuslab_libcloud.metadata.entry import identifier
from stratuslab_libcloud.metadata.rdf import cut_entries, write_entry
from stratuslab_libcloud.metadata.signature import sign, verify
from stratuslab_libcloud.sandbox.site import Sandbox


class Busy(threading.Thread):
    """Somebody who writes as fast as he can, and remembers what was acknowledged."""

    def __init__(self, site: Elsewhere) -> None:
        super().__init__()
        self.jane = Caller(site, JANE)
        self.there: set[str] = set()
        self.gone: set[str] = set()
        self.ended: set[int] = set()
        self.running: dict[int, str] = {}
        self.entries: set[str] = set()
        self.rounds = 0

    def run(self) -> None:
        with contextlib.suppress(requests.RequestException):
            while True:
                kept, dropped = self.jane.disk(), self.jane.disk()
                self.there |= {kept, dropped}
                self.there.discard(dropped)  # from here on it may be gone
                assert self.jane.disks("DELETE", f"/{dropped}").status_code == 200
                self.gone.add(dropped)
                disk = f"DISK=[source=pdisk:x/{kept}, target=vdc]"
                vm_id = self.jane.start(TEMPLATE + disk)
                self.running[vm_id] = kept
                self.ended.add(self.jane.act("finalize", self.jane.start("A=1")))
                self.entries.add(self.upload())
                self.rounds += 1

    def upload(self) -> str:
        """Upload an entry; return its path."""
        document = signed(secrets.token_hex(20))
        headers = {"Content-Type": "application/xml"}
        answer = self.jane.request("POST", "/metadata", data=document, headers=headers)
        assert answer.status_code == 201
        return answer.headers["Location"].partition("/metadata/")[2]


def signed(sha1: str) -> bytes:
    entry = replace(ENTRY, identifier=identifier(sha1), checksums={"SHA-1": sha1})
    return sign(write_entry(entry), certified("P-256"), digest="sha256")


def test_everything_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    with elsewhere(tmp_path, forked=True) as site:
        everybody = [Busy(site) for _ in range(4)]
        kill_at_work(site, everybody, lambda busy: busy.rounds)
    with Sandbox(tmp_path, users=dict([JANE])) as again:
        jane = Caller(again, JANE)
        disks = {disk["uuid"]: disk for disk in jane.disks("GET").json()}
        assert {path.name for path in (tmp_path / "disks").iterdir()} == set(disks)
        alive, known = set(jane.pool()), set(jane.pool(state=-2))
        assert known == set(range(len(known)))
        addresses = [nic.text for vm in alive for nic in jane.info(vm).iterfind("TEMPLATE/NIC/IP")]
        assert len(set(addresses)) == len(addresses) > 0
        for busy in everybody:
            assert busy.there <= set(disks)
            assert not busy.gone & set(disks)
            assert busy.ended <= known - alive
            for path in busy.entries:
                entry = verify(jane.request("GET", f"/metadata/{path}").content).entry
                assert entry is not None
                assert entry.identifier == path.partition("/")[0]
        listing = cut_entries(jane.request("GET", "/metadata").content)
        assert all(verify(document).valid for document in listing)
        assert len(listing) >= sum(len(busy.entries) for busy in everybody)
        for busy in everybody:
            assert set(busy.running) <= alive
            for vm_id, disk in busy.running.items():
                assert jane.states(vm_id) == (3, 3)
                mounts = jane.disks("GET", f"/{disk}/mounts").json()
                assert mounts == [{"vmId": str(vm_id), "device": "static"}]


class Copying(threading.Thread):
    """Somebody whose images go up, are copied and come down as fast as they can."""

    def __init__(self, site: Elsewhere, image: bytes) -> None:
        super().__init__()
        self.jane = Caller(site, JANE)
        self.image = image
        self.there: set[str] = set()
        self.rounds = 0

    def run(self) -> None:
        with contextlib.suppress(requests.RequestException):
            while True:
                image = self.image + f"{self.ident} {self.rounds}".encode()
                files = {"Image File": ("image.gz", gzip.compress(image, 0))}
                answer = self.jane.disks("POST", files=files)
                assert answer.status_code == 303, answer.text
                disk = answer.headers["Location"].rpartition("/")[2]
                self.there.add(disk)
                for kind in ("MACHINE_IMAGE_ORIGIN", "MACHINE_IMAGE_LIVE"):
                    self.jane.disks("PUT", f"/{disk}", data={"type": kind})
                    answer = self.jane.disks("POST", f"/{disk}")
                    assert answer.status_code == 200, answer.text
                    self.there.add(answer.json()["uuid"])
                packed = {"Accept": "application/x-gzip"}
                with self.jane.disks("GET", f"/{disk}", headers=packed, stream=True) as answer:
                    assert answer.status_code == 200
                self.rounds += 1


def test_a_disk_is_whole_or_absent_after_kill_9(tmp_path: Path) -> None:
    image = hashlib.shake_128(b"image").digest(2 << 20)
    with elsewhere(tmp_path, forked=True) as site:
        everybody = [Copying(site, image) for _ in range(4)]
        kill_at_work(site, everybody, lambda one: one.rounds)
    with Sandbox(tmp_path, users=dict([JANE])) as again:
        disks = {disk["uuid"] for disk in Caller(again, JANE).disks("GET").json()}
        paths = set((tmp_path / "disks").iterdir())
        assert {path.name for path in paths} == disks
        assert {disk for one in everybody for disk in one.there} <= disks
        for path in paths:
            assert path.stat().st_size == 1 << 30
            with path.open("rb") as file:
                assert file.read(len(image)) == image
                assert re.fullmatch(rb"[0-9]+ [0-9]+\0+", file.read(64))


def test_a_machine_that_was_booting_is_taken_on_after_kill_9(tmp_path: Path) -> None:
    with elsewhere(tmp_path, "--boot-seconds", "3600", forked=True) as site:
        vm_id = Caller(site, JANE).start()
        assert Caller(site, JANE).states(vm_id) == (1, 0)
    with Sandbox(tmp_path, users=dict([JANE])) as again:
        assert Caller(again, JANE).states(vm_id) == (3, 3)
