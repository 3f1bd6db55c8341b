"""deploy_node takes as long as it may, and no longer: tests that wait, on one Python."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deploying import Cloud, connections, hello, new_cloud
from libcloud.common.types import LibcloudError
from libcloud.compute.deployment import ScriptDeployment
from libcloud.compute.ssh import SSHCommandTimeoutError
from libcloud.compute.types import DeploymentError
from sshd import AT_COMMAND, AT_LOGIN, FLAVOURS, KINDS, FaultySshd, make_key, needed

from stratuslab_libcloud.errors import NodeNotReadyError

pytestmark = needed


@pytest.fixture
def cloud(request: Any, tmp_path: Path) -> Iterator[Cloud]:
    with new_cloud(tmp_path, getattr(request, "param", FLAVOURS[0])) as found:
        yield found


def test_other_user_names_are_tried(cloud: Cloud) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    script = hello()
    with cloud.sshd:
        cloud.deploy(
            script,
            ssh_username="nobody",
            ssh_alternate_usernames=[cloud.sshd.username],
            timeout=5,
        )
    assert script.exit_status == 3


def test_a_script_may_take_as_long_as_the_time_out(cloud: Cloud) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    with (
        cloud.sshd,
        pytest.raises(DeploymentError, match=r"\.sh did not finish in 8 sec") as caught,
    ):
        cloud.deploy(ScriptDeployment("#!/bin/sh\nexec sleep 90\n"), timeout=8)
    assert isinstance(caught.value.original_error, SSHCommandTimeoutError)
    assert [node.id for node in cloud.driver.list_nodes()] == [caught.value.node.id]
    assert connections() == []


def test_or_as_it_says_itself(cloud: Cloud) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    longer = ScriptDeployment("#!/bin/sh\nsleep 9\necho done\n", timeout=60)
    with cloud.sshd:
        cloud.driver.destroy_node(cloud.deploy(longer, timeout=8))
        assert longer.stdout == "done\n"
        with pytest.raises(DeploymentError, match="did not finish in 1 sec"):
            cloud.deploy(ScriptDeployment("#!/bin/sh\nexec sleep 60\n", timeout=1), timeout=60)


POINTS = [*AT_LOGIN, AT_COMMAND[0], AT_COMMAND[-1]]


@dataclass
class Ending:
    """How ``deploy_node`` ends on a server that goes wrong, and which nodes there are then."""

    error: DeploymentError
    seconds: float
    left: list[str | None]


def ending(point: str, folder: Path) -> Ending:
    with new_cloud(folder) as cloud:
        before = time.monotonic()
        with (
            FaultySshd(cloud.sshd.address, cloud.sshd.port, point),
            pytest.raises(DeploymentError) as caught,
        ):
            cloud.deploy(hello(), timeout=8)
        seconds = time.monotonic() - before
        return Ending(caught.value, seconds, [node.id for node in cloud.driver.list_nodes()])


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ending]]]:
    """All at the same time, as each of them takes as long as it may."""
    with ThreadPoolExecutor(len(POINTS)) as pool:
        yield {it: pool.submit(ending, it, tmp_path_factory.mktemp("ending")) for it in POINTS}


@pytest.mark.parametrize("point", POINTS)
def test_it_ends_in_time_whatever_the_server_does(
    endings: dict[str, Future[Ending]], point: str
) -> None:
    kind = NodeNotReadyError if point in AT_LOGIN else SSHCommandTimeoutError
    found = endings[point].result()
    assert found.seconds < 120
    assert isinstance(found.error.original_error, kind)
    assert found.left == [found.error.node.id]


def test_why_nobody_could_log_in_is_reported(cloud: Cloud) -> None:
    cloud.sshd.authorized_keys.write_text("")
    where = f"{cloud.sshd.address}:{cloud.sshd.port} as {cloud.sshd.username} within 5 seconds"
    with pytest.raises(DeploymentError) as caught:
        cloud.deploy(hello(), timeout=5)
    assert f"{where}: [Errno None] Unable to connect" in str(caught.value)
    cloud.driver.destroy_node(caught.value.node)
    with cloud.sshd, pytest.raises(DeploymentError) as caught:
        cloud.deploy(hello(), timeout=5)
    assert f"{where}: Authentication failed." in str(caught.value)
    assert isinstance(caught.value.original_error, NodeNotReadyError)
    assert isinstance(caught.value.original_error, LibcloudError)


def test_a_connection_refused_at_first_is_tried_again(cloud: Cloud) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    script = hello()
    timer = threading.Timer(1.5, cloud.sshd.__enter__)
    timer.start()
    try:
        cloud.deploy(script)
    finally:
        timer.join()
        cloud.sshd.__exit__(None, None, None)
    assert script.exit_status == 3


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_a_key_refused_at_first_is_tried_again(cloud: Cloud, tmp_path: Path, kind: str) -> None:
    public = make_key(tmp_path / kind, kind)
    cloud.sshd.authorized_keys.write_text("")
    script = hello()
    timer = threading.Timer(1.5, cloud.sshd.authorized_keys.write_text, (public,))
    with cloud.sshd:
        timer.start()
        cloud.deploy(script, ssh_key=str(tmp_path / kind))
        timer.join()
    assert script.exit_status == 3


@pytest.mark.parametrize(
    ("cloud", "kind"), list(zip(FLAVOURS, KINDS, strict=True)), indirect=["cloud"]
)
def test_a_key_that_stays_refused_leaves_the_node(cloud: Cloud, tmp_path: Path, kind: str) -> None:
    make_key(tmp_path / "key", kind)
    cloud.sshd.authorized_keys.write_text("")
    before = time.monotonic()
    with cloud.sshd, pytest.raises(DeploymentError, match="Could not connect") as caught:
        cloud.deploy(hello(), ssh_key=str(tmp_path / "key"), timeout=2)
    assert time.monotonic() - before < 30
    assert [node.id for node in cloud.driver.list_nodes()] == [caught.value.node.id]
