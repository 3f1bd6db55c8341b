"""Entries made from image files."""

import bz2
import gzip
import hashlib
import lzma
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from endorsers import certified

from stratuslab_libcloud.metadata.building import build, compression_of
from stratuslab_libcloud.metadata.entry import Entry, MetadataError, sha1_of
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.rules import violations
from stratuslab_libcloud.metadata.signature import sign

ONE = b"marketplace example image one\n"
IDENTIFIER = "IgBUoILNIAlD290Tvui-60IdiLZ"
NOW = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "img": bytes,
    "img.gz": gzip.compress,
    "IMG.GZ": gzip.compress,
    "img.bz2": bz2.compress,
    "img.xz": lzma.compress,
}


@pytest.mark.parametrize("suffix", KINDS)
def test_an_entry_tells_of_the_image_itself(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"one.{suffix}"
    path.write_bytes(KINDS[suffix](ONE))
    compression = suffix.lower().partition(".")[2] or None
    assert build(path, now=NOW, title="A & B", os="Debian") == Entry(
        identifier=IDENTIFIER,
        size=30,
        checksums={
            "MD5": hashlib.md5(ONE).hexdigest(),
            "SHA-1": hashlib.sha1(ONE).hexdigest(),
            "SHA-256": hashlib.sha256(ONE).hexdigest(),
            "SHA-512": hashlib.sha512(ONE).hexdigest(),
        },
        type="base",
        kind="machine",
        os="Debian",
        compression=compression,
        format="raw",
        created="2025-03-01T10:00:00Z",
        valid="2025-08-26T10:00:00Z",
        title="A & B",
        publisher="StratusLab",
        hypervisor="kvm",
        disks_bus="ide",
    )
    assert compression_of(path) == compression


def test_what_was_built_and_signed_breaks_no_rule(tmp_path: Path) -> None:
    path = tmp_path / "one.img"
    path.write_bytes(ONE)
    entry = build(path, locations=("https://images.example.org/one.img",))
    assert violations(sign(write_entry(entry), certified())) == []


def test_several_streams_in_one_file_are_one_image(tmp_path: Path) -> None:
    path = tmp_path / "one.img.gz"
    path.write_bytes(gzip.compress(ONE[:10]) + gzip.compress(ONE[10:]))
    assert build(path).identifier == IDENTIFIER


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gz"])
def test_progress_adds_up_to_the_size_of_the_file(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / ("x.img" if compress is bytes else "x.img.gz")
    path.write_bytes(compress(b"abc" * 2**20))
    seen: list[int] = []
    assert build(path, progress=seen.append).size == 3 * 2**20
    assert len(seen) > 3
    assert min(seen) >= 0
    assert sum(seen) == path.stat().st_size


def test_checksums_can_be_given_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "one.img"
    path.write_bytes(ONE)
    sha1 = "AB" * 20
    entry = build(path, given={"SHA-1": sha1, "SHA-256": "CD" * 32}, without=["MD5", "SHA-1"])
    assert sha1_of(entry.identifier) == sha1.lower()
    assert list(entry.checksums) == ["SHA-1", "SHA-256", "SHA-512"]
    assert entry.checksums["SHA-256"] == "cd" * 32
    assert entry.checksums["SHA-512"] == hashlib.sha512(ONE).hexdigest()
    with pytest.raises(MetadataError, match="a SHA-1 has 40 hex digits"):
        build(path, given={"SHA-1": "12"})


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"one.{suffix}"
    compressed = KINDS[f"img.{suffix}"](ONE * 100)
    for data in (compressed[:-9], b"no such thing" * 10, compressed[:20] + b"\xff" * 90):
        path.write_bytes(data)
        with pytest.raises(MetadataError, match=f"^one.{suffix} is damaged, or not "):
            build(path)


def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        build(tmp_path / "nowhere.img")
