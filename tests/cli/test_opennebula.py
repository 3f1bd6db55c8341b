"""The commands on a location that is a modern OpenNebula."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from endorsers import certified, pkcs12_file
from invoked import run
from looks import wait_for
from sshd import Greeter, free_port

from stratuslab_libcloud import Cloud, connect
from stratuslab_libcloud.cli import creation
from stratuslab_libcloud.cli.connect import connect_instance
from stratuslab_libcloud.cli.creation import create_image
from stratuslab_libcloud.cli.images import list_images, search_image, show_image
from stratuslab_libcloud.cli.instances import (
    describe_instance,
    kill_instance,
    shutdown_instance,
)
from stratuslab_libcloud.cli.metadata import deprecate_metadata, upload_metadata
from stratuslab_libcloud.cli.mounts import attach_volume, detach_volume
from stratuslab_libcloud.cli.options import Command
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.cli.transfers import download_volume, upload_image
from stratuslab_libcloud.cli.volumes import (
    create_volume,
    delete_volume,
    describe_volumes,
    update_volume,
)
from stratuslab_libcloud.sandbox.site import Sandbox


@pytest.fixture(scope="module")
def one(site: Sandbox) -> Iterator[Cloud]:
    cloud = connect(site.opennebula_config_path)
    yield cloud
    cloud.close()


def on(site: Sandbox, command: Command, *words: str) -> Result:
    return run(command, "-c", site.opennebula_config_path, *words)


def done(site: Sandbox, command: Command, *words: str) -> str:
    result = on(site, command, *words)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def shown(site: Sandbox, command: Command, *words: str) -> Any:
    return json.loads(done(site, command, "--json", *words))


def test_a_machine_from_begin_to_end(site: Sandbox, one: Cloud) -> None:
    image = one.images()[0].id
    vm_id = done(site, run_instance, "-q", image).partition(",")[0]
    (found,) = shown(site, describe_instance)
    assert (found["id"], found["image"]) == (vm_id, image)
    wait_for(lambda: one.machine(vm_id).running, True)
    assert "Running" in done(site, describe_instance, vm_id)
    done(site, kill_instance, vm_id)
    wait_for(one.machines, [])
    assert shown(site, describe_instance) == []


def test_a_machine_is_shut_down(site: Sandbox, one: Cloud) -> None:
    vm_id = done(site, run_instance, "-q", one.images()[0].id).partition(",")[0]
    wait_for(lambda: one.machine(vm_id).running, True)
    done(site, shutdown_instance, vm_id)
    wait_for(one.machines, [])


def test_a_volume_from_begin_to_end(site: Sandbox, one: Cloud) -> None:
    vm_id = done(site, run_instance, "-q", one.images()[0].id).partition(",")[0]
    wait_for(lambda: one.machine(vm_id).running, True)
    disk = done(site, create_volume, "-s1", "-tdata").split()[1]
    assert disk.isdecimal()
    done(site, update_volume, "-trenamed", disk)
    (found,) = shown(site, describe_volumes)
    assert (found["id"], found["name"], found["size"]) == (disk, "renamed", 1)
    attached = done(site, attach_volume, "-i", vm_id, disk)
    assert attached.startswith(f"ATTACHED {disk} in VM {vm_id} on /dev/vd")
    refused = on(site, attach_volume, "-i", vm_id, disk)
    assert (refused.exit_code, "already mounted" in refused.stdout) == (1, True)
    assert done(site, detach_volume, "-i", vm_id, disk).startswith(f"DETACHED {disk} from")
    assert done(site, delete_volume, disk) == f"DELETED {disk}\n"
    assert shown(site, describe_volumes) == []
    done(site, kill_instance, vm_id)
    wait_for(one.machines, [])


def test_a_machine_starts_with_a_volume(site: Sandbox, one: Cloud) -> None:
    disk = done(site, create_volume, "-s1", "-tdata").split()[1]
    image = one.images()[0].id
    vm_id = done(site, run_instance, "-q", f"--persistent-disk={disk}", image).partition(",")[0]
    assert one.volume(disk).users == 1
    done(site, kill_instance, vm_id)
    wait_for(one.machines, [])
    wait_for(lambda: one.volume(disk).users, 0)
    done(site, delete_volume, disk)


# What the engine has nothing for, and what to do instead.
@pytest.mark.parametrize(
    ("command", "words", "advice"),
    [
        (create_volume, ["--cow=3"], "make a snapshot, and a volume from that"),
        (create_volume, ["--rebase=3"], "save the node's disk with create_image()"),
        (download_volume, ["3", "never.img"], "read them in a node"),
        (upload_image, [__file__], "write to a volume from a node"),
    ],
    ids=["cow", "rebase", "download", "upload"],
)
def test_what_cannot_be_done_is_refused_with_advice(
    site: Sandbox, tmp_path: Path, command: Command, words: list[str], advice: str
) -> None:
    result = on(site, command, *words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert advice in result.stderr


def test_a_machine_that_becomes_an_image_is_refused(site: Sandbox, one: Cloud) -> None:
    told = ("--author=a", "--author-email=a@example.org", "--title=t", "--comment=c")
    words = ("--save", "--image-version=1", *told)
    result = on(site, run_instance, "-q", *words, one.images()[0].id)
    assert result.exit_code == 1
    assert "save a node with create_image()" in result.stderr
    assert one.machines() == []


def test_images_are_those_of_the_engine(site: Sandbox, one: Cloud) -> None:
    first = one.images()[0]
    rows = [line.split() for line in done(site, list_images).splitlines()]
    assert rows[0] == ["id", "os", "arch", "endorser", "name"]
    assert [row[0] for row in rows[1:]] == [image.id for image in one.images()]
    assert done(site, search_image, first.name[:8]).splitlines()[1].startswith(first.id)
    assert f"ID: {first.id}\n" in done(site, show_image, first.id)
    assert f"Name: {first.name}\n" in done(site, show_image, first.id)
    assert shown(site, show_image, first.id) == [
        {"id": first.id, "name": first.name, **first.details()}
    ]
    assert "ID: " in done(site, list_images, "--long")


def test_what_only_the_marketplace_has_is_refused_with_advice(
    site: Sandbox, tmp_path: Path
) -> None:
    metadata = tmp_path / "image.xml"
    metadata.write_text("<metadata/>")
    p12 = pkcs12_file(tmp_path / "key.p12", certified("P-256", email="a@example.org"))
    key = ("--p12-cert", str(p12), "--p12-password=geheim", "--email=a@example.org")
    image = "PAG0IrP3g8RVUUaDvFINgBAacn2"
    for command, words, advice in (
        (upload_metadata, [str(metadata)], "make images with create_image(), copy_image()"),
        (deprecate_metadata, [*key, image], "delete an image of your own with delete_image()"),
        # Nobody there has such a file, and should not be asked for it.
        (deprecate_metadata, ["--email=a@example.org", image], "or stratus-delete-volume"),
    ):
        result = on(site, command, *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert advice in result.stderr


# -- what waits for machines


@pytest.fixture
def no_machine(one: Cloud) -> Iterator[None]:
    yield
    for machine in one.machines():
        one.kill_machine(machine.id)
    wait_for(one.machines, [])


@pytest.fixture
def greeter(site: Sandbox, one: Cloud, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address where somebody says that he speaks SSH, and the file that names his port."""
    vm_id = done(site, run_instance, "-q", one.images()[0].id).partition(",")[0]
    address = str(one.machine(vm_id).address).rpartition(".")[0] + ".199"
    one.kill_machine(vm_id)
    port = free_port(address)
    with Greeter(address, port):
        text = site.opennebula_config_path.read_text()
        path = tmp_path / "more.cfg"
        path.write_text(text.replace("[opennebula]\n", f"[opennebula]\nssh_port = {port}\n"))
        path.chmod(0o600)
        yield address, path


@pytest.mark.usefixtures("no_machine")
class TestWaiting:
    @pytest.fixture
    def called(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        called: list[str] = []
        monkeypatch.setattr(os, "execvp", lambda _name, words: called.extend(words))
        return called

    def test_until_ssh_answers(
        self, site: Sandbox, one: Cloud, greeter: tuple[str, Path], called: list[str]
    ) -> None:
        address, path = greeter
        words = ["-c", str(path)]
        asked = ["--wait", "--address", address, one.images()[0].id]
        started = run(run_instance, *words, *asked)
        assert (started.exit_code, started.stderr) == (0, "")
        assert started.stdout.endswith(":: Done!\n")
        (machine,) = one.machines()
        assert f"Public ip: {machine.address}\n" in started.stdout
        connected = run(connect_instance, *words, machine.id, "--", "uname")
        assert (connected.exit_code, connected.output) == (0, "")
        assert called[-3:] == ["--", f"root@{machine.address}", "uname"]

    def test_a_machine_that_fails_is_not_waited_for(self, site: Sandbox, one: Cloud) -> None:
        site.opennebula.fail("boot", "injected: no memory")
        result = on(site, run_instance, "--wait", one.images()[0].id)
        assert result.exit_code == 1
        (machine,) = one.machines()
        words = f"machine {machine.id} is "
        assert words in result.stderr
        assert "DEPLOY: injected: no memory" in result.stderr
        connected = on(site, connect_instance, machine.id)
        assert (connected.exit_code, connected.stdout) == (1, "")
        assert "DEPLOY: injected: no memory" in connected.stderr

    @pytest.mark.parametrize("state", ["Poweroff", "Suspended"])
    def test_nor_is_one_that_rests(
        self, site: Sandbox, one: Cloud, called: list[str], state: str
    ) -> None:
        """Nothing more happens to it before somebody starts it."""
        vm_id = done(site, run_instance, "-q", one.images()[0].id).partition(",")[0]
        (one.stop_machine if state == "Poweroff" else one.suspend_machine)(vm_id)
        wait_for(lambda: one.machine(vm_id).resting, True)
        result = on(site, connect_instance, vm_id)
        assert (result.exit_code, called) == (1, [])
        assert f"machine {vm_id} is {state}: the cloud gives no reason" in result.stderr

    def test_what_the_scheduler_says_is_said_when_time_is_over(
        self, site: Sandbox, one: Cloud
    ) -> None:
        site.opennebula.fail("schedule", "Cannot dispatch VM: no room")
        result = on(site, run_instance, "--wait", "--timeout=0.3", one.images()[0].id)
        assert result.exit_code == 1
        assert "does not run yet, and the time is over: it is Pending (" in result.stderr
        assert "Cannot dispatch VM: no room" in result.stderr


# -- stratus-create-image


TOLD = ("--author=a", "--author-email=a@example.org", "--title=with-tools", "--comment=And tools.")


@pytest.mark.usefixtures("no_machine")
class TestCreateImage:
    @pytest.fixture
    def guest(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What is run on a machine, in the place of it."""
        ran: list[str] = []

        def run_there(self: object, words: str, *_: object, quiet: bool = False) -> int:
            ran.append(words)
            return 0

        monkeypatch.setattr(creation._Guest, "run", run_there)
        monkeypatch.setattr("stratuslab_libcloud.cli.waiting._greets", lambda *_: True)
        return ran

    def test_a_machine_is_stopped_saved_and_ended(
        self, site: Sandbox, one: Cloud, guest: list[str]
    ) -> None:
        words = ("--installer=apt", "-a", "gcc", *TOLD)
        said = done(site, create_image, *words, one.images()[0].id)
        assert guest[-1].endswith("install -- gcc")
        image_id = re.findall("^IMAGE ([0-9]+)$", said, re.MULTILINE)[-1]
        assert "a@example.org" not in said  # nobody sends mail
        image = one.image(image_id).details()
        assert (one.image(image_id).name, image["state"]) == ("with-tools", "READY")
        assert image["description"] == "And tools."
        wait_for(one.machines, [])
        vm_id = done(site, run_instance, "-q", image_id).partition(",")[0]
        wait_for(lambda: one.machine(vm_id).running, True)
        one.kill_machine(vm_id)
        one.delete_image(image_id)

    def test_what_cannot_be_saved_is_left(
        self, site: Sandbox, one: Cloud, guest: list[str]
    ) -> None:
        site.opennebula.fail("save as", "injected: full")
        result = on(site, create_image, "-q", *TOLD, one.images()[0].id)
        assert (result.exit_code, result.stdout) == (1, "")
        (machine,) = one.machines()
        assert f"machine {machine.id} is left, with all that was done on it" in result.stderr
        assert "injected: full" in result.stderr
        (left,) = [image for image in one.images() if image.name == "with-tools"]
        one.delete_image(left.id)

    @pytest.mark.parametrize(
        ("words", "advice"),
        [
            (["--title=a/b"], "the image name 'a/b' must not contain '/'"),
            (["-a", "gcc"], "give --installer"),
            (["--persistent-disk=x"], "'x' is not the id of a volume"),
        ],
        ids=["name", "installer", "disk"],
    )
    def test_what_is_wrong_is_said_before_anything_is_done(
        self, site: Sandbox, one: Cloud, words: list[str], advice: str
    ) -> None:
        result = on(site, create_image, "-q", *TOLD, *words, one.images()[0].id)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert advice in result.stderr
        assert one.machines() == []
