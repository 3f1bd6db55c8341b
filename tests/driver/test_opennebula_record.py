"""
The driver on a modern engine: images that are not ready, addresses, disks and limits (modern 4 to
8). One site for each version; nothing depends on what other tests left.
"""

import base64
import ipaddress
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clouds import KEY
from engine_callers import One
from libcloud.compute.base import Node
from libcloud.compute.types import NodeState, StorageVolumeState
from looks import wait_for
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    NodeFailedError,
    NodeNotReadyError,
    NotPermittedError,
    QuotaExceededError,
    UnavailableError,
)
from stratuslab_libcloud.sandbox.opennebula.new_images import made
from stratuslab_libcloud.sandbox.site import Sandbox

NEVER = 86_400.0
GIB = 2**30
NAMES = itertools.count()
USERS = {"ann": "a1", "bob": "b1"}


@pytest.fixture(scope="module", params=["6.10.5", "7.4.0"])
def both(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(users=USERS, opennebula_version=request.param) as site:
        yield site


@pytest.fixture(scope="module")
def still() -> Iterator[Sandbox]:
    """A site where machines run at once, but nothing is ever done to an image."""
    with Sandbox(users=USERS, opennebula_seconds=NEVER) as site:
        yield site


def connected(site: Sandbox, user: str = "ann") -> StratusLabNodeDriver:
    return StratusLabNodeDriver(user, USERS[user], host=f"{site.url}/RPC2")


@pytest.fixture
def one(both: Sandbox) -> Iterator[StratusLabNodeDriver]:
    made = connected(both)
    yield made
    made.ex_close()


@pytest.fixture
def waiting(still: Sandbox) -> Iterator[StratusLabNodeDriver]:
    """A driver on the site where images are never ready, which loses patience soon."""
    made = connected(still)
    cloud: Any = made._locations.cloud("default")
    cloud._modern._patience = 0.3
    yield made
    made.ex_close()


def raw(site: Sandbox, user: str = "ann") -> One:
    return One(site, f"{user}:{USERS[user]}")


def name() -> str:
    return f"n{next(NAMES)}"


def create(one: StratusLabNodeDriver, **options: Any) -> Node:
    given = {"name": name(), "size": one.list_sizes()[0], "auth": KEY, "ex_network": "public"}
    given.setdefault("image", options.pop("image", None) or offered(one))
    return one.create_node(**{**given, **options})


def offered(one: StratusLabNodeDriver) -> Any:
    """An image of the site's."""
    return next(image for image in one.list_images() if image.extra["owner"] == "oneadmin")


def running(one: StratusLabNodeDriver, **options: Any) -> Node:
    node = create(one, **options)
    ((node, _),) = one.wait_until_running([node], wait_period=0.1, timeout=60)
    return node


class TestImages:
    def test_only_what_machines_start_from_is_listed(
        self, both: Sandbox, one: StratusLabNodeDriver
    ) -> None:
        """No disc, no file, no volume; one that may be shared is a volume like any other."""
        ann, known = raw(both), {image.id for image in one.list_images()}
        disc = ann("image.allocate", f'NAME="{name()}"\nTYPE=CDROM\nSIZE=1', 1)
        file = ann("image.allocate", f'NAME="{name()}"\nTYPE=CONTEXT\nSIZE=1', 2)
        shared = ann.volume(name(), 'PERSISTENT_TYPE="SHAREABLE"')
        system = ann("image.allocate", f'NAME="{name()}"\nPERSISTENT=YES\nSIZE=1', 1)
        images = {image.id: image for image in one.list_images()}
        assert set(images) - known == {str(system)}
        assert images[str(system)].extra["persistent"] is True
        volumes = {volume.id: volume for volume in one.list_volumes()}
        assert str(shared) in volumes
        assert not {str(disc), str(file), str(system)} & set(volumes)
        types = {number: one.get_image(str(number)).extra["type"] for number in (disc, file)}
        assert types == {disc: "CDROM", file: "CONTEXT"}
        nodes = [running(one), running(one)]
        for node in nodes:
            assert one.attach_volume(node, volumes[str(shared)])
        assert len(one.ex_disk_mounts(volumes[str(shared)])) == 2
        with pytest.raises(ConflictError, match="say which"):
            one.detach_volume(volumes[str(shared)])
        for node in nodes:
            assert one.detach_volume(volumes[str(shared)], ex_node=node)

    def test_one_that_is_in_error_says_why(self, both: Sandbox, one: StratusLabNodeDriver) -> None:
        both.opennebula.fail("image", "injected: full")
        number = raw(both)("image.clone", int(offered(one).id), name())
        (found,) = [image for image in one.list_images() if image.id == str(number)]
        assert found.extra["state"] == "ERROR"
        assert "injected: full" in found.extra["error"]
        with pytest.raises(ConflictError, match="state: ERROR"):
            create(one, image=found)
        assert one.delete_image(found)

    def test_an_app_becomes_one_that_starts(self, both: Sandbox, one: StratusLabNodeDriver) -> None:
        text = f'NAME="{name()}"\nFROM_APP="{offered(one).id}"\nTYPE="OS"'
        number = raw(both)("image.allocate", text, 1)
        assert running(one, image=one.get_image(str(number))).state == NodeState.RUNNING

    def test_what_is_locked_by_hand_or_the_sites_is_not_changed(
        self, both: Sandbox, one: StratusLabNodeDriver
    ) -> None:
        volume = one.create_volume(1, name())
        raw(both)("image.lock", int(volume.id), 1)
        calls: tuple[Callable[[], object], ...] = (
            lambda: one.ex_update_volume(volume, name=name()),
            lambda: one.ex_update_volume(volume, visibility="public"),
            lambda: one.destroy_volume(volume),
            lambda: one.delete_image(offered(one)),
        )
        for call in calls:
            with pytest.raises(NotPermittedError):
                call()
        assert one.attach_volume(running(one), volume)  # it may be used all the same

    def test_one_of_somebody_elses_is_used_once_it_is_public(
        self, both: Sandbox, one: StratusLabNodeDriver
    ) -> None:
        bob = connected(both, "bob")
        theirs = bob.create_volume(1, name())
        node = running(one)
        with pytest.raises(NotPermittedError):
            one.attach_volume(node, theirs)
        bob.ex_update_volume(theirs, visibility="public")
        assert one.attach_volume(node, theirs)
        with pytest.raises(ConflictError, match="1 VMs using it"):
            bob.destroy_volume(theirs)
        assert bob.ex_disk_mounts(theirs) == [{"node": node.id, "device": ""}]
        assert one.destroy_node(node)
        bob.ex_close()


class TestWaiting:
    def test_a_node_is_created_of_an_image_that_is_locked(
        self, still: Sandbox, waiting: StratusLabNodeDriver
    ) -> None:
        ann = raw(still)
        number = ann("image.clone", int(offered(waiting).id), name())
        image = waiting.get_image(str(number))
        assert image.extra["state"] == "LOCKED"
        node = create(waiting, image=image)
        found = waiting.ex_get_node(present(node.id))
        assert (found.state, found.extra["vm_state"]) == (NodeState.PENDING, 10)
        made(still.opennebula._core, number)
        ((found, _),) = waiting.wait_until_running([node], wait_period=0.1, timeout=60)
        assert (found.state, present(found.image).id) == (NodeState.RUNNING, image.id)

    def test_an_image_that_fails_fails_its_node(
        self, still: Sandbox, waiting: StratusLabNodeDriver
    ) -> None:
        """The engine gives no reason."""
        number = raw(still)("image.clone", int(offered(waiting).id), name())
        node = create(waiting, image=waiting.get_image(str(number)))
        still.opennebula.fail("image", "injected: no")
        made(still.opennebula._core, number)
        with pytest.raises(NodeFailedError, match="the cloud gives no reason"):
            waiting.wait_until_running([node], wait_period=0.1, timeout=60)
        assert waiting.ex_get_node(present(node.id)).state == NodeState.ERROR
        assert waiting.destroy_node(node)
        assert waiting.ex_get_node(present(node.id)).state == NodeState.TERMINATED

    def test_an_image_that_never_becomes_ready(
        self, still: Sandbox, waiting: StratusLabNodeDriver
    ) -> None:
        """What has been made is named; a node that waits for it can be ended."""
        with pytest.raises(UnavailableError, match=r"volume \d+ exists all the same"):
            waiting.create_volume(1, name())
        with pytest.raises(UnavailableError, match=r"image \d+ exists all the same"):
            waiting.copy_image("default", offered(waiting), name(), ex_timeout=0.3)
        number = raw(still)("image.clone", int(offered(waiting).id), name())
        node = create(waiting, image=waiting.get_image(str(number)))
        with pytest.raises(NodeNotReadyError):
            waiting.wait_until_running([node], wait_period=0.1, timeout=0.3)
        assert waiting.destroy_node(node)
        assert waiting.ex_get_node(present(node.id)).state == NodeState.TERMINATED
        volume = next(one for one in waiting.list_volumes() if one.state == "creating")
        with pytest.raises(ConflictError, match="it is locked"):
            waiting.attach_volume(running(waiting), volume)

    def test_what_is_being_plugged_is_waited_for_and_no_longer(
        self, still: Sandbox, waiting: StratusLabNodeDriver
    ) -> None:
        node = running(waiting)
        raw(still)("vm.attach", int(present(node.id)), 'DISK=[TYPE="fs",SIZE="1"]')
        assert waiting.ex_get_node(present(node.id)).state == NodeState.RECONFIGURING
        with pytest.raises(UnavailableError, match="could not be ended meanwhile"):
            waiting.destroy_node(node)


class TestNodes:
    @pytest.mark.parametrize(
        ("kind", "versions"),
        [("IP6", [6]), ("IP4_6", [4, 6]), ("IP6_STATIC", [6]), ("IP4_6_STATIC", [4, 6])],
    )
    def test_addresses_of_ipv6(
        self, both: Sandbox, one: StratusLabNodeDriver, kind: str, versions: list[int]
    ) -> None:
        network = name()
        number = both.opennebula.add_network(network, kind)
        assert str(number) in [found.id for found in one.ex_list_networks()]
        node = create(one, ex_network=network)
        (listed,) = [found for found in one.list_nodes() if found.id == node.id]
        for found in (listed, one.ex_get_node(present(node.id))):
            addresses = list(map(ipaddress.ip_address, found.public_ips))
            assert [address.version for address in addresses] == versions
            assert not any(address.is_link_local for address in addresses)
            assert found.extra["networks"] == [network]
        if versions == [6]:
            with pytest.raises(NodeNotReadyError):
                one.wait_until_running([node], 0.1, timeout=0.3)  # for one of IPv4
        ((_, found_addresses),) = one.wait_until_running([node], 0.1, timeout=60, force_ipv4=False)
        assert found_addresses == listed.public_ips

    def test_a_network_without_addresses(self, both: Sandbox, one: StratusLabNodeDriver) -> None:
        network = name()
        both.opennebula.add_network(network, "ETHER")
        node = create(one, ex_network=network)
        found = one.ex_get_node(present(node.id))
        assert (found.public_ips, found.extra["networks"]) == ([], [network])

    def test_a_larger_system_disk(self, one: StratusLabNodeDriver) -> None:
        node = running(one, ex_disk_size=3)
        disk = one.ex_get_node(present(node.id)).extra["disks"][0]
        assert (disk["image"], disk["size"], disk["target"]) == (
            present(node.image).id,
            3072,
            "vda",
        )
        plain = one.ex_get_node(present(running(one).id)).extra["disks"][0]
        assert plain["size"] == 128
        assert one.get_image(present(node.image).id).extra["size"] == 128 * 2**20  # as it was

    def test_a_template_with_a_larger_system_disk(self, one: StratusLabNodeDriver) -> None:
        template = one.ex_list_templates()[0]
        node = one.create_node(name=name(), ex_template=template, ex_disk_size=3)
        found = one.ex_get_node(present(node.id))
        assert found.extra["disks"][0]["size"] == 3072
        assert found.extra["networks"] == ["public"]

    def test_a_system_disk_that_is_smaller_than_its_image(
        self, both: Sandbox, one: StratusLabNodeDriver
    ) -> None:
        number = raw(both)("image.allocate", f'NAME="{name()}"\nSIZE=4096', 1)
        with pytest.raises(Exception, match="SIZE of 2048MB is less than the image"):
            create(one, image=one.get_image(str(number)), ex_disk_size=2)

    def test_one_that_is_never_scheduled(self, both: Sandbox, one: StratusLabNodeDriver) -> None:
        both.opennebula.fail("schedule", "Cannot dispatch VM: No host meets SCHED_REQUIREMENTS")
        node = create(one)
        with pytest.raises(NodeNotReadyError):
            one.wait_until_running([node], wait_period=0.1, timeout=0.3)
        (found,) = [each for each in one.list_nodes() if each.id == node.id]
        assert found.state == NodeState.PENDING
        assert found.extra["scheduler"].endswith("No host meets SCHED_REQUIREMENTS")
        assert one.destroy_node(node)
        assert one.ex_get_node(present(node.id)).state == NodeState.TERMINATED

    @pytest.mark.parametrize("step", ["boot", "prolog"])
    def test_the_volumes_of_one_that_fails_are_usable_afterwards(
        self, both: Sandbox, one: StratusLabNodeDriver, step: str
    ) -> None:
        volume = one.create_volume(1, name())
        both.opennebula.fail(step, "injected: no")
        node = create(one, ex_volumes=[volume])
        if step == "boot":
            with pytest.raises(NodeFailedError, match="injected: no"):
                one.wait_until_running([node], wait_period=0.1, timeout=60)
        one.destroy_node(node)
        assert one.attach_volume(running(one), volume)

    def test_an_end_that_fails(self, both: Sandbox, one: StratusLabNodeDriver) -> None:
        """Such a node is seen, and ended again."""
        volume = one.create_volume(1, name())
        node = running(one, ex_volumes=[volume])
        both.opennebula.fail("epilog", "injected: no")
        one.destroy_node(node)
        wait_for(lambda: one.ex_get_node(present(node.id)).state, NodeState.ERROR)
        assert "injected: no" in one.ex_get_node(present(node.id)).extra["error"]
        one.destroy_node(node)
        wait_for(lambda: one.ex_get_node(present(node.id)).state, NodeState.TERMINATED)
        found = next(each for each in one.list_volumes() if each.id == volume.id)
        assert found.state == StorageVolumeState.AVAILABLE

    def test_a_change_of_size_that_fails(self, both: Sandbox, one: StratusLabNodeDriver) -> None:
        node = running(one)
        both.opennebula.fail("resize", "injected: no")
        with pytest.raises(ConflictError, match="injected: no"):
            one.ex_resize_node(node, one.list_sizes()[1])
        assert one.ex_resize_node(node, one.list_sizes()[1])


HOSTILE = 'x" ]\nNIC = [ NETWORK_ID = "0" ]\nSNEAKED = "y <a>&amp; \u00e9'


class TestTexts:
    """What is written into a template stays the text that it was (engines 5)."""

    @pytest.mark.parametrize(
        ("option", "path"),
        [
            ("ex_requirements", "USER_TEMPLATE/SCHED_REQUIREMENTS"),
            ("ex_network_model", "TEMPLATE/NIC/MODEL"),
            ("ex_keymap", "TEMPLATE/GRAPHICS/KEYMAP"),
        ],
    )
    def test_what_stays_one_value(
        self, both: Sandbox, one: StratusLabNodeDriver, option: str, path: str
    ) -> None:
        node = create(one, **{option: HOSTILE})
        machine = raw(both).vm(int(present(node.id)))
        assert machine.findtext(path) == HOSTILE
        assert len(machine.findall("TEMPLATE/NIC")) == 1
        assert machine.find("USER_TEMPLATE/SNEAKED") is None

    def test_user_data(self, both: Sandbox, one: StratusLabNodeDriver) -> None:
        data = f"#!/bin/sh\necho $HOME ${{x}} $(id) {HOSTILE}\n"
        node = create(one, ex_user_data=data)
        context = raw(both).vm(int(present(node.id))).find("TEMPLATE/CONTEXT")
        assert context is not None
        assert context.findtext("USERDATA_ENCODING") == "base64"
        assert base64.b64decode(context.findtext("USERDATA", "")).decode() == data

    @pytest.mark.parametrize(
        "options",
        [
            {"name": HOSTILE},
            {"ex_network": HOSTILE},
            {"ex_vnc_listen": HOSTILE},
            {"ex_context": {HOSTILE: "x"}},
            {"ex_context": {"NOTE": HOSTILE}},
            {"ex_context": {"NOTE": "$HOME"}},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_other_texts_are_refused(
        self, one: StratusLabNodeDriver, options: dict[str, Any]
    ) -> None:
        before = len(one.list_nodes())
        with pytest.raises(InvalidValueError) as caught:
            create(one, **options)
        assert str(caught.value).isprintable()
        assert len(one.list_nodes()) == before

    def test_what_a_sites_template_says(self, both: Sandbox, one: StratusLabNodeDriver) -> None:
        """It is repeated, where something is put beside it."""
        escaped = HOSTILE.replace('"', '\\"')
        text = f'NAME="{name()}"\nCPU=1\nMEMORY=64\nNIC=[NETWORK="public",NETWORK_UNAME=oneadmin]'
        number = raw(both)("template.allocate", f'{text}\nCONTEXT=[NOTE="{escaped}",A="b"]')
        node = one.create_node(name=name(), ex_template=str(number), auth=KEY)
        machine = raw(both).vm(int(present(node.id)))
        note = machine.findtext("TEMPLATE/CONTEXT/NOTE")
        assert note == HOSTILE
        assert machine.findtext("TEMPLATE/CONTEXT/SSH_PUBLIC_KEY", "").startswith("ssh-ed25519 ")
        assert len(machine.findall("TEMPLATE/NIC")) == 1
        assert machine.find("USER_TEMPLATE/SNEAKED") is None

    def test_names_and_descriptions(self, one: StratusLabNodeDriver) -> None:
        node = running(one)
        image = one.create_image(node, name(), HOSTILE)
        found = one.get_image(image.id)
        assert found.extra["description"] == HOSTILE
        assert found.extra["size"] == 128 * 2**20
        refused: tuple[Callable[[], object], ...] = (
            lambda: one.create_volume(1, HOSTILE),
            lambda: one.ex_rename_node(node, HOSTILE),
            lambda: one.create_image(node, HOSTILE),
            lambda: one.copy_image("default", image, HOSTILE),
        )
        for call in refused:
            with pytest.raises(InvalidValueError):
                call()
        known = len(one.list_images())
        undescribed: tuple[Callable[[], object], ...] = (
            lambda: one.create_image(node, name(), 'a\\"b'),
            lambda: one.copy_image("default", image, name(), 'a\\"b'),
        )
        for call in undescribed:
            with pytest.raises(InvalidValueError, match="backslash"):
                call()
        assert len(one.list_images()) == known  # nothing has been made


def resized(one: StratusLabNodeDriver, node: Node) -> object:
    largest = max(one.list_sizes(), key=lambda size: size.ram)
    return one.ex_resize_node(node, largest)


class TestQuotas:
    """Each kind; those of VMS, CPU, MEMORY, IMAGES and SIZE as a node or volume is created are in
    test_opennebula."""

    @pytest.fixture
    def limit(self, both: Sandbox) -> Iterator[Callable[[str, float, int], None]]:
        """Limits that end with the test."""
        set_: list[tuple[str, int]] = []

        def limit(quota: str, amount: float, number: int = 0) -> None:
            both.opennebula.limit("ann", quota, amount, number)
            set_.append((quota, number))

        yield limit
        for quota, number in set_:
            both.opennebula.limit("ann", quota, -1, number)

    @pytest.mark.parametrize(
        ("quota", "number"),
        [
            ("RUNNING_CPU", 0),
            ("RUNNING_MEMORY", 0),
            ("SYSTEM_DISK_SIZE", 0),
            ("LEASES", 0),
            ("RVMS", 0),
        ],
    )
    def test_a_node(
        self,
        one: StratusLabNodeDriver,
        limit: Callable[[str, float, int], None],
        quota: str,
        number: int,
    ) -> None:
        image = offered(one)
        number = int(image.id) if quota == "RVMS" else number
        limit(quota, 0, number)
        before = len(one.list_nodes())
        with pytest.raises(QuotaExceededError, match=rf"limit of 0 reached for {quota} quota"):
            create(one, image=image)
        assert len(one.list_nodes()) == before

    @pytest.mark.parametrize(
        ("quota", "call"),
        [
            ("IMAGES", lambda one, node, _: one.create_image(node, name())),
            ("IMAGES", lambda one, *_: one.copy_image("default", offered(one), name())),
            ("IMAGES", lambda one, _, volume: one.create_volume_snapshot(volume)),
            ("SIZE", lambda one, _, volume: one.create_volume_snapshot(volume)),
            ("CPU", lambda one, node, _: resized(one, node)),
            ("MEMORY", lambda one, node, _: resized(one, node)),
            ("RVMS", lambda one, node, volume: one.attach_volume(node, volume)),
            ("RUNNING_VMS", lambda one, node, _: restarted(one, node)),
        ],
        ids=[
            *("saved", "copied", "snapshot", "size of a snapshot", "cores", "memory", "attached"),
            "restarted",
        ],
    )
    def test_what_takes_more(
        self,
        one: StratusLabNodeDriver,
        limit: Callable[[str, float, int], None],
        quota: str,
        call: Callable[..., object],
    ) -> None:
        node, volume = running(one), one.create_volume(1, name())
        place = {"IMAGES": 1, "SIZE": 1, "RVMS": int(volume.id)}.get(quota, 0)
        limit(quota, 0, place)
        with pytest.raises(QuotaExceededError, match=rf"limit of 0 reached for {quota} quota"):
            call(one, node, volume)

    def test_what_is_attached_and_no_volume(
        self,
        both: Sandbox,
        one: StratusLabNodeDriver,
        limit: Callable[[str, float, int], None],
    ) -> None:
        """7.4 names no quota, and means one."""
        node, volume = running(one), one.create_volume(1, name())
        raw(both)("image.persistent", int(volume.id), False)
        limit("SYSTEM_DISK_SIZE", 0, 0)
        with pytest.raises(QuotaExceededError):
            one.attach_volume(node, volume)

    def test_what_there_is(
        self, one: StratusLabNodeDriver, limit: Callable[[str, float, int], None]
    ) -> None:
        running(one)
        limit("VMS", 900, 0)
        limit("IMAGES", -2, 1)
        quota = one.ex_get_quota()
        assert quota["vms"]["limit"] == 900
        assert present(quota["vms"]["used"]) >= 1
        assert quota["datastore_1_images"]["limit"] is None


def restarted(one: StratusLabNodeDriver, node: Node) -> object:
    one.stop_node(node)
    wait_for(lambda: one.ex_get_node(present(node.id)).state, NodeState.STOPPED)
    return one.start_node(node)
