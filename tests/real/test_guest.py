"""The small Linux of new sandboxes: built from Debian's packages, and run by a real QEMU."""

import base64
import contextlib
import gzip
import hashlib
import io
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from pathlib import Path
from typing import Any

import paramiko
import pycdlib
import pytest
from machines import soon
from sshd import free_port, make_key

from stratuslab_libcloud.sandbox import guest
from stratuslab_libcloud.sandbox.errors import SandboxError

TOOLS = ("apt-get", "dpkg-deb", "qemu-system-x86_64", "ssh-keygen")
MISSING = ", ".join(tool for tool in TOOLS if not shutil.which(tool))
if MISSING and os.environ.get("CI"):
    raise RuntimeError(f"not installed: {MISSING}")  # never skipped there
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

# Of the developer's own environment, which each test is kept from.
CACHE = guest.default_cache()
PROXIES = {name: os.environ[name] for name in os.environ if name.lower().endswith("_proxy")}

HANG_SECONDS = 300
MIB = 1 << 20
READY = "sandbox guest: ready"
USER_DATA = """#!/bin/sh
echo "it's $(id -un) in $PWD"
netstat -tln | grep -c 0.0.0.0:22
"""


class Machine:
    """
    A machine with that image, on the given bus, and the given drives besides.

    :ivar key: whose public half lets in, if the context has it.
    """

    def __init__(self, folder: Path, image: guest.GuestImage, bus: str, *drives: str) -> None:
        self._folder = folder
        self._port = free_port("127.0.0.1")
        self.key = make_key(folder / "key", "ed25519")
        unpack(image, folder / "disk")
        drives = (f"file={folder / 'disk'},if={bus},format=raw", *drives)
        network = f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"
        self._command = [
            *("qemu-system-x86_64", "-machine", "pc", "-accel", "tcg"),
            *("-m", "256", "-display", "none", "-serial", f"file:{folder / 'console'}"),
            *("-monitor", f"unix:{folder / 'monitor'},server=on,wait=off"),
            *(word for drive in drives for word in ("-drive", drive)),
            *("-cdrom", str(folder / "context"), "-device", "virtio-rng-pci"),
            *("-netdev", network, "-device", "virtio-net-pci,netdev=n,romfile="),
        ]

    def write_context(self, **values: str) -> None:
        lines = [f"{key}='" + value.replace("'", r"'\''") + "'\n" for key, value in values.items()]
        text = "".join(lines).encode()
        disc = pycdlib.PyCdlib()
        disc.new(interchange_level=3, rock_ridge="1.09", vol_ident="CONTEXT")
        disc.add_fp(io.BytesIO(text), len(text), "/CONTEXT.SH;1", rr_name="context.sh")
        disc.write(str(self._folder / "context"))
        disc.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with subprocess.Popen(self._command) as self._process:
            try:
                self.await_ready(1)
                yield
            finally:
                self._process.kill()

    def await_ready(self, times: int) -> None:
        deadline = time.monotonic() + HANG_SECONDS
        console = self._folder / "console"
        while not console.exists() or console.read_text(errors="replace").count(READY) < times:
            assert self._process.poll() is None
            assert time.monotonic() < deadline, console.read_text(errors="replace")
            time.sleep(0.1)

    def await_end(self) -> None:
        assert self._process.wait(HANG_SECONDS) == 0

    def monitor(self, command: str) -> None:
        """Tell QEMU; done when it prompts for the next command."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(HANG_SECONDS)
            connection.connect(str(self._folder / "monitor"))
            for line in "", f"{command}\n":
                connection.sendall(line.encode())
                said = b""
                while not said.endswith(b"(qemu) "):
                    said += connection.recv(4096)

    @contextlib.contextmanager
    def ssh(self) -> Iterator[paramiko.SSHClient]:
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
            client.connect(
                "127.0.0.1",
                self._port,
                "root",
                key_filename=str(self._folder / "key"),
                allow_agent=False,
                look_for_keys=False,
                timeout=HANG_SECONDS,
            )
            yield client

    def run(self, command: str) -> str:
        with self.ssh() as client:
            _, out, errors = client.exec_command(command, timeout=HANG_SECONDS)
            said = out.read().decode()
            assert out.channel.recv_exit_status() == 0, errors.read().decode()
            return said

    def await_(self, condition: str) -> None:
        """Wait until a command succeeds."""
        self.run(f"for n in $(seq {HANG_SECONDS}); do {condition} && exit; sleep 1; done; exit 1")


def unpack(image: guest.GuestImage, path: Path) -> None:
    with gzip.open(image.file) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, MIB)


def made(path: Path, size: int) -> Path:
    """An empty disk."""
    path.touch()
    os.truncate(path, size)
    return path


@pytest.fixture(scope="module")
def standard() -> guest.GuestImage:
    return guest.build("standard", CACHE)


@pytest.fixture(scope="module")
def ttylinux() -> guest.GuestImage:
    return guest.build("ttylinux", CACHE)


@pytest.fixture
def _network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def machine(
    standard: guest.GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A machine with an empty small disk and one of 5 GiB."""
    folder = tmp_path_factory.mktemp("machine")
    small, large = made(folder / "small", 64 * MIB), made(folder / "large", 5 << 30)
    drives = [f"file={path},if=virtio,format=raw" for path in (small, large)]
    machine = Machine(folder, standard, "virtio", *drives)
    data = base64.b64encode(USER_DATA.encode()).decode()
    keys = f"# jane's, and\nanother's\n{machine.key}"
    machine.write_context(SSH_PUBLIC_KEY=keys, USER_DATA=data, USERDATA_ENCODING="base64")
    with machine.running():
        yield machine


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("STRATUSLAB_SANDBOX_CACHE", raising=False)
    assert guest.default_cache() == Path("/home/jane/.cache/stratuslab-sandbox")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/jane")
    assert guest.default_cache() == Path("/var/cache/jane/stratuslab-sandbox")
    monkeypatch.setenv("STRATUSLAB_SANDBOX_CACHE", "/srv/images")
    assert guest.default_cache() == Path("/srv/images")


def test_an_image_is_described(standard: guest.GuestImage, tmp_path: Path) -> None:
    unpack(standard, tmp_path / "disk")
    disk = (tmp_path / "disk").read_bytes()
    assert standard.size == len(disk)
    assert standard.checksums == {
        "MD5": hashlib.md5(disk).hexdigest(),
        "SHA-1": hashlib.sha1(disk).hexdigest(),
        "SHA-256": hashlib.sha256(disk).hexdigest(),
        "SHA-512": hashlib.sha512(disk).hexdigest(),
    }
    assert standard.file.stat().st_size < 50 * MIB


def test_flavours_differ(standard: guest.GuestImage, ttylinux: guest.GuestImage) -> None:
    assert standard.checksums != ttylinux.checksums


def test_no_such_flavour(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no flavour 'windows': there are standard, ttylinux"):
        guest.build("windows", tmp_path)


@pytest.mark.usefixtures("_network")
def test_the_same_packages_make_the_same_image(
    standard: guest.GuestImage, ttylinux: guest.GuestImage, tmp_path: Path
) -> None:
    def fresh(name: str) -> list[guest.GuestImage]:
        return [guest.build(flavour, tmp_path / name) for flavour in guest.FLAVOURS]

    umask = os.umask(0o077)
    try:
        images = fresh("a folder: elsewhere")
    finally:
        os.umask(umask)
    cached = [image.checksums for image in (standard, ttylinux)]
    # Those in the cache may be made of last week's packages.
    if [image.checksums for image in images] != cached:
        cached = [image.checksums for image in fresh("another")]
    assert [image.checksums for image in images] == cached


def test_an_image_is_built_once(
    standard: guest.GuestImage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # nothing could be built
    assert guest.build("standard", CACHE) == standard


def test_another_version_builds_its_own(
    standard: guest.GuestImage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changed = tmp_path / "guest"
    shutil.copytree(Path(guest.__file__).parent, changed)
    with (changed / "root/etc/profile").open("a") as stream:
        stream.write("# changed\n")
    monkeypatch.setattr(guest, "__file__", str(changed / "__init__.py"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError):
        guest.build("standard", CACHE)
    assert standard.file.exists()


def test_a_machine_that_is_not_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="only be built on Debian: there is no apt-get"):
        guest.build("standard", tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


def test_packages_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = tmp_path / "apt.conf"
    settings.write_text(f'Dir::State::lists "{tmp_path}";\n')
    monkeypatch.setenv("APT_CONFIG", str(settings))
    with pytest.raises(SandboxError, match=r"^[^\n]*Unable to locate .* `apt-get update`[^\n]*$"):
        guest.build("standard", tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


@pytest.mark.usefixtures("_network")
def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    seen: dict[str, list[float]] = {}

    def interrupt(work: str, part: float) -> None:
        seen.setdefault(work, []).append(part)
        if "ttylinux" in work:
            assert (tmp_path / "building").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guest.build("ttylinux", tmp_path, interrupt)
    assert not (tmp_path / "building").exists()
    assert not list(tmp_path.glob("ttylinux*"))
    for work in (
        "downloading the Linux image's packages",
        "building the Linux image (standard)",
    ):
        parts = seen[work]
        assert (parts[0], parts[-1]) == (0, 1)
        assert parts == sorted(parts)
        assert len(parts) > 10
    # What is whole is kept.
    assert {path.suffix for path in tmp_path.glob("standard*")} == {".gz", ".json"}


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError, match=r"cannot be built in .*/file/cache: "):
        guest.build("standard", tmp_path / "file" / "cache")


def test_logging_in_with_the_key_of_the_context(machine: Machine) -> None:
    assert machine.run("echo $(id -un) $(hostname) $HOME $SHELL") == "root sandbox /root /bin/sh\n"
    assert machine.run("uname -a").startswith("Linux sandbox ")
    modes = machine.run("stat -c '%a %U' .ssh .ssh/authorized_keys")
    assert modes == "700 root\n600 root\n"
    assert "another's\n" in machine.run("cat .ssh/authorized_keys")


def test_no_password_lets_in(machine: Machine) -> None:
    with machine.ssh() as client:
        transport = client.get_transport()
        assert transport
        with paramiko.Transport(transport.getpeername()) as other:
            other.start_client(timeout=HANG_SECONDS)
            with pytest.raises(paramiko.BadAuthenticationType) as caught:
                other.auth_none("root")
    assert caught.value.allowed_types == ["publickey"]


def test_logging_out_as_in_the_guide(machine: Machine) -> None:
    with machine.ssh() as client:
        shell = client.invoke_shell()
        shell.settimeout(HANG_SECONDS)
        shell.sendall(b"logout\n")
        assert shell.recv_exit_status() == 0


def test_formatting_a_volume_as_in_the_guide(machine: Machine) -> None:
    disks = machine.run("fdisk -l")
    assert "Disk /dev/vdc: 5120 MB, 5368709120 bytes" in disks
    machine.run("mkfs.ext3 /dev/vdc")
    machine.run("mount /dev/vdc /mnt && echo Testing_Persistent_Disk > /mnt/test_pdisk")
    machine.run("umount /mnt")
    assert machine.run("mount /dev/vdc /mnt && cat /mnt/test_pdisk") == "Testing_Persistent_Disk\n"
    assert "/dev/vdc on /mnt type ext3 " in machine.run("mount")
    machine.run("umount /dev/vdc")


def test_a_disk_that_is_plugged_in_while_it_runs(machine: Machine, tmp_path: Path) -> None:
    machine.run("modprobe acpiphp")
    disk = made(tmp_path / "disk", 64 * MIB)
    machine.monitor(f"drive_add 0 if=none,id=d,format=raw,file={disk}")
    machine.monitor("device_add virtio-blk-pci,drive=d,id=plugged")
    machine.await_("[ -b /dev/vdd ]")
    machine.run("mkfs.ext4 -q /dev/vdd && mount /dev/vdd /mnt && umount /dev/vdd")
    machine.monitor("device_del plugged")
    machine.await_("[ ! -e /dev/vdd ]")


def test_files_go_by_sftp(machine: Machine) -> None:
    with machine.ssh() as client, client.open_sftp() as sftp:
        sftp.putfo(io.BytesIO(b"hello"), "greeting")
    assert machine.run("cat greeting") == "hello"


def test_starting_again_and_the_power_button(machine: Machine) -> None:
    machine.await_("grep -q 1 /var/log/user-data.log")
    assert machine.run("cat /var/log/user-data.log") == "it's root in /root\n1\n"
    machine.run("mkswap /dev/vdb && echo kept >/root/file")
    # Without sync, and with a program that does not want to end.
    machine.run("nohup sh -c 'trap : TERM; while :; do date; sleep 1; done' >/root/dates 2>&1 &")
    hosts = machine.run("md5sum /etc/dropbear/*")
    machine.run(soon("reboot"))
    machine.await_ready(2)
    assert machine.run("cat /root/file") == "kept\n"
    assert "/dev/vdb" in machine.run("cat /proc/swaps")
    assert machine.run("md5sum /etc/dropbear/*") == hosts
    assert "recovery complete" not in machine.run("dmesg")  # of a file system's journal
    # The user data has not been run again.
    assert machine.run("cat /var/log/user-data.log") == "it's root in /root\n1\n"
    machine.monitor("system_powerdown")
    machine.await_end()


def script(text: str, subtype: str = "x-shellscript", **how: Any) -> EmailMessage:
    part = EmailMessage()
    part.set_content(text, subtype=subtype, **how)
    return part


def packed(content: bytes) -> MIMEApplication:
    return MIMEApplication(gzip.compress(content, mtime=0), "gzip")


def archive() -> MIMEMultipart:
    """User data in parts, as cloud-init's and StratusLab's own commands make it, and others."""
    whole, inner = MIMEMultipart(), MIMEMultipart()
    long = "x" * 200
    inner.attach(script("#!/bin/sh\necho 4\nexit 3\n", "plain"))
    inner.attach(script(f"#!/bin/sh\necho fünf =41 {long}\n", cte="quoted-printable"))
    whole.attach(script("#!/bin/sh\necho 1 in $PWD; cat\n"))
    whole.attach(script("#!/bin/sh\necho zwölf\n", cte="base64"))
    whole.attach(script('#!/usr/bin/awk -f\nBEGIN { print "3" }\n', cte="7bit"))
    whole.attach(inner)
    whole.attach(script("#cloud-config\npackages: [nginx]\n", "cloud-config"))
    whole.attach(script("only text\n", "plain"))
    whole.attach(packed(b"#!/bin/sh\necho 8\n"))
    whole.attach(packed(inner.as_bytes()))
    whole.attach(script("#!/no/interpreter\n"))
    whole.attach(script("#!/bin/sh\necho last\n"))
    parts: Any = whole.get_payload()
    parts[4].add_header("Content-Disposition", "attachment", filename="web.cfg")
    parts[2].replace_header("Content-Transfer-Encoding", "8BIT")
    del parts[0]["Content-Transfer-Encoding"]
    unknown = script("#!/bin/sh\necho never\n")
    unknown.replace_header("Content-Transfer-Encoding", "x-uuencode")
    whole.attach(unknown)
    return whole


NO_SCRIPT = "is not carried out: this machine runs scripts, not"
FOUR_AND_FIVE = f"""4
user-data: part {{}} has ended with status 3
fünf =41 {"x" * 200}
"""
CARRIED_OUT = f"""1 in /root
zwölf
3
{FOUR_AND_FIVE.format(4)}user-data: part 6 (web.cfg) {NO_SCRIPT} text/cloud-config
user-data: part 7 {NO_SCRIPT} what begins with 'only text'
8
{FOUR_AND_FIVE.format(1)}user-data: part 10 has ended with status 127
last
user-data: part 12 is not carried out: its encoding, x-uuencode, is not known here
"""


def check_parts(machine: Machine) -> None:
    """Parts are carried out in their order; what is not is in the log. Also otherwise packed."""
    machine.await_("grep -q 'part 12' /var/log/user-data.log")

    def said(data: bytes) -> str:
        given = base64.b64encode(data).decode()
        machine.run(f"echo {given} | base64 -d >/run/user-data")
        return machine.run("/etc/init.d/user-data 2>/dev/null")

    log = machine.run("grep -v 'exec: line' /var/log/user-data.log")
    assert log == CARRIED_OUT
    whole = archive().as_bytes()
    assert said(gzip.compress(whole)) == CARRIED_OUT
    assert said(whole.replace(b"\n", b"\r\n")) == CARRIED_OUT
    text = "user-data: the user data"
    assert said(b"touch ran") == f"{text} {NO_SCRIPT} what begins with 'touch ran'\n"
    assert said(gzip.compress(whole)[:-20]) == f"{text} is not carried out: it is damaged\n"


def test_without_sftp_and_on_the_disk_that_was_started(
    ttylinux: guest.GuestImage, standard: guest.GuestImage, tmp_path: Path
) -> None:
    unpack(standard, tmp_path / "copy")  # same labels and identifiers, on a bus that comes first
    copy = f"file={tmp_path / 'copy'},if=virtio,format=raw"
    machine = Machine(tmp_path, ttylinux, "ide", copy)
    # The older key, and user data in parts, neither encoded; and what would end all reading of it.
    machine.write_context(
        PATH="/nowhere", IFS="/", PUBLIC_KEY=machine.key, USER_DATA=archive().as_string()
    )
    with machine.running():
        assert "/dev/sda2 on / type ext4 " in machine.run("mount")
        assert "sda" in machine.run("ls /sys/block")
        assert machine.run("ls") == ""
        with machine.ssh() as client, pytest.raises((paramiko.SSHException, EOFError)):
            client.open_sftp()
        check_parts(machine)
        machine.run(soon("poweroff"))
        machine.await_end()
