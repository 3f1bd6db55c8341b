"""The entries of a site's own images are signed by a key that was made for the site."""

import shutil
from configparser import RawConfigParser
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests

from stratuslab_libcloud.metadata.keys import SigningKey, pem_key
from stratuslab_libcloud.metadata.rdf import cut_entries, write_entry
from stratuslab_libcloud.metadata.rules import refusals
from stratuslab_libcloud.metadata.signature import Verdict, sign, verify
from stratuslab_libcloud.sandbox.registering import register_image
from stratuslab_libcloud.sandbox.site import Sandbox


def key(site: Sandbox) -> SigningKey:
    pem = (site.dir / "endorser.pem").read_bytes()
    return pem_key(pem, pem)


def documents(site: Sandbox, **query: str) -> list[bytes]:
    answer = requests.get(f"{site.url}/metadata", query, timeout=30)
    return cut_entries(answer.content) if answer.status_code == 200 else []


def verdicts(site: Sandbox, **query: str) -> list[Verdict]:
    return [verify(document) for document in documents(site, **query)]


def signers(site: Sandbox) -> set[str]:
    """Fingerprints of those who signed the entries, all of which they did when they could."""
    endorsers = [verdict.endorser for verdict in verdicts(site, status="all")]
    assert endorsers
    assert all(endorser and endorser.in_force for endorser in endorsers)
    return {endorser.certificate.fingerprint for endorser in endorsers if endorser}


def test_all_entries_of_a_new_site_are_signed_by_its_key_and_could_be_uploaded() -> None:
    with Sandbox() as site:
        assert signers(site) == {key(site).certificate.fingerprint}
        for document in documents(site, status="all"):
            assert refusals(document) == []
            kind = {"Content-Type": "application/xml"}
            answer = requests.post(f"{site.url}/metadata", document, headers=kind, timeout=30)
            assert answer.status_code == 201


def test_the_configuration_file_trusts_that_key_and_no_other() -> None:
    with Sandbox(users={"ann": "x", "bob": "y"}) as site:
        sections = RawConfigParser()
        sections.read(site.config_path)
        for name in ("sandbox", "bob"):
            assert sections[name]["verify_images"] == "require"
            assert sections[name]["trusted_endorsers"] == key(site).certificate.fingerprint


def test_each_site_that_stays_has_a_key_of_its_own_which_stays_with_it(tmp_path: Path) -> None:
    keys = []
    for name in ("a", "b", "a"):
        with Sandbox(tmp_path / name) as site:
            assert (site.dir / "endorser.pem").stat().st_mode & 0o777 == 0o600
            assert signers(site) == {key(site).certificate.fingerprint}
            keys.append(key(site).certificate.fingerprint)
    assert keys[0] == keys[2] != keys[1]


def test_without_its_key_a_site_makes_another_and_signs_anew(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as site:
        before = key(site).certificate.fingerprint
    (tmp_path / "endorser.pem").unlink()
    with Sandbox(tmp_path) as site:
        assert signers(site) == {key(site).certificate.fingerprint} != {before}


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="not installed: qemu-img")
def test_an_image_that_is_added_is_signed_and_stays_deprecated_once_it_is(tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    image.write_bytes(bytes(512))
    with Sandbox(tmp_path / "site") as site:
        name = register_image(site.dir, image, "raw", title="Zeros", compression="")
        (verdict,) = verdicts(site, identifier=name)
        assert verdict.entry
        assert verdict.entry.locations == (f"{site.url}/images/{name}.raw",)
        assert signers(site) == {key(site).certificate.fingerprint}
        end = write_entry(replace(verdict.entry, deprecated="too many zeros"))
        later = datetime.now(timezone.utc) + timedelta(minutes=1)
        email = verdict.entry.endorser
        signed = sign(end, key(site), digest="sha256", email=email, when=later)
        kind = {"Content-Type": "application/xml"}
        answer = requests.post(f"{site.url}/metadata", signed, headers=kind, timeout=30)
        assert answer.status_code == 201, answer.text
    with Sandbox(tmp_path / "site") as site:
        assert documents(site, identifier=name) == []
        (verdict,) = verdicts(site, identifier=name, status="deprecated")
        assert verdict.valid
