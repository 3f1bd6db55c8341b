"""Images that become disks, and disks that are downloaded (pdisk-rest 2.1.3, 2.2.2)."""

import gzip
import hashlib
import io
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from callers import Caller

from stratuslab_libcloud.metadata.entry import identifier
from stratuslab_libcloud.sandbox.site import Sandbox

GIB = 1 << 30
GZIP = {"Accept": "application/x-gzip"}


def upload(caller: Caller, content: bytes, name: str = "calib.img.gz") -> requests.Response:
    return caller.disks("POST", files={"Image File": (name, content)})


def uploaded(caller: Caller, content: bytes) -> dict[str, Any]:
    answer = upload(caller, content)
    assert answer.status_code == 303, answer.text
    place = answer.headers["Location"]
    assert place.startswith(f"{caller.site.url}/pdisk/pswd/disks/")
    shown: dict[str, Any] = caller.disks("GET", f"/{place.rpartition('/')[2]}").json()
    return shown


def test_an_uploaded_image_becomes_a_disk(site: Sandbox, jane: Caller) -> None:
    image = b"begin" + bytes(3 << 20) + b"end"
    shown = uploaded(jane, gzip.compress(image))
    assert shown == {
        "uuid": shown["uuid"],
        "tag": "",
        "count": "0",
        "owner": "jane",
        "identifier": identifier(hashlib.sha1(image).digest()),
        "size": "1",
        "type": "DATA_IMAGE_RAW_READONLY",
        "visibility": "PRIVATE",
    }
    with (site.dir / "disks" / shown["uuid"]).open("rb") as file:
        assert file.read(len(image) + 1) == image + b"\0"
        assert file.seek(0, 2) == GIB
        assert (site.dir / "disks" / shown["uuid"]).stat().st_mode & 0o777 == 0o600


def test_the_last_file_of_a_form_is_the_image(jane: Caller) -> None:
    files = [("a", ("a.gz", gzip.compress(b"first"))), ("b", ("b.gz", gzip.compress(b"last")))]
    answer = jane.disks("POST", files=files, data={"tag": "ignored"})
    assert answer.status_code == 303
    (shown,) = jane.disks("GET").json()
    assert shown["identifier"] == identifier(hashlib.sha1(b"last").digest())
    assert shown["tag"] == ""


def test_an_image_larger_than_a_request_may_be_is_uploaded(site: Sandbox, jane: Caller) -> None:
    image = hashlib.shake_128(b"x").digest(20 << 20)
    shown = uploaded(jane, gzip.compress(image, 0))
    assert shown["identifier"] == identifier(hashlib.sha1(image).digest())
    files = {path.name for path in (site.dir / "disks").iterdir()}
    assert files == {shown["uuid"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"raw", "Not in GZIP format"),
        (b"", "Unexpected end of ZLIB input stream"),
        (gzip.compress(b"x" * 99)[:-9], "Unexpected end of ZLIB input stream"),
        (gzip.compress(b"x") + b"junk", "Not in GZIP format"),
    ],
    ids=["raw", "empty", "truncated", "junk"],
)
def test_what_is_no_image_leaves_nothing(
    site: Sandbox, jane: Caller, content: bytes, message: str
) -> None:
    answer = upload(jane, content)
    assert answer.status_code == 400
    assert answer.json()["message"] == message
    assert list((site.dir / "disks").iterdir()) == []
    assert jane.disks("GET").json() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"--b\r\n\r\nx\r\n--b--", "no valid file uploaded"),
        (b"nothing", "no valid file uploaded"),
        (b"--b--\r\n", "empty file uploaded"),
        (
            b'--b\r\nContent-Disposition: form-data; name="tag"\r\n\r\nx\r\n--b--\r\n',
            "empty file uploaded",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\nx',
            "no valid file uploaded",
        ),
    ],
    ids=["no-name", "no-part", "empty", "no-file", "cut"],
)
def test_a_form_without_a_whole_file_is_refused(jane: Caller, body: bytes, message: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = jane.disks("POST", data=body, headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (400, message)


def test_the_same_image_is_a_users_once(jane: Caller, joerg: Caller) -> None:
    content = gzip.compress(b"image")
    uploaded(jane, content)
    answer = upload(jane, content)
    assert (answer.status_code, answer.json()["message"]) == (409, "Disk already registered")
    uploaded(joerg, content)  # who does not learn that jane has it
    assert [one["owner"] for one in joerg.disks("GET").json()] == ["jörg"]


def test_only_who_has_an_account_uploads_much(site: Sandbox) -> None:
    for auth in (None, ("jane", "wrong")):
        address = urlsplit(site.url)
        assert address.hostname
        assert address.port
        with socket.create_connection((address.hostname, address.port), 30) as peer:
            login = requests.Request("POST", site.url, auth=auth).prepare().headers
            lines = [f"{name}: {value}\r\n" for name, value in login.items() if name[0] == "A"]
            head = (
                f"POST /pdisk/pswd/disks HTTP/1.1\r\nHost: {address.netloc}\r\n{''.join(lines)}"
                f"Content-Type: multipart/form-data; boundary=b\r\n"
                f"Content-Length: {1 << 40}\r\n\r\n"
            )
            peer.sendall(head.encode())
            assert peer.recv(12) == b"HTTP/1.1 401"
    assert list((site.dir / "disks").iterdir()) == []


def test_an_upload_that_stops_leaves_nothing(site: Sandbox, jane: Caller) -> None:
    def stopping() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\n'
        yield gzip.compress(bytes(1 << 20))
        raise InterruptedError

    headers = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Content-Length": str(32 << 20),
    }
    request = requests.Request("POST", f"{site.url}/pdisk/pswd/disks", headers, auth=jane.auth)
    with requests.Session() as session:
        prepared = request.prepare()
        prepared.body = stopping()
        with pytest.raises((InterruptedError, requests.ConnectionError)):
            session.send(prepared, timeout=30)
    assert jane.disks("GET").json() == []
    end = time.monotonic() + 30
    while list((site.dir / "disks").iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert list((site.dir / "disks").iterdir()) == []


def fill(site: Sandbox, disk: str) -> bytes:
    with (site.dir / "disks" / disk).open("r+b") as file:
        file.write(b"begin")
        file.seek(GIB - 3)
        file.write(b"end")
    return b"begin"


def test_what_does_not_get_smaller_is_sent_as_it_is(site: Sandbox, jane: Caller) -> None:
    """Trying takes twenty times as long; beside it, words and blanks get smaller."""
    disk = jane.disk(size=1)
    noise, words = hashlib.shake_128().digest(1 << 20), b"All work and no play. " * 50_000
    with (site.dir / "disks" / disk).open("r+b") as file:
        file.write(noise + words)
    content = jane.disks("GET", f"/{disk}", headers=GZIP).content
    assert content.startswith(gzip.compress(noise, 0, mtime=0))
    assert len(content) < len(noise) + len(words) // 20 + GIB // 500
    with gzip.open(io.BytesIO(content)) as unpacked:
        assert unpacked.read(len(noise + words)) == noise + words


def test_a_disk_is_downloaded_whole(site: Sandbox, jane: Caller) -> None:
    disk = jane.disk(size=1)
    fill(site, disk)
    answer = jane.disks("GET", f"/{disk}", headers=GZIP)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/x-gzip"
    assert answer.headers["Content-Disposition"] == f"attachment; filename={disk}.gz"
    assert int(answer.headers["Content-Length"]) == len(answer.content) < 4 << 20
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Encoding" not in answer.headers
    with gzip.open(io.BytesIO(answer.content)) as content:
        assert content.read(6) == b"begin\0"
        content.seek(GIB - 3)
        assert content.read() == b"end"
    assert jane.disks("GET", f"/{disk}?media=gzip").content == answer.content


def test_a_part_of_a_download_is_that_part(site: Sandbox, jane: Caller) -> None:
    disk = jane.disk(size=1)
    fill(site, disk)
    whole = jane.disks("GET", f"/{disk}", headers=GZIP)
    ranged = {**GZIP, "Range": "bytes=1000-", "If-Range": whole.headers["ETag"]}
    part = jane.disks("GET", f"/{disk}", headers=ranged)
    assert part.status_code == 206
    assert part.content == whole.content[1000:]
    assert (
        part.headers["Content-Range"] == f"bytes 1000-{len(whole.content) - 1}/{len(whole.content)}"
    )
    beyond = {**GZIP, "Range": f"bytes={len(whole.content)}-"}
    assert jane.disks("GET", f"/{disk}", headers=beyond).status_code == 416
    fill(site, disk)  # another time of change: perhaps other content
    again = jane.disks("GET", f"/{disk}", headers=ranged)
    assert (again.status_code, again.content) == (200, whole.content)


def test_what_is_in_use_or_anothers_is_not_downloaded(jane: Caller, joerg: Caller) -> None:
    disk = jane.disk()
    answer = joerg.disks("GET", f"/{disk}", headers=GZIP)
    assert answer.status_code == 403
    assert answer.text == f"ERROR (403): insufficient access rights to view disk ({disk})"
    data = {"node": "sandbox", "vm_id": jane.start()}
    assert jane.disks("POST", f"/{disk}/mounts", data=data).status_code == 200
    answer = jane.disks("GET", f"/{disk}", headers=GZIP)
    assert answer.status_code == 409
    assert answer.text == f"ERROR (409): disk ({disk}) is in use and can't be downloaded"
    public = jane.disk(visibility="public")
    assert joerg.disks("GET", f"/{public}", headers=GZIP).status_code == 200
