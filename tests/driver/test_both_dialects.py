"""One session, on every dialect: the same calls, and what Libcloud promises of them."""

import unittest
from collections.abc import Callable, Iterator
from typing import Any

import libcloud.test.compute
import pytest
from clouds import KEY, Site
from dialects import DIALECTS, driver_for
from libcloud.compute.base import Node
from libcloud.compute.types import NodeState, StorageVolumeState
from looks import wait_for
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import ConflictError, NodeFailedError, NotFoundError
from stratuslab_libcloud.sandbox.site import Sandbox


@pytest.fixture(params=DIALECTS)
def driver(request: pytest.FixtureRequest, site: Site) -> Iterator[StratusLabNodeDriver]:
    made = driver_for(site.sandbox, request.param)
    yield made
    made.ex_close()


def started(driver: StratusLabNodeDriver, name: str = "web", **options: Any) -> Node:
    size, image = driver.list_sizes()[0], driver.list_images()[0]
    node = driver.create_node(name, size, image, auth=KEY, **options)
    ((node, addresses),) = driver.wait_until_running([node], wait_period=0.1, timeout=60)
    assert addresses == node.public_ips
    return node


class TestSession:
    def test_a_node_and_a_volume_from_begin_to_end(self, driver: StratusLabNodeDriver) -> None:
        size, image = driver.list_sizes()[0], driver.list_images()[0]
        node = started(driver)
        (listed,) = driver.list_nodes()
        assert (listed.id, listed.name, listed.state) == (node.id, "web", NodeState.RUNNING)
        assert listed.uuid == node.uuid
        assert listed.public_ips == node.public_ips
        assert listed.extra["networks"] == ["public"]
        assert (present(listed.size).id, present(listed.image).id) == (size.id, image.id)
        volume = driver.create_volume(1, "data")
        assert (volume.size, volume.state) == (1, StorageVolumeState.AVAILABLE)
        assert driver.attach_volume(node, volume)
        device = present(volume.extra)["device"]
        assert device.startswith("/dev/vd")
        assert driver.ex_disk_mounts(volume) == [{"node": node.id, "device": device}]
        (found,) = driver.list_volumes()
        assert (found.id, found.state) == (volume.id, StorageVolumeState.INUSE)
        with pytest.raises(ConflictError):
            driver.destroy_volume(found)
        assert driver.detach_volume(found)
        with pytest.raises(NotFoundError):
            driver.detach_volume(found)
        other = started(driver, "other", ex_volumes=[volume])
        assert present(driver.list_volumes()[0].extra)["users"] == 1
        for each in (node, other):
            assert driver.destroy_node(each)
            assert driver.destroy_node(each)  # which has ended, or is about to
        wait_for(driver.list_nodes, [])
        assert driver.ex_get_node(present(node.id)).state == NodeState.TERMINATED
        wait_for(lambda: driver.list_volumes()[0].state, StorageVolumeState.AVAILABLE)
        assert driver.destroy_volume(volume)
        assert driver.list_volumes() == []

    def test_snapshots(self, driver: StratusLabNodeDriver) -> None:
        volume = driver.create_volume(1, "data")
        snapshot = driver.create_volume_snapshot(volume, "monday")
        assert [one.id for one in driver.list_volume_snapshots(volume)] == [snapshot.id]
        assert (snapshot.name, snapshot.size) == ("monday", 1)
        assert [one.id for one in driver.list_volumes()] == [volume.id]
        again = driver.create_volume(1, "again", snapshot=snapshot)
        assert {one.id for one in driver.list_volumes()} == {volume.id, again.id}
        for one in (again, volume):
            if one is volume:
                assert driver.destroy_volume_snapshot(snapshot)
            assert driver.destroy_volume(one)

    def test_what_the_other_cannot_do_is_said_in_one_line(
        self, driver: StratusLabNodeDriver
    ) -> None:
        node = started(driver)
        if driver.list_images()[0].extra.get("endorser"):
            with pytest.raises(NotImplementedError):
                driver.reboot_node(node)
            calls: list[Callable[[], object]] = [
                lambda: driver.stop_node(node),
                lambda: driver.start_node(node),
                lambda: driver.ex_suspend_node(node),
                lambda: driver.ex_resume_node(node),
                lambda: driver.ex_resize_node(node, driver.list_sizes()[1]),
                lambda: driver.ex_rename_node(node, "db"),
                driver.list_key_pairs,
                driver.ex_list_networks,
                driver.ex_list_templates,
                driver.ex_get_quota,
                driver.ex_get_user,
                lambda: driver.copy_image("sandbox", driver.list_images()[0], "copy"),
                lambda: started(driver, ex_hold=True),
                lambda: started(driver, ex_disk_size=9),
                lambda: driver.create_node(ex_template="0"),
            ]
        else:
            volume = driver.create_volume(1, "data")
            calls = [
                lambda: driver.ex_verify_image(driver.list_images()[0]),
                lambda: driver.ex_list_endorsements("x"),
                lambda: driver.ex_upload_metadata(b""),
                lambda: driver.ex_download_volume(volume, "nowhere"),
                lambda: driver.ex_upload_volume("nowhere", "name"),
            ]
        for call in calls:
            with pytest.raises(Exception, match=r"speaks .*'s dialect: [^\n]*; [^\n]*$"):
                call()


class TestOpenNebula:
    @pytest.fixture
    def one(self, site: Site) -> Iterator[StratusLabNodeDriver]:
        made = driver_for(site.sandbox, "opennebula", dialect="")  # the endpoint says it
        yield made
        made.ex_close()

    def test_stopped_nodes_are_not_waited_for(self, one: StratusLabNodeDriver) -> None:
        held = one.create_node(
            "held", one.list_sizes()[0], one.list_images()[0], auth=KEY, ex_hold=True
        )
        node = started(one)
        one.stop_node(node)
        wait_for(lambda: one.ex_get_node(present(node.id)).state, NodeState.STOPPED)
        for each, word in ((held, "Hold"), (node, "Poweroff")):
            with pytest.raises(NodeFailedError, match=word):
                one.wait_until_running([each], timeout=30)
            one.start_node(each)
        assert len(one.wait_until_running([held, node], wait_period=0.1, timeout=60)) == 2

    def test_a_saved_image_starts(self, one: StratusLabNodeDriver) -> None:
        node = started(one)
        saved = one.create_image(node, "mine", "with a wiki")
        assert saved.extra["state"] == "READY"
        assert one.get_image(saved.id).extra["description"] == "with a wiki"
        again = one.create_node("again", one.list_sizes()[0], saved, auth=KEY)
        one.wait_until_running([again], wait_period=0.1, timeout=60)
        with pytest.raises(ConflictError, match="already taken"):
            one.create_image(node, "mine")

    def test_requests(self, site: Site, one: StratusLabNodeDriver) -> None:
        """The documentation's table; the engine is never at work for longer than a request."""

        def cost(call: Callable[[], object]) -> int:
            site.seen.clear()
            call()
            return len(site.seen)

        size = one.list_sizes()[0]
        assert cost(one.list_nodes) == 1
        assert cost(one.list_images) == 2  # one of them is the question for the version
        image = one.list_images()[0]
        assert cost(lambda: one.get_image(image.id)) == 1
        assert cost(lambda: one.create_node("n", size, image, auth=KEY)) == 3
        assert cost(lambda: one.create_node("n", size, image, auth=KEY, ex_network="0")) == 2
        node, other = one.list_nodes()
        assert cost(lambda: one.create_volume(1, "a")) == 3
        assert cost(lambda: one.create_volume(1, "b")) == 2
        assert cost(one.list_volumes) == 1
        _, a = one.list_volumes()
        assert cost(lambda: one.attach_volume(node, a)) == 3
        assert cost(lambda: one.ex_disk_mounts(a)) == 2
        assert cost(lambda: one.detach_volume(a, ex_node=node)) == 3
        assert cost(lambda: one.ex_update_volume(a, name="c")) == 1
        assert cost(lambda: one.create_volume_snapshot(a)) == 5
        (snapshot,) = one.list_volume_snapshots(a)
        assert cost(lambda: one.create_volume(1, "d", snapshot=snapshot)) == 5
        assert cost(lambda: one.destroy_volume_snapshot(snapshot)) == 2
        assert cost(lambda: one.destroy_volume(a)) == 2
        assert cost(lambda: one.reboot_node(node)) == 1
        assert cost(lambda: one.ex_rename_node(node, "x")) == 1
        assert cost(lambda: one.ex_resize_node(node, one.list_sizes()[1])) == 3
        assert cost(lambda: one.create_image(node, "image")) == 4
        assert cost(lambda: one.copy_image("opennebula", image, "copy")) == 2
        assert cost(lambda: one.create_key_pair("k")) == 3
        assert cost(lambda: one.destroy_node(node)) == 1
        assert cost(lambda: one.ex_shutdown_node(other)) == 1


class TestLibcloudsOwn(libcloud.test.compute.TestCaseMixin, unittest.TestCase):
    """Libcloud's conformance tests, on the engine."""

    should_list_volumes = True

    def setUp(self) -> None:
        self.sandbox = Sandbox()
        self.sandbox.start()
        self.addCleanup(self.sandbox.stop)
        self.driver = driver_for(self.sandbox, "opennebula")
        self.addCleanup(self.driver.ex_close)
        size, image = self.driver.list_sizes()[0], self.driver.list_images()[0]
        self.driver.create_node("first", size, image, auth=KEY)
        self.driver.create_volume(1, "volume")
