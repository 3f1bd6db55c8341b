"""Uploads and downloads against a sandbox, and against services that do them badly."""

import gzip
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from canned import Canned, Handler, Reply, Request
from clouds import config
from forked import printed
from memory import grown

from stratuslab_libcloud import Cloud, connect
from stratuslab_libcloud.client.stratuslab.transfers import packed
from stratuslab_libcloud.errors import (
    LostAnswerError,
    MalformedAnswerError,
    NotPermittedError,
)
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
import sys
from pathlib import Path
from memory import grown
from stratuslab_libcloud import connect
cloud = connect(sys.argv[1])
cloud.delete_volume(cloud.create_volume(1, "warm").id)
first = Path(sys.argv[2])
cloud.delete_volume(cloud.upload_volume(first, "small").id)
def there_and_back():
    volume = cloud.upload_volume(Path(sys.argv[3]), "large")
    cloud.download_volume(volume.id, first.with_name("down.img"))
print(grown(there_and_back))
"""


def test_memory_does_not_grow_with_the_disk(site: Sandbox, cloud: Cloud, tmp_path: Path) -> None:
    small, large = noise(tmp_path / "a.img", MIB), noise(tmp_path / "b.img", 48 * MIB)
    said: list[str] = []
    words = map(str, (site.config_path, small, large))
    served = grown(lambda: said.append(printed(MEASURED, *words)))
    assert int(said[0]) < 32 * MIB  # bytes, of the client
    assert served < 32 * MIB  # of the sandbox, which is in this process
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
    expected = identifier(hashlib.sha1(b"image").digest())
    with packed(path) as (file, identify):
        assert gzip.decompress(file.read()) == b"image"
        assert identify() == expected
    (folder / "x.img").write_bytes(gzip.compress(b"image"))
    with packed(path) as (file, identify):
        assert file.read() == path.read_bytes()
        assert identify() == expected
    assert os.listdir(folder) == ["x.img"]


# -- services that do it badly -----------------------------------------------------------------

UUID = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
IMAGE = hashlib.shake_128(b"image").digest(300_000)
PACKED = gzip.compress(IMAGE)
HALF = len(PACKED) // 2
JSON, GZIP = "application/json", "application/x-gzip"


def shown(**more: str) -> Reply:
    return 200, JSON, json.dumps({"uuid": UUID, "size": "1", **more}).encode()


def half(handler: Handler, request: Request) -> None:
    """The first half of a disk, and then nobody is there any more."""
    handler.send_response(200)
    for name, text in {
        "Content-Type": GZIP,
        "Content-Length": str(len(PACKED)),
        "ETag": '"e"',
    }.items():
        handler.send_header(name, text)
    handler.end_headers()
    handler.wfile.write(PACKED[:HALF])
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def cloud_at(url: str) -> Cloud:
    return connect(config(pdisk_endpoint=url, username="jane", password="pw"))


def rest(begin: int) -> Reply:
    whole = len(PACKED)
    headers = {"Content-Range": f"bytes {begin}-{whole - 1}/{whole}", "ETag": '"e"'}
    return 206, GZIP, PACKED[begin:], headers


@pytest.mark.parametrize("name", ["down.img", "down.img.gz"])
@pytest.mark.parametrize("whole", [False, True], ids=["the rest", "all of it"])
def test_what_is_missing_is_asked_for(folder: Path, name: str, whole: bool) -> None:
    again = (200, GZIP, PACKED) if whole else rest(HALF)
    with Canned([shown(), half, again]) as server:
        cloud = cloud_at(server.url)
        cloud.download_volume(UUID, folder / name)
        cloud.close()
        asked = server.requests[2].headers
        assert asked["Range"] == f"bytes={HALF}-"
        assert asked["If-Range"] == '"e"'
    assert (folder / name).read_bytes() == (PACKED if name.endswith(".gz") else IMAGE)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([half, rest(HALF - 1)], "another part"),
        ([(200, GZIP, PACKED[:HALF])], "only a part"),
        ([(200, GZIP, b"no gzip")], "no disk in gzip"),
        ([(200, GZIP, PACKED + b"junk")], "no disk in gzip"),
        ([(200, GZIP, PACKED[:-8] + bytes(8))], "no disk in gzip"),
        ([shown()], "no disk, but JSON"),
        ([(200, "text/html", b"<html>")], "no disk in gzip"),
        ([(200, GZIP, b"")], "only a part"),
    ],
    ids=["part", "cut", "junk", "appended", "checksum", "json", "html", "empty"],
)
@pytest.mark.parametrize("name", ["down.img", "down.img.gz"])
def test_what_is_not_the_disk_becomes_no_file(
    folder: Path, name: str, answers: list[Reply], text: str
) -> None:
    with Canned([shown(), *answers]) as server:
        cloud = cloud_at(server.url)
        with pytest.raises(MalformedAnswerError, match=text):
            cloud.download_volume(UUID, folder / name)
        cloud.close()
    assert list(folder.iterdir()) == []


def test_more_than_there_is_on_a_disk_is_refused(folder: Path) -> None:
    bomb = gzip.compress(bytes(16 * MIB)) * 65
    with Canned([shown(), (200, GZIP, bomb)]) as server:
        cloud = cloud_at(server.url)
        with pytest.raises(MalformedAnswerError, match="more than there is on the disk"):
            cloud.download_volume(UUID, folder / "down.img")
        cloud.close()
    assert list(folder.iterdir()) == []


def test_an_image_that_was_damaged_on_its_way_is_deleted(folder: Path) -> None:
    path = folder / "x.img"
    path.write_bytes(IMAGE)
    see = (303, JSON, b"", {"Location": f"http://elsewhere/pdisk/pswd/disks/{UUID}"})
    deleted = 200, JSON, json.dumps({"uuid": UUID}).encode()
    with Canned([see, shown(identifier="A" * 27), deleted]) as server:
        cloud = cloud_at(server.url)
        with pytest.raises(MalformedAnswerError, match="damaged on its way"):
            cloud.upload_volume(path, "x")
        cloud.close()
        assert [request.method for request in server.requests] == ["POST", "GET", "DELETE"]
        body = server.requests[0].body
    head, _, content = body.partition(b"\r\n\r\n")
    assert b'name="Image File"; filename="image.gz"' in head
    assert gzip.decompress(content.rpartition(b"\r\n--")[0]) == IMAGE


def test_an_upload_whose_answer_is_lost_is_sent_once(folder: Path) -> None:
    path = folder / "x.img"
    path.write_bytes(IMAGE)

    def hang_up(handler: Handler, request: Request) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)

    with Canned([hang_up]) as server:
        cloud = cloud_at(server.url)
        with pytest.raises(LostAnswerError, match="may have been made of"):
            cloud.upload_volume(path, "x")
        cloud.close()
        assert len(server.requests) == 1


def test_a_copy_that_belongs_to_nobody_is_said_to(folder: Path) -> None:
    origin = shown(type="MACHINE_IMAGE_ORIGIN")
    copy = shown(owner="", identifier=f"snapshot:{UUID}", type="MACHINE_IMAGE_LIVE")
    with Canned([origin, copy]) as server:
        cloud = cloud_at(server.url)
        with pytest.raises(NotPermittedError, match="belongs to nobody"):
            cloud.copy_volume(UUID)
        cloud.close()
