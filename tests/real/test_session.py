"""A newcomer at a terminal, from chapter 3 to chapter 7 of the User's Guide."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import BOOT_SECONDS, processes
from sshd import Sshd, needed
from terminals import Terminal

from stratuslab_libcloud import connect

COLUMNS = 60
SECRET = "Geheim007"
PROGRAMS = Path(sys.executable).parent
THERE = r"# \x1b\[6n$"  # the prompt of a machine's shell, which asks where the cursor is
CONFIGURATION = ".stratuslab/stratuslab-user.cfg"


@pytest.fixture
def environment(tmp_path: Path, home: Path) -> dict[str, str]:
    """A newcomer's: with a home, but nothing in it."""
    passwd = Sshd(tmp_path, "127.0.0.1", 0)._users()  # whose home has known_hosts
    return {**os.environ, **passwd, "HOME": str(home), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}


@pytest.fixture
def site(tmp_path: Path, environment: dict[str, str]) -> Iterator[Path]:
    """The directory of a sandbox that runs in another window, until Ctrl-C is pressed there."""
    directory = tmp_path / "site"
    with Terminal(tmp_path, environment, COLUMNS) as window:
        command = f"stratus-sandbox up --machines qemu --port 0 --user jane:{SECRET}"
        window.type(f"{command} --dir {directory}\n")
        if window.until(r"\nready: .*\npages: .*\n|<[1-9]\d*> $")[0].startswith("<"):
            assert not os.environ.get("CI"), window.all
            pytest.skip(window.all)
        try:
            yield directory
        finally:
            window.interrupt()
            printed, status = window.finished()
        assert (printed, status) == ("^C", 130)
        assert window.processes() == []
    assert processes(directory) == []


@needed
def test_from_chapter_3_to_chapter_7(
    tmp_path: Path, home: Path, environment: dict[str, str], site: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with Terminal(folder, environment, COLUMNS) as window:
        configure(window, site)
        image = find_an_image(window)
        disk = create_a_disk(window)
        vm_id = start_and_lose_patience(window, image, disk)
        log_in(window, vm_id)
        plug(window, vm_id, disk)
        end(window, vm_id, disk)
        assert window.processes() == []
    assert SECRET not in window.all
    assert list(folder.iterdir()) == []
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert left == [CONFIGURATION]
    cloud = connect(site / "stratuslab-user.cfg")
    assert (cloud.machines(), cloud.volumes()) == ([], [])
    cloud.close()


def configure(window: Terminal, site: Path) -> None:
    """Chapter 4: a file in its place, and what is said before it is edited."""
    said = window.run("stratus-describe-instance", 1)
    assert said.startswith("  \x1b[31m[ERROR]\x1b[0m Missing cloud endpoint.")
    assert "stratus-copy-config" in said
    assert CONFIGURATION in window.run("stratus-copy-config")
    assert "use --force to overwrite" in window.run("stratus-copy-config", 1)
    assert window.run(f"cp {site}/stratuslab-user.cfg ~/{CONFIGURATION}") == ""
    slip = f"sed -i s/^endpoint/endpont/ ~/{CONFIGURATION}"
    assert window.run(slip) == ""
    said = window.run("stratus-describe-instance", 1)
    assert "[sandbox] endpont is ignored; did you mean endpoint?" in said
    assert window.run(slip.replace("^endpoint/endpont", "^endpont/endpoint")) == ""


def find_an_image(window: Terminal) -> str:
    """Chapter 3: searching the Marketplace, in a table that fits the window."""
    table = window.run("stratus-list-images").splitlines()
    assert table[0].startswith("id ")
    assert max(map(len, table)) <= COLUMNS
    (line,) = (line for line in table if "standard" in line)
    image = line.split()[0]
    (found,) = window.run("stratus-search-image standard").splitlines()[1:]
    assert found.split() == line.split()
    assert f"\nID: {image}\n" in window.run(f"stratus-show-image {image}")
    return image


def create_a_disk(window: Terminal) -> str:
    """Chapter 7.1 and 7.2."""
    disk = window.run("stratus-create-volume --size=1 --tag=mine").removeprefix("DISK ").strip()
    assert window.run(f"stratus-update-volume --public {disk}") == ""
    listed = window.run("stratus-describe-volumes")
    assert listed.startswith(f":: DISK {disk}\n")
    assert "\tvisibility: public\n\ttag: mine\n\towner: jane\n\tsize: 1\n" in listed
    return disk


def start_and_lose_patience(window: Terminal, image: str, disk: str) -> str:
    """Chapter 6.1.1 and 7.3.1; Ctrl-C ends the waiting, not the machine."""
    line = f"stratus-run-instance --wait -t t1.micro --persistent-disk={disk} {image}"
    window.type(f"{line}\n")
    vm_id = window.until(r"\(vm ID: (\d+)\)")[1]
    shown = window.until(rf"\r\x1b\[K( :: machine {vm_id} [^\r\n]*\))")[1]
    assert len(shown) < COLUMNS
    window.interrupt()
    printed, status = window.finished()
    assert status == 130
    assert printed.strip("^C\n").endswith("[ERROR]\x1b[0m interrupted")
    assert "::" not in printed  # the line that says what is waited for is gone
    assert f"\n{vm_id} " in window.run("stratus-describe-instance -n")
    return vm_id


def log_in(window: Terminal, vm_id: str) -> None:
    """Chapter 6.1.2 and 7.3.2: a file system on the disk, and a file in it."""
    window.type(f"stratus-connect-instance --timeout {BOOT_SECONDS} {vm_id}\n")
    window.until(THERE)
    for number in window.processes():
        assert SECRET not in Path(f"/proc/{number}/cmdline").read_text()
    window.type("uname -a; fdisk -l | grep 1073741824\n")
    found = window.until(r"\nLinux .*\r\nDisk (/dev/[hsv]dc): .*\r\n" + THERE)
    device = found[1]
    window.type(f"d={device}; mkfs.ext3 -q $d && mount $d /mnt\n")
    window.type("echo Testing > /mnt/test_pdisk; umount /mnt; mount $d /mnt; ls /mnt\n")
    window.until(r"\nlost\+found +test_pdisk\r\n" + THERE)
    window.type("umount /mnt; exit\n")
    assert "closed." in window.finished()[0]


def plug(window: Terminal, vm_id: str, disk: str) -> None:
    """Chapter 7.4: another disk, while the machine runs."""
    other = window.run("stratus-create-volume -s1").split()[1]
    attached = window.run(f"stratus-attach-volume -i {vm_id} {other}")
    (device,) = re.findall(rf"^ATTACHED {other} in VM {vm_id} on (/dev/\w+)\n$", attached)
    there = "'grep -c vdd$ /proc/partitions; exit 3'"
    seen = window.run(f"stratus-connect-instance {vm_id} -- {there}", 3)
    assert seen.startswith("1\n")
    detached = window.run(f"stratus-detach-volume -i {vm_id} {other}")
    assert detached == f"DETACHED {other} from VM {vm_id} on {device}\n"
    refused = window.run(f"stratus-detach-volume -i {vm_id} {disk}", 1)
    assert refused == f"DISK {disk}: Disk have not been hot-plugged\n"
    assert window.run(f"stratus-delete-volume {other}") == f"DELETED {other}\n"


def end(window: Terminal, vm_id: str, disk: str) -> None:
    """Chapter 6.1.3 and 7.5."""
    assert "is in use" in window.run(f"stratus-delete-volume {disk}", 1)
    assert window.run(f"stratus-kill-instance {vm_id}") == ""
    assert window.run("stratus-describe-instance").count("\n") == 1
    assert window.run(f"stratus-delete-volume {disk}") == f"DELETED {disk}\n"
    assert window.run("stratus-describe-volumes") == "No disk to show\n"
