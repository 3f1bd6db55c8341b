"""Volumes against a running sandbox (guide 9.1.4)."""

import json
import warnings
from functools import partial
from typing import Any

import pytest
from canned import Canned, Reply, rpc
from clouds import KEY, Site, config, section
from libcloud.compute.base import (
    Node,
    NodeImage,
    StorageVolume,
)
from libcloud.compute.types import NodeState, StorageVolumeState
from looks import bare_size, driver_volume
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    NotFoundError,
)
from stratuslab_libcloud.sandbox.site import Sandbox


class TestVolumes:
    def test_life(self, site: Site) -> None:
        driver, node = site.driver, site.node()
        volume = driver.create_volume(5, "données", ex_visibility="public")
        assert (volume.size, volume.name, volume.state) == (
            5,
            "données",
            StorageVolumeState.AVAILABLE,
        )
        assert driver.attach_volume(node, volume, device="/dev/sdz") is True
        assert present(volume.extra)["device"].startswith("/dev/vd")
        listed = driver_volume(driver, volume.id)
        assert (listed.state, listed.extra["users"]) == (StorageVolumeState.INUSE, 1)
        assert listed.extra["visibility"] == "public"
        assert driver.detach_volume(listed) is True
        assert driver.ex_update_volume(volume, name="neu", visibility="private") is True
        assert (driver_volume(driver, volume.id).name, volume.name) == ("neu", "neu")
        assert driver.destroy_volume(volume) is True
        assert driver.list_volumes() == []

    def test_one_location_of_several_can_be_asked(self, site: Site) -> None:
        with Sandbox() as other:
            both = config(section("a", site.sandbox), section("b", other), selected_section="a")
            driver = StratusLabNodeDriver(stratuslab_user_config=both)
            driver.create_volume(1, "v")
            here, elsewhere = driver.list_locations()
            assert [volume.name for volume in driver.list_volumes(ex_location=here)] == ["v"]
            assert driver.list_volumes(ex_location=elsewhere) == []
            driver.ex_close()

    def test_a_bootable_volume_is_an_image(self, site: Site) -> None:
        volume = site.driver.create_volume(1, "root")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = NodeImage(volume.id, "root", site.driver)
        site.requests()
        node = site.node(image=image)
        assert site.requests() == ["POST one-proxy"] * 2
        # A data disk cannot be booted from.
        assert node.state == NodeState.ERROR
        assert f"disk ({volume.id}) has the type DATA_IMAGE" in node.extra["error"]


def bare_node(node_id: str | None, driver: Any, **extra: str) -> Node:
    name: Any = None
    return Node(present(node_id), name, NodeState.UNKNOWN, [], [], driver, extra=extra)


def bare_volume(volume_id: str, driver: Any, **extra: str) -> StorageVolume:
    nothing: Any = None
    return StorageVolume(volume_id, nothing, nothing, driver, extra=extra)


class TestRebuiltFromIds:
    """Programs without state keep ids only (one location, or the thing says which)."""

    @pytest.mark.parametrize("owned", [True, False])
    def test_everything_is_accepted(self, site: Site, owned: bool) -> None:
        driver = site.driver
        owner: Any = driver if owned else None
        name: Any = None
        image = NodeImage(driver.list_images()[0].id, name, owner)
        node_id = driver.create_node("n", bare_size("m1.large", owner), image).id
        node, volume = (
            bare_node(node_id, owner),
            bare_volume(driver.create_volume(1, "v").id, owner),
        )
        assert driver.attach_volume(node, volume)
        assert driver.detach_volume(bare_volume(volume.id, owner))
        assert driver.attach_volume(node, volume)
        assert driver.detach_volume(bare_volume(volume.id, owner), ex_node=node)
        assert driver.ex_update_volume(volume, name="v")
        assert driver.destroy_volume(volume)
        assert driver.wait_until_running([node])[0][0].id == node_id
        assert driver.destroy_node(node)

    def test_sizes_are_completed_by_their_id(self, site: Site) -> None:
        whole = {size.id: size for size in site.driver.list_sizes()}["m1.large"]
        for size in (
            bare_size("m1.large", site.driver),
            bare_size("m1.large", site.driver, ram=6144),
            bare_size("m1.large", None, ram=6144, extra={"cpus": 2}),
        ):
            node = site.node(size=size)
            completed = present(node.size)
            assert (completed.ram, completed.extra) == (whole.ram, whole.extra)
            listed = site.driver.ex_get_node(present(node.id))
            assert present(listed.size).id == "m1.large"

    def test_what_a_size_says_itself_counts(self, site: Site) -> None:
        size = bare_size("m1.large", site.driver, ram=512, extra={"cpus": 3, "swap": 0})
        assert site.node(size=size).size is size
        found = present(site.driver.list_nodes()[0].size)
        assert (found.ram, found.extra) == (512, {"cpus": 3, "swap": 0})

    def test_an_unknown_size_is_named_with_what_may_be_meant(self, site: Site) -> None:
        size = bare_size("m1.smal", site.driver)
        with pytest.raises(InvalidValueError, match=r"'m1.smal'.*; did you mean m1.small\?$"):
            site.node(size=size)

    def test_with_several_locations_they_have_to_say_which(self, site: Site) -> None:
        file = config(section("a", site.sandbox), section("b", site.sandbox), selected_section="b")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
        volume = driver.create_volume(1, "v")
        site.requests()
        unclear = r"set its extra\['location'\] to one of: b, a$"
        for call in (
            partial(driver.destroy_node, bare_node(node.id, driver)),
            partial(driver.destroy_volume, bare_volume(volume.id, driver)),
        ):
            with pytest.raises(InvalidValueError, match=unclear):
                call()
        assert site.requests() == []
        assert driver.destroy_volume(bare_volume(volume.id, driver, location="a"))
        assert driver.destroy_node(bare_node(node.id, driver, location="a"))


class TestWhereAVolumeIs:
    """``extra["node"]``, which may have become wrong since."""

    def test_it_is_remembered_until_it_is_detached(self, site: Site) -> None:
        node, volume = site.node(), site.driver.create_volume(1, "v")
        assert present(volume.extra)["node"] is None
        site.driver.attach_volume(node, volume)
        assert present(volume.extra)["node"] == node.id
        site.driver.detach_volume(volume)
        assert present(volume.extra)["node"] is None

    def test_a_wrong_memory_does_not_unplug_elsewhere(self, site: Site) -> None:
        driver, here, there = site.driver, site.node(), site.node()
        volume = driver.create_volume(1, "v")
        driver.attach_volume(here, volume)
        driver.detach_volume(driver_volume(driver, volume.id))  # by another program
        with pytest.raises(NotFoundError, match=f"it is not attached to node {here.id}"):
            driver.detach_volume(volume)
        driver.attach_volume(there, driver_volume(driver, volume.id))
        with pytest.raises(NotFoundError, match=r"; one from list_volumes\(\) is detached"):
            driver.detach_volume(volume)
        found = driver_volume(driver, volume.id)
        assert found.extra["users"] == 1  # still there
        assert driver.detach_volume(found)

    def test_of_two_nodes_one_has_to_be_named(self) -> None:
        def running(node_id: int) -> tuple[int, str, bytes]:
            history = "<HISTORY_RECORDS><HISTORY><HOSTNAME>h</HOSTNAME></HISTORY></HISTORY_RECORDS>"
            state = "<STATE>3</STATE><LCM_STATE>3</LCM_STATE>"
            return rpc(True, f"<VM><ID>{node_id}</ID>{state}{history}</VM>", 0)

        def js(document: object) -> tuple[int, str, bytes]:
            return 200, "application/json", json.dumps(document).encode()

        mounted = js({"target": "vdc"})
        both = js([{"vmId": "0", "device": "vdc"}, {"vmId": "1", "device": "vdc"}])
        answers: list[Reply] = [running(0), mounted, running(1), mounted, both, js({}), both]
        with Canned(answers) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
            volume = bare_volume("7a031320-9d3b-492f-9a97-3c5bd0ba786b", driver)
            nodes = [bare_node(number, driver) for number in ("0", "1")]
            for node in nodes:
                driver.attach_volume(node, volume)
            unclear = "attached to nodes 0, 1: say which"
            with pytest.raises(ConflictError, match=unclear):
                driver.detach_volume(volume)
            assert driver.detach_volume(volume, ex_node=nodes[1])
            with pytest.raises(ConflictError, match=unclear):
                driver.detach_volume(volume)  # it does not guess which one is left
