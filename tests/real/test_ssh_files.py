"""Files through the SSH channel, on every kind of server; Libcloud over SFTP is the measure."""

import errno
import io
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import paramiko
import pytest
from libcloud.compute.ssh import BaseSSHClient, ParamikoSSHClient
from present import present
from sshd import AT_COMMAND, AT_LOGIN, FLAVOURS, FaultySshd, Sshd, free_port, make_key, needed

from stratuslab_libcloud.errors import InvalidValueError
from stratuslab_libcloud.ssh import files
from stratuslab_libcloud.ssh.files import ChannelClient, CommandTimeoutError

pytestmark = needed

EVERY_BYTE = bytes(range(256))
NAMES = ["plain", "-rf", "--", "two words", "$(id)`id`", "'\"", "ünïcödé", "*", "a\\b", "!", "a;b"]


class Machine:
    """
    The other end, seen from both sides.

    :ivar home: the user's home directory; keys apart, it is empty when a test begins.
    :ivar libclouds: Libcloud's own client; one connection for all tests, which sessions that
        stayed open would exhaust.
    :ivar client: the one that a test is about.
    """

    client: Any

    def __init__(self, folder: Path, flavour: str) -> None:
        key = folder / "key"
        self.sshd = Sshd(folder, "127.0.0.1", free_port("127.0.0.1"), flavour)
        self.sshd.authorized_keys.write_text(make_key(key, "ed25519"))
        self.home = self.sshd.home
        self.libclouds = ParamikoSSHClient(
            "127.0.0.1", self.sshd.port, self.sshd.username, key_files=str(key), timeout=10
        )

    def files(self) -> dict[str, bytes]:
        """All that there is, by name from the home directory."""
        found = (p for p in self.home.rglob("*") if p.is_file() and ".ssh" not in p.parts)
        return {str(path.relative_to(self.home)): path.read_bytes() for path in found}

    def permissions(self, name: str) -> int:
        return (self.home / name).stat().st_mode & 0o7777


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Machine]]:
    found = {name: Machine(tmp_path_factory.mktemp("machine"), name) for name in FLAVOURS}
    with ExitStack() as stack:
        for each in found.values():
            stack.enter_context(each.sshd)
            each.libclouds.connect()
            stack.callback(each.libclouds.close)
        yield found


@pytest.fixture(params=FLAVOURS)
def machine(request: Any, machines: dict[str, Machine], tmp_path: Path) -> Machine:
    found = emptied(machines[request.param], tmp_path)
    found.client = ChannelClient(found.libclouds)
    return found


@pytest.fixture(params=[*FLAVOURS, "Libcloud's own client"])
def either(request: Any, machines: dict[str, Machine], tmp_path: Path) -> Machine:
    """What is asserted of these is so with Libcloud's client as well."""
    ours = request.param in FLAVOURS
    found = emptied(machines[request.param if ours else "with SFTP"], tmp_path)
    found.client = ChannelClient(found.libclouds) if ours else found.libclouds
    found.libclouds.sftp_client = None  # or Libcloud's goes on in the directory of the test before
    return found


def emptied(machine: Machine, rubbish: Path) -> Machine:
    for path in machine.home.iterdir():
        if path.name != ".ssh":
            path.rename(rubbish / path.name)
    return machine


def test_a_file_goes_to_the_home_directory(either: Machine) -> None:
    path = either.client.put("script.sh", "#!/bin/sh\n", chmod=0o755)
    assert path == str(either.home / "script.sh")
    assert either.files() == {"script.sh": b"#!/bin/sh\n"}
    assert either.permissions("script.sh") == 0o755


def test_missing_directories_are_made(either: Machine) -> None:
    path = str(either.home / "a" / "b c" / "file")
    assert either.client.put(path, "x") == path
    assert either.client.putfo(path + "2", io.BytesIO(b"y"), chmod=0o640) == path + "2"
    assert either.files() == {"a/b c/file": b"x", "a/b c/file2": b"y"}
    assert either.permissions("a/b c/file2") == 0o640


@pytest.mark.parametrize("contents", [EVERY_BYTE, b"", "", "grüße\n", b"%s\\0%%\r\n\0"], ids=repr)
def test_contents_arrive_byte_for_byte(either: Machine, contents: str | bytes) -> None:
    either.client.put("file", contents)
    either.client.putfo("file2", io.BytesIO(either.files()["file"]))
    expected = contents.encode() if isinstance(contents, str) else contents
    assert either.files() == {"file": expected, "file2": expected}


def test_a_second_file_takes_the_place_of_the_first(either: Machine) -> None:
    either.client.put("file", "long contents")
    either.client.put("file", "short")
    assert either.files() == {"file": b"short"}


def test_a_file_can_be_appended_to(either: Machine) -> None:
    either.client.put("new", "one\n", mode="a")
    either.client.put("new", b"two\n", mode="a")
    assert either.files() == {"new": b"one\ntwo\n"}


def test_a_secret_file_stays_secret(either: Machine) -> None:
    either.client.put("file", "", chmod=0o600)
    either.client.put("file", "secret")
    assert either.permissions("file") == 0o600


def test_a_link_is_followed(either: Machine) -> None:
    (either.home / "link").symlink_to("target")
    either.client.put("link", "x")
    assert (either.home / "link").is_symlink()
    assert (either.home / "target").read_bytes() == b"x"


def test_a_deleted_file_is_gone(either: Machine) -> None:
    either.client.put("file", "x")
    assert either.client.delete("file") is True
    assert either.files() == {}


def test_what_is_not_there_cannot_be_deleted(either: Machine) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        either.client.delete("nothing")
    assert caught.value.errno == errno.ENOENT


def test_any_name_will_do(either: Machine) -> None:
    for name in NAMES:
        assert either.client.put(name, name) == str(either.home / name)
    assert either.files() == {name: name.encode() for name in NAMES}
    for name in NAMES:
        either.client.delete(name)
    assert either.files() == {}


@pytest.mark.parametrize("path", ["", "directory", "file/below", "full"])
def test_what_cannot_be_written_is_an_error_and_leaves_nothing(machine: Machine, path: str) -> None:
    (machine.home / "directory").mkdir()
    (machine.home / "file").write_text("as it was")
    (machine.home / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot be written: .") as caught:
        machine.client.put(path, "x" * 100_000)
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError, match=r"cannot be written: ."):
        machine.client.putfo(path, io.BytesIO(b"x"), chmod=0o600)
    assert machine.files() == {"file": b"as it was"}


def test_a_full_disk_is_named(machine: Machine) -> None:
    (machine.home / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        machine.client.put("full", "x")


def test_a_directory_is_not_deleted(machine: Machine) -> None:
    (machine.home / "directory").mkdir()
    with pytest.raises(OSError, match=r"directory cannot be removed: ."):
        machine.client.delete("directory")
    assert (machine.home / "directory").is_dir()


def test_what_is_not_permitted_is_a_permission_error() -> None:
    """A client that answers what root, whom these tests may run as, never hears."""

    class Refused(ChannelClient):
        def run(self, cmd: str, timeout: float | None = None) -> tuple[str, str, int]:
            return "", "rm: can't remove '/x': Permission denied\n", 1

    with pytest.raises(PermissionError, match="/x cannot be removed: rm"):
        Refused(BaseSSHClient("nowhere")).delete("/x")


def test_no_other_way_of_opening_is_known(machine: Machine) -> None:
    with pytest.raises(InvalidValueError, match="'r\\+'"):
        machine.client.put("file", "x", mode="r+")
    assert machine.files() == {}


def test_a_relative_path_is_the_homes_whatever_came_before(machine: Machine) -> None:
    machine.client.put(str(machine.home / "etc" / "file"), "1")
    assert machine.client.put("a/b/file", "2") == str(machine.home / "a" / "b" / "file")
    assert machine.client.put("file", "3") == str(machine.home / "file")
    machine.client.delete("a/b/file")
    assert machine.files() == {"etc/file": b"1", "file": b"3"}


def test_any_open_file_will_do(machine: Machine) -> None:
    part_read = io.BytesIO(b"header, contents")
    part_read.seek(8)
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe")
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        machine.client.putfo("rest", part_read)
        machine.client.putfo("pipe", pipe)
        machine.client.putfo("text", io.StringIO("grüße"))
    expected = {"rest": b"contents", "pipe": b"from a pipe", "text": "grüße".encode()}
    assert machine.files() == expected


def test_large_files_arrive_whole(machine: Machine) -> None:
    contents = random.Random(0).randbytes(10_000_001)
    machine.client.putfo("large", io.BytesIO(contents))
    machine.client.put("large2", contents[:1_000_000])
    machine.client.put("large2", contents[1_000_000:], mode="a")
    assert machine.files() == {"large": contents, "large2": contents}


def test_contents_are_not_seen_in_the_process_list(machine: Machine) -> None:
    """Or in Libcloud's debug log, which has every command."""
    commands = []
    run = paramiko.Channel.exec_command

    def spy(channel: paramiko.Channel, command: str) -> None:
        commands.append(command)
        run(channel, command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paramiko.Channel, "exec_command", spy)
        machine.client.put("file", "password")
    assert len(commands) == 1
    assert "password" not in commands[0]


def test_noise_of_a_profile_does_no_harm(machine: Machine) -> None:
    """As a ``.bashrc`` may make it; these shells have no such file, the command gets it instead."""
    run = machine.client.client.exec_command
    with pytest.MonkeyPatch.context() as patch:
        noise = "echo Welcome; echo Hello >&2"
        patch.setattr(machine.client.client, "exec_command", lambda c: run(f"{noise}; {c}"))
        assert machine.client.put("file", "x") == str(machine.home / "file")


@pytest.mark.parametrize("mode", ["w", "a"])
def test_a_connection_that_breaks_leaves_what_was_there(machine: Machine, mode: str) -> None:
    machine.client.put("file", "as it was")
    send = paramiko.Channel.sendall
    seen: set[int] = set()

    def unplug(channel: paramiko.Channel, block: bytes) -> None:
        send(channel, block)
        wait_for(lambda: len(machine.files()) == 2)
        seen.update(machine.permissions(name) for name in machine.files() if name != "file")
        channel.get_transport().close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paramiko.Channel, "sendall", unplug)
        with pytest.raises(OSError, match="file cannot be written: the connection was lost"):
            machine.client.put("file", b"x" * 1_000_000, mode=mode)
    assert seen == {0o600}, "others can read what is on its way"
    wait_for(lambda: len(machine.files()) == 1)
    assert machine.files() == {"file": b"as it was"}
    machine.client.connect()
    machine.client.put("file", ", and more", mode=mode)
    assert machine.files()["file"].endswith(b", and more")


def wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(100):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError("in vain")


def test_libclouds_own_client_needs_sftp(machines: dict[str, Machine]) -> None:
    with pytest.raises(paramiko.SSHException):
        machines["without SFTP"].libclouds.put("file", "x")


def test_all_else_is_libclouds_client(machine: Machine) -> None:
    assert machine.client.run("echo out; echo err >&2; exit 3") == ("out\n", "err\n", 3)
    assert machine.client.port == machine.sshd.port
    assert machine.client.username == machine.sshd.username
    machine.client.close()
    assert machine.client.connect() is True


class TestCommands:
    def test_their_standard_input_is_empty(self, machine: Machine) -> None:
        assert machine.client.run("cat; read x; echo done", timeout=60) == ("done\n", "", 0)

    def test_all_that_they_say_is_there(self, machine: Machine) -> None:
        command = "head -c 5000000 /dev/zero >&2; head -c 5000000 /dev/zero; echo end"
        output, errors, status = machine.client.run(command, timeout=60)
        assert (output[5_000_000:], len(errors), status) == ("end\n", 5_000_000, 0)

    def test_but_not_without_limit(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(files, "_MOST_KEPT", 1000)
        output, errors, status = machine.client.run("head -c 300000 /dev/zero; echo e >&2")
        assert (len(output), errors, status) == (1000, "e\n", 0)

    def test_what_goes_on_in_the_background_is_not_waited_for(self, machine: Machine) -> None:
        stays = machine.home / "stays"
        stays.write_text("")
        command = f"(while [ -e {stays} ]; do sleep 0.1; done) & echo started"
        try:
            assert machine.client.run(command, timeout=60) == ("started\n", "", 0)
        finally:
            stays.unlink()

    def test_one_that_takes_too_long_is_ended(self, machine: Machine) -> None:
        with pytest.raises(CommandTimeoutError, match=r"^echo x; .* did not finish in 5 sec") as it:
            machine.client.run("echo x; echo y >&2; exec sleep 60", timeout=5)
        assert (it.value.stdout, it.value.stderr) == ("x\n", "y\n")
        machine.client.connect()
        assert machine.client.run("echo again") == ("again\n", "", 0)

    @pytest.mark.parametrize("flood", ["cat /dev/zero", "cat /dev/zero >&2"])
    def test_one_that_floods_is_ended(self, machine: Machine, flood: str) -> None:
        with pytest.raises(CommandTimeoutError):
            machine.client.run(flood, timeout=0.2)  # meanwhile it takes a whole processor
        machine.client.connect()

    def test_a_profile_that_says_much_does_not_stop_a_file(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = machine.client.client.exec_command
        noise = "head -c 5000000 /dev/zero >&2"
        monkeypatch.setattr(machine.client.client, "exec_command", lambda c: run(f"{noise}; {c}"))
        ChannelClient(machine.libclouds, limit=60).put("file", "x" * 5_000_000)
        assert len(machine.files()["file"]) == 5_000_000


def faulty_client(server: FaultySshd, folder: Path) -> ParamikoSSHClient:
    make_key(folder / "key", "ed25519")
    return ParamikoSSHClient("127.0.0.1", server.port, key_files=str(folder / "key"), timeout=60)


@pytest.mark.parametrize("point", AT_LOGIN)
def test_logging_in_ends_in_time(point: str, tmp_path: Path) -> None:
    with FaultySshd("127.0.0.1", 0, point) as server:
        client = ChannelClient(faulty_client(server, tmp_path), limit=60)
        before = time.monotonic()
        client.log_in_by(before + 1)
        with pytest.raises(TimeoutError):
            client.connect()
        assert time.monotonic() - before < 15
        assert str(client.trouble) == "it does not answer"
        client.close()


THINGS: list[Callable[[ChannelClient], object]] = [
    lambda client: client.run("true"),
    lambda client: client.put("file", "x" * 10_000_000),
    lambda client: client.putfo("file", io.BytesIO(b"x")),
    lambda client: client.delete("file"),
]


@pytest.mark.parametrize("point", AT_COMMAND)
def test_whatever_is_done_ends_in_time(point: str, tmp_path: Path) -> None:
    def check(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        with FaultySshd("127.0.0.1", 0, point) as server:
            libclouds = faulty_client(server, folder)
            libclouds.connect()
            (folder / "key").unlink()
            before = time.monotonic()
            with pytest.raises(CommandTimeoutError, match=r"did not finish in 1 seconds$"):
                THINGS[number](ChannelClient(libclouds, limit=1))
            assert time.monotonic() - before < 15
            assert not present(libclouds.client.get_transport()).is_active()
            libclouds.close()

    with ThreadPoolExecutor(len(THINGS)) as pool:
        list(pool.map(check, range(len(THINGS))))


def test_an_interrupt_does_not_wait_for_the_machine(tmp_path: Path) -> None:
    with FaultySshd("127.0.0.1", 0, "mute in a new key exchange") as server:
        libclouds = faulty_client(server, tmp_path)
        libclouds.connect()
        timer = threading.Timer(1, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))

        def run() -> None:
            timer.start()
            ChannelClient(libclouds, limit=120).run("true")

        before = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            run()
        assert time.monotonic() - before < 20
        timer.join()
        libclouds.close()


def test_a_command_that_took_too_long_crosses_process_borders() -> None:
    error = pickle.loads(pickle.dumps(CommandTimeoutError("ls", 2, "out", "err")))
    assert (error.cmd, error.timeout, error.stdout, error.stderr) == ("ls", 2, "out", "err")
    assert str(error) == "ls did not finish in 2 seconds"
