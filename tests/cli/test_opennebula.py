"""The commands on a location that is a modern OpenNebula."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from endorsers import certified, pkcs12_file
from invoked import run
from looks import wait_for

from stratuslab_libcloud import Cloud, connect
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
    cloud = connect(site.config_path, "opennebula")
    yield cloud
    cloud.close()


def on(site: Sandbox, command: Command, *words: str) -> Result:
    return run(command, site, "-S", "opennebula", *words)


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
