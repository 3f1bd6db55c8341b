"""Snapshots of volumes: Libcloud's promises over copies on write."""

from collections.abc import Iterator

import pytest
from libcloud.compute.base import StorageVolume, VolumeSnapshot
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import ConflictError, InvalidValueError, NotFoundError
from stratuslab_libcloud.sandbox.site import Sandbox

RAW = "DATA_IMAGE_RAW_READ_WRITE"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def driver(sandbox: Sandbox) -> Iterator[StratusLabNodeDriver]:
    driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
    yield driver
    for node in driver.list_nodes():
        driver.destroy_node(node)
    for volume in driver.list_volumes():
        for snapshot in driver.list_volume_snapshots(volume):
            driver.destroy_volume_snapshot(snapshot)
        driver.destroy_volume(volume)
    driver.ex_close()


def write(sandbox: Sandbox, thing: StorageVolume | VolumeSnapshot, text: bytes) -> None:
    with (sandbox.dir / "disks" / str(thing.id)).open("r+b") as file:
        file.write(text)


def read(sandbox: Sandbox, thing: StorageVolume | VolumeSnapshot) -> bytes:
    with (sandbox.dir / "disks" / str(thing.id)).open("rb") as file:
        return file.read(6)


def types(driver: StratusLabNodeDriver) -> dict[str, str]:
    return {volume.name: present(volume.extra)["type"] for volume in driver.list_volumes()}


def test_a_snapshot_keeps_what_was_on_the_volume(
    sandbox: Sandbox, driver: StratusLabNodeDriver
) -> None:
    volume = driver.create_volume(1, "data")
    write(sandbox, volume, b"monday")
    snapshot = driver.create_volume_snapshot(volume, "before")
    write(sandbox, volume, b"friday")
    first = driver.create_volume(1, "first", snapshot=snapshot, ex_visibility="public")
    write(sandbox, first, b"sunday")
    second = driver.create_volume(1, "second", snapshot=snapshot)
    found = [read(sandbox, thing) for thing in (volume, snapshot, first, second)]
    assert found == [b"friday", b"monday", b"sunday", b"monday"]
    assert types(driver) == {"data": RAW, "first": RAW, "second": RAW}
    assert present(first.extra)["visibility"] == "public"
    (shown,) = driver.list_volume_snapshots(volume)
    assert (shown.id, shown.name, shown.size) == (snapshot.id, "before", 1)
    assert shown.extra["volume_id"] == volume.id
    assert shown.created is not None
    assert driver.list_volume_snapshots(first) == []
    with pytest.raises(ConflictError, match="copies"):
        driver.destroy_volume(volume)
    with pytest.raises(ConflictError, match="copies"):
        driver.destroy_volume_snapshot(snapshot)
    driver.destroy_volume(first)
    driver.destroy_volume(second)
    assert driver.destroy_volume_snapshot(snapshot)
    with pytest.raises(NotFoundError):
        driver.destroy_volume_snapshot(snapshot)


def test_a_volume_in_use_has_no_snapshot_and_stays_what_it_is(
    sandbox: Sandbox, driver: StratusLabNodeDriver
) -> None:
    volume = driver.create_volume(1, "data")
    node = driver.create_node("web", driver.list_sizes()[0], driver.list_images()[0])
    driver.attach_volume(node, volume)
    with pytest.raises(ConflictError, match="in use"):
        driver.create_volume_snapshot(volume)
    assert types(driver) == {"data": RAW}


def test_what_cannot_be_is_refused_before_anything_is_sent(driver: StratusLabNodeDriver) -> None:
    volume = driver.create_volume(1, "data")
    with pytest.raises(InvalidValueError, match="40 characters"):
        driver.create_volume_snapshot(volume, "x" * 41)
    snapshot = driver.create_volume_snapshot(volume)
    with pytest.raises(InvalidValueError, match="its size, 1 GiB, not 2"):
        driver.create_volume(2, "v", snapshot=snapshot)
    with pytest.raises(InvalidValueError, match="40 characters"):
        driver.create_volume(1, "x" * 41, snapshot=snapshot)
    with pytest.raises(InvalidValueError, match="is in location sandbox"):
        driver.create_volume(1, "v", location="elsewhere", snapshot=snapshot)  # type: ignore[arg-type]
    assert types(driver) == {"data": RAW}
