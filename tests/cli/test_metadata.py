"""The commands about metadata (config-and-cli 3.18 to 3.22)."""

import bz2
import gzip
import hashlib
import lzma
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest
import requests
from canned import Canned, Reply
from click.testing import CliRunner
from clouds import KEY, configured
from endorsers import ENTRY, certified, pkcs12_file
from invoked import done, refused, run
from libcloud.compute.base import NodeImage

from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.metadata import (
    build_metadata,
    deprecate_metadata,
    sign_metadata,
    upload_metadata,
    validate_metadata,
)
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import NotFoundError, UntrustedImageError
from stratuslab_libcloud.metadata.entry import identifier
from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.metadata.rdf import read_entries, write_entry
from stratuslab_libcloud.metadata.signature import sign, verify
from stratuslab_libcloud.sandbox.site import Sandbox

CONTENT = b"an image\0" * 1000
STORED = (201, "text/plain", b"metadata entry created")
TOO_MUCH = "<x>" + "x" * 50 * 2**20


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def p12(folder: Path, key: SigningKey | None = None) -> str:
    return str(pkcs12_file(folder / "key.p12", key or certified()))


def unsigned(folder: Path, name: str = "m.xml") -> Path:
    path = folder / name
    path.write_bytes(write_entry(ENTRY))
    return path


# -- stratus-build-metadata ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)],
    ids=["plain", "gz", "bz2", "xz"],
)
def test_metadata_is_built_of_what_is_in_the_file(
    suffix: str, pack: Callable[[bytes], bytes], folder: Path
) -> None:
    (folder / f"x.img{suffix}").write_bytes(pack(CONTENT))
    locations = ["--location", "https://a.example.org/?a=1&b=2", "--location", "ftp://b"]
    described = ["--title", "<b> & 'c'", "--comment", "Long.\nText.", "--tag", "t"]
    system = ["--os", "Debian", "--os-version", "12", "--os-arch", "x86_64"]
    more = ["--image-version", "1.0", "--author", "Ada", "--disks-bus", "virtio"]
    printed = done(build_metadata, *locations, *described, *system, *more, f"x.img{suffix}")
    assert printed == "Manifest: Debian-12-x86_64-base-1.0.xml\n"
    (entry,) = read_entries((folder / "Debian-12-x86_64-base-1.0.xml").read_bytes())
    sums = [hashlib.new(name, CONTENT).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")]
    assert list(entry.checksums.values()) == sums
    assert (entry.identifier, entry.size) == (identifier(sums[1]), len(CONTENT))
    assert (entry.title, entry.description, entry.tag) == ("<b> & 'c'", "Long.\nText.", "t")
    assert entry.locations == ("https://a.example.org/?a=1&b=2", "ftp://b")
    assert (entry.compression or "", entry.creator) == (suffix[1:], "Ada")
    assert (entry.type, entry.kind, entry.format, entry.hypervisor, entry.disks_bus) == (
        *("base", "machine", "raw", "kvm", "virtio"),
    )
    assert entry.endorser is None


def test_checksums_that_are_known_are_not_computed(folder: Path) -> None:
    (folder / "x").write_bytes(CONTENT)
    done(build_metadata, "--location", "l", "--sha1", "AB" * 20, "--no-md5", "--no-sha512", "x")
    (entry,) = read_entries((folder / "---base-.xml").read_bytes())
    assert entry.checksums == {
        "SHA-1": "ab" * 20,
        "SHA-256": hashlib.sha256(CONTENT).hexdigest(),
    }


def test_without_a_location_there_is_a_warning(folder: Path) -> None:
    (folder / "x").write_bytes(CONTENT)
    result = run(build_metadata, "-q", "x")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("  [WARNING] Image physical location (URL) was not provided.")


def test_the_name_of_the_manifest_stays_in_the_folder(folder: Path) -> None:
    (folder / "x").write_bytes(CONTENT)
    printed = done(build_metadata, "--location", "l", "--os", "../../up", "--type", "a/b", "x")
    assert printed == "Manifest: .._.._up---a_b-.xml\n"
    assert (folder / ".._.._up---a_b-.xml").is_file()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "Please specify an image (see "),
        (["x.gz", "y"], 2, "Please specify an image (see "),
        (["nowhere"], 2, "Image does not exist: nowhere (see "),
        (
            ["--disks-bus", "usb", "x.gz"],
            2,
            "Unknown disks bus type usb. Available types: ide, scsi, virtio (see ",
        ),
        (["--location", "l", "x.gz"], 1, "x.gz is damaged, or not what its suffix says"),
        (["--location", "l", "--sha1", "xyz", "y"], 1, "a SHA-1 has 40 hex digits"),
        (["--location", "l", "--title", "\x01", "y"], 1, "dcterms:title has characters that XML"),
    ],
)
def test_what_cannot_be_built_is_refused(
    words: list[str], status: int, said: str, folder: Path
) -> None:
    for name in ("x.gz", "y"):
        (folder / name).write_bytes(CONTENT)
    assert refused(status, build_metadata, *words).startswith(said)
    assert sorted(path.name for path in folder.iterdir()) == ["x.gz", "y"]


def test_a_bar_shows_how_far_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "x.img").write_bytes(b"\0" * 4 * 2**20)
    shown: list[str] = []
    monkeypatch.setattr(output.Progress, "show", lambda _, text: shown.append(text))
    done(build_metadata, "--location", "l", "x.img")
    assert [line.rpartition(" ")[0] for line in shown] == [
        f"x.img [{'#' * (30 * done // 100):.<30}] {done}" for done in (25, 50, 75, 100)
    ]


# -- stratus-sign-metadata, stratus-validate-metadata ----------------------------------------------


def test_signed_metadata_takes_the_place_of_the_file(folder: Path, tmp_path: Path) -> None:
    source = unsigned(folder)
    source.chmod(0o640)
    key = certified()
    credentials = ["--p12-cert", p12(tmp_path, key), "--p12-password", "geheim"]
    assert done(sign_metadata, *credentials, "m.xml") == ""
    assert (folder / "m.xml.orig").read_bytes() == write_entry(ENTRY)
    verdict = verify(source.read_bytes())
    assert verdict.endorser is not None
    assert (verdict.endorser.email, verdict.endorser.method) == ("ada@example.org", "rsa-sha1")
    assert source.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in folder.iterdir()) == ["m.xml", "m.xml.orig"]
    printed = done(validate_metadata, "m.xml").splitlines()
    assert printed[:3] == [
        "Valid: m.xml",
        f"Image: {ENTRY.identifier}",
        "Endorser: ada@example.org (CN=Ada Builder,O=Example Org,C=EU)",
    ]
    assert printed[4] == f"Fingerprint: {key.certificate.fingerprint}"


def test_the_file_stays_as_it_is_with_output(folder: Path, tmp_path: Path) -> None:
    source = unsigned(folder)
    key = p12(tmp_path, certified("P-256", email=None))
    words = ["--p12-cert", key, "--p12-password", "geheim", "--email", "ada@example.org"]
    assert done(sign_metadata, *words, "--output", "signed.xml", "m.xml") == ""
    assert source.read_bytes() == write_entry(ENTRY)
    verdict = verify((folder / "signed.xml").read_bytes())
    assert verdict.endorser is not None
    assert verdict.endorser.method == "ecdsa-sha256"


def test_the_key_of_the_configuration_file_and_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned(folder)
    monkeypatch.setenv("STRATUSLAB_P12_CERTIFICATE", p12(tmp_path))
    (tmp_path / "x.cfg").write_text("[default]\np12_password = geheim\n")
    (tmp_path / "x.cfg").chmod(0o600)
    done(sign_metadata, "-c", str(tmp_path / "x.cfg"), "--digest", "sha512", "m.xml")
    verdict = verify((folder / "m.xml").read_bytes())
    assert verdict.endorser is not None
    assert verdict.endorser.method == "rsa-sha512"


def test_a_missing_password_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned(folder)
    monkeypatch.setattr("stratuslab_libcloud.cli.options._interactive", lambda: True)
    words = ["--p12-cert", p12(tmp_path), "m.xml"]
    result = CliRunner().invoke(sign_metadata, words, input="geheim\n")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"password of {tmp_path / 'key.p12'}: \n"
    assert verify((folder / "m.xml").read_bytes()).valid


@pytest.mark.parametrize(
    ("content", "key", "words", "said"),
    [
        (None, "good", ["--p12-password", "wrong"], "the password is wrong, or it is not a PKCS12"),
        (None, "expired", [], "the certificate expired on 2012-01-01T00:00:00Z"),
        (None, "future", [], "the certificate begins 2099-01-01T00:00:00Z"),
        (None, "nameless", [], "the certificate has no e-mail address, and none was given"),
        (None, "absent", [], "cannot be read: No such file or directory"),
        ("<a", "good", [], "not well-formed XML"),
        ("<a/>", "good", [], "not a Marketplace entry: its root is not rdf:RDF"),
        ("<!DOCTYPE a><a/>", "good", [], "XML with a DOCTYPE is refused"),
        (TOO_MUCH, "good", [], "m.xml has more than 1 MiB: it is no metadata"),
    ],
    ids=[
        *("password", "expired", "future", "nameless", "absent"),
        *("cut", "another root", "doctype", "50 MB"),
    ],
)
def test_what_cannot_be_signed_is_refused(
    content: str | None, key: str, words: list[str], said: str, folder: Path, tmp_path: Path
) -> None:
    source = unsigned(folder)
    if content is not None:
        source.write_text(content)
    before = source.read_bytes()
    keys: dict[str, Callable[[], SigningKey]] = {
        "good": certified,
        "expired": lambda: certified(begins=2010, ends=2012),
        "future": lambda: certified(begins=2099, ends=2100),
        "nameless": lambda: certified(email=None),
    }
    path = p12(tmp_path, keys[key]()) if key in keys else str(tmp_path / "absent.p12")
    credentials = ["--p12-cert", path, "--p12-password", "geheim"]
    text = refused(1, sign_metadata, *credentials, *words, "m.xml")
    assert said in text
    assert [one.name for one in folder.iterdir()] == ["m.xml"]
    assert source.read_bytes() == before


@pytest.mark.parametrize("command", [sign_metadata, validate_metadata, upload_metadata])
def test_a_file_must_be_named_and_there(command: click.Command) -> None:
    assert re.match("Missing (metadata|manifest) file|Please specify an", refused(2, command))
    assert re.search("exist.*: nowhere", refused(2, command, "nowhere"))


def test_every_reason_against_metadata_is_told(folder: Path) -> None:
    (folder / "m.xml").write_bytes(write_entry(replace(ENTRY, disks_bus="usb", valid="soon")))
    result = run(validate_metadata, "m.xml")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert lines[0] == "  [ERROR] m.xml: it is not signed"
    assert "  [ERROR] m.xml: dcterms:valid value (soon) is not a valid date" in lines
    assert "  [ERROR] m.xml: slterms:disks-bus value (usb) is not ide, scsi or virtio" in lines


# -- stratus-upload-metadata, stratus-deprecate-metadata -------------------------------------------


@pytest.fixture
def signed(folder: Path) -> bytes:
    """A signed entry, as ``m.xml``."""
    document = sign(write_entry(ENTRY), certified())
    (folder / "m.xml").write_bytes(document)
    return document


@pytest.fixture
def market() -> Iterator[Canned]:
    with Canned([STORED]) as market:
        yield market


def test_uploading_prints_the_address(signed: bytes, market: Canned) -> None:
    printed = done(upload_metadata, "--marketplace-endpoint", f"{market.url}/", "m.xml")
    assert re.fullmatch(
        f"{market.url}/metadata/{ENTRY.identifier}/ada@example.org/20[0-9T:-]+Z\n", printed
    )
    (request,) = market.requests
    assert (request.method, request.path, request.body) == ("POST", "/metadata", signed)
    assert request.headers["Content-Type"] == request.headers["Accept"] == "application/xml"


def test_that_a_confirmation_is_needed_is_said(signed: bytes, market: Canned) -> None:
    market.answers = [(202, "text/plain", b"confirmation email sent for new metadata entry\n")]
    result = run(upload_metadata, "--marketplace-endpoint", market.url, "m.xml")
    assert result.exit_code == 0
    assert result.stdout.startswith(market.url)
    assert result.stderr.startswith("  [WARNING] the Marketplace has sent an e-mail")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (400, "application/xml", b"<error>invalid metadata: older than latest entry</error>"),
            ": invalid metadata: older than latest entry (HTTP 400)",
        ),
        ((200, "text/html", b"<html/>"), ": answered 200 to metadata; "),
        ((404, "text/html", b""), "is marketplace_endpoint right?"),
        ((302, "text/plain", b"", {"Location": "/x"}), "redirects to /x, which is not followed"),
    ],
    ids=["older", "page", "404", "redirect"],
)
def test_a_refused_upload_is_one_line(
    answer: Reply, said: str, signed: bytes, market: Canned
) -> None:
    market.answers = [answer]
    text = refused(1, upload_metadata, "--marketplace-endpoint", market.url, "m.xml")
    assert text.startswith("Failed to upload: ")
    assert said in text
    assert len(market.requests) == 1


@pytest.mark.parametrize("content", ["<a", "<a/>", TOO_MUCH], ids=["cut", "no entry", "50 MB"])
def test_what_is_no_metadata_is_not_sent(content: str, folder: Path, market: Canned) -> None:
    (folder / "m.xml").write_text(content)
    refused(1, upload_metadata, "--marketplace-endpoint", market.url, "m.xml")
    assert market.requests == []


def test_deprecating_signs_the_entry_anew(signed: bytes, market: Canned, tmp_path: Path) -> None:
    market.answers = [(200, "application/xml", signed), STORED]
    credentials = ["--p12-cert", p12(tmp_path), "--p12-password", "geheim"]
    words = ["--marketplace-endpoint", market.url, *credentials, "--email", "ada@example.org"]
    printed = done(deprecate_metadata, *words, "--reason", "It has <a hole>.", ENTRY.identifier)
    looked, posted = market.requests
    assert looked.path == f"/metadata/{ENTRY.identifier}/ada@example.org"
    old, new = verify(signed).entry, verify(posted.body).entry
    assert old is not None
    assert new is not None
    assert new == replace(old, deprecated="It has <a hole>.", endorsed=new.endorsed)
    assert printed == f"{market.url}{looked.path}/{new.endorsed}\n"
    market.answers = [(200, "application/xml", signed), STORED]
    done(deprecate_metadata, *words, "--created", str(old.endorsed), ENTRY.identifier)
    assert market.requests[2].path == f"{looked.path}/{old.endorsed}"
    again = verify(market.requests[3].body).entry
    assert again is not None
    assert again.deprecated == "This image has been deprecated"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "Please specify an image ID (see "),
        ([ENTRY.identifier], 2, "Missing email address. Please provide email of endorser (see "),
        (["--email", "ada@example.org", "x"], 1, "'x' is not the identifier of an image"),
        (
            ["--email", "bob@example.org", ENTRY.identifier],
            1,
            "the certificate is that of ada@example.org, not of bob@example.org: only the endorser",
        ),
        (
            ["--email", "ada@example.org", "--p12-password", "wrong", ENTRY.identifier],
            1,
            "the password is wrong, or it is not a PKCS12 file",
        ),
    ],
    ids=["no image", "no address", "no identifier", "another's", "password"],
)
def test_what_cannot_be_deprecated_is_refused(
    words: list[str], status: int, said: str, market: Canned, tmp_path: Path
) -> None:
    credentials = ["--p12-cert", p12(tmp_path), "--p12-password", "geheim"]
    options = ["--marketplace-endpoint", market.url, *credentials]
    assert said in refused(status, deprecate_metadata, *options, *words)
    assert market.requests == []


def test_what_nobody_signed_is_not_signed_anew(
    signed: bytes, market: Canned, tmp_path: Path
) -> None:
    altered = signed.replace(b"images.example.org", b"images.evil.example")
    market.answers = [(200, "application/xml", altered), STORED]
    credentials = ["--p12-cert", p12(tmp_path), "--p12-password", "geheim"]
    words = ["--marketplace-endpoint", market.url, *credentials, "--email", "ada@example.org"]
    text = refused(1, deprecate_metadata, *words, ENTRY.identifier)
    assert "fails verification, so it is not signed again: it was changed after" in text
    assert [request.method for request in market.requests] == ["GET"]


# -- the life of an image --------------------------------------------------------------------------


def test_the_life_of_an_image(folder: Path, tmp_path: Path) -> None:
    """Built, signed, uploaded, listed, started, deprecated, gone, and still readable."""
    key = certified("P-256", email="ada@example.org")
    with Sandbox(tmp_path / "site") as site:
        path = configured(
            site,
            tmp_path,
            verify_images="require",
            trusted_endorsers=key.certificate.fingerprint,
            p12_certificate=p12(tmp_path, key),
            p12_password="geheim",
        )
        words = ["-c", str(path)]
        (folder / "x.img.gz").write_bytes(gzip.compress(CONTENT))
        done(build_metadata, "--os", "Debian", "--location", f"{site.url}/x", "x.img.gz")
        text = refused(1, upload_metadata, *words, "Debian---base-.xml")
        assert "invalid metadata: no signature (HTTP 400)" in text
        done(sign_metadata, *words, "Debian---base-.xml")
        address = done(upload_metadata, *words, "Debian---base-.xml").strip()
        image = address.split("/")[-3]
        driver = StratusLabNodeDriver(stratuslab_user_config=path)
        assert image in [one.id for one in driver.list_images()]
        node = driver.create_node(
            "n", driver.list_sizes()[0], NodeImage(image, "", driver), auth=KEY
        )
        (listed,) = driver.list_nodes()
        assert listed.image is not None
        assert (listed.state, listed.image.id) == ("running", image)
        assert listed.extra["disks"][0]["source"] == address
        driver.destroy_node(node)
        others = [one for one in driver.list_images() if one.id != image]
        with pytest.raises(UntrustedImageError, match="the endorser is not trusted"):
            driver.create_node("n", driver.list_sizes()[0], others[0], auth=KEY)
        assert driver.list_nodes() == []
        time.sleep(1.1)  # dates are in seconds, and a new entry of the same one replaces the old
        done(deprecate_metadata, *words, "--email", "ada@example.org", "--reason", "Old.", image)
        assert image not in [one.id for one in driver.list_images()]
        with pytest.raises(NotFoundError):
            driver.get_image(image)
        (latest,) = driver.ex_list_endorsements(image)
        assert (latest.deprecated, latest.signed, latest.trusted) == ("Old.", True, True)
        driver.ex_close()
        answer = requests.get(address, headers={"Accept": "application/xml"}, timeout=30)
        assert verify(answer.content).valid
        text = refused(1, upload_metadata, *words, "Debian---base-.xml")
        assert "invalid metadata: older than latest entry (HTTP 400)" in text
