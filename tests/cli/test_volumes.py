"""The commands about persistent disks, as the User's Guide has them (chapter 7)."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canned import Canned
from click.testing import CliRunner
from invoked import done, refused, run

from stratuslab_libcloud import Cloud, connect
from stratuslab_libcloud.cli.instances import kill_instance
from stratuslab_libcloud.cli.mounts import attach_volume, detach_volume
from stratuslab_libcloud.cli.options import Command
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.cli.volumes import (
    create_volume,
    delete_volume,
    describe_volumes,
    update_volume,
)
from stratuslab_libcloud.sandbox.site import Sandbox

UUID = "1e8e9104-681c-4269-8aae-e513c6723ac6"
OTHER = "5822c376-9ce1-434e-95d1-cdaa240cd47c"
USERS = {"testor1": "secret-1", "testor2": "secret-2"}
ALL = {
    create_volume: ["-s1"],
    update_volume: ["--public", UUID],
    describe_volumes: [],
    delete_volume: [UUID],
    attach_volume: ["-i0", UUID],
    detach_volume: ["-i0", UUID],
}


@pytest.fixture(scope="module")
def users() -> dict[str, str]:
    return USERS


@pytest.fixture(scope="module")
def theirs(site: Sandbox) -> Iterator[str]:
    """The public disk of testor2."""
    cloud = connect(site.config_path, "testor2")
    yield cloud.create_volume(5, "mypublic-disk", "public").id
    cloud.close()


@pytest.fixture(scope="module")
def vm_id(site: Sandbox, image: str) -> str:
    """The id of a machine that runs."""
    return done(run_instance, site, "-q", image).partition(",")[0]


@pytest.fixture(autouse=True)
def _no_disk_is_left(cloud: Cloud, site: Sandbox) -> Iterator[None]:
    yield
    for volume in cloud.volumes():
        if volume.users:
            cloud.detach_volume(volume.id)
        cloud.delete_volume(volume.id)


def create(site: Sandbox, *words: str) -> str:
    """The UUID of a new disk."""
    return done(create_volume, site, "--size=5", *words).removeprefix("DISK ").strip()


def block(volume_id: str, visibility: str, tag: str, size: int, users: int = 0) -> str:
    """A disk in the guide's listing (7.2), with the type, which its service did not say."""
    return (
        f":: DISK {volume_id}\n"
        "\tcreated: DATE\n"
        f"\tvisibility: {visibility}\n"
        f"\ttag: {tag}\n"
        "\towner: testor1\n"
        f"\tsize: {size}\n"
        f"\tusers: {users}\n"
        "\ttype: DATA_IMAGE_RAW_READ_WRITE\n"
    )


def undated(printed: str) -> str:
    return re.sub(r"created: \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\n", "created: DATE\n", printed)


class TestGuide:
    """The command lines of chapter 7, and what it shows of them."""

    def test_creating_and_listing(self, site: Sandbox, theirs: str) -> None:
        printed = done(create_volume, site, "--size=5", "--tag=myprivate-disk")
        assert re.fullmatch(r"DISK [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\n", printed)
        first = printed.split()[1]
        printed = done(create_volume, site, "--public", "--size=10", "--tag=mypublic-disk")
        second = printed.removeprefix("DISK ").strip()
        public = block(second, "public", "mypublic-disk", 10)
        listed = undated(done(describe_volumes, site))
        # Services since 2012 list an account's own disks only (pdisk-rest 4.3).
        assert listed == public + block(first, "private", "myprivate-disk", 5)
        assert done(update_volume, site, "--public", first) == ""
        listed = undated(done(describe_volumes, site))
        assert listed == public + block(first, "public", "myprivate-disk", 5)

    def test_where_the_endpoint_may_be(
        self, site: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"{site.url}/pdisk"
        login = f"[default]\nusername = testor1\npassword = {USERS['testor1']}\n"
        file = tmp_path / "my.cfg"
        file.touch(0o600)
        words = ["-c", str(file)]
        file.write_text(login)
        assert CliRunner().invoke(describe_volumes, words).exit_code == 1
        option = CliRunner().invoke(describe_volumes, [*words, "--pdisk-endpoint", url])
        with monkeypatch.context() as patch:
            patch.setenv("STRATUSLAB_PDISK_ENDPOINT", url)
            variable = CliRunner().invoke(describe_volumes, words)
        file.write_text(f"{login}pdisk_endpoint = {url}\n")
        key = CliRunner().invoke(describe_volumes, words)
        for result in (option, variable, key):
            assert (result.exit_code, result.stdout) == (0, "No disk to show\n")

    def test_the_help_lists_the_types(self, site: Sandbox) -> None:
        printed = done(update_volume, site, "-h")
        for option in (
            *("--tag", "--private", "--public", "--machine-image-origin", "--machine-image-live"),
            *("--data-image-origin", "--data-image-live", "--data-image-raw-readonly"),
            "--data-image-raw-read-write",
        ):
            assert f"{option} " in printed

    def test_a_machine_that_starts_with_a_disk(self, site: Sandbox, image: str) -> None:
        disk = create(site)
        started = done(run_instance, site, f"--persistent-disk={disk}", image)
        (vm_id,) = re.findall(r"vm ID: (\d+)", started)
        result = run(detach_volume, site, "-i", vm_id, disk)
        assert result.stdout == f"DISK {disk}: Disk have not been hot-plugged\n"
        assert (result.exit_code, result.stderr) == (1, "")
        assert "users: 1\n" in done(describe_volumes, site, disk)
        done(kill_instance, site, vm_id)
        assert "users: 0\n" in done(describe_volumes, site, disk)

    def test_attaching_and_detaching(self, site: Sandbox, vm_id: str) -> None:
        first, second = create(site), create(site)
        assert done(attach_volume, site, "-i", vm_id, first, second) == (
            f"ATTACHED {first} in VM {vm_id} on /dev/vdc\n"
            f"ATTACHED {second} in VM {vm_id} on /dev/vdd\n"
        )
        assert "users: 1\n" in done(describe_volumes, site, first)
        assert done(detach_volume, site, "-i", vm_id, first, second) == (
            f"DETACHED {first} from VM {vm_id} on /dev/vdc\n"
            f"DETACHED {second} from VM {vm_id} on /dev/vdd\n"
        )
        result = run(detach_volume, site, "-i", vm_id, first)  # no longer attached
        assert result.stdout == f"DISK {first}: Disk have not been hot-plugged\n"
        assert (result.exit_code, result.stderr) == (1, "")

    def test_deleting(self, site: Sandbox, theirs: str) -> None:
        disk, other = create(site), create(site, "--public", "--tag=mypublic-disk")
        assert done(delete_volume, site, disk) == f"DELETED {disk}\n"
        listed = undated(done(describe_volumes, site))
        assert listed == block(other, "public", "mypublic-disk", 5)
        result = run(delete_volume, site, theirs)
        assert result.stderr == "  [ERROR] Service error: Not enough rights to delete disk\n"
        assert (result.exit_code, result.stdout) == (1, "")


class TestCreate:
    def test_as_it_was_asked_for(self, site: Sandbox, cloud: Cloud) -> None:
        tag = "x" * 40
        (shown,) = json.loads(
            done(create_volume, site, "-s", "1024", "-t", tag, "--pub", "--private", "--json")
        )
        volume = cloud.volume(shown["id"])
        assert (volume.name, volume.size, volume.visibility) == (tag, 1024, "private")
        assert (shown["name"], shown["size"], shown["visibility"]) == (tag, 1024, "private")
        assert cloud.volume(create(site)).name == ""

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            ([], "Missing mandatory -s/--size option"),
            (["-s0"], "Volume size must be a valid integer between 1 and 1024"),
            (["-s", "1025"], "Volume size must be a valid integer between 1 and 1024"),
            (["--size", "-5"], "Volume size must be a valid integer between 1 and 1024"),
            (["--size=5GB"], "Invalid value for '-s' / '--size': '5GB' is not a valid integer."),
            (["-s1", "-t", "x" * 41], "Tags must have at most 40 characters"),
            (["--cow", "x"], "Invalid UUID x"),
            (["--cow", UUID, f"--rebase={UUID}"], "--cow and --rebase exclude each other"),
        ],
        ids=lambda value: " ".join(value)[:20] if isinstance(value, list) else "",
    )
    def test_what_is_refused(
        self, site: Sandbox, cloud: Cloud, words: list[str], text: str
    ) -> None:
        line = refused(2, create_volume, site, *words)
        assert line == f"{text} (see stratus-create-volume --help)"
        assert cloud.volumes() == []

    def test_an_interrupt_says_what_there_may_be(
        self, site: Sandbox, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(type(cloud), "create_volume", interrupted)
            result = run(create_volume, site, "-s1")
        assert result.exit_code == 130
        assert "a disk may have been created: see stratus-describe-volumes" in result.stderr
        assert result.stderr.endswith("  [ERROR] interrupted\n")


class TestUpdate:
    def test_what_is_given_is_changed(self, site: Sandbox, cloud: Cloud) -> None:
        disk = create(site, "--tag=old")
        words = ["--machine-image-live", "-t", "new", disk.upper(), "--data-image-raw-reado"]
        assert done(update_volume, site, *words) == ""
        volume = cloud.volume(disk)
        assert (volume.name, volume.type) == ("new", "DATA_IMAGE_RAW_READONLY")
        assert volume.visibility == "private"
        done(update_volume, site, "--private", "--public", disk)
        assert cloud.volume(disk)._replace(visibility="private") == volume
        done(update_volume, site, "--tag=", disk)
        assert cloud.volume(disk).name == ""

    def test_nothing_to_change(self, site: Sandbox) -> None:
        result = run(update_volume, site, UUID)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith("  [WARNING] there is nothing to change: give --tag, ")

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["--public"], "A disk UUID must be supplied"),
            (["--public", UUID, OTHER], "Only one disk UUID can be specified"),
            (["--public", "my-disk"], "Invalid UUID my-disk"),
            (["-t", "x" * 41, UUID], "Tags must have at most 40 characters"),
            (["--data-image-wrong", UUID], "No such option"),
            (["--data-image-raw", UUID], "ambiguous option: --data-image-raw"),
        ],
        ids=lambda value: " ".join(value)[:20] if isinstance(value, list) else "",
    )
    def test_what_is_refused(self, site: Sandbox, words: list[str], text: str) -> None:
        line = refused(2, update_volume, site, *words)
        assert line.startswith(text)

    def test_of_others(self, site: Sandbox, theirs: str) -> None:
        line = refused(1, update_volume, site, "--tag=mine", theirs)
        assert line == f"Service error: insufficient rights to update disk ({theirs})"
        line = refused(1, update_volume, site, "--tag=mine", UUID)
        assert line == f"Service error: disk ({UUID}) does not exist"


class TestDescribe:
    def shown(self, site: Sandbox, *words: str) -> list[str]:
        printed = done(describe_volumes, site, *words)
        found = re.findall("^:: DISK (.*)$", printed, re.MULTILINE)
        assert found == [
            disk["id"] for disk in json.loads(done(describe_volumes, site, "--json", *words))
        ]
        assert found or printed == "No disk to show\n"
        return found

    def test_filters(self, site: Sandbox) -> None:
        assert self.shown(site) == []
        one, two = create(site, "--tag=my: a+b"), create(site, "--tag=your", "--public")
        assert self.shown(site) == [two, one]
        for words, found in (
            (["-f", "tag:^my"], [one]),
            (["-f", "tag: ^my: a"], [one]),  # the first colon separates
            (["--filter=tag:o", "--filter=tag:r$"], [two]),  # all of them
            (["-f", "tag:my", "-f", "visibility:public"], []),
            (["-f", "size:5", "-f", "users:0"], [two, one]),
            (["-f", "count:0"], [two, one]),
            (["-f", "owner"], [two, one]),  # has one
            (["-f", "identifier"], []),
            (["-f", "nothing:"], []),
            (["-f", f"uuid:{one}"], [one]),
            ([one], [one]),
            ([two.upper()], [two]),
            ([one, two], [two, one]),  # one of them
            ([one, UUID], [one]),
            ([UUID], []),
            ([one, two, "-f", "tag:^my"], [one]),
        ):
            assert self.shown(site, *words) == found, words

    def test_a_bad_filter(self, site: Sandbox) -> None:
        line = refused(2, describe_volumes, site, "-f", "tag:(")
        assert line.startswith("Invalid filter tag:(: missing )")

    def test_json(self, site: Sandbox, cloud: Cloud) -> None:
        create(site, "--tag=mine")
        (volume,) = cloud.volumes()
        (shown,) = json.loads(done(describe_volumes, site, "--json"))
        assert shown == volume._asdict()

    def test_what_another_service_says(self, site: Sandbox) -> None:
        disk = {
            "uuid": UUID,
            "tag": "my\x1b[2Jdisk\nDISK",
            "quarantine": "2015-02-11 09:30:12.481516",
            "count": "1",
            "owner": "maria",
            "identifier": "snapshot:x",
            "size": "1,024",
        }
        body = json.dumps([disk]).encode()
        with Canned([(200, "application/json", body)]) as server:
            printed = done(describe_volumes, site, f"--pdisk-endpoint={server.url}")
        assert printed == (
            f":: DISK {UUID}\n"
            "\ttag: my [2Jdisk DISK\n"
            "\towner: maria\n"
            "\tsize: 1024\n"
            "\tusers: 1\n"
            "\tidentifier: snapshot:x\n"
            "\tquarantine: 2015-02-11 09:30:12.481516\n"
        )


class TestDelete:
    def test_the_others_are_deleted_when_one_is_not(
        self, site: Sandbox, cloud: Cloud, theirs: str
    ) -> None:
        one, two = create(site), create(site)
        result = run(delete_volume, site, one, theirs, UUID, two.upper())
        assert (result.exit_code, result.stdout) == (1, f"DELETED {one}\nDELETED {two}\n")
        assert result.stderr == (
            f"  [ERROR] {theirs}: Service error: Not enough rights to delete disk\n"
            f"  [ERROR] {UUID}: Service error: disk ({UUID}) does not exist\n"
        )
        assert cloud.volumes() == []

    def test_a_disk_in_use(self, site: Sandbox, vm_id: str) -> None:
        disk = create(site)
        done(attach_volume, site, "-i", vm_id, disk)
        line = refused(1, delete_volume, site, disk)
        assert line == f"Service error: disk ({disk}) is in use and can't be deleted"

    def test_nothing_is_deleted_when_a_uuid_is_none(self, site: Sandbox, cloud: Cloud) -> None:
        assert "At least one disk UUID is required" in refused(2, delete_volume, site)
        disk = create(site)
        line = refused(2, delete_volume, site, disk, "my-disk")
        assert line == "Invalid UUID my-disk (see stratus-delete-volume --help)"
        assert cloud.volume(disk).id == disk


class TestMounts:
    def test_json(self, site: Sandbox, vm_id: str) -> None:
        disk = create(site)
        shown = [{"id": disk, "machine": vm_id, "device": "vdc"}]
        assert json.loads(done(attach_volume, site, "--json", "-i", vm_id, disk)) == shown
        other = create(site)
        result = run(detach_volume, site, "--json", f"--instance={vm_id}", other, disk)
        assert (result.exit_code, json.loads(result.stdout)) == (1, shown)
        assert result.stderr.startswith(f"  [ERROR] {other}: ")
        assert "Disk have not been hot-plugged (HTTP 404)" in result.stderr

    def test_the_others_are_attached_when_one_is_not(
        self, site: Sandbox, cloud: Cloud, vm_id: str
    ) -> None:
        taken, free = create(site), create(site)
        done(attach_volume, site, "-i", vm_id, taken)
        result = run(attach_volume, site, "-i", vm_id, taken, UUID, free)
        assert (result.exit_code, result.stderr) == (1, "")
        assert result.stdout == (
            f"DISK {taken}: Disk not available: it is already mounted\n"
            f"DISK {UUID}: disk ({UUID}) does not exist\n"
            f"ATTACHED {free} in VM {vm_id} on /dev/vdd\n"
        )

    def test_a_machine_that_does_not_run(self, site: Sandbox, image: str) -> None:
        vm_id = done(run_instance, site, "-q", image).partition(",")[0]
        done(kill_instance, site, vm_id)
        line = refused(1, attach_volume, site, "-i", vm_id, UUID)
        assert line == f"VM {vm_id} is not in running state: it is Done"
        line = refused(1, attach_volume, site, "-i", "777", UUID)
        assert line.endswith("[VirtualMachineInfo] Error getting virtual machine [777].")

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["-i", "0"], "Please provide at least one persistent disk UUID to {}"),
            ([UUID], "Please provide a VM ID on which to {} disk"),
            (["-i", "-1", UUID], "Please provide a VM ID on which to {} disk"),
            (["-i", "one", UUID], "Invalid value for '-i' / '--instance': 'one' is not a valid"),
            (["-i", "0", UUID, "my-disk"], "Invalid UUID my-disk"),
        ],
        ids=lambda value: " ".join(value)[:10] if isinstance(value, list) else "",
    )
    def test_what_is_refused(self, site: Sandbox, words: list[str], text: str) -> None:
        assert refused(2, attach_volume, site, *words).startswith(text.format("attach"))
        assert refused(2, detach_volume, site, *words).startswith(text.format("detach"))

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            ((400, {"message": ["Disk have not been hot-plugged"]}), "HTTP 400"),
            ((200, {"target": "static"}), "it stays in node 41 until the node is stopped"),
            ((404, {"message": "The server has not found it"}), "not attached to node 41"),
        ],
        ids=["2011", "2015", "unknown"],
    )
    def test_not_plugged_whatever_the_service_says(
        self, site: Sandbox, answer: tuple[int, dict[str, Any]], text: str
    ) -> None:
        status, document = answer
        with Canned([(status, "application/json", json.dumps(document).encode())]) as server:
            words = [f"--pdisk-endpoint={server.url}", "-i", "41", UUID]
            result = run(detach_volume, site, *words)
            detailed = run(detach_volume, site, "-v", *words)
        assert (result.exit_code, result.stderr) == (1, "")
        assert result.stdout == f"DISK {UUID}: Disk have not been hot-plugged\n"
        assert detailed.stdout == result.stdout
        assert text in detailed.stderr

    def test_an_interrupt_says_what_there_may_be(
        self, site: Sandbox, cloud: Cloud, vm_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(_self: Cloud, _disk: str, _vm_id: str, sending: Any) -> None:
            sending()
            raise KeyboardInterrupt

        disk = create(site)
        with monkeypatch.context() as patch:
            patch.setattr(type(cloud), "attach_volume", interrupted)
            result = run(attach_volume, site, "-i", vm_id, disk)
        assert (result.exit_code, result.stdout) == (130, "")
        assert f"disk {disk} may have been attached: see stratus-describe" in result.stderr
        with monkeypatch.context() as patch:
            patch.setattr(type(cloud), "volume", lambda *_: interrupted(cloud, "", "", int))
            result = run(attach_volume, site, "-i", vm_id, disk)  # before anything was sent
        assert result.stderr == "\n  [ERROR] interrupted\n"


class TestErrors:
    """What each of them says when there is no service that it could ask."""

    @pytest.fixture(params=ALL, ids=lambda command: command.name)
    def command(self, request: pytest.FixtureRequest) -> Command:
        found: Command = request.param
        return found

    def test_a_password_is_asked_for(
        self, site: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "my.cfg"
        file.touch(0o600)
        file.write_text(f"[default]\nusername = testor1\npdisk_endpoint = {site.url}/pdisk\n")
        monkeypatch.setattr("stratuslab_libcloud.cli.options._interactive", lambda: True)
        words = ["-c", str(file)]
        result = CliRunner().invoke(describe_volumes, words, input=f"{USERS['testor1']}\n")
        assert (result.exit_code, result.stdout.strip()) == (0, "No disk to show")
        assert result.stderr.startswith(f"'testor1' at '{site.url}/pdisk' password:")
        assert USERS["testor1"] not in result.stderr

    def test_the_login_is_that_of_the_command_line(
        self, site: Sandbox, theirs: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STRATUSLAB_USERNAME", "testor1")
        monkeypatch.setenv("STRATUSLAB_PASSWORD", "wrong-one")
        for login in ("-u testor2 -p {}", "--pdisk-username=testor2 --pdisk-password={}"):
            words = login.format(USERS["testor2"]).split()
            assert f":: DISK {theirs}\n" in done(describe_volumes, site, *words)

    def test_a_wrong_password(self, site: Sandbox, command: Command) -> None:
        line = refused(1, command, site, "-p", "wrong-one", *ALL[command])
        assert "401" in line
        assert "check user name and password" in line
        assert "wrong-one" not in line

    def test_without_a_service(self, site: Sandbox, vm_id: str, command: Command) -> None:
        with Canned([]) as server:
            url = f"{server.url}/pdisk"
        words = [word.replace("-i0", f"-i{vm_id}") for word in ALL[command]]
        line = refused(1, command, site, f"--pdisk-endpoint={url}", *words)
        assert f"{url}: the connection was refused" in line

    def test_without_an_endpoint(self, tmp_path: Path, command: Command) -> None:
        file = tmp_path / "my.cfg"
        file.write_text("[default]\nusername = jane\npassword = x\n")
        file.chmod(0o600)
        result = CliRunner().invoke(command, ["-c", str(file), *ALL[command]])
        assert result.stdout == ""
        missing = "cloud" if command is attach_volume else "persistent disk"
        assert f"[ERROR] Missing {missing} endpoint. Please provide --" in result.stderr
        assert result.exit_code == 1

    def test_the_service_is_named_for_who_asks(self, site: Sandbox) -> None:
        result = run(describe_volumes, site, "-v")
        assert (result.exit_code, result.stdout) == (0, "No disk to show\n")
        assert result.stderr == f"Accessing storage service at: {site.url}/pdisk\n"

    def test_a_service_that_fails_to_create(self, site: Sandbox) -> None:
        body = json.dumps({"message": "no space", "code": 500}).encode()
        with Canned([(500, "application/json", body)]) as server:
            line = refused(1, create_volume, site, "-s1", f"--pdisk-endpoint={server.url}")
        assert line.startswith("Service error: no space; a disk tagged '' may have been created")

    def test_no_secret_of_an_answer_is_shown(self, site: Sandbox) -> None:
        body = json.dumps({"message": f"no {USERS['testor1']} here"}).encode()
        with Canned([(403, "application/json", body)]) as server:
            line = refused(1, delete_volume, site, f"--pdisk-endpoint={server.url}", UUID)
        assert line == "Service error: no *** here"


SCRIPT = """\
set -e
disk=$(stratus-create-volume --size=1 --tag=$1 | awk '/^DISK/ {print $2}')
test "$(stratus-describe-volumes -f tag:$1 | grep DISK | awk '{print $3}')" = $disk
test "$(stratus-describe-volumes $disk | sed -n 's/^.users: //p')" = 0
device=$(stratus-attach-volume -i $2 $disk | awk '/^ATTACHED/ {print $NF}')
stratus-detach-volume -i $2 $disk | grep "DETACHED $disk from VM $2 on $device" > out
stratus-detach-volume -i $2 $disk | grep -q 'hot-plugged'
test "$(stratus-delete-volume $disk)" = "DELETED $disk"
stratus-describe-volumes $disk | grep -c '^No disk to show'
"""


def test_a_script_of_2013(site: Sandbox, vm_id: str, home: Path, tmp_path: Path) -> None:
    folder = Path(sys.executable).parent
    assert shutil.which("stratus-create-volume", path=str(folder))
    configuration = home / ".stratuslab"
    configuration.mkdir()
    shutil.copy(site.config_path, configuration / "stratuslab-user.cfg")
    finished = subprocess.run(
        ["sh", "-c", SCRIPT, "sh", "mine", vm_id],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "1\n", "")
