"""One session on machines that run, on every dialect: from the first boot to a saved image's."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from dialects import DIALECTS, driver_for
from libcloud.compute.base import Node, NodeImage, NodeSize, StorageVolume
from libcloud.compute.deployment import ScriptDeployment
from libcloud.compute.types import NodeState
from machines import BOOT_SECONDS, real_sandbox, ssh, wait_for
from present import present

from stratuslab_libcloud import NewImage
from stratuslab_libcloud.errors import NodeFailedError, NotSupportedError
from stratuslab_libcloud.sandbox.site import Sandbox

WHICH_BOOT = "cat /proc/sys/kernel/random/boot_id"
SECTORS = 1 << 21  # in a GiB


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with real_sandbox() as site:
        yield site


class Session:
    """A driver of one dialect, and ways to look at its machines."""

    def __init__(self, site: Sandbox, dialect: str) -> None:
        self.site = site
        # The entries of saved images are signed by keys that nobody knows.
        self.driver = driver_for(site, dialect, verify_images="off")
        self.is_modern = dialect == "opennebula"

    def can(self, call: Callable[[], object]) -> bool:
        """Make a call that OpenNebula takes, and StratusLab clouds must refuse."""
        if self.is_modern:
            assert call()
            return True
        with pytest.raises((NotImplementedError, NotSupportedError)):
            call()
        return False

    def reaches(self, node: Node, state: NodeState) -> None:
        wait_for(
            lambda: self.driver.ex_get_node(present(node.id)).state == state, f"it is not {state}"
        )

    def runs(self, node: Node) -> Node:
        ((node, _),) = self.driver.wait_until_running([node], wait_period=0.5, timeout=BOOT_SECONDS)
        return node

    def ssh(self, node: Node, command: str) -> str:
        return ssh(self.site, node, command)

    def has(self, node: Node, size: NodeSize) -> bool:
        """Whether the guest sees the processors and the memory of a size."""
        cpus, memory = self.ssh(node, "nproc; grep MemTotal /proc/meminfo").splitlines()
        mib = int(memory.split()[1]) / 1024
        return int(cpus) == size.extra["cpus"] and 0.8 * size.ram < mib <= size.ram


@pytest.fixture
def session(request: pytest.FixtureRequest, site: Sandbox) -> Iterator[Session]:
    made = Session(site, request.param)
    yield made
    made.driver.ex_close()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("session", DIALECTS, indirect=True)
def test_a_session(session: Session) -> None:
    driver = session.driver
    sizes = {size.name: size for size in driver.list_sizes()}
    small, large = sizes["t1.micro"], sizes["c1.medium"]
    image = next(image for image in driver.list_images() if image.name.startswith("standard"))
    step = ScriptDeployment("echo deployed >/root/mark; cat /root/mark; sync")
    options: dict[str, Any] = {"size": small, "image": image, "timeout": BOOT_SECONDS}
    if not session.is_modern:  # which decides that it becomes an image when it is started
        options["ex_save_as"] = NewImage("saved", "It has a mark.", "Ada", "ada@example.org")
    node = driver.deploy_node(name="web", deploy=step, **options)
    assert (step.exit_status, step.stdout) == (0, "deployed\n")

    volume = driver.create_volume(1, "data")
    write(session, node, volume)
    power(session, node, small, large)
    saved = driver.create_image(node, "saved", ex_timeout=BOOT_SECONDS)
    driver.destroy_node(node)

    other = start(session, small, saved)
    assert session.ssh(other, "cat /root/mark") == "deployed\n"
    assert driver.attach_volume(other, volume)
    assert session.ssh(other, f"head -c 5 {present(volume.extra)['device']}") == "kept\n"
    assert driver.detach_volume(volume)
    driver.destroy_node(other)
    wait_for(lambda: driver.list_nodes() == [], "it does not end")
    assert driver.destroy_volume(volume)


def write(session: Session, node: Node, volume: StorageVolume) -> None:
    """Attach a volume, write to it, and detach it."""
    assert session.driver.attach_volume(node, volume)
    device = present(volume.extra)["device"]
    assert session.ssh(node, f"[ -b {device} ] && echo kept >{device} && sync; echo $?") == "0\n"
    assert session.driver.detach_volume(volume)


def power(session: Session, node: Node, small: NodeSize, large: NodeSize) -> None:
    """Suspend, resume, reboot, stop, resize and start a node."""
    driver = session.driver
    boot = session.ssh(node, WHICH_BOOT)
    if session.can(lambda: driver.ex_suspend_node(node)):
        session.reaches(node, NodeState.SUSPENDED)
    if session.can(lambda: driver.ex_resume_node(node)):
        session.reaches(node, NodeState.RUNNING)
    assert session.ssh(node, WHICH_BOOT) == boot  # its memory was kept
    if session.can(lambda: driver.reboot_node(node)):
        wait_for(lambda: session.ssh(node, WHICH_BOOT) != boot, "it does not boot again")
    assert session.has(node, small)
    if session.can(lambda: driver.stop_node(node)):
        session.reaches(node, NodeState.STOPPED)
    resized = session.can(lambda: driver.ex_resize_node(node, large))
    if session.can(lambda: driver.start_node(node)):
        session.runs(node)
    assert session.has(node, large if resized else small)


def start(session: Session, size: NodeSize, image: NodeImage) -> Node:
    """Start a node of a saved image: held at first, and with a larger disk, where that can be."""
    create = partial(session.driver.create_node, "other", size, image)
    if not session.is_modern:
        for option in ({"ex_hold": True}, {"ex_disk_size": 1}):
            assert not session.can(partial(create, **option))
        return session.runs(create())
    node = create(ex_hold=True, ex_disk_size=1)
    with pytest.raises(NodeFailedError, match="Hold"):
        session.driver.wait_until_running([node])
    assert session.driver.start_node(node)
    node = session.runs(node)
    assert session.ssh(node, "cat /sys/block/vda/size") == f"{SECTORS}\n"
    return node
