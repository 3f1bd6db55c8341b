"""How images come here: over real HTTP, checked against their entries."""

import bz2
import contextlib
import gzip
import hashlib
import random
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from canned import Canned, Handler, Reply, Request

from stratuslab_libcloud.metadata.entry import Entry, identifier
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.sandbox import durable
from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.images.fetched import FetchedImage, FetchedImages

IMAGE = random.Random(1).randbytes(100_000) + bytes(3_000_000) + b"the end"
SHA1 = hashlib.sha1(IMAGE)
NAME = identifier(SHA1.digest())
CHUNK = "application/octet-stream"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "origins"
    folder.mkdir()
    return folder


class Shop:
    """A Marketplace and a web server in one: an entry, then what its locations answer."""

    def __init__(self, directory: Path, *answers: Reply, **fields: Any) -> None:
        self.answers = answers
        self.fields = {"size": len(IMAGE), "format": "raw", "compression": "", **fields}
        self.origins = FetchedImages(directory, "http://127.0.0.1:9", None)
        self.stop = threading.Event()
        self.path = f"/metadata/{NAME}"

    def fetch(self, locations: int = 1) -> FetchedImage:
        with Canned([(0, "", b""), *self.answers]) as server:
            entry = Entry(
                NAME,
                locations=tuple(f"{server.url}/{number}" for number in range(locations)),
                **self.fields,
            )
            server.answers[0] = (200, "application/xml", write_entry(entry))
            self.url = server.url
            try:
                return self.origins.fetch(server.url + self.path, self.stop)
            finally:
                self.asked = [request.path for request in server.requests]


def good(data: bytes = IMAGE) -> tuple[int, str, bytes]:
    return 200, CHUNK, data


@pytest.mark.parametrize(
    ("compression", "pack"),
    [
        ("", bytes),
        ("none", bytes),
        ("gz", gzip.compress),
        ("GZ", gzip.compress),
        ("bz2", bz2.compress),
    ],
)
def test_an_image_is_unpacked_and_kept(
    folder: Path, compression: str, pack: Callable[[bytes], bytes]
) -> None:
    shop = Shop(folder, good(pack(IMAGE)), compression=compression)
    origin = shop.fetch()
    assert origin.path.read_bytes() == IMAGE
    assert origin.format == "raw"
    assert [path.name for path in folder.iterdir()] == [f"{NAME}.raw"]


def test_a_download_is_reported(folder: Path) -> None:
    seen: list[tuple[str, float]] = []
    shop = Shop(folder, good())
    shop.origins = FetchedImages(folder, "x", None, lambda *report: seen.append(report))
    shop.fetch()
    shop.fetch()  # which downloads nothing
    parts = [part for _, part in seen]
    assert {work for work, _ in seen} == {f"downloading image {NAME}"}
    assert (parts[0], parts[-1]) == (0, 1)
    assert parts == sorted(set(parts))
    assert len(parts) > 4


def test_an_image_that_is_here_is_not_downloaded_again(folder: Path) -> None:
    first = Shop(folder, good()).fetch()
    again = Shop(folder, good(b"other"))
    assert again.fetch() == first
    assert again.asked == [f"/metadata/{NAME}"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_entry_of_one_endorser_is_fetched_as_it_is_named(folder: Path, slash: str) -> None:
    shop = Shop(folder, good())
    shop.path = f"/metadata/{NAME}/ada@example.org/2025-03-01T10:00:00Z{slash}"
    assert shop.fetch().path.read_bytes() == IMAGE
    assert shop.asked == [shop.path, "/0"]


def test_a_server_is_not_asked_to_pack_an_image_again(folder: Path) -> None:
    seen = []

    def respond(handler: Handler, request: Request) -> None:
        seen.append(request.headers["Accept-Encoding"])
        handler.send(*good())

    Shop(folder, respond).fetch()
    assert seen == ["identity"]


def test_the_next_location_is_tried(folder: Path) -> None:
    shop = Shop(folder, (404, CHUNK, b""), good())
    assert shop.fetch(locations=2).path.read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("answer", "fields", "reason"),
    [
        ((404, CHUNK, b"x"), {}, r"URL/0 answered 404 Not Found"),
        (good(IMAGE[:-1]), {}, rf"entry says: {len(IMAGE)} bytes, but it has {len(IMAGE) - 1}"),
        (good(IMAGE + b"x"), {}, rf"entry says: {len(IMAGE)} bytes, but it has more"),
        (
            good(IMAGE[:-1] + b"x"),
            {},
            rf"entry says: SHA-1 {SHA1.hexdigest()}, but it has [0-9a-f]",
        ),
        (good(), {"compression": "gz"}, r"URL/0 is corrupt: .*"),
        (good(gzip.compress(IMAGE)[:-9]), {"compression": "gz"}, r"URL/0 is corrupt: .*"),
        (good(bz2.compress(IMAGE)[:-9]), {"compression": "bz2"}, r"URL/0 is corrupt: .*"),
        (good(), {"compression": "xz"}, r"the image is compressed with xz, not with gz or bz2"),
        (good(), {"size": None}, r"the image's Marketplace entry does not have its size"),
        (good(), {"format": "vmdk"}, r"the image's format must be raw or qcow2, not vmdk"),
        (good(), {"format": "qcow2"}, r"URL/0 cannot be used: it is not in the format qcow2"),
        ((200, CHUNK, IMAGE[:9], {"Content-Length": "99"}), {}, r"URL/0 broke off: .*"),
    ],
)
def test_what_is_not_as_its_entry_says_is_refused_and_leaves_nothing(
    folder: Path, answer: tuple[int, str, bytes], fields: dict[str, str], reason: str
) -> None:
    def respond(handler: Handler, request: Request) -> None:
        handler.close_connection = True
        handler.send(*answer)

    shop = Shop(folder, respond, **fields)
    with pytest.raises(MachineError) as caught:
        shop.fetch()
    caught.match(f"{reason.replace('URL', shop.url)}")
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_an_entry_without_a_usable_location_is_refused(folder: Path) -> None:
    with pytest.raises(MachineError, match=r"^the image has no http or https location$"):
        Shop(folder, good()).fetch(locations=0)


@pytest.mark.parametrize(
    "source", ["ftp://x/metadata/" + NAME, "http://x/y.img", "/etc/passwd", "http://[::1/x"]
)
def test_what_is_no_entry_of_a_marketplace_is_refused(folder: Path, source: str) -> None:
    origins = FetchedImages(folder, "http://127.0.0.1:9", None)
    with pytest.raises(MachineError, match="neither a Marketplace entry nor a persistent disk"):
        origins.fetch(source, threading.Event())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((404, "text/xml", b"<error/>"), "there is no image .*, or it has expired"),
        ((503, "text/xml", b""), "answered 503"),
        ((200, "text/xml", b"<metadata/>"), f"is not the Marketplace entry of {NAME}"),
        ((200, "text/xml", b"garbage"), f"is not the Marketplace entry of {NAME}"),
        ((200, "text/xml", b"<!DOCTYPE x><x/>"), f"is not the Marketplace entry of {NAME}"),
    ],
)
def test_an_entry_that_cannot_be_had_is_told(folder: Path, answer: Reply, reason: str) -> None:
    origins = FetchedImages(folder, "http://127.0.0.1:9", None)
    with Canned([answer]) as server, pytest.raises(MachineError, match=reason):
        origins.fetch(f"{server.url}/metadata/{NAME}", threading.Event())


def test_nobody_listening_is_told_in_one_line(folder: Path) -> None:
    with Canned([good()]) as server:
        url = f"{server.url}/metadata/{NAME}"
    with pytest.raises(MachineError, match=f"^{url} cannot be fetched: Connection refused$"):
        FetchedImages(folder, "x", None).fetch(url, threading.Event())


def test_a_download_that_nobody_wants_any_more_is_stopped(folder: Path) -> None:
    shop = Shop(folder, good())
    shop.stop.set()
    with pytest.raises(MachineError, match=r"^the download was stopped$"):
        shop.fetch()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("what", ["entry", "image"])
def test_who_does_not_want_it_any_more_does_not_wait_for_a_server_that_drips(
    folder: Path, what: str
) -> None:
    begun, end = threading.Event(), threading.Event()
    raised: list[str] = []

    def drip(handler: Handler, request: Request) -> None:
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Header: ")
            while not end.wait(0.02):
                handler.wfile.write(b"x")
                begun.set()

    def fetch() -> None:
        try:
            shop.origins.fetch(f"{server.url}/metadata/{NAME}", shop.stop)
        except MachineError as error:
            raised.append(str(error))

    shop = Shop(folder)
    with Canned([(0, "", b""), drip]) as server:
        document = write_entry(Entry(NAME, locations=(f"{server.url}/image",), **shop.fields))
        server.answers[0] = drip if what == "entry" else (200, "application/xml", document)
        fetching = threading.Thread(target=fetch, daemon=True)
        fetching.start()
        assert begun.wait(60)
        shop.stop.set()
        fetching.join(60)
        end.set()
    assert raised == ["the download was stopped"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("compression", ["gz", "bz2"])
def test_what_unpacks_to_nothing_is_not_read_for_ever(folder: Path, compression: str) -> None:
    empty = gzip.compress(b"")
    # With a kilobyte of what the header may have besides (RFC 1952, FEXTRA), as small ones take
    # seconds.
    wide = empty[:3] + b"\4" + empty[4:10] + (1000).to_bytes(2, "little") + bytes(1000) + empty[10:]
    nothing = {"gz": wide, "bz2": bz2.compress(b"")}[compression]
    assert {"gz": gzip, "bz2": bz2}[compression].decompress(nothing) == b""

    def endless(handler: Handler, request: Request) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(nothing * 1000)

    with pytest.raises(MachineError, match=f"entry says: {len(IMAGE)} bytes, but it has more$"):
        Shop(folder, endless, compression=compression).fetch()
    assert list(folder.iterdir()) == []


def test_the_login_of_this_hosts_owner_is_not_sent_to_who_has_the_image(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login operator password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    seen = []

    def respond(handler: Handler, request: Request) -> None:
        seen.append(request.headers)
        handler.send(*good())

    Shop(folder, respond).fetch()
    assert ["Authorization" in headers for headers in seen] == [False]


def test_the_proxy_of_the_environment_is_asked_but_not_for_this_site(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"http://images.example.org/metadata/{NAME}"
    with Canned([(404, CHUNK, b"")]) as proxy, Canned([(503, CHUNK, b"")]) as own:
        monkeypatch.setenv("http_proxy", proxy.url)
        origins = FetchedImages(folder, own.url, None)
        for url in (name, f"{own.url}/metadata/{NAME}"):
            with pytest.raises(MachineError):
                origins.fetch(url, threading.Event())
    assert [request.path for request in proxy.requests] == [name]
    assert [request.path for request in own.requests] == [f"/metadata/{NAME}"]


def test_an_image_is_on_the_disk_before_it_counts_as_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Path] = []
    monkeypatch.setattr(durable, "_sync", done.append)
    origin = Shop(folder, good()).fetch()
    assert [path.suffix for path in done] == [".part", ""]
    assert done[1] == folder == origin.path.parent


def test_what_an_earlier_process_left_half_done_is_removed(folder: Path) -> None:
    (folder / "x.part").touch()
    FetchedImages(folder, "x", None)
    assert list(folder.iterdir()) == []


def test_an_image_that_refers_to_a_file_of_this_host_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s3cret" * 1000)
    image = tmp_path / "image"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", image], check=True
    )
    data = image.read_bytes()
    name = identifier(hashlib.sha1(data).digest())
    with Canned([(0, "", b""), good(data)]) as server:
        entry = Entry(name, size=len(data), format="qcow2", locations=(f"{server.url}/i",))
        server.answers[0] = (200, "application/xml", write_entry(entry))
        with pytest.raises(MachineError, match=r"cannot be used: it refers to other files$"):
            FetchedImages(folder, "x", None).fetch(
                f"{server.url}/metadata/{name}", threading.Event()
            )
    assert list(folder.iterdir()) == []


class Disk:
    """A persistent disk with an image, and an entry that says that it is there alone."""

    def __init__(self, directory: Path, content: bytes = IMAGE, **fields: Any) -> None:
        directory.mkdir()
        self.file = directory / "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
        self.file.write_bytes(content + bytes(1 << 20))  # filled up, as disks are
        self.fetched = directory / "fetched"
        self.images = FetchedImages(self.fetched, "http://127.0.0.1:9", None)
        self.entry = Entry(
            NAME,
            locations=(f"pdisk:127.0.0.1:9:{self.file.name}",),
            **{"size": len(IMAGE), "format": "raw", "compression": "", **fields},
        )
        self.asked: list[str] = []
        self.stop = threading.Event()

    def find(self, image_id: str) -> Path:
        self.asked.append(image_id)
        return self.file

    def fetch(self, find: Callable[[str], Path] | None = None) -> FetchedImage:
        with Canned([(200, "application/xml", write_entry(self.entry))]) as server:
            url = f"{server.url}/metadata/{NAME}"
            return self.images.fetch(url, self.stop, find or self.find)


class TestOnDisks:
    def test_an_image_is_taken_from_the_disk_that_has_it(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path / "site")
        image = disk.fetch()
        assert (image.path.read_bytes(), image.format) == (IMAGE, "raw")
        assert disk.asked == [NAME]

    def test_who_may_use_it_is_asked_each_time(self, tmp_path: Path) -> None:
        def refused(image_id: str) -> Path:
            raise MachineError("not yours")

        disk = Disk(tmp_path / "site")
        disk.fetch()
        with pytest.raises(MachineError, match="not yours"):
            disk.fetch(refused)

    def test_it_is_kept_apart_from_what_everybody_may_have(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path / "site")
        private = disk.fetch().path
        with Canned([(0, "", b""), (404, CHUNK, b"")]) as server:
            entry = Entry(NAME, size=len(IMAGE), format="raw", locations=(f"{server.url}/1",))
            server.answers[0] = (200, "application/xml", write_entry(entry))
            with pytest.raises(MachineError, match="answered 404"):
                disk.images.fetch(f"{server.url}/metadata/{NAME}", disk.stop)
        assert private.exists()

    @pytest.mark.parametrize(
        ("content", "fields", "complaint"),
        [
            (IMAGE[:-1] + b"x", {}, "is not what its Marketplace entry says: SHA-1"),
            (IMAGE, {"size": len(IMAGE) - 1}, "is not what its Marketplace entry says: SHA-1"),
            (IMAGE, {"size": 1 << 40}, "but it has"),
            (IMAGE, {"size": None}, "does not have its size"),
            (IMAGE, {"format": "vmdk"}, "must be raw or qcow2"),
        ],
        ids=["another", "a part", "more", "no size", "vmdk"],
    )
    def test_another_content_is_refused(
        self, tmp_path: Path, content: bytes, fields: dict[str, Any], complaint: str
    ) -> None:
        disk = Disk(tmp_path / "site", content, **fields)
        with pytest.raises(MachineError, match=complaint):
            disk.fetch()
        assert list(disk.fetched.iterdir()) == []

    def test_it_stops_when_nobody_needs_it_any_more(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path / "site")
        disk.stop.set()
        with pytest.raises(MachineError, match="stopped"):
            disk.fetch()
        assert list(disk.fetched.iterdir()) == []
