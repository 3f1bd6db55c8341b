"""The driver on a modern engine that fails, and does not say so (modern 1)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clouds import KEY, Site
from libcloud.compute.base import Node
from libcloud.compute.types import NodeState, StorageVolumeState
from looks import wait_for
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConflictError,
    CredentialsError,
    NodeFailedError,
    NodeNotReadyError,
    NotFoundError,
    NotPermittedError,
    QuotaExceededError,
    ServiceError,
)

VERSIONS = pytest.mark.parametrize(
    "site", [{"opennebula_version": "6.10.5"}, {}], ids=["6.10.5", "7.4.0"], indirect=True
)
SLOW = pytest.mark.parametrize("site", [{"opennebula_seconds": 0.4}], ids=["slow"], indirect=True)


@pytest.fixture
def one(site: Site) -> Iterator[StratusLabNodeDriver]:
    made = connected(site, *next(iter(site.sandbox.users.items())))
    yield made
    made.ex_close()


def connected(site: Site, username: str, password: str) -> StratusLabNodeDriver:
    return StratusLabNodeDriver(username, password, host=f"{site.sandbox.url}/RPC2")


def create(one: StratusLabNodeDriver, **options: Any) -> Node:
    size, image = one.list_sizes()[0], one.list_images()[0]
    return one.create_node(**{"name": "n", "size": size, "image": image, "auth": KEY, **options})


def running(one: StratusLabNodeDriver, **options: Any) -> Node:
    node = create(one, **options)
    one.wait_until_running([node], wait_period=0.1, timeout=60)
    return node


@VERSIONS
class TestSilence:
    def test_an_attach_that_fails_in_the_hypervisor(
        self, site: Site, one: StratusLabNodeDriver
    ) -> None:
        node, volume = running(one), one.create_volume(1, "v")
        site.sandbox.opennebula.fail("attach", "injected: no slot")
        with pytest.raises(ServiceError, match="injected: no slot"):
            one.attach_volume(node, volume)
        assert one.list_volumes()[0].state == StorageVolumeState.AVAILABLE
        assert one.attach_volume(node, volume)  # the old text is still there, and says nothing

    def test_a_detach_that_fails(self, site: Site, one: StratusLabNodeDriver) -> None:
        node, volume = running(one), one.create_volume(1, "v")
        one.attach_volume(node, volume)
        site.sandbox.opennebula.fail("detach", "injected: busy")
        with pytest.raises(ServiceError, match="injected: busy"):
            one.detach_volume(volume)
        assert one.detach_volume(volume)

    def test_a_volume_that_cannot_be_made(self, site: Site, one: StratusLabNodeDriver) -> None:
        site.sandbox.opennebula.fail("image", "injected: disk full")
        with pytest.raises(ServiceError, match="injected: disk full"):
            one.create_volume(1, "v")
        (left,) = one.list_volumes()
        assert left.state == StorageVolumeState.ERROR
        assert one.destroy_volume(left)

    @pytest.mark.parametrize("seen", [True, False], ids=["seen to fail", "not seen"])
    def test_a_boot_failure_leaves_a_volume_usable(
        self, site: Site, one: StratusLabNodeDriver, seen: bool
    ) -> None:
        volume = one.create_volume(1, "v")
        site.sandbox.opennebula.fail("boot", "injected: no boot")
        node = create(one, ex_volumes=[volume], name="broken")
        if seen:
            with pytest.raises(NodeFailedError, match="injected: no boot"):
                one.wait_until_running([node], wait_period=0.1, timeout=60)
            one.destroy_node(node)
            wait_for(lambda: one.list_volumes()[0].state, StorageVolumeState.AVAILABLE)
        else:
            one._locations.cloud("default")._modern._failed.clear()  # type: ignore[attr-defined]
            one.destroy_node(node)
            wait_for(lambda: one.list_volumes()[0].state, StorageVolumeState.ERROR)
        other = running(one)
        assert one.attach_volume(other, volume)

    def test_a_save_that_fails(self, site: Site, one: StratusLabNodeDriver) -> None:
        node = running(one)
        site.sandbox.opennebula.fail("save as", "injected: no room")
        with pytest.raises(ServiceError, match=r"could not be made|injected: no room"):
            one.create_image(node, "mine", ex_timeout=20)
        assert one.ex_get_node(present(node.id)).state == NodeState.RUNNING


@VERSIONS
class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "amount", "call"),
        [
            ("VMS", 0, lambda one: create(one)),
            ("CPU", 0.5, lambda one: create(one)),
            ("MEMORY", 100, lambda one: create(one)),
            ("RUNNING_VMS", 0, lambda one: create(one)),
            ("IMAGES", 0, lambda one: one.create_volume(1, "v")),
            ("SIZE", 100, lambda one: one.create_volume(1, "v")),
        ],
        ids=["VMS", "CPU", "MEMORY", "RUNNING_VMS", "IMAGES", "SIZE"],
    )
    def test_quotas(
        self,
        site: Site,
        one: StratusLabNodeDriver,
        name: str,
        amount: float,
        call: Callable[[StratusLabNodeDriver], object],
    ) -> None:
        (user,) = site.sandbox.users
        number = 1 if name in ("IMAGES", "SIZE") else 0
        site.sandbox.opennebula.limit(user, name, amount, number)
        with pytest.raises(
            QuotaExceededError, match=rf"limit of \S+ reached for {name} quota"
        ) as e:
            call(one)
        assert "ask the operator for more" in str(e.value)

    def test_the_system_disk_stays(self, one: StratusLabNodeDriver) -> None:
        node, volume = running(one), one.create_volume(1, "v")
        volume.id = present(node.image).id
        with pytest.raises(ConflictError, match="started from"):
            one.detach_volume(volume, ex_node=node)

    def test_a_volume_in_use(self, one: StratusLabNodeDriver) -> None:
        node, other, volume = running(one), running(one), one.create_volume(1, "v")
        one.attach_volume(node, volume)
        for each in (node, other):
            with pytest.raises(ConflictError, match="already in use"):
                one.attach_volume(each, volume)
        with pytest.raises(ConflictError):
            one.destroy_volume(volume)

    def test_names_are_taken_once(self, one: StratusLabNodeDriver) -> None:
        volume = one.create_volume(1, "v")
        with pytest.raises(ConflictError, match="already taken"):
            one.create_volume(1, "v")
        one.destroy_volume(volume)
        one.create_volume(1, "v")

    def test_what_is_not_there(self, one: StratusLabNodeDriver) -> None:
        node, gone = running(one), one.create_volume(1, "v")
        one.destroy_volume(gone)
        for call in (
            lambda: one.get_image("99"),
            lambda: one.ex_get_node("99"),
            lambda: create(one, ex_volumes=[gone]),
            lambda: one.attach_volume(node, gone),
        ):
            with pytest.raises(NotFoundError):
                call()


def test_what_the_scheduler_says_is_said_when_time_is_over(
    site: Site, one: StratusLabNodeDriver
) -> None:
    site.sandbox.opennebula.fail("schedule", "Cannot dispatch VM: no room")
    node = create(one)
    with pytest.raises(NodeNotReadyError, match=r"these nodes do .*: 0 \(.*VM: no room\)$"):
        one.wait_until_running([node], wait_period=0.1, timeout=0.2)
    assert "no room" in one.ex_get_node(present(node.id)).extra["scheduler"]


@pytest.mark.parametrize(
    "site", [{"users": {"ann": "a1", "bob": "b1"}}], ids=["two"], indirect=True
)
class TestOthers:
    def test_a_device_that_nobody_says(self, site: Site) -> None:
        ann, bob = connected(site, "ann", "a1"), connected(site, "bob", "b1")
        volume = ann.create_volume(1, "v", ex_visibility="public")
        mine = running(bob)
        bob.attach_volume(mine, volume)
        assert ann.ex_disk_mounts(volume) == [{"node": mine.id, "device": ""}]
        ann.ex_close()
        bob.ex_close()

    def test_another_users_volume_and_node(self, site: Site) -> None:
        ann, bob = connected(site, "ann", "a1"), connected(site, "bob", "b1")
        node, volume = running(ann), ann.create_volume(1, "v")
        mine = running(bob)
        for call in (
            lambda: bob.attach_volume(mine, volume),
            lambda: bob.destroy_volume(volume),
            lambda: bob.destroy_node(node),
            lambda: bob.ex_get_node(present(node.id)),
        ):
            with pytest.raises(NotPermittedError):
                call()
        assert (bob.list_volumes(), [one.id for one in bob.list_nodes()]) == ([], [mine.id])
        ann.ex_close()
        bob.ex_close()

    def test_a_token_is_as_good_as_the_password(self, site: Site) -> None:
        ann, wrong = connected(site, "ann", "a1"), connected(site, "ann", "no")
        cloud: Any = ann._locations.cloud("default")
        token = cloud._modern.engine.change("one.user.login", "ann", "", 3600)
        by_token = connected(site, "ann", token)
        assert by_token.ex_get_user()["name"] == "ann"
        with pytest.raises(CredentialsError):
            wrong.list_nodes()
        for each in (ann, wrong, by_token):
            each.ex_close()


@SLOW
class TestAtWork:
    def test_nodes_are_ended_whatever_is_done_to_them(self, one: StratusLabNodeDriver) -> None:
        node = create(one)  # in PROLOG, or about to be
        assert one.destroy_node(node)
        node = running(one)
        cloud: Any = one._locations.cloud("default")
        volume = one.create_volume(1, "v")
        cloud._modern.engine.change(
            "one.vm.attach", int(present(node.id)), f'DISK=[IMAGE_ID="{volume.id}"]'
        )
        assert one.destroy_node(node)  # while a disk is being attached
        wait_for(one.list_nodes, [])
        wait_for(lambda: one.list_volumes()[0].state, StorageVolumeState.AVAILABLE)

    def test_everything_is_usable_on_return(self, one: StratusLabNodeDriver) -> None:
        node, volume = running(one), one.create_volume(1, "v")
        assert one.attach_volume(node, volume)
        snapshot = one.create_volume_snapshot(volume)
        assert one.detach_volume(volume)
        again = one.create_volume(1, "again", snapshot=snapshot)
        assert one.attach_volume(node, again)
        saved = one.create_image(node, "mine")
        assert one.stop_node(node)
        wait_for(lambda: one.ex_get_node(present(node.id)).state, NodeState.STOPPED)
        assert one.start_node(node)
        one.wait_until_running([node], wait_period=0.1, timeout=60)
        running(one, image=saved)
