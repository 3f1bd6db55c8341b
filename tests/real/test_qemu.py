"""QEMU machines, through the site's own doors; most of them boot nothing but a halted processor."""

import contextlib
import dataclasses
import errno
import gzip
import hashlib
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from callers import Caller
from canned import Canned, Handler, Reply, Request
from endorsers import certified
from machines import children, obliging, processes, real_sandbox, still, wait_for
from present import present

from stratuslab_libcloud.metadata.entry import Entry, identifier
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.sandbox import SandboxError
from stratuslab_libcloud.sandbox.registering import register_image
from stratuslab_libcloud.sandbox.site import Sandbox

RUNNING, SHUTDOWN, UNKNOWN, FAILED, DONE = (3, 3), (3, 12), (3, 16), (7, 0), (6, 0)
JANE = {"jane": "s3cret"}
TEMPLATE = """
MEMORY = 64
DISK = [ source = "%s/metadata/%s", target = "vda", driver = "raw" ]
NIC = [ network_uname = oneadmin, network = "public" ]
%s
"""
BIOS_ONLY = "Error deploying virtual machine: the disk image does not boot"


class Lab:
    """A site with real machines, and somebody who starts them."""

    # Images that halt at once, and that take up and let go of disks, or keep them.
    still: str
    obliging: str
    keeping: str

    def __init__(self, site: "Sandbox | Elsewhere") -> None:
        self.site: Any = site  # some tests look into their own Sandbox
        self.jane = Caller(site, ("jane", JANE["jane"]))

    def register(self, file: Path, **described: Any) -> str:
        return register_image(self.site.dir, file, "raw", **described)

    def start(self, image: str, more: str = "") -> int:
        return self.jane.start(TEMPLATE % (self.site.url, image, more))

    def run(self, image: str, more: str = "") -> int:
        vm_id = self.start(image, more)
        self.wait(vm_id, RUNNING)
        return vm_id

    def wait(self, vm_id: int, *states: tuple[int, int]) -> None:
        def arrived() -> bool:
            state = self.jane.states(vm_id)
            assert state != FAILED or FAILED in states, self.error(vm_id)
            return state in states

        wait_for(arrived, f"machine {vm_id} does not get to {states}")

    def error(self, vm_id: int) -> str | None:
        return self.jane.info(vm_id).findtext("TEMPLATE/ERROR/MESSAGE")

    def attach(self, disk: str, vm_id: int) -> requests.Response:
        return self.jane.disks("POST", f"/{disk}/mounts", data={"node": "sandbox", "vm_id": vm_id})

    def detach(self, disk: str, vm_id: int) -> requests.Response:
        return self.jane.disks("DELETE", f"/{disk}/mounts/{disk}_{vm_id}")

    def folders(self) -> list[str]:
        return [path.name for path in (self.site.dir / "machines").iterdir()]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with real_sandbox(users=JANE) as site:
        lab = Lab(site)
        folder = tmp_path_factory.mktemp("image")
        lab.still = lab.register(still(folder), title="still")
        lab.obliging = lab.register(obliging(folder), title="obliging")
        lab.keeping = lab.register(obliging(folder, lets_go=False), title="keeping")
        yield lab


@pytest.fixture(autouse=True)
def nothing_is_left(lab: Lab) -> Iterator[None]:
    yield
    for vm_id in lab.jane.pool():
        lab.jane.act("finalize", vm_id)
    assert lab.folders() == []
    assert processes(lab.site.dir) == []


# -- states


def test_a_machine_lives_and_dies(lab: Lab) -> None:
    vm_id = lab.run(lab.still)
    assert lab.folders() == [str(vm_id)]
    assert len(processes(lab.site.dir)) == 1
    lab.jane.act("finalize", vm_id)
    assert lab.jane.states(vm_id) == DONE
    assert processes(lab.site.dir) == []


def test_an_ended_machine_has_given_back_its_address_and_disks(lab: Lab) -> None:
    disk = lab.jane.disk()
    more = f"DISK = [ source = pdisk:x/{disk}, target = vdc, type = block ]"
    first = lab.run(lab.still, more)
    address = lab.jane.info(first).findtext("TEMPLATE/NIC/IP")
    assert lab.attach(disk, first).status_code == 409
    lab.jane.act("finalize", first)
    nic = f'NIC = [ network_uname = oneadmin, network = "public", ip = "{address}" ]'
    second = lab.run(lab.still, f"{more}\n{nic}")
    addresses = [nic.text for nic in lab.jane.info(second).iterfind("TEMPLATE/NIC/IP")]
    assert addresses[1] == address
    assert addresses[0] != address  # not given again at once unless it is asked for


def test_a_guest_that_ignores_the_power_button_runs_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.qemu._PRESSES", 1)
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.qemu._PRESS_SECONDS", 0.3)
    vm_id = lab.run(lab.still)
    lab.jane.act("shutdown", vm_id)
    assert lab.jane.states(vm_id) == SHUTDOWN
    lab.wait(vm_id, RUNNING)


def test_a_machine_that_is_made_to_fail_is_gone(lab: Lab) -> None:
    vm_id = lab.run(lab.still)
    lab.site.fail(vm_id, "the host burned")
    lab.wait(vm_id, FAILED)
    assert lab.error(vm_id) == "Error deploying virtual machine: the host burned"


def test_a_process_that_is_killed_is_a_machine_that_failed(lab: Lab) -> None:
    vm_id = lab.run(lab.still)
    (pid,) = processes(lab.site.dir)
    os.kill(pid, signal.SIGKILL)
    lab.wait(vm_id, FAILED)
    assert lab.error(vm_id) == "the QEMU process has ended"


def test_a_guest_that_switches_itself_off_at_once_is_unknown_not_failed(
    lab: Lab, tmp_path: Path
) -> None:
    off = tmp_path / "off.raw"
    code = b"\xba\x04\x06\xb8\x00\x20\xef\xf4"  # ACPI's power off: 0x2000 to port 0x604
    off.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    vm_id = lab.start(lab.register(off, title="off"))
    lab.wait(vm_id, UNKNOWN)


def test_a_machine_that_qemu_stops_has_failed(lab: Lab) -> None:
    vm_id = lab.run(lab.still)
    machinery = lab.site._compute.machinery
    machinery._loop.wait_for(machinery._lives[vm_id].monitor.execute("stop"))
    lab.wait(vm_id, FAILED)
    assert lab.error(vm_id) == "QEMU has stopped the machine: paused"


def test_a_machine_that_cannot_be_ended_is_not_reported_as_ended(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_sandbox(tmp_path, users=JANE) as site:
        first = Lab(site)
        vm_id = first.run(first.register(still(tmp_path), title="still"))
        (pid,) = processes(tmp_path)
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.monitor._QUIT_SECONDS", 0.3)
        monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.monitor.os.kill", lambda *_: None)
    monkeypatch.undo()
    assert processes(tmp_path) == [pid]
    os.kill(pid, signal.SIGCONT)  # now it reads that it is to quit
    wait_for(lambda: processes(tmp_path) == [], "it does not end")
    with real_sandbox(tmp_path, users=JANE) as site:
        again = Lab(site)
        again.wait(vm_id, UNKNOWN)
        again.jane.act("finalize", vm_id)
        assert again.jane.states(vm_id) == DONE


def test_a_machine_that_did_not_boot_before_the_sandbox_was_killed_is_not_running(
    lab: Lab, tmp_path: Path
) -> None:
    """What its BIOS said, the earlier sandbox has heard."""
    blank = tmp_path / "blank.raw"
    blank.write_bytes(bytes(1 << 20))
    with real_sandbox(tmp_path / "site", users=JANE, keep_machines=True) as site:
        first = Lab(site)
        vm_id = first.start(first.register(blank, title="blank"))
        log = site.dir / "machines" / str(vm_id) / "bios.log"
        # A busy machine may have heard all of it at once, and the log is gone again.
        wait_for(
            lambda: log.exists() or first.jane.states(vm_id) == FAILED, "the BIOS says nothing"
        )
    with real_sandbox(tmp_path / "site", users=JANE) as site:
        again = Lab(site)
        again.wait(vm_id, FAILED)
        assert present(again.error(vm_id)).startswith(BIOS_ONLY)


def test_a_process_that_cannot_be_noted_is_not_left(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        assert path.name == "pid"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    vm_id = lab.start(lab.still)
    lab.wait(vm_id, FAILED)
    assert lab.error(vm_id) == "Error deploying virtual machine: No space left on device"
    assert children() == []


def test_a_process_that_does_not_answer_is_ended_by_force(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.monitor._QUIT_SECONDS", 0.3)
    vm_id = lab.run(lab.still)
    (pid,) = processes(lab.site.dir)
    os.kill(pid, signal.SIGSTOP)
    lab.jane.act("finalize", vm_id)
    assert lab.jane.states(vm_id) == DONE


class Dripping:
    """An answer that does not come to an end by itself."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, handler: Handler, request: Request) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 30))
        handler.end_headers()
        handler.close_connection = True
        while not self.end.wait(0.05):
            with contextlib.suppress(OSError):  # nobody reads any more
                handler.wfile.write(bytes(10))
            self.begun.set()


def test_a_machine_can_be_ended_while_its_image_is_being_fetched(lab: Lab) -> None:
    drip = Dripping()
    with Canned([drip]) as server:
        vm_id = lab.start(publish(lab, server.url, b"x", size=1 << 30))
        assert drip.begun.wait(60)
        assert lab.jane.states(vm_id) == (3, 1)
        lab.jane.act("finalize", vm_id)
        assert lab.jane.states(vm_id) == DONE
        drip.end.set()


def test_a_machine_whose_image_waits_for_others_can_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.loop._DOWNLOADS", 1)
    drip = Dripping()
    with Canned([drip]) as server, real_sandbox(tmp_path, users=JANE) as site:
        lab = Lab(site)
        name = publish(lab, server.url, b"x", size=1 << 30)
        first, second = lab.start(name), lab.start(name)
        assert drip.begun.wait(60)
        for vm_id in (second, first):
            lab.wait(vm_id, (3, 1))
            lab.jane.act("finalize", vm_id)
            assert lab.jane.states(vm_id) == DONE
        drip.end.set()


# -- what breaks


def publish(lab: Lab, url: str, image: bytes, **fields: Any) -> str:
    """Make an entry for an image that is at this URL."""
    name = identifier(hashlib.sha1(image).digest())
    entry = Entry(
        name,
        size=len(image),
        format="raw",
        compression="",
        locations=(f"{url}/image",),
        endorser="jane@example.org",
        endorsed="2026-01-01T00:00:00Z",
        valid="2099-01-01T00:00:00Z",
    )
    lab.site.marketplace.add(write_entry(dataclasses.replace(entry, **fields)))
    return name


@pytest.mark.parametrize(
    ("answer", "fields", "reason"),
    [
        ((404, "x/y", b""), {}, "answered 404 Not Found"),
        ((200, "x/y", b"short"), {}, "entry says: 16 bytes, but it has 5"),
        ((200, "x/y", b"0123456789abcdeX"), {}, "but it has"),
        ((200, "x/y", gzip.compress(b"0" * 99)[:-5]), {"compression": "gz"}, "is corrupt"),
        ((200, "x/y", b"0123456789abcdef"), {"format": "qcow2"}, "is not in the format qcow2"),
    ],
)
def test_an_image_that_is_not_right_fails_the_machine_with_the_reason(
    lab: Lab, answer: Reply, fields: dict[str, str], reason: str
) -> None:
    with Canned([answer]) as server:
        vm_id = lab.start(publish(lab, server.url, b"0123456789abcdef", **fields))
        lab.wait(vm_id, FAILED)
    error = present(lab.error(vm_id))
    assert error.startswith(f"Error excuting image transfer script: {server.url}/image ")
    assert reason in error
    assert not list((lab.site.dir / "fetched").glob("*.part"))


def test_an_uploaded_entry_that_lies_about_its_image_starts_nothing(lab: Lab) -> None:
    said, found = (hashlib.sha1(image).hexdigest() for image in (b"as said", b"another"))
    with Canned([(200, "x/y", b"another")]) as server:
        entry = Entry(
            identifier(said),
            size=len(b"another"),
            checksums={"SHA-1": said},
            type="base",
            format="raw",
            locations=(f"{server.url}/image",),
            valid="2099-01-01T00:00:00Z",
        )
        document = sign(write_entry(entry), certified("P-256"), digest="sha256")
        kind = {"Content-Type": "application/xml"}
        answer = lab.jane.request("POST", "/metadata", data=document, headers=kind)
        assert answer.status_code == 201
        vm_id = lab.start(entry.identifier)
        lab.wait(vm_id, FAILED)
    assert lab.error(vm_id) == (
        f"Error excuting image transfer script: {server.url}/image is not what its Marketplace "
        f"entry says: SHA-1 {said}, but it has {found}"
    )
    assert not list((lab.site.dir / "fetched").glob(f"{entry.identifier}*"))
    assert processes(lab.site.dir) == []


def test_an_image_that_does_not_boot_fails_the_machine(lab: Lab, tmp_path: Path) -> None:
    blank = tmp_path / "blank.raw"
    blank.write_bytes(b"nothing that boots".ljust(1 << 20, b"\0"))
    vm_id = lab.start(lab.register(blank, title="blank"))
    lab.wait(vm_id, FAILED)
    assert present(lab.error(vm_id)).startswith(BIOS_ONLY)


def test_an_image_that_the_marketplace_does_not_have_fails_the_machine(lab: Lab) -> None:
    vm_id = lab.start(identifier(b"x" * 20))
    lab.wait(vm_id, FAILED)
    assert "Error excuting image transfer script: there is no image" in present(lab.error(vm_id))


def test_a_disk_that_there_is_not_fails_the_machine(lab: Lab) -> None:
    source = "pdisk:host/7a031320-9d3b-492f-9a97-3c5bd0ba786b"
    vm_id = lab.start(lab.still, f'DISK = [ source = "{source}", target = vdb ]')
    lab.wait(vm_id, FAILED)
    reason = f"Error excuting image transfer script: {source} does not exist"
    assert lab.error(vm_id) == reason


def test_a_template_that_qemu_cannot_do_fails_the_machine(lab: Lab) -> None:
    vm_id = lab.start(lab.still, "DISK = [ type = swap, size = 1, target = hde ]")
    lab.wait(vm_id, FAILED)
    reason = "there is no place for hde: IDE ends with hdd"
    assert lab.error(vm_id) == f"Error deploying virtual machine: {reason}"


def test_a_target_is_no_way_out_of_the_machines_directory(lab: Lab, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    vm_id = lab.start(lab.still, f'DISK = [ type = swap, size = 1, target = "{victim}" ]')
    lab.wait(vm_id, FAILED)
    assert present(lab.error(vm_id)).endswith(f"{victim} is not the target of a disk")
    assert victim.read_text() == "precious"


def test_a_full_disk_fails_the_machine(tmp_path: Path) -> None:
    """The directory is on a file system that is too small for the image."""
    small = tmp_path / "small"
    small.mkdir()
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "sandbox", small], check=True)
    try:
        with real_sandbox(small / "site", users=JANE) as site:
            lab = Lab(site)
            image = bytes(510) + b"\x55\xaa" + os.urandom(8 << 20)
            with Canned([(200, "x/y", image)]) as server:
                vm_id = lab.start(publish(lab, server.url, image))
                lab.wait(vm_id, FAILED)
            assert lab.error(vm_id) == (
                "Error excuting image transfer script: the image cannot be stored: "
                "No space left on device"
            )
            assert list((site.dir / "fetched").iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_an_address_that_is_not_free_is_refused(lab: Lab) -> None:
    lab.run(lab.still)
    taken = lab.jane.info(max(lab.jane.pool())).findtext("TEMPLATE/NIC/IP")
    nic = f'NIC = [ network_uname = oneadmin, network = "public", ip = "{taken}" ]'
    with pytest.raises(Exception, match=r"Could not get virtual network for VM\."):
        lab.start(lab.still, nic)


def next_address(lab: Lab) -> str:
    """Which the next machine gets, unless it is taken."""
    first = lab.run(lab.still)
    last = ipaddress.ip_address(lab.jane.info(first).findtext("TEMPLATE/NIC/IP", ""))
    lab.jane.act("finalize", first)
    return str(last + 1)


def test_a_port_that_somebody_took_meanwhile_fails_the_machine(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = next_address(lab)
    monkeypatch.setattr(
        "stratuslab_libcloud.sandbox.addresses.is_served", lambda address, port: False
    )
    port = lab.site._qemu_host.ssh_port
    with socket.create_server((address, port)):
        vm_id = lab.start(lab.still)
        lab.wait(vm_id, FAILED)
    assert "Error deploying virtual machine: the QEMU process has ended: " in present(
        lab.error(vm_id)
    )
    assert f"{address}:{port}" in present(lab.error(vm_id))


def test_an_address_that_another_program_uses_is_skipped(lab: Lab) -> None:
    address = next_address(lab)
    with socket.create_server((address, lab.site._qemu_host.ssh_port)):
        second = lab.run(lab.still)
        found = lab.jane.info(second).findtext("TEMPLATE/NIC/IP")
    assert found == str(ipaddress.ip_address(address) + 1)


def test_inbound_ports_lead_into_the_machine(lab: Lab) -> None:
    vm_id = lab.run(lab.still, 'INBOUND_PORTS = "22,8080"')
    address = lab.jane.info(vm_id).findtext("TEMPLATE/NIC/IP")
    for port in (lab.site._qemu_host.ssh_port, 8080):
        socket.create_connection((address, port), 60).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 8081), 60)


# -- disks


def test_a_disk_is_attached_once_the_guest_has_taken_it_up_and_detached_once_it_let_go(
    lab: Lab,
) -> None:
    vm_id = lab.run(lab.obliging)
    disks = [lab.jane.disk() for _ in range(2)]
    assert [lab.attach(disk, vm_id).json().get("target") for disk in disks] == ["vdb", "vdc"]
    assert [lab.detach(disk, vm_id).status_code for disk in disks] == [200, 200]
    assert [lab.jane.disks("DELETE", f"/{disk}").status_code for disk in disks] == [200, 200]


def test_a_disk_that_the_guest_does_not_take_up_is_not_reported_as_attached(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.hotplug._PLUG_SECONDS", 0.3)
    vm_id, other = lab.run(lab.still), lab.run(lab.obliging)
    disk = lab.jane.disk()
    answer = lab.attach(disk, vm_id)
    assert answer.status_code == 504
    message = f"disk ({disk}) may be attached to VM {vm_id} as vdb: the guest did not use it"
    assert answer.json()["message"] == f"{message} within 0 seconds"
    # QEMU cannot take it back, so nobody else gets it while this machine lives.
    mounts = lab.jane.disks("GET", f"/{disk}/mounts").json()
    assert mounts == [{"vmId": str(vm_id), "device": "vdb"}]
    assert lab.attach(disk, other).status_code == 409
    lab.jane.act("finalize", vm_id)
    assert lab.attach(disk, other).status_code == 200


def test_a_guest_that_keeps_a_disk_is_told_and_the_disk_stays_attached(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.hotplug._UNPLUG_SECONDS", 0.3)
    vm_id = lab.run(lab.keeping)
    disk = lab.jane.disk()
    assert lab.attach(disk, vm_id).json()["target"] == "vdb"
    for _ in range(2):  # the second time QEMU says that it is at it already
        answer = lab.detach(disk, vm_id)
        assert answer.status_code == 409
        reason = "the guest did not release vdb within 0 seconds"
        assert answer.json()["message"] == f"disk ({disk}) is still in use by VM {vm_id}: {reason}"
    mounts = lab.jane.disks("GET", f"/{disk}/mounts").json()
    assert mounts == [{"vmId": str(vm_id), "device": "vdb"}]
    assert lab.jane.disks("DELETE", f"/{disk}").status_code == 409


def test_a_disk_that_was_being_unplugged_when_the_sandbox_stopped_stays_attached(
    lab: Lab, tmp_path: Path
) -> None:
    with real_sandbox(tmp_path, users=JANE, keep_machines=True) as site:
        first = Lab(site)
        vm_id = first.run(first.register(obliging(tmp_path, lets_go=False), title="keeping"))
        disk = first.jane.disk()
        first.attach(disk, vm_id)
        unplugging = threading.Thread(target=swallow, args=(first.detach, disk, vm_id))
        unplugging.start()
        time.sleep(0.5)
    unplugging.join()
    with real_sandbox(tmp_path, users=JANE) as site:
        again = Lab(site)
        mounts = again.jane.disks("GET", f"/{disk}/mounts").json()
        assert mounts == [{"vmId": str(vm_id), "device": "vdb"}]


def swallow(call: Callable[..., object], *arguments: object) -> None:
    """What comes of a call to a site that stops is nobody's affair."""
    with contextlib.suppress(requests.RequestException):
        call(*arguments)


def test_a_qemu_that_does_not_answer_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.monitor._COMMAND_SECONDS", 0.3)
    vm_id = lab.run(lab.still)
    (pid,) = processes(lab.site.dir)
    os.kill(pid, signal.SIGSTOP)
    disk = lab.jane.disk()
    answer = lab.attach(disk, vm_id)
    assert answer.status_code == 504
    reason = f"disk ({disk}) may be attached to VM {vm_id} as vdb: QEMU does not answer"
    assert answer.json()["message"] == reason
    answer = lab.detach(disk, vm_id)
    assert answer.status_code == 504
    reason = f"disk ({disk}) may still be in use by VM {vm_id}: QEMU does not answer"
    assert answer.json()["message"] == reason
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: lab.detach(disk, vm_id).status_code == 200, "it cannot be detached")
    assert lab.jane.disks("DELETE", f"/{disk}").status_code == 200


def test_a_disk_whose_file_is_gone_cannot_be_attached_and_is_not(lab: Lab) -> None:
    vm_id = lab.run(lab.obliging)
    disk = lab.jane.disk()
    path = lab.site.dir / "disks" / disk
    path.rename(path.with_name("aside"))
    answer = lab.attach(disk, vm_id)
    assert answer.status_code == 409
    assert "No such file or directory" in answer.json()["message"]
    path.with_name("aside").rename(path)
    assert lab.jane.disks("GET", f"/{disk}/mounts").json() == []
    assert lab.attach(disk, vm_id).status_code == 200


# -- what lives on


UP = "from stratuslab_libcloud.cli.sandbox import main; main()"


def up(directory: Path, *options: str) -> tuple[subprocess.Popen[str], Lab]:
    """A sandbox in a process of its own, ready."""
    command = [sys.executable, "-c", UP, "up", "--dir", str(directory), "--port", "0", *options]
    process = subprocess.Popen(
        [*command, "--user", "jane:s3cret", "--machines", "qemu"], stdout=subprocess.PIPE, text=True
    )
    url = present(process.stdout).readline().split()[1].rstrip(",")
    return process, Lab(Elsewhere(url, directory))


class Elsewhere:
    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.dir = url, directory


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM])
def test_machines_that_outlive_the_sandbox_are_taken_on_again(
    lab: Lab, tmp_path: Path, ended_by: signal.Signals
) -> None:
    process, before = up(tmp_path, "--keep-machines")
    with process:
        image = before.register(obliging(tmp_path), title="obliging")
        vm_id = before.run(image)
        disk = before.jane.disk()
        device = before.attach(disk, vm_id).json()["target"]
        process.send_signal(ended_by)
    pids = processes(tmp_path)
    assert len(pids) == 1
    with real_sandbox(tmp_path, users=JANE) as site:
        after = Lab(site)
        assert after.jane.states(vm_id) == RUNNING
        assert processes(tmp_path) == pids
        mounts = after.jane.disks("GET", f"/{disk}/mounts").json()
        assert mounts == [{"vmId": str(vm_id), "device": device}]
        other = after.jane.disk()
        wait_for(lambda: after.attach(other, vm_id).status_code == 200, "it is not taken on")
        after.jane.act("finalize", vm_id)
        assert processes(tmp_path) == []
        assert after.jane.disks("DELETE", f"/{disk}").status_code == 200


def test_a_machine_that_does_not_answer_when_it_is_taken_on_is_left_alone(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with real_sandbox(tmp_path, users=JANE, keep_machines=True) as site:
        first = Lab(site)
        vm_id = first.run(first.register(still(tmp_path), title="still"))
    (pid,) = processes(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr("stratuslab_libcloud.sandbox.machines.monitor._CONNECT_SECONDS", 0.3)
        with real_sandbox(tmp_path, users=JANE, keep_machines=True) as site:
            Lab(site).wait(vm_id, UNKNOWN)
    os.kill(pid, signal.SIGCONT)
    with real_sandbox(tmp_path, users=JANE) as site:
        Lab(site).wait(vm_id, RUNNING)
        assert processes(tmp_path) == [pid]


def test_real_machines_that_live_on_are_not_taken_for_simulated_ones(
    lab: Lab, tmp_path: Path
) -> None:
    with real_sandbox(tmp_path, users=JANE, keep_machines=True) as site:
        first = Lab(site)
        vm_id = first.run(first.register(still(tmp_path), title="still"))
    with pytest.raises(SandboxError, match=r"^real machines live on in .*: start it with real"):
        Sandbox(tmp_path, users=JANE).start()
    with real_sandbox(tmp_path, users=JANE) as site:
        assert Lab(site).jane.states(vm_id) == RUNNING


def test_slow_downloads_keep_no_other_machine_from_living_and_dying(lab: Lab) -> None:
    drip = Dripping()
    with Canned([drip]) as server:
        name = publish(lab, server.url, b"y", size=1 << 30)
        slow = [lab.start(name) for _ in range(20)]
        assert drip.begun.wait(60)
        lab.jane.act("finalize", lab.run(lab.still))
        for vm_id in slow:
            lab.jane.act("finalize", vm_id)
            assert lab.jane.states(vm_id) == DONE
        drip.end.set()


def test_a_machine_that_ended_while_no_sandbox_looked_is_unknown(lab: Lab, tmp_path: Path) -> None:
    with real_sandbox(tmp_path, users=JANE, keep_machines=True) as site:
        first = Lab(site)
        vm_id = first.run(first.register(still(tmp_path), title="still"))
    (pid,) = processes(tmp_path)
    os.kill(pid, signal.SIGKILL)
    with real_sandbox(tmp_path, users=JANE) as site:
        again = Lab(site)
        again.wait(vm_id, UNKNOWN)
        again.jane.act("finalize", vm_id)
        assert again.jane.states(vm_id) == DONE
        assert again.folders() == []


def test_a_machine_whose_image_was_being_fetched_is_started_anew(lab: Lab, tmp_path: Path) -> None:
    image = still(tmp_path).read_bytes()
    drip = Dripping()
    with Canned([drip, (200, "x/y", image)]) as server:
        process, before = up(tmp_path)
        with process:
            with real_sandbox(tmp_path / "other") as other:  # whose Marketplace both can ask
                name = publish(Lab(other), server.url, image)
                vm_id = before.jane.start(TEMPLATE % (other.url, name, ""))
                assert drip.begun.wait(60)
                process.send_signal(signal.SIGKILL)
                process.wait()
                drip.end.set()
                with real_sandbox(tmp_path, users=JANE) as site:
                    Lab(site).wait(vm_id, RUNNING)
    assert len(server.requests) == 2


def test_a_throw_away_sandbox_that_is_killed_leaves_no_process(lab: Lab, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from stratuslab_libcloud.sandbox import Sandbox\n"
        "site = Sandbox(machines='qemu', users={'jane': 's3cret'}); site.start()\n"
        "print(site.url, site.dir, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        url, directory = present(process.stdout).readline().split()
        there = Lab(Elsewhere(url, Path(directory)))
        there.run(there.register(still(tmp_path), title="still"))
        assert len(processes(Path(directory))) == 1
        process.kill()
    wait_for(lambda: not processes(Path(directory)), "its machine lives on")
    shutil.rmtree(directory)


def test_stopping_ends_all_machines(tmp_path: Path) -> None:
    with real_sandbox(tmp_path, users=JANE) as site:
        lab = Lab(site)
        image = lab.register(still(tmp_path), title="still")
        for _ in range(3):
            lab.run(image)
        assert len(processes(tmp_path)) == 3
    assert processes(tmp_path) == []
    assert list((tmp_path / "machines").iterdir()) == []


# -- what the site says of itself


def test_ssh_is_on_another_port_where_the_first_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an sshd listens on all addresses."""
    notices: list[str] = []
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        taken = everywhere.getsockname()[1]
        ports = (taken, 2222, 2223)
        monkeypatch.setattr("stratuslab_libcloud.sandbox.addresses.SSH_PORTS", ports)
        with real_sandbox(tmp_path, users=JANE, on_notice=notices.append) as site:
            assert "ssh_port = 222" in site.config_path.read_text()
            lab = Lab(site)
            vm_id = lab.run(lab.register(still(tmp_path), title="still"))
            address = lab.jane.info(vm_id).findtext("TEMPLATE/NIC/IP")
            socket.create_connection((address, present(site._qemu_host).ssh_port), 60).close()
    port = present(site._qemu_host).ssh_port
    reason = f"port {taken} failed (Address already in use)"
    assert notices[-1] == f"SSH of machines is on port {port}: {reason}"
    with real_sandbox(tmp_path, users=JANE, on_notice=notices.append) as site:
        assert present(site._qemu_host).ssh_port == port  # machines that live on have it
    assert notices[-1] == f"SSH of machines is on port {port}: as it was before"


def test_a_deep_directory_is_no_problem_for_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "a folder, with = odd: characters"
    with real_sandbox(deep, users=JANE) as site:
        lab = Lab(site)
        lab.run(lab.register(still(tmp_path), title="still"))


def test_the_marketplace_offers_the_two_images_of_our_own(lab: Lab) -> None:
    entries = lab.jane.request("GET", "/metadata", headers={"Accept": "application/json"}).json()
    titles = {row[10] for row in entries["aaData"]}
    assert {"standard (sandbox)", "ttylinux (sandbox)", "still"} <= titles


def test_an_image_is_served_to_everybody_and_nothing_else_is(lab: Lab) -> None:
    entry = lab.jane.request("GET", f"/metadata/{lab.still}").text
    url = entry.partition("<slterms:location>")[2].partition("<")[0]
    found = lab.jane.request("GET", url.removeprefix(lab.site.url))
    assert (found.status_code, len(found.content)) == (200, 1 << 20)
    for path in ("/images/", "/images/..%2Fsandbox.db", "/images/sandbox.db", "/images/x"):
        assert lab.jane.request("GET", path).status_code == 404


def test_simulated_is_what_auto_gives_where_qemu_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratuslab_libcloud.sandbox.machines.choice.PATH", str(tmp_path))
    notices: list[str] = []
    with Sandbox(machines="auto", on_notice=notices.append) as site:
        assert site.machines == "simulated"
    (notice,) = notices
    assert notice.startswith("machines are simulated, they boot but run nothing: real machines")
    assert "apt-get install e2fsprogs qemu-system-x86 qemu-utils util-linux" in notice
