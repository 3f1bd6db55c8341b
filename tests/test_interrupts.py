"""
Whatever ends a call that creates something: what exists, or may exist, is not lost.

An interrupt at each function of ours is in ``tests/long``.
"""

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from clouds import Site
from libcloud.compute.deployment import ScriptDeployment
from sshd import FaultySshd, needed

from stratuslab_libcloud.client.stratuslab.compute import ComputeClient
from stratuslab_libcloud.errors import LostAnswerError
from stratuslab_libcloud.sandbox.site import Sandbox


class Interrupted(Site):
    """A sandbox, its driver, and an interrupt for whoever asks a certain thing of it."""

    def __init__(self, sandbox: Sandbox, seen: list[Any]) -> None:
        super().__init__(sandbox, seen)
        self.volume = self.driver.create_volume(1, "v")
        self.ready = self.node(name="ready")
        self.requests()

    def interrupt_at(self, number: int) -> None:
        """Ctrl-C while the answer to a request, of the next ones, is awaited."""
        main = threading.get_ident()
        count = iter(range(1, number + 1))

        def look(_: object) -> None:
            if next(count, None) == number:
                signal.pthread_kill(main, signal.SIGINT)

        self.seen.append = look  # type: ignore[method-assign]

    def new(self) -> list[str]:
        """The ids of what there is now besides what was there."""
        old = (self.volume.id, self.ready.id)
        there: list[Any] = [*self.driver.list_nodes(), *self.driver.list_volumes()]
        return [thing.id for thing in there if thing.id not in old]


class Calls(list[Any]):
    """A list whose ``append`` can be replaced."""


@pytest.fixture
def cloud(request: Any) -> Iterator[Interrupted]:
    seen = Calls()
    boot = getattr(request, "param", 0)
    with Sandbox(on_request=lambda one: seen.append(one), boot_seconds=boot) as sandbox:
        found = Interrupted(sandbox, seen)
        yield found
        found.driver.ex_close()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        r.getMessage() for r in caplog.records if r.name == "stratuslab_libcloud.driver.creation"
    ]


def test_a_node_that_was_asked_for_may_exist(
    cloud: Interrupted, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.interrupt_at(1)  # the image's entry is known already
    with pytest.raises(KeyboardInterrupt) as caught:
        cloud.node(name="mine", image=cloud.ready.image)
    (doubt,) = caught.value.may_exist  # type: ignore[attr-defined]
    assert doubt.startswith("a node named 'mine' may have been created")
    assert caught.value.created == []  # type: ignore[attr-defined]
    assert lines(caplog) == [f"KeyboardInterrupt: {doubt}"]
    assert len(cloud.new()) == 1


def test_a_node_that_was_created_is_handed_over(
    cloud: Interrupted, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.interrupt_at(2)
    with pytest.raises(KeyboardInterrupt) as caught:
        cloud.node(name="mine", image=cloud.ready.image)
    (node,) = caught.value.created  # type: ignore[attr-defined]
    assert caught.value.may_exist == []  # type: ignore[attr-defined]
    assert lines(caplog) == [f"KeyboardInterrupt: node {node.id} of location sandbox exists"]
    assert cloud.new() == [node.id]
    assert cloud.driver.destroy_node(node) is True


def test_before_anything_was_asked_for_there_is_nothing_to_say(
    cloud: Interrupted, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.driver = cloud.new_driver()  # which does not know the image's entry
    image = cloud.ready.image
    cloud.interrupt_at(1)
    with pytest.raises(KeyboardInterrupt) as caught:
        cloud.node(image=image)
    found = (caught.value.created, caught.value.may_exist)  # type: ignore[attr-defined]
    assert found == ([], [])
    assert lines(caplog) == []
    assert cloud.new() == []


def test_a_volume_may_exist(cloud: Interrupted, caplog: pytest.LogCaptureFixture) -> None:
    cloud.interrupt_at(1)
    with pytest.raises(KeyboardInterrupt) as caught:
        cloud.driver.create_volume(1, "mine")
    assert caught.value.created == []  # type: ignore[attr-defined]
    (doubt,) = caught.value.may_exist  # type: ignore[attr-defined]
    assert doubt.startswith("a volume named 'mine' may have been created")
    assert lines(caplog) == [f"KeyboardInterrupt: {doubt}"]
    assert len(cloud.new()) == 1


def test_a_volume_may_be_attached(cloud: Interrupted) -> None:
    cloud.driver.wait_until_running([cloud.ready])
    cloud.interrupt_at(2)
    with pytest.raises(KeyboardInterrupt) as caught:
        cloud.driver.attach_volume(cloud.ready, cloud.volume)
    (doubt,) = caught.value.may_exist  # type: ignore[attr-defined]
    assert doubt.startswith(f"volume {cloud.volume.id} may have been attached to node 0")
    assert cloud.driver.detach_volume(cloud.volume) is True


def test_an_exit_loses_nothing(cloud: Interrupted) -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        raise SystemExit

    before = signal.signal(signal.SIGINT, handler)
    try:
        cloud.interrupt_at(2)
        with pytest.raises(SystemExit) as caught:
            cloud.node(image=cloud.ready.image)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [node.id for node in caught.value.created] == cloud.new()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError])
def test_whatever_ends_the_call(
    cloud: Interrupted, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def break_down(*_: object) -> None:
        raise kind

    monkeypatch.setattr(cloud.driver, "_to_node", break_down)
    with pytest.raises(kind) as caught:
        cloud.node(image=cloud.ready.image)
    monkeypatch.undo()
    assert [node.id for node in caught.value.created] == cloud.new()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError])
def test_what_breaks_a_look_at_a_new_node_is_no_reason_to_lose_it(
    cloud: Interrupted, kind: type[Exception]
) -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        raise kind

    before = signal.signal(signal.SIGINT, handler)
    try:
        cloud.interrupt_at(2)
        node = cloud.node(image=cloud.ready.image)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [node.id] == cloud.new()


def test_an_error_that_says_it_itself_is_as_it_was(
    cloud: Interrupted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lose(*_: object) -> str:
        raise LostAnswerError("closed the connection", advice="it may have been created")

    monkeypatch.setattr(ComputeClient, "allocate", lose)
    with pytest.raises(LostAnswerError) as caught:
        cloud.node(image=cloud.ready.image)
    assert not hasattr(caught.value, "created")
    assert lines(caplog) == []


@needed
class TestDeploying:
    def deploy(self, cloud: Interrupted, **options: Any) -> None:
        cloud.driver.deploy_node(
            deploy=ScriptDeployment("true"),
            name="n",
            size=cloud.driver.list_sizes()[0],
            image=cloud.ready.image,
            wait_period=0.1,
            timeout=60,
            **options,
        )

    @pytest.mark.parametrize("cloud", [3600], indirect=True)
    def test_while_the_node_is_waited_for(
        self, cloud: Interrupted, caplog: pytest.LogCaptureFixture
    ) -> None:
        cloud.interrupt_at(5)
        with pytest.raises(KeyboardInterrupt) as caught:
            self.deploy(cloud)
        (node,) = caught.value.created  # type: ignore[attr-defined]
        assert cloud.new() == [node.id]
        assert lines(caplog) == [f"KeyboardInterrupt: node {node.id} of location sandbox exists"]

    def test_while_it_lets_nobody_in(self, cloud: Interrupted) -> None:
        main = threading.get_ident()
        with FaultySshd("0.0.0.0", 0, "mute before its banner") as server:  # at any node's address
            server.on_banner = lambda: signal.pthread_kill(main, signal.SIGINT)
            with pytest.raises(KeyboardInterrupt) as caught:
                self.deploy(cloud, ssh_port=server.port)
        (node,) = caught.value.created  # type: ignore[attr-defined]
        assert node.public_ips
        assert cloud.new() == [node.id]

    def test_when_an_argument_turns_out_to_be_wrong(self, cloud: Interrupted) -> None:
        with pytest.raises(TypeError) as caught:
            self.deploy(cloud, at_exit_func="nothing that can be called")
        assert [node.id for node in caught.value.created] == cloud.new()  # type: ignore[attr-defined]
        self.deploy_again(cloud)

    def deploy_again(self, cloud: Interrupted) -> None:
        """What was created then is not named when something else is interrupted."""
        cloud.interrupt_at(1)
        with pytest.raises(KeyboardInterrupt) as caught:
            cloud.driver.create_volume(1, "n")
        assert caught.value.created == []  # type: ignore[attr-defined]
