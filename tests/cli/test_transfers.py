"""The commands that copy, upload and download persistent disks."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from invoked import done, refused, run

from stratuslab_libcloud import Cloud
from stratuslab_libcloud.cli.transfers import download_volume, upload_image
from stratuslab_libcloud.cli.volumes import create_volume
from stratuslab_libcloud.sandbox.site import Sandbox

UUID = "1e8e9104-681c-4269-8aae-e513c6723ac6"


@pytest.fixture(autouse=True)
def _no_disk_is_left(cloud: Cloud) -> Iterator[None]:
    yield
    for volume in cloud.volumes():  # the newest first, so copies before what they are made of
        cloud.delete_volume(volume.id)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "calib.img"
    path.parent.mkdir()
    path.write_bytes(b"begin" + bytes(1 << 20) + b"end")
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gz"])
def test_an_image_goes_up_and_comes_down(
    site: Sandbox, cloud: Cloud, image: Path, packed: bool
) -> None:
    content = image.read_bytes()
    path = image
    if packed:
        path = image.with_name("calib.img.gz")
        path.write_bytes(gzip.compress(content))
    line = done(upload_image, site, "--image-only", "-t", "calibration", "--public", path)
    (volume,) = cloud.volumes()
    assert line == f"Image uploaded: {site.url}/pdisk/pswd/disks/{volume.id}\n"
    assert (volume.name, volume.visibility, volume.size) == ("calibration", "public", 1)
    assert sorted(image.parent.iterdir()) == sorted({image, path})  # nothing else, nothing less
    copy = image.with_name("copy.img")
    assert done(download_volume, site, volume.id, copy) == f"DOWNLOADED {volume.id} to {copy}\n"
    with copy.open("rb") as file:
        assert file.read(len(content) + 1) == content + b"\0"
    assert copy.stat().st_size == 1 << 30
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.stat().st_blocks * 512 < 4 << 20


def test_an_upload_shows_the_disk_as_json_and_its_type(
    site: Sandbox, cloud: Cloud, image: Path
) -> None:
    words = ("--image-only", "--json", "--machine-image-origin", image)
    (shown,) = json.loads(done(upload_image, site, *words))
    assert shown["type"] == cloud.volume(shown["id"]).type == "MACHINE_IMAGE_ORIGIN"


def test_an_upload_says_that_the_marketplace_has_no_entry(
    site: Sandbox, cloud: Cloud, image: Path
) -> None:
    result = run(upload_image, site, image)
    assert result.exit_code == 0
    assert result.stderr == (
        "  [WARNING] only the image was uploaded: the Marketplace has no entry of it\n"
    )
    assert refused(1, upload_image, site, image).startswith(
        "Service error: Disk already registered"
    )


def test_a_copy_and_an_image_of_it(site: Sandbox, cloud: Cloud) -> None:
    disk = cloud.create_volume(1, "base")
    text = refused(1, create_volume, site, "--cow", disk.id)
    assert "has the type DATA_IMAGE_RAW_READ_WRITE, not MACHINE_IMAGE_ORIGIN" in text
    cloud.update_volume(disk.id, kind="MACHINE_IMAGE_ORIGIN")
    copy = done(create_volume, site, "--cow", disk.id, "-t", "copy", "--public")
    made = cloud.volume(copy.removeprefix("DISK ").strip())
    assert (made.name, made.visibility, made.type) == ("copy", "public", "MACHINE_IMAGE_LIVE")
    assert made.identifier == f"snapshot:{disk.id}"
    image = done(create_volume, site, f"--rebase={made.id}").removeprefix("DISK ").strip()
    assert cloud.volume(image).type == "MACHINE_IMAGE_ORIGIN"
    assert len(cloud.volumes()) == 3


def test_what_cannot_be_transferred_is_refused(site: Sandbox, cloud: Cloud, tmp_path: Path) -> None:
    tmp_path = tmp_path / "images"
    tmp_path.mkdir()
    missing = tmp_path / "missing.img"
    damaged = tmp_path / "damaged.img.gz"
    damaged.write_bytes(gzip.compress(b"x" * 1000)[:-9])
    target = tmp_path / "target.img"
    expected: dict[str, tuple[int, click.Command, list[str | Path]]] = {
        "Please specify an image as <filename>.img": (2, upload_image, []),
        f"Image file does not exist: {missing}": (2, upload_image, [missing]),
        "Unknown compression format bz2": (2, upload_image, ["-C", "bz2", damaged]),
        f"the image {damaged} cannot be read": (1, upload_image, [damaged]),
        "Tags must have": (2, upload_image, ["-t", "x" * 41, damaged]),
        "Invalid UUID x": (2, download_volume, ["x", target]),
        f"Service error: disk ({UUID}) does not exist": (1, download_volume, [UUID, target]),
    }
    for text, (status, used, words) in expected.items():
        assert refused(status, used, site, *words).startswith(text), text
    volume = cloud.create_volume(1, "v")
    nowhere = tmp_path / "nowhere" / "x.img"
    assert "cannot be written" in refused(1, download_volume, site, volume.id, nowhere)
    assert set(tmp_path.iterdir()) == {damaged}
    assert [one.id for one in cloud.volumes()] == [volume.id]
