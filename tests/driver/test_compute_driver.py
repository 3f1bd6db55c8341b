"""The driver against a running sandbox: guide 9.1.4, function by function."""

import contextlib
import io
import ipaddress
import json
import socket
import threading
import time
import types
import unittest
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import libcloud
import libcloud.test.compute
import pytest
from canned import Canned, Handler, Reply, pool, rpc
from clouds import KEY, Site, config, context, section
from libcloud.common.types import InvalidCredsError, LibcloudError
from libcloud.compute.base import (
    Node,
    NodeAuthPassword,
    NodeAuthSSHKey,
    NodeImage,
    NodeSize,
    StorageVolume,
)
from libcloud.compute.drivers.dummy import DummyNodeDriver
from libcloud.compute.types import NodeState, StorageVolumeState
from present import present

from stratuslab_libcloud import connect
from stratuslab_libcloud.client.cloud import Machine, Nic
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.compute_driver import StratusLabNode, StratusLabNodeDriver
from stratuslab_libcloud.driver import deployment
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    CredentialsError,
    InvalidValueError,
    LostAnswerError,
    MalformedAnswerError,
    MissingCredentialsError,
    NodeFailedError,
    NodeNotReadyError,
    NotFoundError,
    NotPermittedError,
    PartialListError,
    ServiceError,
    StratusLabError,
    UnavailableError,
)
from stratuslab_libcloud.sandbox.site import Sandbox

# Where nodes are gone as soon as they are ended; and where that takes a while, as on a real site.
ENDS = pytest.mark.parametrize(
    "site", [{}, {"ending_seconds": 0.3}], ids=["at once", "later"], indirect=True
)


def wait_for(probe: Callable[[], object], wanted: object) -> None:
    """Until the probe finds what is wanted: the guard is far longer than it takes."""
    end = time.monotonic() + 60
    while (found := probe()) != wanted:
        assert time.monotonic() < end, f"still {found}, not {wanted}"
        time.sleep(0.05)


class TestLibcloudsOwn(libcloud.test.compute.TestCaseMixin, unittest.TestCase):
    """Libcloud's conformance tests."""

    should_list_volumes = True

    def setUp(self) -> None:
        self.sandbox = Sandbox()
        self.sandbox.start()
        self.addCleanup(self.sandbox.stop)
        self.driver = StratusLabNodeDriver(stratuslab_user_config=self.sandbox.config_path)
        self.addCleanup(self.driver.ex_close)
        sizes, images = self.driver.list_sizes(), self.driver.list_images()
        self.driver.create_node(name="first", size=sizes[0], image=images[0])
        self.driver.create_volume(1, "volume")

    def test_reboot_node_response(self) -> None:
        with pytest.raises(NotImplementedError):  # guide 9.1.4
            self.driver.reboot_node(self.driver.list_nodes()[0])


class TestRequests:
    """What each operation may cost (design, section 3), counted at the server."""

    def test_the_table(self, site: Site) -> None:
        driver, counted = site.driver, site.requests
        driver.list_locations()
        driver.list_sizes()
        assert counted() == []
        images = driver.list_images()
        assert counted() == ["GET marketplace"]
        driver.get_image(images[0].id)
        assert counted() == ["GET marketplace"]
        site.node(image=images[0])
        assert counted() == ["POST one-proxy"] * 2  # the entry was just read
        node = site.node(image=images[1])
        assert counted() == ["GET marketplace", "POST one-proxy", "POST one-proxy"]
        driver.list_nodes()
        assert counted() == ["POST one-proxy"]
        driver.ex_list_nodes(driver.list_locations()[0])
        assert counted() == ["POST one-proxy"]
        driver.ex_get_node(present(node.id))
        assert counted() == ["POST one-proxy"]
        volume = driver.create_volume(1, "v")
        assert counted() == ["POST pdisk"]
        driver.list_volumes()
        assert counted() == ["GET pdisk"]
        driver.attach_volume(node, volume)
        assert counted() == ["POST one-proxy", "POST pdisk"]
        driver.detach_volume(volume, ex_node=node)
        assert counted() == ["DELETE pdisk"]
        driver.attach_volume(node, volume)
        counted()
        driver.detach_volume(volume)
        assert counted() == ["DELETE pdisk"]  # it remembers where it is
        driver.attach_volume(node, volume)
        counted()
        driver.detach_volume(driver_volume(driver, volume.id))
        assert counted() == ["GET pdisk", "GET pdisk", "DELETE pdisk"]  # the first is the listing
        driver.ex_update_volume(volume, name="w")
        assert counted() == ["PUT pdisk"]
        driver.destroy_volume(volume)
        assert counted() == ["DELETE pdisk"]
        driver.destroy_node(node)
        assert counted() == ["POST one-proxy"]
        driver.ex_shutdown_node(driver.list_nodes()[0])
        assert counted() == ["POST one-proxy"] * 2  # one of them is the listing

    def test_one_connection_per_service_for_a_whole_session(self, site: Site) -> None:
        for _ in range(3):
            node = site.node()
            volume = site.driver.create_volume(1, "v")
            site.driver.attach_volume(node, volume)
            site.driver.detach_volume(volume)
            site.driver.destroy_volume(volume)
            site.driver.destroy_node(node)
            with pytest.raises(NotFoundError):
                site.driver.destroy_volume(volume)
        peers: dict[str, set[Any]] = {}
        for one in site.seen:
            peers.setdefault(one.path.split("/")[1], set()).add(one.peer)
        assert {name: len(found) for name, found in peers.items()} == {
            "marketplace": 1,
            "one-proxy": 1,
            "pdisk": 1,
        }

    def test_constructing_causes_none(self) -> None:
        StratusLabNodeDriver(
            stratuslab_user_config=config(
                endpoint="nowhere.invalid", pem_key="/no", pem_certificate="/no"
            )
        )


def driver_volume(driver: StratusLabNodeDriver, volume_id: str) -> Any:
    return next(volume for volume in driver.list_volumes() if volume.id == volume_id)


class TestLooking:
    def test_sizes(self, site: Site) -> None:
        sizes = {size.id: size for size in site.driver.list_sizes()}
        assert sizes["m1.xlarge"].ram == 8192
        assert sizes["m1.xlarge"].extra == {"cpus": 4, "swap": 8192}
        assert {(size.disk, size.bandwidth, size.price) for size in sizes.values()} == {
            (0, None, 0.0)
        }

    def test_images_have_one_entry_per_identifier(self, site: Site) -> None:
        images = site.driver.list_images()
        identifiers = [image.id for image in images]
        assert len(set(identifiers)) == len(identifiers) > 2
        assert any(len(image.extra["endorsers"]) == 2 for image in images)

    def test_json_and_xml_listings_agree(self, site: Site) -> None:

        def listed() -> list[tuple[str, str, list[str]]]:
            images = site.driver.list_images()
            return sorted((i.id, i.name, sorted(i.extra["endorsers"])) for i in images)

        as_json = listed()
        with pytest.MonkeyPatch.context() as patch:
            send = Service.send

            def only_xml(self: Any, *arguments: Any, **options: Any) -> Any:
                return send(self, *arguments, **{**options, "accept": "application/xml"})

            patch.setattr(Service, "send", only_xml)
            assert listed() == as_json

    def test_get_image_has_the_whole_entry(self, site: Site) -> None:
        image_id = site.driver.list_images()[0].id
        image = site.driver.get_image(image_id)
        assert image.id == image_id
        assert image.extra["format"]
        assert set(image.extra["checksums"]) >= {"SHA-1"}
        assert isinstance(image.extra["size"], int)
        assert image.extra["locations"]

    def test_extra_is_plain_and_serialisable(self, site: Site) -> None:
        site.node()
        site.driver.create_volume(1, "v")
        things: list[Any] = [*site.driver.list_nodes(), *site.driver.list_volumes()]
        for thing in [*things, *site.driver.list_images(), *site.driver.list_sizes()]:
            json.dumps(thing.extra)
            assert all(key == key.lower() for key in thing.extra)


class TestNodes:
    def test_a_new_node(self, site: Site) -> None:
        size = site.driver.list_sizes()[3]
        node = site.node(name="wéb", size=size)
        assert isinstance(node, StratusLabNode)
        assert (node.id, node.name, node.size) == ("0", "wéb", size)
        assert ipaddress.ip_address(node.public_ips[0]).is_loopback
        assert node.private_ips == []

    def test_a_listed_node(self, site: Site) -> None:
        created = site.node(name="web", size=site.driver.list_sizes()[3])
        (node,) = site.driver.list_nodes()
        assert node.uuid == created.uuid
        assert (node.state, present(node.size).id, present(node.image).id) == (
            NodeState.RUNNING,
            "m1.large",
            present(created.image).id,
        )
        assert abs(present(node.created_at).timestamp() - time.time()) < 600
        assert set(node.extra) == {
            *("location", "endpoint", "host", "owner", "vm_state", "lcm_state", "cpu_percent"),
            *("memory_kib", "disks", "error"),
        }
        assert (node.extra["location"], node.extra["vm_state"]) == ("sandbox", 3)

    def test_a_document_that_was_indented(self) -> None:
        image = "KzQ7vYw0Lr-bT2mNcE_x4hUaS9d"
        vm = f"""<VM><ID>7</ID><STATE>3</STATE><LCM_STATE>3</LCM_STATE><TEMPLATE><DISK><DISK_ID>0
            </DISK_ID><SOURCE>
              <![CDATA[https://m.example.org/metadata/{image}/ann@example.org]]>
            </SOURCE></DISK><NIC><IP>
              10.0.0.5
            </IP><NETWORK>
              local
            </NETWORK></NIC></TEMPLATE></VM>"""
        with Canned([pool(vm)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
            (node,) = driver.list_nodes()
        assert (node.private_ips, node.public_ips) == (["10.0.0.5"], [])
        assert present(node.image).id == image

    def test_state_is_a_value(self, site: Site) -> None:
        node = site.node()
        site.requests()
        assert (node.state, node.extra["host"], repr(node)) is not None
        assert site.requests() == []

    def test_states_in_their_order(self, tmp_path: Path) -> None:
        with Sandbox(tmp_path / "slow", boot_seconds=0.6) as sandbox:
            driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
            node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0])
            assert (node.state, len(node.public_ips)) == (NodeState.PENDING, 1)
            ((node, addresses),) = driver.wait_until_running([node], wait_period=0.05)
            assert (node.state, addresses) == (NodeState.RUNNING, node.public_ips)
            driver.ex_close()

    def test_networks(self, site: Site) -> None:
        node = site.node(ex_network="private")
        assert node.public_ips == []
        assert len(node.private_ips) == 1
        node = site.node(ex_network=None)
        assert len(node.public_ips) == 1
        assert node.private_ips == []

    def test_all_that_may_be_asked_for(self, site: Site) -> None:
        first = site.node(ex_network="local")
        address = first.private_ips[0]
        wanted = address.rpartition(".")[0] + ".99"
        node = site.node(
            ex_network="local",
            ex_address=wanted,
            ex_network_model="virtio",
            ex_volatile_disk=2,
            ex_disks_bus="scsi",
            ex_requirements='CLUSTER = "test"',
            ex_cpu_amount=0.5,
            ex_use_host_cpu=True,
            ex_vnc_port=5901,
            ex_vnc_listen="127.0.0.1",
            ex_keymap="fr",
        )
        assert node.private_ips == [wanted]
        assert [(disk["target"], disk["size"]) for disk in node.extra["disks"][1:]] == [
            ("sdb", 512),
            ("sdc", 2048),
        ]
        cloud = connect(site.sandbox.config_path)
        told = cloud.machine_attributes(present(node.id))
        assert set(told) >= {
            ("id", node.id),
            ("template_nic_ip", wanted),
            ("template_nic_model", "virtio"),
            ("template_cpu", "0.5"),
            ("template_requirements", 'CLUSTER = "test"'),
            ("template_graphics_port", "5901"),
            ("template_graphics_listen", "127.0.0.1"),
            ("template_graphics_keymap", "fr"),
            ("template_raw_type", "kvm"),
        }
        cloud.close()
        with pytest.raises(ServiceError, match="Could not get virtual network"):
            site.node(ex_network="local", ex_address=wanted)

    @ENDS
    def test_destroy(self, site: Site) -> None:
        node = site.node()
        assert site.driver.destroy_node(node) is True
        wait_for(site.driver.list_nodes, [])
        assert site.driver.ex_get_node(present(node.id)).state == NodeState.TERMINATED
        assert site.driver.destroy_node(node) is True

    @pytest.mark.parametrize("site", [{"ending_seconds": 3600}], ids=["much later"], indirect=True)
    def test_nodes_that_are_ending(self, site: Site) -> None:
        driver, nodes = site.driver, [site.node(), site.node()]
        volume = driver.create_volume(1, "v")
        driver.attach_volume(nodes[0], volume)
        assert driver.destroy_node(nodes[0])
        assert driver.ex_shutdown_node(nodes[1])
        listed = driver.list_nodes()
        assert [node.state for node in listed] == [NodeState.STOPPING] * 2
        assert [node.extra["lcm_state"] for node in listed] == [15, 12]
        assert driver.destroy_node(nodes[0])
        for function, *arguments in (
            (driver.ex_shutdown_node, nodes[0]),
            (driver.attach_volume, nodes[0], driver.create_volume(1, "w")),
            (driver.destroy_volume, volume),
        ):
            with pytest.raises(ConflictError):
                function(*arguments)

    @ENDS
    def test_shutdown(self, site: Site) -> None:
        node = site.node()
        assert site.driver.ex_shutdown_node(node) is True
        wait_for(site.driver.list_nodes, [])
        with pytest.raises(ConflictError, match="Wrong state"):
            site.driver.ex_shutdown_node(node)

    def test_a_size_without_cpus_counts_as_one(self, site: Site) -> None:
        foreign = NodeSize("x", "x", 256, 10, None, 0.0, site.driver)
        assert site.node(size=foreign).size is foreign
        listed = present(site.driver.list_nodes()[0].size)
        assert (listed.id, listed.ram, listed.extra["cpus"]) == ("custom", 256, 1)

    def test_without_a_name_the_cloud_chooses_one(self, site: Site) -> None:
        assert site.node(name="").name == "one-0"
        assert site.node(name=None).name == "one-1"
        size, image = site.driver.list_sizes()[0], site.driver.list_images()[0]
        assert site.driver.create_node(size=size, image=image).name == "one-2"

    @pytest.mark.parametrize("options", [{"auth": KEY}, {}])
    def test_keys_reach_the_context(self, site: Site, options: dict[str, Any]) -> None:
        site.node(**options)
        key = KEY.pubkey if options else (site.sandbox.dir / "id_ed25519.pub").read_text()
        assert key.split()[1] in context(site)["PUBLIC_KEY"]

    def test_context_and_user_data(self, site: Site) -> None:
        site.node(ex_context={"role": "web"}, ex_user_data="#!/bin/sh\n")
        found = context(site)
        assert (found["ROLE"], found["CONTEXT_METHOD"]) == ("web", "cloud-init")
        assert "CLOUD_INIT_USER_DATA" in found
        assert "CLOUD_INIT_AUTHORIZED_KEYS" in found

    @ENDS
    def test_volumes_and_images_from_the_start(self, site: Site) -> None:
        volumes = [site.driver.create_volume(1, name) for name in ("a", "b")]
        image = site.driver.list_images()[1]
        node = site.node(ex_volumes=volumes, ex_readonly_images=[image])
        targets = [disk["target"] for disk in node.extra["disks"]]
        assert len(set(targets)) == len(targets) == 5
        sources = [disk["source"] or "" for disk in node.extra["disks"]]
        assert [volume.id in source for volume, source in zip(volumes, sources[2:4], strict=True)]
        assert {v.state for v in site.driver.list_volumes()} == {StorageVolumeState.INUSE}
        with pytest.raises(ConflictError, match="when node 0 started"):
            site.driver.detach_volume(volumes[0])
        site.driver.destroy_node(node)
        wait_for(
            lambda: {v.state for v in site.driver.list_volumes()}, {StorageVolumeState.AVAILABLE}
        )

    def test_when_info_fails_the_node_is_not_lost(self, site: Site) -> None:
        with pytest.MonkeyPatch.context() as patch:
            from stratuslab_libcloud.client.stratuslab import compute

            def fail(self: Any, machine_id: str, timeout: float | None) -> None:
                raise ConnectionFailedError("no")

            patch.setattr(compute.ComputeClient, "info", fail)
            node = site.node(name="kept")
        assert (node.id, node.name, node.state, node.public_ips) == (
            "0",
            "kept",
            NodeState.PENDING,
            [],
        )
        assert site.driver.list_nodes()[0].uuid == node.uuid

    def test_a_failed_node(self, site: Site) -> None:
        node = site.node()
        site.sandbox.fail(int(present(node.id)), "no space left")
        (found,) = site.driver.list_nodes()
        error = "Error deploying virtual machine: no space left"
        assert (found.state, found.extra["error"]) == (NodeState.ERROR, error)

    def test_a_volume_that_there_is_not_fails_the_node(self, site: Site) -> None:
        volume = site.driver.create_volume(1, "v")
        site.driver.destroy_volume(volume)
        node = site.node(ex_volumes=[volume])
        with pytest.raises(NodeFailedError, match=f"image transfer script.*{volume.id}"):
            site.driver.wait_until_running([node])

    def test_reboot_stays_unimplemented(self, site: Site) -> None:
        with pytest.raises(NotImplementedError):
            site.driver.reboot_node(site.node())


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
        site.driver.create_volume(1, "v")
        (location,) = site.driver.list_locations()
        assert len(site.driver.list_volumes(ex_location=location)) == 1

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


class TestRebuiltFromIds:
    """Programs without state keep ids only (one location, or the thing says which)."""

    @staticmethod
    def node(node_id: str | None, driver: Any, **extra: str) -> Node:
        name: Any = None
        return Node(present(node_id), name, NodeState.UNKNOWN, [], [], driver, extra=extra)

    @staticmethod
    def volume(volume_id: str, driver: Any, **extra: str) -> StorageVolume:
        nothing: Any = None
        return StorageVolume(volume_id, nothing, nothing, driver, extra=extra)

    @staticmethod
    def size(size_id: str, driver: Any, **more: Any) -> NodeSize:
        values = {"name": None, "ram": None, "disk": None, "bandwidth": None, "price": None}
        return NodeSize(id=size_id, driver=driver, **{**values, **more})

    @pytest.mark.parametrize("owned", [True, False])
    def test_everything_is_accepted(self, site: Site, owned: bool) -> None:
        driver = site.driver
        owner: Any = driver if owned else None
        name: Any = None
        image = NodeImage(driver.list_images()[0].id, name, owner)
        node_id = driver.create_node("n", self.size("m1.large", owner), image).id
        node, volume = (
            self.node(node_id, owner),
            self.volume(driver.create_volume(1, "v").id, owner),
        )
        assert driver.attach_volume(node, volume)
        assert driver.detach_volume(self.volume(volume.id, owner))
        assert driver.attach_volume(node, volume)
        assert driver.detach_volume(self.volume(volume.id, owner), ex_node=node)
        assert driver.ex_update_volume(volume, name="v")
        assert driver.destroy_volume(volume)
        assert driver.wait_until_running([node])[0][0].id == node_id
        assert driver.destroy_node(node)

    def test_sizes_are_completed_by_their_id(self, site: Site) -> None:
        whole = {size.id: size for size in site.driver.list_sizes()}["m1.large"]
        for size in (
            self.size("m1.large", site.driver),
            self.size("m1.large", site.driver, ram=6144),
            self.size("m1.large", None, ram=6144, extra={"cpus": 2}),
        ):
            node = site.node(size=size)
            completed = present(node.size)
            assert (completed.ram, completed.extra) == (whole.ram, whole.extra)
            listed = site.driver.ex_get_node(present(node.id))
            assert present(listed.size).id == "m1.large"

    def test_what_a_size_says_itself_counts(self, site: Site) -> None:
        size = self.size("m1.large", site.driver, ram=512, extra={"cpus": 3, "swap": 0})
        assert site.node(size=size).size is size
        found = present(site.driver.list_nodes()[0].size)
        assert (found.ram, found.extra) == (512, {"cpus": 3, "swap": 0})

    def test_an_unknown_size_is_named_with_what_may_be_meant(self, site: Site) -> None:
        size = self.size("m1.smal", site.driver)
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
            partial(driver.destroy_node, self.node(node.id, driver)),
            partial(driver.destroy_volume, self.volume(volume.id, driver)),
        ):
            with pytest.raises(InvalidValueError, match=unclear):
                call()
        assert site.requests() == []
        assert driver.destroy_volume(self.volume(volume.id, driver, location="a"))
        assert driver.destroy_node(self.node(node.id, driver, location="a"))


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
            volume = TestRebuiltFromIds.volume("7a031320-9d3b-492f-9a97-3c5bd0ba786b", driver)
            nodes = [TestRebuiltFromIds.node(number, driver) for number in ("0", "1")]
            for node in nodes:
                driver.attach_volume(node, volume)
            unclear = "attached to nodes 0, 1: say which"
            with pytest.raises(ConflictError, match=unclear):
                driver.detach_volume(volume)
            assert driver.detach_volume(volume, ex_node=nodes[1])
            with pytest.raises(ConflictError, match=unclear):
                driver.detach_volume(volume)  # it does not guess which one is left


class TestBadInput:
    """Each is one clear line of the right class, and nothing is created or lost."""

    def check(self, kind: type[StratusLabError], text: str, *call: Any, **options: Any) -> None:
        function, *arguments = call
        with pytest.raises(kind, match=text) as caught:
            function(*arguments, **options)
        assert isinstance(caught.value, LibcloudError)
        assert "\n" not in str(caught.value)

    def test_wrong_password(self, site: Site) -> None:
        file = config(section("s", site.sandbox, password="wrong"), selected_section="s")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        for call in (driver.list_nodes, driver.list_volumes):
            self.check(CredentialsError, r"^s \(http.*check user name and password", call)
        with pytest.raises(InvalidCredsError) as caught:
            driver.list_nodes()
        assert caught.value.driver is driver

    def test_no_password(self, site: Site) -> None:
        file = config(section("s", site.sandbox, password=""), selected_section="s")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        self.check(MissingCredentialsError, "no complete credentials", driver.list_nodes)
        with pytest.raises(InvalidCredsError):
            driver.create_volume(1, "v")
        assert driver.list_images()

    def test_an_unknown_section(self, site: Site) -> None:
        for options in ({"key": "zz"}, {"stratuslab_default_location": "zz"}):
            self.check(ConfigurationError, r"\[zz\].*; known: ", site.new_driver, **options)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        self.check(
            ConfigurationError,
            "nope.cfg",
            StratusLabNodeDriver,
            stratuslab_user_config=tmp_path / "nope.cfg",
        )
        self.check(ConfigurationError, "stratus-copy-config", StratusLabNodeDriver)

    def test_a_missing_endpoint(self) -> None:
        driver = StratusLabNodeDriver(stratuslab_user_config=config(username="u", password="p"))
        for call in (driver.list_nodes, driver.list_volumes):
            self.check(ConfigurationError, r"there is no \w*endpoint in .*\[default\]", call)

    def test_unknown_keywords(self) -> None:
        with pytest.raises(TypeError):
            StratusLabNodeDriver(ex_nonsense=1)  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        "options",
        [
            {"host": "h"},
            {"port": 1},
            {"key": "u", "secret": "p"},
            {"secret": "p", "host": "h"},
            {"key": "u", "secret": "p", "host": "h", "stratuslab_user_config": "x"},
            {"key": "u", "secret": "p", "host": "h h"},
            {"key": "u", "secret": "p", "host": "https://h:1", "port": 2},
            {"timeout": 0},
            {"timeout": "soon"},
            {"timeout": float("inf")},
            {"key": "u", "secret": "p", "host": "h", "proxy_url": "http://[x"},
            {"stratuslab_user_config": ""},
        ],
    )
    def test_arguments_that_do_not_fit(self, options: dict[str, Any]) -> None:
        with pytest.raises(StratusLabError) as caught:
            StratusLabNodeDriver(**options)
        assert isinstance(caught.value, ValueError)

    @pytest.mark.parametrize(
        ("answer", "kind", "text"),
        [
            ((200, "text/html", b"<html>welcome</html>"), MalformedAnswerError, "text/html"),
            (
                (
                    200,
                    "text/xml",
                    b"<methodResponse><fault><value><struct><member><name>faultCode</name>"
                    b"<value><int>-506</int></value></member><member><name>faultString</name>"
                    b"<value>no such method</value></member></struct></value></fault>"
                    b"</methodResponse>",
                ),
                ServiceError,
                "fault -506: no such method",
            ),
            ((404, "text/html", b"<html>"), ServiceError, "is the cloud endpoint right"),
        ],
    )
    def test_endpoints_that_answer_otherwise(
        self, answer: Reply, kind: type[StratusLabError], text: str
    ) -> None:
        with Canned([answer]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
            self.check(kind, text, driver.list_nodes)

    def test_endpoints_that_do_not_answer(self) -> None:
        with Canned([lambda handler, request: time.sleep(2)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc", timeout=0.6)
            self.check(ConnectionFailedError, "did not answer", driver.list_nodes)
        driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc", timeout=2)
        self.check(ConnectionFailedError, "refused", driver.list_nodes)

    def test_images_that_do_not_exist(self, site: Site) -> None:
        for image_id, kind in (("x" * 27, NotFoundError), ("nope", InvalidValueError)):
            image = NodeImage(image_id, "x", site.driver)
            self.check(kind, image_id, site.node, image=image)
            self.check(kind, image_id, site.driver.get_image, image_id)
        assert site.driver.list_nodes() == []

    def test_impossible_volumes(self, site: Site) -> None:
        for size in (0, 2000):
            self.check(InvalidValueError, "1 to 1024", site.driver.create_volume, size, "v")
        self.check(
            InvalidValueError, "snapshot", site.driver.create_volume, 1, "v", snapshot=object()
        )
        assert site.driver.list_volumes() == []

    def test_detaching_what_is_not_attached(self, site: Site) -> None:
        volume, node = site.driver.create_volume(1, "v"), site.node()
        self.check(NotFoundError, "not attached", site.driver.detach_volume, volume)
        self.check(
            NotFoundError, "not been hot-plugged", site.driver.detach_volume, volume, ex_node=node
        )

    def test_deleting_a_mounted_volume(self, site: Site) -> None:
        volume, node = site.driver.create_volume(1, "v"), site.node()
        site.driver.attach_volume(node, volume)
        self.check(ConflictError, "in use", site.driver.destroy_volume, volume)
        assert len(site.driver.list_volumes()) == 1

    @ENDS
    def test_attaching_to_a_node_that_does_not_run(self, site: Site) -> None:
        volume, node = site.driver.create_volume(1, "v"), site.node()
        site.driver.destroy_node(node)
        self.check(ConflictError, "it is D(one|elete)", site.driver.attach_volume, node, volume)
        wait_for(site.driver.list_nodes, [])
        self.check(ConflictError, "it is Done", site.driver.attach_volume, node, volume)

    def test_somebody_elses_things(self, tmp_path: Path) -> None:
        with Sandbox(tmp_path / "s", users={"ann": "pw-a", "bob": "pw-b"}) as sandbox:
            host = f"{sandbox.url}/one-proxy/xmlrpc"
            ann, bob = (
                StratusLabNodeDriver(name, f"pw-{name[0]}", host=host) for name in ("ann", "bob")
            )
            for visibility in ("private", "public"):
                volume = ann.create_volume(1, "v", ex_visibility=visibility)
                self.check(NotPermittedError, "rights", bob.destroy_volume, volume)
            node = ann.create_node("n", ann.list_sizes()[0], ann.list_images()[0], auth=KEY)
            self.check(NotPermittedError, "Not authorized", bob.destroy_node, node)
            self.check(NotPermittedError, "Not authorized", bob.ex_get_node, node.id)
            assert [bob.list_nodes(), bob.list_volumes()] == [[], []]
            assert (len(ann.list_nodes()), len(ann.list_volumes())) == (1, 2)

    def test_things_of_another_driver(self, site: Site) -> None:
        other = StratusLabNodeDriver("u", "p", host="h")
        for theirs in (other, DummyNodeDriver("x")):
            stranger = Node("1", "x", NodeState.RUNNING, [], [], theirs, extra={})
            self.check(InvalidValueError, "another driver", site.driver.destroy_node, stranger)
        stranger = Node("1", "x", NodeState.RUNNING, [], [], site.driver, extra={})
        stranger.extra["location"] = "elsewhere"
        self.check(InvalidValueError, "no location 'elsewhere'", stranger.destroy)

    def test_keys_are_checked_before_anything_is_sent(self, site: Site, home: Path) -> None:
        image = site.driver.list_images()[0]
        private = (site.sandbox.dir / "id_ed25519").read_text()
        site.requests()
        for auth in (NodeAuthSSHKey(""), NodeAuthSSHKey(private), NodeAuthPassword("pw")):
            self.check(InvalidValueError, "key", site.node, image=image, auth=auth)
        file = config(section("s", site.sandbox, user_public_key_file="/no.pub"))
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        self.check(
            ConfigurationError, "/no.pub cannot be read", site.node, driver=driver, image=image
        )
        assert site.requests() == []

    def test_no_key_at_all_is_a_warning(self, site: Site) -> None:
        file = config(section("s", site.sandbox))
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        with pytest.warns(UserWarning, match="nobody will be able to log in"):
            site.node(driver=driver)

    @pytest.mark.parametrize(
        "options",
        [
            {"ex_context": {"bad key": "x"}},
            {"ex_context": {"target": "hda"}},
            {"ex_context": {"a": "1", "A": "2"}},
            {"ex_context": {"a": "$(reboot)"}},
            {"ex_context": {"a": 'x" b="y'}},
            {"ex_context_method": "magic"},
            {"ex_context_method": "one", "ex_user_data": "x"},
            {"ex_user_data": bytes(range(256)) * 4096},
            {"size": TestRebuiltFromIds.size("x", None, disk=0)},
            {"size": TestRebuiltFromIds.size("x", None, ram=1, extra={"cpus": 0})},
        ],
    )
    def test_what_cannot_be_a_node_is_not_sent(self, site: Site, options: dict[str, Any]) -> None:
        image = site.driver.list_images()[0]
        site.driver.get_image(image.id)
        site.requests()
        if "ex_user_data" in options and len(options["ex_user_data"]) > 9:
            import os

            options = {"ex_user_data": os.urandom(20000)}
        with pytest.raises(InvalidValueError):
            site.node(image=image, **options)
        assert site.requests() == []

    def test_a_lost_answer_tells_what_to_look_for(self) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        with Canned([hang_up]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
            image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
            with pytest.raises(LostAnswerError, match="a node named 'web' may have been created"):
                driver.create_node("web", driver.list_sizes()[0], image, auth=KEY)
            assert len(server.requests) == 1

    def test_values_of_the_wrong_kind(self, site: Site) -> None:
        driver, size, image = site.driver, site.driver.list_sizes()[0], site.driver.list_images()[0]
        driver.get_image(image.id)
        site.requests()
        none: Any = None
        wrong: list[dict[str, Any]] = [
            *({"name": 123}, {"image": None}, {"image": image.id}, {"size": None}),
            *({"ex_network": ""}, {"ex_network": " "}, {"ex_network": 5}),
            *({"ex_context": ["a"]}, {"ex_context": {1: "a"}}, {"ex_context": {"a": None}}),
            *({"ex_user_data": 5}, {"ex_volumes": None}, {"ex_volumes": ["uuid"]}),
            *({"ex_readonly_images": "id"}, {"auth": NodeAuthSSHKey(none)}),
            {"auth": NodeAuthSSHKey("this is not a key")},
        ]
        kind = (
            "name of a network|must be|is to be|is text|is wanted|made of letters|no SSH public key"
        )
        for options in wrong:
            call = {"name": "n", "size": size, "image": image, **options}
            self.check(InvalidValueError, kind, driver.create_node, **call)
        self.check(InvalidValueError, "text, not 123", driver.create_volume, 1, 123)
        assert site.requests() == []

    def test_a_node_of_another_drivers_cloud_is_not_touched(self, tmp_path: Path) -> None:
        with Sandbox(tmp_path / "a") as a, Sandbox(tmp_path / "b") as b:
            drivers = []
            for sandbox in (a, b):
                ((username, password),) = sandbox.users.items()
                host = f"{sandbox.url}/one-proxy/xmlrpc"
                drivers.append(StratusLabNodeDriver(username, password, host=host))
            nodes = [
                driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
                for driver in drivers
            ]
            volume = drivers[1].create_volume(1, "v")
            assert nodes[0].id == nodes[1].id
            assert nodes[0].uuid != nodes[1].uuid
            self.check(InvalidValueError, "not to this location", drivers[0].destroy_node, nodes[1])
            self.check(InvalidValueError, "not to this location", drivers[0].destroy_volume, volume)
            assert [len(driver.list_nodes()) for driver in drivers] == [1, 1]

    def test_the_look_at_a_new_node_may_be_at_another(self) -> None:
        other = "<VM><ID>7</ID><NAME>theirs</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE></VM>"
        with Canned([rpc(True, 42, 0), rpc(True, other, 0)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
            image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
            node = driver.create_node("mine", driver.list_sizes()[0], image, auth=KEY)
            assert (node.id, node.name, node.state) == ("42", "mine", NodeState.PENDING)
            said = "was asked about node 42, but answered about node 7"
            sent = len(server.requests)
            self.check(MalformedAnswerError, said, driver.ex_get_node, "42")
            volume = StorageVolume("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "v", 1, driver)
            self.check(MalformedAnswerError, said, driver.attach_volume, node, volume)
            assert {request.path for request in server.requests[sent:]} == {
                "/one-proxy/pswd/xmlrpc"
            }

    def test_a_node_is_never_lost_in_a_strange_answer(self) -> None:
        strange = (200, "text/xml", b'<?xml version="1.0" encoding="gb18030"?><methodResponse/>')
        astray = (302, "text/html", b"", {"Location": "http://[x"})
        for answer in (strange, astray):
            with Canned([rpc(True, 42, 0), answer]) as server:
                driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
                image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
                node = driver.create_node("n", driver.list_sizes()[0], image, auth=KEY)
                assert node.id == "42"
                self.check(
                    MalformedAnswerError,
                    "cannot be read|cannot be understood|an invalid URL",
                    driver.list_nodes,
                )


class TestLocations:
    """Several clouds behind one driver."""

    @pytest.fixture
    def two(self, tmp_path: Path) -> Iterator[tuple[StratusLabNodeDriver, list[Any], list[Any]]]:
        seen: tuple[list[Any], list[Any]] = ([], [])
        with (
            Sandbox(tmp_path / "a", on_request=seen[0].append) as a,
            Sandbox(tmp_path / "b", on_request=seen[1].append) as b,
        ):
            file = config(section("a", a), section("b", b, ssh_port="2222"), selected_section="b")
            driver = StratusLabNodeDriver(stratuslab_user_config=file)
            yield driver, *seen
            driver.ex_close()

    def test_the_same_ids_are_different_nodes(self, two: Any) -> None:
        driver, *_ = two
        size, image = driver.list_sizes()[0], driver.list_images()[0]
        nodes = [
            driver.create_node("n", size, image, location=location, auth=KEY)
            for location in driver.list_locations()
        ]
        assert [node.id for node in nodes] == ["0", "0"]
        assert len({node.uuid for node in nodes}) == 2
        assert {node.uuid for node in driver.list_nodes()} == {node.uuid for node in nodes}
        assert [node.extra.get("ssh_port") for node in nodes] == [2222, None]

    def test_everything_goes_to_the_right_site(self, two: Any) -> None:
        driver, at_a, at_b = two
        b, a = driver.list_locations()
        assert (b.id, a.id) == ("b", "a")
        size, image = driver.list_sizes()[0], driver.list_images(a)[0]
        node_a, node_b = (
            driver.create_node("n", size, image, location=place, auth=KEY) for place in (a, b)
        )
        volume = driver.create_volume(1, "v", location=a)
        at_a.clear()
        at_b.clear()
        ((waited, _),) = driver.wait_until_running([node_a])
        assert waited.uuid == node_a.uuid
        driver.attach_volume(node_a, volume)
        driver.detach_volume(volume)
        driver.destroy_volume(volume)
        driver.destroy_node(node_a)
        assert (len(at_a), len(at_b)) == (6, 0)
        assert [node.uuid for node in driver.list_nodes()] == [node_b.uuid]

    def test_a_volume_cannot_cross_the_border(self, two: Any) -> None:
        driver, *_ = two
        b, a = driver.list_locations()
        volume = driver.create_volume(1, "v", location=a)
        image = driver.list_images()[0]
        node = driver.create_node("n", driver.list_sizes()[0], image, location=b, auth=KEY)
        with pytest.raises(InvalidValueError, match="must be in the same"):
            driver.attach_volume(node, volume)
        with pytest.raises(InvalidValueError, match="is in location a"):
            driver.create_node("n", driver.list_sizes()[0], image, auth=KEY, ex_volumes=[volume])

    def test_shared_values_in_default(self, site: Site) -> None:
        ((username, password),) = site.sandbox.users.items()
        endpoint = f"[only]\nendpoint = {site.sandbox.url}/one-proxy/xmlrpc"
        file = config(endpoint, username=username, password=password)
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        assert [location.id for location in driver.list_locations()] == ["only"]
        assert driver.list_nodes() == []

    def test_two_sections_for_one_cloud_are_asked_once(self, site: Site) -> None:
        file = config(section("x", site.sandbox), section("y", site.sandbox), selected_section="y")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        site.node()
        site.requests()
        (node,) = driver.list_nodes()
        assert driver.list_volumes() == []
        assert node.extra["location"] == "y"
        assert site.requests() == ["POST one-proxy", "GET pdisk"]

    def test_an_unreachable_cloud_is_not_passed_over(self, site: Site) -> None:
        dead = "[dead]\nendpoint = http://127.0.0.1:1/xmlrpc\nusername = u\npassword = p"
        file = config(dead, section("alive", site.sandbox), selected_section="alive")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        node = site.node()
        with pytest.raises(PartialListError, match=r"1 of 2 locations.*dead.*refused") as caught:
            driver.list_nodes()
        assert [found.id for found in caught.value.found] == [node.id]
        assert list(caught.value.failures) == ["dead"]
        assert isinstance(caught.value.failures["dead"], ConnectionFailedError)
        assert caught.value.driver is driver
        alive, _ = driver.list_locations()
        assert len(driver.ex_list_nodes(alive)) == 1
        with pytest.raises(PartialListError):
            driver.list_volumes()

    def test_locations_are_asked_at_the_same_time(self) -> None:
        together = threading.Barrier(3)

        def wait(handler: Handler, request: object) -> None:
            together.wait(10)
            handler.send(*pool())

        with Canned([wait]) as server:
            sections = [
                f"[s{n}]\nendpoint = {server.url}/xmlrpc\nusername = u{n}\npassword = p"
                for n in range(3)
            ]
            file = config(*sections, selected_section="s0")
            assert StratusLabNodeDriver(stratuslab_user_config=file).list_nodes() == []

    def test_a_node_has_one_uuid_whichever_section_it_is_seen_by(self, site: Site) -> None:
        file = config(section("x", site.sandbox), section("y", site.sandbox), selected_section="y")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        _, x = driver.list_locations()
        node = site.node(driver=driver, location=x, auth=KEY)
        assert [found.uuid for found in driver.list_nodes()] == [node.uuid]

    def test_each_location_without_endpoint_is_named(self, site: Site) -> None:
        file = config(section("good", site.sandbox), "[p]", "[r]", selected_section="good")
        with pytest.raises(PartialListError) as caught:
            StratusLabNodeDriver(stratuslab_user_config=file).list_nodes()
        assert list(caught.value.failures) == ["p", "r"]

    def test_a_node_of_another_location_does_not_detach_a_volume(self, two: Any) -> None:
        driver, *_ = two
        b, a = driver.list_locations()
        what = {"size": driver.list_sizes()[0], "image": driver.list_images()[0], "auth": KEY}
        at_a, at_b = (driver.create_node(name="n", location=place, **what) for place in (a, b))
        volume = driver.create_volume(1, "v", location=a)
        driver.attach_volume(at_a, volume)
        with pytest.raises(InvalidValueError, match="must be in the same"):
            driver.detach_volume(volume, ex_node=at_b)
        assert driver.detach_volume(volume, ex_node=at_a)

    def test_an_empty_location_is_none(self, two: Any) -> None:
        from libcloud.compute.base import NodeLocation

        driver, *_ = two
        with pytest.raises(InvalidValueError, match="no location ''"):
            driver.list_images(NodeLocation("", "", "", driver))

    def test_an_unknown_location_is_refused(self, two: Any) -> None:
        from libcloud.compute.base import NodeLocation

        driver, *_ = two
        with pytest.raises(InvalidValueError, match=r"no location 'zz'; known: b, a$"):
            driver.list_images(NodeLocation("zz", "zz", "?", driver))

    def test_one_that_is_close_to_a_known_one_names_it(self, site: Site) -> None:
        location: Any = "sandbx"
        with pytest.raises(InvalidValueError, match=r"known: sandbox; did you mean sandbox\?$"):
            site.driver.list_images(location)


class TestDirect:
    """User name, password and endpoint as arguments, as other drivers have them."""

    def test_no_file_and_no_environment(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, home: Path
    ) -> None:
        monkeypatch.setenv("STRATUSLAB_ENDPOINT", "nowhere.invalid")
        monkeypatch.setenv("STRATUSLAB_PASSWORD", "wrong")
        ((username, password),) = site.sandbox.users.items()
        host = f"{site.sandbox.url}/one-proxy/xmlrpc"
        driver = StratusLabNodeDriver(username, password, host=host)
        assert [place.id for place in driver.list_locations()] == ["default"]
        node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
        assert driver.list_nodes()[0].uuid == node.uuid
        assert present(driver.create_volume(1, "v").extra)["location"] == "default"

    def test_bare_host_and_port(self, site: Site) -> None:
        ((username, password),) = site.sandbox.users.items()
        driver = StratusLabNodeDriver(
            username,
            password,
            secure=False,
            host="127.0.0.1",
            port=site.sandbox.port,
            ex_marketplace_endpoint=site.sandbox.url,
        )
        image = driver.list_images()[0]
        node = driver.create_node("n", driver.list_sizes()[0], image, auth=KEY)
        assert driver.attach_volume(node, driver.create_volume(1, "v"))
        assert Counter(one.path.split("/")[1] for one in site.seen) == {"metadata": 2, "pswd": 5}

    def test_the_key_variable_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_KEY", "/no/key.pub")
        driver = StratusLabNodeDriver("u", "p", host="h")
        image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
        with pytest.raises(ConfigurationError, match=r"/no/key\.pub"):
            driver.create_node("n", driver.list_sizes()[0], image)


class TestTLS:
    @pytest.fixture(scope="class")
    @classmethod
    def secure(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
        with Sandbox(tmp_path_factory.mktemp("tls") / "site", tls=True) as sandbox:
            yield sandbox

    @pytest.mark.parametrize("location", ["sandbox", "certificate"])
    def test_by_password_and_by_certificate(self, secure: Sandbox, location: str) -> None:
        driver = StratusLabNodeDriver(location, stratuslab_user_config=secure.config_path)
        assert secure.url.startswith("https:")
        node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0])
        volume = driver.create_volume(1, "v")
        assert driver.attach_volume(node, volume)
        assert [found.uuid for found in driver.ex_list_nodes()] == [node.uuid]
        assert ("CN=" in node.extra["owner"] or "CN%3D" in node.extra["owner"]) == (
            location == "certificate"
        )
        assert driver.detach_volume(volume)
        assert driver.destroy_volume(volume)
        assert driver.destroy_node(node)
        driver.ex_close()

    def test_the_two_accounts_are_two_locations(self, secure: Sandbox) -> None:
        driver = StratusLabNodeDriver(stratuslab_user_config=secure.config_path)
        assert [place.id for place in driver.list_locations()] == ["sandbox", "certificate"]
        assert [driver.list_nodes(), driver.list_volumes()] == [[], []]
        driver.ex_close()

    def without_authority(self, secure: Sandbox, more: str = "") -> StratusLabNodeDriver:
        lines = secure.config_path.read_text().replace("[sandbox]", f"[sandbox]\n{more}")
        kept = [line for line in lines.splitlines() if not line.startswith("ca_certificate")]
        return StratusLabNodeDriver(stratuslab_user_config=io.StringIO("\n".join(kept)))

    def test_an_unknown_authority_is_not_trusted(self, secure: Sandbox) -> None:
        driver = self.without_authority(secure)
        for call in (driver.ex_list_nodes, driver.list_images):
            with pytest.raises(ConnectionFailedError, match=r"not trusted.*ca_certificate"):
                call()
        image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
        with pytest.raises(ConnectionFailedError) as caught:
            driver.create_node("n", driver.list_sizes()[0], image, auth=KEY)
        assert not isinstance(caught.value, LostAnswerError)

    def test_another_host_name_is_not_trusted(self, secure: Sandbox) -> None:
        text = secure.config_path.read_text().replace("//localhost:", "//127.0.0.2:")
        driver = StratusLabNodeDriver(stratuslab_user_config=io.StringIO(text))
        # The sandbox listens on 127.0.0.1 only: a relay brings the other name to it.
        with relay("127.0.0.2", secure.port), pytest.raises(ConnectionFailedError) as caught:
            driver.ex_list_nodes()
        assert "not trusted" in str(caught.value) or "another host" in str(caught.value)

    @pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
    def test_verification_can_be_switched_off_with_a_warning(self, secure: Sandbox) -> None:
        driver = self.without_authority(secure, "verify_tls = no")
        with pytest.warns(UserWarning, match="verify_tls = no"):
            assert driver.ex_list_nodes() == []
        driver.ex_close()

    def test_libclouds_authority_file_is_used(
        self, secure: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import libcloud.security

        monkeypatch.setattr(libcloud.security, "CA_CERTS_PATH", str(secure.dir / "ca.pem"))
        driver = self.without_authority(secure)
        assert driver.ex_list_nodes() == []
        driver.ex_close()

    def test_a_certificate_of_somebody_else_is_refused(
        self, secure: Sandbox, tmp_path: Path
    ) -> None:
        with Sandbox(tmp_path / "other", tls=True) as other:
            (foreign,) = other.dir.glob("user-*.pem")
            (own,) = secure.dir.glob("user-*.pem")
            text = secure.config_path.read_text().replace(str(own), str(foreign))
            driver = StratusLabNodeDriver("certificate", stratuslab_user_config=io.StringIO(text))
            with pytest.raises(StratusLabError) as caught:
                driver.ex_list_nodes()
        assert "\n" not in str(caught.value)

    def test_a_missing_certificate_file_is_named(self, secure: Sandbox) -> None:
        (own,) = secure.dir.glob("user-*.pem")
        text = secure.config_path.read_text().replace(str(own), "/no/cert.pem")
        driver = StratusLabNodeDriver("certificate", stratuslab_user_config=io.StringIO(text))
        with pytest.raises(ConfigurationError, match=r"/no/cert\.pem cannot be read"):
            driver.ex_list_nodes()


@contextmanager
def relay(address: str, port: int) -> Iterator[None]:
    """Bring connections to another loopback address to the same port of 127.0.0.1."""
    sockets = [socket.create_server((address, port))]
    threads: list[threading.Thread] = []

    def run(target: Any, *arguments: socket.socket) -> None:
        threads.append(threading.Thread(target=target, args=arguments))
        threads[-1].start()

    def carry(here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(65536):
                there.sendall(data)
        with contextlib.suppress(OSError):
            there.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = sockets[0].accept()
                sockets.append(near)
                far = socket.create_connection(("127.0.0.1", port))
                sockets.append(far)
                run(carry, near, far)
                run(carry, far, near)

    run(accept)
    try:
        yield
    finally:
        sockets[0].shutdown(socket.SHUT_RDWR)
        threads[0].join()  # from here on nothing is added
        for one in sockets[1:]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for one in sockets:
            one.close()


class TestStates:
    def test_every_number_has_a_state(self, site: Site) -> None:
        for state in range(-1, 20):
            for lcm_state in range(-1, 80):
                vm = Machine(
                    *("1", "n", None, state, lcm_state, [Nic(ip=None, network=None)], [], None),
                    *(None, None, None, None, None, None),
                )
                node = site.driver._to_node(vm, site.driver._locations.cloud("sandbox"))
                assert isinstance(node.state, NodeState)
                repr(node)

    @pytest.mark.parametrize(
        ("numbers", "state"),
        [
            ((0, 0), NodeState.PENDING),
            ((1, 0), NodeState.PENDING),
            ((3, 0), NodeState.PENDING),
            ((3, 2), NodeState.PENDING),
            ((3, 3), NodeState.RUNNING),
            ((3, 4), NodeState.MIGRATING),
            ((3, 11), NodeState.STOPPING),
            ((3, 14), NodeState.ERROR),
            ((3, 16), NodeState.UNKNOWN),
            ((3, 36), NodeState.ERROR),
            ((3, 99), NodeState.UNKNOWN),
            ((4, 0), NodeState.STOPPED),
            ((5, 0), NodeState.SUSPENDED),
            ((6, 0), NodeState.TERMINATED),
            ((7, 0), NodeState.ERROR),
            ((8, 3), NodeState.STOPPED),
            ((42, 0), NodeState.UNKNOWN),
        ],
    )
    def test_the_map(self, numbers: tuple[int, int], state: NodeState) -> None:
        vm = "<VM><ID>0</ID><STATE>{}</STATE><LCM_STATE>{}</LCM_STATE></VM>".format(*numbers)
        with Canned([pool(vm)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            (node,) = driver.list_nodes()
        assert (node.id, node.state) == ("0", state)
        assert (node.name, node.public_ips, node.size, node.image) == ("", [], None, None)


class TestWaiting:
    def node(self, driver: StratusLabNodeDriver) -> Node:
        extra = {"location": "default"}
        return StratusLabNode("0", "n", NodeState.PENDING, [], [], driver, extra=extra)

    def vm(self, state: int, lcm_state: int, more: str = "") -> tuple[int, str, bytes]:
        numbers = f"<STATE>{state}</STATE><LCM_STATE>{lcm_state}</LCM_STATE>"
        return rpc(True, f"<VM><ID>0</ID>{numbers}{more}</VM>", 0)

    @pytest.mark.parametrize("state", [(3, 14), (7, 0), (6, 0), (3, 36)])
    def test_a_node_that_will_never_run_ends_it_at_once(self, state: tuple[int, int]) -> None:
        error = "<TEMPLATE><ERROR><MESSAGE>no space left</MESSAGE></ERROR></TEMPLATE>"
        with Canned([self.vm(1, 0), self.vm(*state, error)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeFailedError, match="no space left"):
                driver.wait_until_running([self.node(driver)], wait_period=0.01, timeout=60)

    def test_a_passing_fault_does_not_end_it(self) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        nic = "<TEMPLATE><NIC><IP>127.0.0.9</IP></NIC></TEMPLATE>"
        with Canned([*[hang_up] * 4, self.vm(3, 3), self.vm(3, 3, nic)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            ((_, addresses),) = driver.wait_until_running([self.node(driver)], wait_period=0.01)
        assert addresses == ["127.0.0.9"]

    def test_nor_does_an_overloaded_cloud(self) -> None:
        nic = "<TEMPLATE><NIC><IP>127.0.0.9</IP></NIC></TEMPLATE>"
        busy = (503, "text/html", b"<html>come again</html>")
        with Canned([*[busy] * 4, self.vm(3, 3, nic)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            ((_, addresses),) = driver.wait_until_running([self.node(driver)], wait_period=0.01)
        assert addresses == ["127.0.0.9"]

    def test_a_failure_ends_it_while_others_are_waited_for(self) -> None:
        waiting = self.vm(1, 0)
        failed = rpc(True, "<VM><ID>1</ID><STATE>7</STATE></VM>", 0)

        def answer(handler: Handler, request: Any) -> None:
            handler.send(*(failed if b"<int>1</int>" in request.body else waiting))

        with Canned([answer]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            nodes = [self.node(driver), self.node(driver)]
            nodes[1].id = "1"
            before = time.monotonic()
            with pytest.raises(NodeFailedError, match="node 1 is Failed"):
                driver.wait_until_running(nodes, wait_period=0.05, timeout=60)
            assert time.monotonic() - before < 30

    def test_it_ends_in_time(self) -> None:
        with Canned([self.vm(1, 0)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeNotReadyError, match=r"after 0.2 seconds.*do not run yet.*: 0$"):
                driver.wait_until_running([self.node(driver)], wait_period=0.05, timeout=0.2)

    def test_slow_is_not_failed(self) -> None:
        assert issubclass(NodeNotReadyError, LibcloudError)
        assert not issubclass(NodeNotReadyError, NodeFailedError)
        assert not issubclass(NodeFailedError, NodeNotReadyError)

    def test_the_trouble_that_was_met_is_reported_not_the_last_hopeless_look(self) -> None:
        over = threading.Event()
        answers: list[Reply] = [*[(500, "text/html", b"")] * 3, lambda *_: over.wait()]
        with Canned(answers) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeNotReadyError, match=r": 0 \(.*HTTP 500") as caught:
                driver.wait_until_running([self.node(driver)], timeout=5)
            over.set()
        assert len(server.requests) > 3
        assert "did not answer" not in str(caught.value)
        assert isinstance(caught.value.__cause__, UnavailableError)

    def test_a_look_that_hangs_is_trouble_too(self) -> None:
        over = threading.Event()
        with Canned([lambda *_: over.wait()]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeNotReadyError, match=r": 0 \(.*did not answer for"):
                driver.wait_until_running([self.node(driver)], timeout=1)
            over.set()

    def test_trouble_that_has_passed_is_not_reported(self) -> None:
        with Canned([*[(500, "text/html", b"")] * 3, self.vm(1, 0)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeNotReadyError, match=r"do not run yet.*: 0$"):
                driver.wait_until_running([self.node(driver)], timeout=5)

    def test_many_nodes_at_a_silent_service_do_not_prolong_it(self) -> None:
        over = threading.Event()
        with Canned([lambda *_: over.wait()]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            before = time.monotonic()
            with pytest.raises(NodeNotReadyError):
                driver.wait_until_running([self.node(driver) for _ in range(60)], timeout=0.1)
            assert time.monotonic() - before < 20
            over.set()

    def test_it_looks_soon_and_then_ever_less_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []
        clock = types.SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
        nic = "<TEMPLATE><NIC><IP>127.0.0.9</IP></NIC></TEMPLATE>"
        with Canned([*[self.vm(1, 0)] * 12, self.vm(3, 3, nic)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            monkeypatch.setattr(deployment, "time", clock)
            driver.wait_until_running([self.node(driver)], wait_period=5, timeout=600)
        assert pauses[0] == 0.25
        assert len(pauses) == 12
        assert pauses == sorted(pauses)
        assert max(pauses) == pauses[-1] == 5

    def test_a_node_that_runs_soon_is_noticed_soon(self, tmp_path: Path) -> None:
        with Sandbox(tmp_path / "site", boot_seconds=1) as sandbox:
            site = Site(sandbox, [])
            node = site.node()
            before = time.monotonic()
            site.driver.wait_until_running([node], wait_period=120, timeout=240)
            assert time.monotonic() - before < 60
            site.driver.ex_close()


class TestSecrets:
    MARKER = "Mark3r-Passw0rd"

    def test_none_in_any_text(self, tmp_path: Path) -> None:
        log = io.StringIO()
        libcloud.enable_debug(log)
        texts = []
        try:
            with Sandbox(tmp_path / "s", users={"ann": self.MARKER}) as sandbox:
                good = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
                bad = StratusLabNodeDriver(
                    "ann", f"{self.MARKER}x", host=f"{sandbox.url}/one-proxy/xmlrpc"
                )
                node = good.create_node("n", good.list_sizes()[0], good.list_images()[0])
                volume = good.create_volume(1, "v")
                for call in (
                    bad.list_nodes,
                    bad.list_volumes,
                    lambda: bad.create_volume(1, "v"),
                    lambda: good.get_image("x" * 27),
                    lambda: good.detach_volume(volume),
                ):
                    with pytest.raises(StratusLabError) as caught:
                        call()
                    error: BaseException | None = caught.value
                    while error is not None:
                        texts += [str(error), repr(error)]
                        error = error.__cause__ or error.__context__
                texts += [repr(thing) for thing in (good, bad, node, volume, node.extra)]
                texts += [
                    repr(vars(site)) for d in (good, bad) for site in d._locations._clouds.values()
                ]
            with pytest.raises(StratusLabError) as caught:
                good.list_nodes()
            texts.append(str(caught.value))
        finally:
            libcloud.reset_debug()
        assert "one.vm.allocate" in log.getvalue()
        private = "PRIVATE KEY"
        for text in (*texts, log.getvalue()):
            assert self.MARKER not in text
            assert private not in text


class TestThreads:
    @ENDS
    def test_one_driver_serves_several(self, site: Site) -> None:
        errors: list[Exception] = []
        size, image = site.driver.list_sizes()[0], site.driver.list_images()[0]

        def work(number: int) -> None:
            try:
                for turn in range(5):
                    name = f"n{number}-{turn}"
                    node = site.driver.create_node(name, size, image)
                    assert site.driver.ex_get_node(present(node.id)).name == name
                    assert any(found.name == name for found in site.driver.list_nodes())
                    assert site.driver.destroy_node(node)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        wait_for(site.driver.list_nodes, [])
        calls = [one for one in site.seen if one.path.startswith("/one-proxy")]
        assert len({one.peer for one in calls}) <= 6
