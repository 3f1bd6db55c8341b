"""Nodes, sizes and images against a running sandbox (guide 9.1.4)."""

import ipaddress
import json
import time
from pathlib import Path
from typing import Any

import pytest
from canned import Canned, pool
from clouds import KEY, Site, context
from libcloud.compute.base import (
    NodeSize,
)
from libcloud.compute.types import NodeState, StorageVolumeState
from looks import ENDS, wait_for
from present import present

from stratuslab_libcloud import connect
from stratuslab_libcloud.client.data import Machine, Nic
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.compute_driver import StratusLabNode, StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConflictError,
    ConnectionFailedError,
    NodeFailedError,
    ServiceError,
)
from stratuslab_libcloud.sandbox.site import Sandbox


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
            *("memory_kib", "disks", "error", "networks", "scheduler", "labels"),
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
        with Sandbox(tmp_path / "slow", boot_seconds=3) as sandbox:
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
