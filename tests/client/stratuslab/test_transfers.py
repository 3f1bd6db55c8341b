"""Uploads and downloads against a sandbox, and against services that do them badly."""

import gzip
import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratuslab_libcloud import Cloud, connect
from stratuslab_libcloud.client.stratuslab.transfers import packed
from stratuslab_libcloud.metadata.entry import identifier
from stratuslab_libcloud.sandbox.site import Sandbox

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With nothing in it."""
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with Sandbox() as site:
        yield site


@pytest.fixture
def cloud(site: Sandbox) -> Iterator[Cloud]:
    cloud = connect(site.config_path)
    yield cloud
    for volume in cloud.volumes():
        cloud.delete_volume(volume.id)
    cloud.close()


def noise(path: Path, size: int) -> Path:
    """A file that cannot be compressed."""
    with path.open("wb") as file:
        for number in range(size // MIB):
            file.write(hashlib.shake_128(b"%d" % number).digest(MIB))
    return path


def test_progress_goes_from_something_to_all(cloud: Cloud, tmp_path: Path) -> None:
    path = noise(tmp_path / "noise.img", 3 * MIB)
    seen: list[tuple[int, int | None]] = []
    volume = cloud.upload_volume(path, "n", progress=lambda done, all_: seen.append((done, all_)))
    assert seen[-1][0] == seen[-1][1] == max(seen)[0] > 3 * MIB
    assert volume.identifier == identifier(hashlib.sha1(path.read_bytes()).digest())
    seen.clear()
    target = tmp_path / "down.img.gz"
    cloud.download_volume(volume.id, target, lambda done, all_: seen.append((done, all_)))
    assert seen[-1][0] == seen[-1][1] == target.stat().st_size
    with gzip.open(target) as file:
        assert file.read(3 * MIB) == path.read_bytes()


MEASURED = """
import resource, sys
from pathlib import Path
from stratuslab_libcloud import connect
cloud = connect(sys.argv[1])
cloud.delete_volume(cloud.create_volume(1, "warm").id)
first = Path(sys.argv[2])
cloud.delete_volume(cloud.upload_volume(first, "small").id)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
volume = cloud.upload_volume(Path(sys.argv[3]), "large")
cloud.download_volume(volume.id, first.with_name("down.img"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_disk(site: Sandbox, cloud: Cloud, tmp_path: Path) -> None:
    small, large = noise(tmp_path / "a.img", MIB), noise(tmp_path / "b.img", 48 * MIB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    words = [sys.executable, "-c", MEASURED, *map(str, (site.config_path, small, large))]
    grown = int(subprocess.run(words, check=True, capture_output=True, timeout=120).stdout)
    assert grown < 32 * 1024  # KiB, of the client
    served = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert served < 32 * 1024  # of the sandbox, which is in this process
    with (tmp_path / "down.img").open("rb") as down, large.open("rb") as up:
        assert all(down.read(MIB) == up.read(MIB) for _ in range(48))


def test_a_file_is_there_when_it_is_whole(cloud: Cloud, folder: Path) -> None:
    volume = cloud.create_volume(1, "v")
    target = folder / "target.img"
    target.write_bytes(b"before")

    def stop(done: int, whole: int | None) -> None:
        assert target.read_bytes() == b"before"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cloud.download_volume(volume.id, target, stop)
    assert [path.read_bytes() for path in folder.iterdir()] == [b"before"]
    cloud.download_volume(volume.id, target)
    assert target.stat().st_size == 1 << 30


def test_an_image_is_packed_as_it_is_named(folder: Path) -> None:
    path = folder / "x.img"
    path.write_bytes(b"image")
    file, name = packed(path)
    with file:
        assert gzip.decompress(file.read()) == b"image"
    assert name == identifier(hashlib.sha1(b"image").digest())
    assert os.listdir(folder) == ["x.img"]
