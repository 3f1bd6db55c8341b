"""deploy_node, with a real SSH server on a simulated node's address (guide 9.1.4)."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from clouds import Site, config, configured, context, section
from deploying import Cloud, connections, hello, new_cloud
from libcloud.compute.base import Node, NodeAuthSSHKey
from libcloud.compute.deployment import (
    Deployment,
    FileDeployment,
    MultiStepDeployment,
    ScriptDeployment,
    SSHKeyDeployment,
)
from libcloud.compute.types import DeploymentError, NodeState
from looks import wait_for
from present import present
from sshd import FLAVOURS, KINDS, make_key, needed

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConfigurationError,
    InvalidValueError,
    NodeFailedError,
)
from stratuslab_libcloud.sandbox.site import Sandbox

pytestmark = needed


@pytest.fixture
def cloud(request: Any, tmp_path: Path) -> Iterator[Cloud]:
    with new_cloud(tmp_path, getattr(request, "param", FLAVOURS[0])) as found:
        yield found


@pytest.mark.parametrize("cloud", FLAVOURS, indirect=True)
@pytest.mark.parametrize("kind", KINDS)
def test_files_and_scripts_arrive_on_each_server_with_each_key(
    cloud: Cloud, tmp_path: Path, kind: str
) -> None:
    cloud.sshd.authorized_keys.write_text(make_key(tmp_path / kind, kind))
    source, target = tmp_path / "source", cloud.sshd.home / "etc" / "target"
    source.write_bytes(bytes(range(256)))
    source.chmod(0o640)
    script = hello()
    read_it = ScriptDeployment(f"#!/bin/sh\nwc -c < {target}\n", delete=True)
    several = MultiStepDeployment([FileDeployment(str(source), str(target)), read_it])
    with cloud.sshd:
        for deployment in (script, FileDeployment(str(source), str(target)), several):
            node = cloud.deploy(deployment, ssh_key=str(tmp_path / kind))
            assert node.state == NodeState.RUNNING
            assert [found.uuid for found in cloud.driver.list_nodes()] == [node.uuid]
            cloud.driver.destroy_node(node)
    assert present(script.stdout).startswith("hello from")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (source.read_bytes(), 0o640)
    assert (read_it.exit_status, present(read_it.stdout).strip()) == (0, "256")
    assert sorted(path.name for path in cloud.sshd.home.iterdir()) == [".ssh", "etc"]
    assert connections() == []


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
# Of Ed25519 keys there is no other format.
@pytest.mark.parametrize("key", [*KINDS, "rsa -m PEM", "ecdsa -m PEM"])
def test_keys_of_each_format(cloud: Cloud, tmp_path: Path, key: str, passphrase: str) -> None:
    public = make_key(tmp_path / "key", *key.split(), passphrase=passphrase)
    cloud.sshd.authorized_keys.write_text(public)
    script = hello()
    options = {"ssh_key_password": passphrase} if passphrase else {}
    with cloud.sshd:
        cloud.deploy(script, ssh_key=str(tmp_path / "key"), **options)
    assert script.exit_status == 3


def test_of_several_keys_the_one_that_fits_is_used(cloud: Cloud, tmp_path: Path) -> None:
    make_key(tmp_path / "other", "ed25519")
    cloud.sshd.authorized_keys.write_text(make_key(tmp_path / "key", "ed25519"))
    script = hello()
    with cloud.sshd:
        cloud.deploy(script, ssh_key=[str(tmp_path / "other"), str(tmp_path / "key")])
    assert script.exit_status == 3


def test_the_public_half_of_the_key_is_installed(cloud: Cloud, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key", "rsa", "-m", "PEM")
    cloud.sshd.authorized_keys.write_text(public)
    with cloud.sshd:
        node = cloud.deploy(hello(), ssh_key=str(tmp_path / "key"))
    key = context(Site(cloud.sandbox, []), int(node.id))["PUBLIC_KEY"]
    assert key.split()[:2] == public.split()[:2]


def test_without_any_key_the_configured_pair_is_used(cloud: Cloud) -> None:
    public = (cloud.sandbox.dir / "id_ed25519.pub").read_text()
    cloud.sshd.authorized_keys.write_text(public)
    with cloud.sshd:
        cloud.deploy(hello())


def test_with_auth_and_key_both_are_used_as_given(cloud: Cloud, tmp_path: Path) -> None:
    public = make_key(tmp_path / "key", "ed25519")
    cloud.sshd.authorized_keys.write_text(public)
    with cloud.sshd:
        cloud.deploy(hello(), auth=NodeAuthSSHKey(public), ssh_key=str(tmp_path / "key"))


def test_the_locations_port_is_the_default(cloud: Cloud) -> None:
    text = cloud.sandbox.config_path.read_text()
    file = io.StringIO(text.replace("[sandbox]", f"[sandbox]\nssh_port = {cloud.sshd.port}"))
    cloud.driver.ex_close()
    cloud.driver = StratusLabNodeDriver(stratuslab_user_config=file)
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    with cloud.sshd:
        node = cloud.deploy(hello(), ssh_port=None)
    assert node.extra["ssh_port"] == cloud.sshd.port


def test_each_step_keeps_what_its_script_said(cloud: Cloud, tmp_path: Path) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    fine, failed = ScriptDeployment("#!/bin/sh\necho $#", args=["a", "b"]), hello()
    key = SSHKeyDeployment(make_key(tmp_path / "key", "ed25519"))
    with cloud.sshd:
        cloud.deploy(MultiStepDeployment([fine, MultiStepDeployment([failed]), key]))
    assert (fine.exit_status, fine.stdout, fine.stderr) == (0, "2\n", "")
    assert failed.exit_status == 3
    assert present(failed.stdout).startswith("hello from")
    assert failed.stderr == "oh\n"
    assert cloud.sshd.authorized_keys.read_text().endswith(key.key)


@pytest.mark.parametrize("cloud", FLAVOURS, indirect=True)
def test_a_step_that_fails_is_named_in_one_line(cloud: Cloud, tmp_path: Path) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    (tmp_path / "source").write_text("x")
    deployment = FileDeployment(str(tmp_path / "source"), "/proc/no/such/file")
    with cloud.sshd, pytest.raises(DeploymentError) as caught:
        cloud.deploy(deployment, max_tries=2)
    text = str(caught.value)
    assert "Failed after 2 tries" in text
    assert "/proc/no/such/file cannot be written: mkdir: " in text
    assert "Traceback" not in text
    assert "\n" not in text
    assert isinstance(caught.value.original_error.__context__, FileNotFoundError)
    assert [node.id for node in cloud.driver.list_nodes()] == [caught.value.node.id]
    assert connections() == []


def test_a_step_goes_on_when_its_connection_broke(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    send = paramiko.Channel.sendall

    def unplug(channel: paramiko.Channel, block: bytes) -> None:
        monkeypatch.setattr(paramiko.Channel, "sendall", send)
        channel.get_transport().close()

    monkeypatch.setattr(paramiko.Channel, "sendall", unplug)
    script = hello()
    with cloud.sshd:
        cloud.deploy(script)
    assert script.exit_status == 3
    assert [path.name for path in cloud.sshd.home.iterdir()] == [".ssh"]


def test_an_interrupt_ends_it_and_closes_the_connection(cloud: Cloud) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    running = cloud.sshd.home / "running"
    script = f"#!/bin/sh\n>{running}; while [ -e {running} ]; do sleep 0.1; done\n"

    def interrupt() -> None:
        while not running.exists():
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt, daemon=True)
    watcher.start()
    with cloud.sshd:
        with pytest.raises(KeyboardInterrupt) as caught:
            cloud.deploy(ScriptDeployment(script, delete=True))
        assert connections() == []
        (node,) = caught.value.created  # type: ignore[attr-defined]
        assert [node.id] == [found.id for found in cloud.driver.list_nodes()]
        running.unlink()
    watcher.join()


def test_an_interrupt_hands_over_what_a_step_created(cloud: Cloud) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())

    class Step(Deployment):
        def run(self, node: Node, client: Any) -> Node:
            cloud.driver.create_volume(1, "v")
            raise KeyboardInterrupt

    with cloud.sshd, pytest.raises(KeyboardInterrupt) as caught:
        cloud.deploy(Step())
    there: list[Any] = [*cloud.driver.list_nodes(), *cloud.driver.list_volumes()]
    assert [thing.id for thing in caught.value.created] == [  # type: ignore[attr-defined]
        thing.id for thing in there
    ]


@pytest.mark.parametrize("cloud", FLAVOURS, indirect=True)
def test_a_script_that_reads_its_standard_input_finds_its_end(cloud: Cloud) -> None:
    cloud.sshd.authorized_keys.write_text((cloud.sandbox.dir / "id_ed25519.pub").read_text())
    script = ScriptDeployment("#!/bin/sh\nread answer\ncat\necho done\n")
    with cloud.sshd:
        cloud.deploy(script, timeout=60)
    assert (script.exit_status, script.stdout) == (0, "done\n")


def test_a_node_that_fails_ends_it_at_once(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "slow", boot_seconds=3600) as sandbox:
        driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)

        def fail_once_there() -> None:
            wait_for(lambda: len(driver.list_nodes()), 1)
            sandbox.fail(0, "the disk is full")

        failing = threading.Thread(target=fail_once_there)
        failing.start()
        before = time.monotonic()
        with pytest.raises(DeploymentError, match="the disk is full") as caught:
            driver.deploy_node(
                deploy=hello(),
                name="n",
                size=driver.list_sizes()[0],
                image=driver.list_images()[0],
                wait_period=0.2,
                timeout=60,
            )
        assert time.monotonic() - before < 30
        failing.join()
        assert isinstance(caught.value.original_error, NodeFailedError)
        assert caught.value.node.id == "0"
        driver.ex_close()


def test_it_waits_at_the_right_location(tmp_path: Path) -> None:
    with (
        Sandbox(tmp_path / "a") as a,
        Sandbox(tmp_path / "b", boot_seconds=3600) as b,
    ):
        keys = {"user_public_key_file": str(b.dir / "id_ed25519.pub")}
        both = config(section("a", a, **keys), section("b", b, **keys), selected_section="a")
        driver = StratusLabNodeDriver(stratuslab_user_config=both)
        at_a, at_b = driver.list_locations()
        what: dict[str, Any] = {"size": driver.list_sizes()[0], "image": driver.list_images()[0]}
        driver.create_node(name="runs, and has the same id", location=at_a, **what)
        with pytest.raises(DeploymentError, match="do not run yet"):
            driver.deploy_node(
                deploy=hello(), name="n", location=at_b, timeout=1, wait_period=0.1, **what
            )
        driver.ex_close()


class TestNothingIsCreated:
    """Keys are checked first."""

    @pytest.mark.parametrize("case", ["missing", "encrypted", "wrong", "rubbish", "public"])
    def test_with_a_key_that_cannot_be_used(self, cloud: Cloud, tmp_path: Path, case: str) -> None:
        key = tmp_path / "key"
        make_key(key, "ed25519", passphrase="secret" if case in ("encrypted", "wrong") else "")
        options: dict[str, Any] = {"ssh_key": str(key)}
        if case == "missing":
            key.unlink()
        elif case == "rubbish":
            key.write_text("rubbish")
        elif case == "public":
            options["ssh_key"] = f"{key}.pub"
        elif case == "wrong":
            options["ssh_key_password"] = "guess"
        with pytest.raises((ConfigurationError, InvalidValueError), match="private key") as caught:
            cloud.deploy(hello(), **options)
        assert "\n" not in str(caught.value)
        assert cloud.driver.list_nodes() == []

    def test_with_halves_of_two_pairs(self, cloud: Cloud, tmp_path: Path) -> None:
        make_key(tmp_path / "other", "rsa")
        keys = {
            "user_public_key_file": tmp_path / "other.pub",
            "user_private_key_file": cloud.sandbox.dir / "id_ed25519",
        }
        file = configured(cloud.sandbox, tmp_path, **keys)
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        with pytest.raises(ConfigurationError, match="is not the private key of"):
            driver.deploy_node(deploy=hello(), name="n", **cloud.what)
        assert cloud.driver.list_nodes() == []

    @pytest.mark.parametrize("options", [{"ssh_key": []}, {"ssh_key": ""}, {"ssh_interface": "x"}])
    def test_with_arguments_that_are_none(self, cloud: Cloud, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidValueError):
            cloud.deploy(hello(), **options)
        assert cloud.driver.list_nodes() == []

    def test_without_any_key(self, cloud: Cloud) -> None:
        text = cloud.sandbox.config_path.read_text()
        lines = [line for line in text.splitlines() if "key_file" not in line]
        file = io.StringIO("\n".join(lines))
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        with pytest.raises(ConfigurationError, match="ssh-keygen"):
            driver.deploy_node(deploy=hello(), name="n", **cloud.what)
        assert cloud.driver.list_nodes() == []


def test_the_parameters_are_libclouds_own() -> None:
    """Only the default of ssh_port is ours."""
    import inspect

    from libcloud.compute.base import NodeDriver

    def parameters(function: Any) -> dict[str, Any]:
        found = inspect.signature(function).parameters
        return {name: (one.kind, one.default) for name, one in found.items() if name != "ssh_port"}

    assert parameters(StratusLabNodeDriver.deploy_node) == parameters(NodeDriver.deploy_node)
    waiting = (StratusLabNodeDriver.wait_until_running, NodeDriver.wait_until_running)
    assert parameters(waiting[0]) == parameters(waiting[1])


def test_paramiko_is_capped_while_libcloud_needs_it() -> None:
    """A Libcloud that no longer names the removed DSA class may lift the cap in setup.cfg."""
    import inspect

    from libcloud.compute import ssh

    assert "DSSKey" in inspect.getsource(ssh), "lift paramiko<4 in setup.cfg"
