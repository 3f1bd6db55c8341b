"""A session on machines that run, on a modern engine (modern 5 to 7)."""

from collections.abc import Iterator

import pytest
from clouds import config
from libcloud.compute.base import Node
from libcloud.compute.deployment import ScriptDeployment
from libcloud.compute.types import NodeState
from machines import BOOT_SECONDS, real_sandbox, ssh, wait_for
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with real_sandbox() as site:
        yield site


@pytest.fixture
def one(site: Sandbox) -> Iterator[StratusLabNodeDriver]:
    ((username, password),) = site.users.items()
    made = StratusLabNodeDriver(
        stratuslab_user_config=config(
            endpoint=f"{site.url}/RPC2",
            username=username,
            password=password,
            user_public_key_file=str(site.dir / "id_ed25519.pub"),
        )
    )
    yield made
    made.ex_close()


def test_a_session(site: Sandbox, one: StratusLabNodeDriver) -> None:
    size = one.list_sizes()[0]
    image = next(image for image in one.list_images() if image.name.startswith("standard"))
    step = ScriptDeployment("echo deployed >/root/mark; cat /root/mark; sync")
    node = one.deploy_node(name="web", size=size, image=image, deploy=step, timeout=BOOT_SECONDS)
    assert (step.exit_status, step.stdout) == (0, "deployed\n")
    volume = one.create_volume(1, "data")
    one.attach_volume(node, volume)
    device = present(volume.extra)["device"]
    write = f"for i in $(seq 50); do [ -b {device} ] && break; sleep 0.2; done; "
    ssh(site, node, f"{write} echo kept | dd of={device} conv=fsync 2>/dev/null")
    one.detach_volume(volume)
    assert one.stop_node(node)
    wait_until(one, node, NodeState.STOPPED)
    saved = one.create_image(node, "saved")
    assert one.start_node(node)
    one.wait_until_running([node], wait_period=0.5, timeout=BOOT_SECONDS)
    assert ssh(site, node, "cat /root/mark") == "deployed\n"
    one.reboot_node(node)
    one.destroy_node(node)
    other = one.create_node("other", size, saved, ex_volumes=[volume])
    one.wait_until_running([other], wait_period=0.5, timeout=BOOT_SECONDS)
    assert ssh(site, other, "cat /root/mark") == "deployed\n"
    target = next(
        disk["target"]
        for disk in one.ex_get_node(present(other.id)).extra["disks"]
        if disk["image"] == volume.id
    )
    assert ssh(site, other, f"head -c 5 /dev/{target}") == "kept\n"
    one.destroy_node(other)
    wait_for(lambda: one.list_nodes() == [], "it does not end")


def wait_until(one: StratusLabNodeDriver, node: Node, state: NodeState) -> None:
    wait_for(lambda: one.ex_get_node(present(node.id)).state == state, f"it is not {state}")
