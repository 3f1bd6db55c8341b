"""Chapters 6, 7 and 9 of the User's Guide, on machines that run: QEMU, SSH, disks with data."""

import concurrent.futures
import contextlib
import filecmp
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from libcloud.compute.base import Node, NodeAuthSSHKey, StorageVolume
from libcloud.compute.deployment import (
    Deployment,
    FileDeployment,
    MultiStepDeployment,
    ScriptDeployment,
)
from libcloud.compute.types import DeploymentError, NodeState
from machines import processes, real_sandbox, soon, ssh, still, wait_for
from present import present
from sshd import KINDS, make_key

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import ConflictError, NodeFailedError, NotFoundError
from stratuslab_libcloud.sandbox.registering import register_image
from stratuslab_libcloud.sandbox.site import Sandbox

GIB = 1 << 30


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with real_sandbox() as site:
        yield site


@pytest.fixture(scope="module")
def driver(site: Sandbox) -> Iterator[StratusLabNodeDriver]:
    driver = StratusLabNodeDriver(stratuslab_user_config=site.config_path)
    yield driver
    driver.ex_close()


def start(driver: StratusLabNodeDriver, flavour: str = "standard", **options: Any) -> Node:
    options = {"name": "n", "size": driver.list_sizes()[0], **options}
    return driver.create_node(image=image(driver, flavour), **options)


def image(driver: StratusLabNodeDriver, flavour: str) -> Any:
    return next(image for image in driver.list_images() if image.name.startswith(flavour))


@pytest.fixture(scope="module")
def node(site: Sandbox, driver: StratusLabNodeDriver) -> Iterator[Node]:
    """A machine that runs, and does so for all tests that leave it as it is."""
    user_data = '#!/bin/sh\necho "it\'s $((6 * 7))" >/root/answer\n'
    node = start(driver, ex_user_data=user_data, ex_context={"COLOUR": "it's blue"})
    driver.wait_until_running([node], wait_period=0.2)
    ssh(site, node, "true")
    yield node
    if driver.ex_get_node(present(node.id)).state != NodeState.TERMINATED:
        driver.destroy_node(node)


# -- chapter 6


def test_a_machine_can_be_logged_in_to(site: Sandbox, node: Node) -> None:
    assert ssh(site, node, "uname -a").startswith("Linux sandbox ")
    assert ssh(site, node, "id -un") == "root\n"


def test_a_machine_has_the_memory_processors_and_swap_of_its_size(
    site: Sandbox, driver: StratusLabNodeDriver, node: Node
) -> None:
    size = driver.list_sizes()[0]
    (line,) = [line for line in ssh(site, node, "cat /proc/meminfo").splitlines() if "MemT" in line]
    assert 0.8 * size.ram < int(line.split()[1]) / 1024 <= size.ram
    assert ssh(site, node, "nproc") == f"{size.extra['cpus']}\n"
    swap = ssh(site, node, "cat /proc/swaps").splitlines()[1].split()
    assert swap[0] == "/dev/vdb"
    assert int(swap[2]) // 1024 in (size.extra["swap"], size.extra["swap"] - 1)


def test_user_data_that_is_a_script_is_run_at_boot(site: Sandbox, node: Node) -> None:
    found = "for i in $(seq 50); do [ -s answer ] && break; sleep 0.2; done; cat answer"
    assert ssh(site, node, found) == "it's 42\n"


def test_the_context_is_on_a_cd(site: Sandbox, node: Node) -> None:
    read = "mount -o ro /dev/sr0 /mnt && . /mnt/context.sh && umount /mnt && echo $COLOUR"
    assert ssh(site, node, read) == "it's blue\n"


def ask_host(site: Sandbox, node: Node) -> str:
    """What a machine hears from its host's loopback, which QEMU would show it as 10.0.2.2."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 10 10.0.2.2 {site.port} || echo nothing"
    return ssh(site, node, ask)


def test_a_machine_reaches_nothing_of_its_host(site: Sandbox, node: Node) -> None:
    assert ask_host(site, node) == "nothing\n"


def test_a_machine_reaches_its_host_when_that_is_asked_for() -> None:
    with real_sandbox(outbound=True) as site:
        driver = StratusLabNodeDriver(stratuslab_user_config=site.config_path)
        node = start(driver)
        driver.wait_until_running([node], wait_period=0.2)
        assert ask_host(site, node).startswith("HTTP/1.1 404 Not Found")
        driver.ex_close()


def test_images_are_fetched_over_tls_too(tmp_path: Path) -> None:
    with real_sandbox(tls=True) as site:
        name = register_image(site.dir, still(tmp_path), "raw", title="still", disks_bus="ide")
        driver = StratusLabNodeDriver(stratuslab_user_config=site.config_path)
        node = driver.create_node("n", driver.list_sizes()[0], driver.get_image(name))
        driver.wait_until_running([node], wait_period=0.2)
        assert node.extra["disks"][0]["target"] == "hda"
        driver.ex_close()


def test_an_orderly_shutdown_ends_the_machine(driver: StratusLabNodeDriver, site: Sandbox) -> None:
    node = start(driver, "ttylinux")
    driver.wait_until_running([node], wait_period=0.2)
    driver.ex_shutdown_node(node)  # while it is booting: the button is pressed again
    wait_for(
        lambda: driver.ex_get_node(present(node.id)).state == NodeState.TERMINATED,
        "it does not shut down",
    )
    assert not (site.dir / "machines" / present(node.id)).exists()


# -- chapter 7


@pytest.mark.early
def test_what_a_machine_writes_on_a_disk_the_next_machine_reads(
    site: Sandbox, driver: StratusLabNodeDriver
) -> None:
    """Guide 7.3."""
    volume = driver.create_volume(5, "myprivate-disk")
    first = start(driver, "ttylinux", ex_volumes=[volume])
    driver.wait_until_running([first], wait_period=0.2)
    found = ssh(site, first, "fdisk -l")
    assert [line for line in found.splitlines() if line.startswith("Disk /dev/vdc:")]
    assert f"{5 * GIB} bytes" in found
    assert ssh(site, first, "cat /sys/block/vdc/serial") == volume.id[:20]
    ssh(site, first, "mkfs.ext3 /dev/vdc")
    write = "mount /dev/vdc /mnt && echo 'Testing Persistent Disk' >/mnt/test_pdisk && umount /mnt"
    ssh(site, first, write)
    driver.destroy_node(first)

    second = start(driver, "ttylinux", ex_volumes=[volume])
    driver.wait_until_running([second], wait_period=0.2)
    assert f"{5 * GIB} bytes" in ssh(site, second, "fdisk -l")
    ssh(site, second, "mount /dev/vdc /mnt")
    assert ssh(site, second, "ls /mnt").split() == ["lost+found", "test_pdisk"]
    assert ssh(site, second, "cat /mnt/test_pdisk") == "Testing Persistent Disk\n"

    with pytest.raises(ConflictError, match=r"attached when node .* started"):
        driver.detach_volume(volume)
    with pytest.raises(ConflictError, match="Disk have not been hot-plugged"):
        driver.detach_volume(volume, ex_node=second)
    driver.destroy_node(second)
    driver.destroy_volume(volume)


def test_disks_are_plugged_into_a_running_machine_and_unplugged(
    site: Sandbox, driver: StratusLabNodeDriver, node: Node
) -> None:
    """Guide 7.4."""
    volumes = [driver.create_volume(size, f"hot {size}") for size in (1, 2)]
    ssh(site, node, "modprobe acpiphp")
    for volume in volumes:
        driver.attach_volume(node, volume)
    assert [present(volume.extra)["device"] for volume in volumes] == ["/dev/vdc", "/dev/vdd"]
    found = ssh(site, node, "fdisk -l")
    for volume in volumes:
        device = present(volume.extra)["device"]
        assert f"Disk {device}: " in found
        assert f"{volume.size * GIB} bytes" in found
        name = device.removeprefix("/dev/")
        assert ssh(site, node, f"cat /sys/block/{name}/serial") == volume.id[:20]
    for volume in volumes:
        driver.detach_volume(volume, ex_node=node)
    assert "vdc" not in ssh(site, node, "cat /proc/partitions")
    for volume in volumes:
        with pytest.raises(NotFoundError, match="Disk have not been hot-plugged") as caught:
            driver.detach_volume(volume, ex_node=node)
        assert caught.value.http_code == 404
        driver.destroy_volume(volume)


@contextlib.contextmanager
def read_by_guest(
    site: Sandbox, driver: StratusLabNodeDriver, node: Node, volume: StorageVolume
) -> Iterator[Path]:
    """
    All that a guest reads of a volume, in a file.

    It copies the volume past its own memory: to compute a checksum takes it five times as long.
    """
    blank = driver.create_volume(int(volume.size), "blank")
    for disk in (volume, blank):
        driver.attach_volume(node, disk)
    source, target = (present(disk.extra)["device"] for disk in (volume, blank))
    ssh(site, node, f"dd if={source} of={target} bs=1M iflag=direct oflag=direct 2>&1")
    for disk in (volume, blank):
        driver.detach_volume(disk, ex_node=node)
    yield site.dir / "disks" / blank.id
    driver.destroy_volume(blank)


def test_a_day_with_disks(
    site: Sandbox, driver: StratusLabNodeDriver, node: Node, tmp_path: Path
) -> None:
    """A disk is filled and copied, both are changed; it goes down, up, and has the same bytes."""
    ssh(site, node, "modprobe acpiphp")

    def within(volume: StorageVolume, command: str) -> str:
        driver.attach_volume(node, volume)
        try:
            device = present(volume.extra)["device"]
            return ssh(site, node, command.replace("DISK", device))
        finally:
            driver.detach_volume(volume, ex_node=node)

    mounted = "mount DISK /mnt && %s; status=$?; umount /mnt; exit $status"
    volume = driver.create_volume(1, "data")
    within(volume, f"mkfs.ext3 DISK && {mounted % 'echo monday >/mnt/day'}")
    snapshot = driver.create_volume_snapshot(volume, "monday")
    copy = driver.create_volume(1, "copy", snapshot=snapshot)
    within(volume, mounted % "echo friday >/mnt/day")
    within(copy, mounted % "echo sunday >/mnt/day")
    assert within(volume, mounted % "cat /mnt/day") == "friday\n"
    assert within(copy, mounted % "cat /mnt/day") == "sunday\n"

    path = tmp_path / "data.img"
    driver.ex_download_volume(volume, path)
    again = driver.ex_upload_volume(path, "again")
    for disk in (volume, again):  # before a mount would write to it
        with read_by_guest(site, driver, node, disk) as found:
            assert filecmp.cmp(found, path, shallow=False)
    assert within(again, mounted % "cat /mnt/day") == "friday\n"
    for disk in (again, copy):
        driver.destroy_volume(disk)
    driver.destroy_volume_snapshot(snapshot)
    driver.destroy_volume(volume)


def test_the_device_is_the_lowest_free_one_in_the_guest_too(
    site: Sandbox, driver: StratusLabNodeDriver, node: Node
) -> None:
    first, second, third = [driver.create_volume(1, name) for name in ("1", "2", "3")]
    with concurrent.futures.ThreadPoolExecutor() as together:
        list(together.map(lambda volume: driver.attach_volume(node, volume), (first, second)))
    driver.detach_volume(first)
    driver.attach_volume(node, third)
    for volume in (second, third):
        device = present(volume.extra)["device"].removeprefix("/dev/")
        assert ssh(site, node, f"cat /sys/block/{device}/serial") == volume.id[:20]
        driver.detach_volume(volume)
    for volume in (first, second, third):
        driver.destroy_volume(volume)


def test_the_device_is_right_also_where_the_template_leaves_a_letter_out(
    site: Sandbox, driver: StratusLabNodeDriver
) -> None:
    size = driver.list_sizes()[0]
    size.extra["swap"] = 0
    first, second = driver.create_volume(1, "from the start"), driver.create_volume(1, "plugged")
    node = start(driver, size=size, ex_volumes=[first])
    driver.wait_until_running([node], wait_period=0.2)
    ssh(site, node, "true")
    driver.attach_volume(node, second)
    device = present(second.extra)["device"].removeprefix("/dev/")
    assert ssh(site, node, f"cat /sys/block/{device}/serial") == second.id[:20]
    driver.destroy_node(node)
    for volume in (first, second):
        driver.destroy_volume(volume)


def test_a_disk_is_in_one_machine_at_a_time(
    driver: StratusLabNodeDriver, node: Node, site: Sandbox
) -> None:
    volume = driver.create_volume(1, "shared")
    driver.attach_volume(node, volume)
    other = start(driver, "ttylinux")
    driver.wait_until_running([other], wait_period=0.2)
    with pytest.raises(ConflictError, match="is already mounted"):
        driver.attach_volume(other, volume)
    driver.detach_volume(volume)
    ssh(site, other, "true")  # a guest that is still booting may not find it in time
    driver.attach_volume(other, volume)
    assert present(volume.extra)["device"] == "/dev/vdc"
    driver.destroy_node(other)
    driver.destroy_volume(volume)


def test_a_machine_that_halts_itself_is_unknown(
    driver: StratusLabNodeDriver, site: Sandbox, node: Node
) -> None:
    """Chapter 6; the last of the tests on this machine, which it ends."""
    ssh(site, node, soon("poweroff"))
    wait_for(
        lambda: driver.ex_get_node(present(node.id)).extra["lcm_state"] == 16,
        "nobody noticed that it halted",
    )
    assert driver.ex_get_node(present(node.id)).state == NodeState.UNKNOWN
    driver.destroy_node(node)
    assert driver.ex_get_node(present(node.id)).state == NodeState.TERMINATED


# -- chapter 9


class Deployed:
    """What is deployed, and how one sees that it was."""

    def __init__(self, folder: Path) -> None:
        source = folder / "source"
        source.write_bytes(bytes(range(256)))
        self.file = FileDeployment(str(source), "/root/target")
        self.script = ScriptDeployment("#!/bin/sh\nwc -c </root/target\necho bad >&2\nexit 3\n")
        self.steps = MultiStepDeployment([self.file, self.script])


def deploy_on(
    driver: StratusLabNodeDriver, flavour: str, deployment: Deployment, **options: Any
) -> Node:
    what = {"name": "n", "size": driver.list_sizes()[0], "image": image(driver, flavour)}
    return driver.deploy_node(deployment, **what, **options)


@pytest.mark.parametrize("flavour", ["standard", "ttylinux"])
@pytest.mark.early
def test_deploy_node_with_each_kind_of_key(
    site: Sandbox, driver: StratusLabNodeDriver, tmp_path: Path, flavour: str
) -> None:
    """Three machines at once; on the one flavour files travel by SFTP, the other has none."""

    def deploy(kind: str) -> tuple[Node, ScriptDeployment]:
        make_key(tmp_path / kind, kind)
        deployed = Deployed(tmp_path)
        key = str(tmp_path / kind)
        node = deploy_on(driver, flavour, deployed.steps, ssh_key=key, wait_period=1)
        return node, deployed.script

    with concurrent.futures.ThreadPoolExecutor() as together:
        for node, script in together.map(deploy, KINDS):
            assert (script.exit_status, present(script.stdout).strip()) == (3, "256")
            assert script.stderr == "bad\n"
            driver.destroy_node(node)


def test_deploy_node_with_the_configured_key_and_a_script_alone(
    driver: StratusLabNodeDriver,
) -> None:
    script = ScriptDeployment("#!/bin/sh\nuname -s\n")
    node = deploy_on(driver, "ttylinux", script)
    assert (script.exit_status, script.stdout) == (0, "Linux\n")
    driver.destroy_node(node)


def test_a_wrong_key_fails_within_the_timeout_and_the_node_is_still_listed(
    site: Sandbox, driver: StratusLabNodeDriver, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    make_key(other, "ed25519")
    begun = time.monotonic()
    with pytest.raises(DeploymentError) as caught:
        deploy_on(
            driver,
            "standard",
            ScriptDeployment("true"),
            ssh_key=str(other),
            auth=NodeAuthSSHKey((site.dir / "id_ed25519.pub").read_text()),
            timeout=20,
            wait_period=1,
        )
    assert time.monotonic() - begun < 5 * 2 * 20  # once for the machine, once for SSH
    assert caught.value.node.id in [node.id for node in driver.list_nodes()]
    driver.destroy_node(caught.value.node)


def test_a_machine_that_dies_while_booting_ends_deploy_node_at_once(
    site: Sandbox, driver: StratusLabNodeDriver
) -> None:
    def kill() -> None:
        (pid,) = wait_for(lambda: set(processes(site.dir)) - before, "it does not start")
        os.kill(pid, signal.SIGKILL)

    before = set(processes(site.dir))
    with concurrent.futures.ThreadPoolExecutor() as aside:
        killing = aside.submit(kill)
        begun = time.monotonic()
        with pytest.raises(DeploymentError) as caught:
            deploy_on(driver, "standard", ScriptDeployment("true"), timeout=600, wait_period=0.2)
        killing.result()
    assert time.monotonic() - begun < 300
    assert isinstance(caught.value.value, NodeFailedError)
    assert "the QEMU process has ended" in str(caught.value.value)
