"""Uploads that their endorsers confirm (marketplace-rest 2.8)."""

import email.policy
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import requests
from endorsers import ENTRY, certified

from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.sandbox.site import Sandbox

XML = {"Accept": "application/xml"}
DOCUMENT = sign(write_entry(ENTRY), certified("P-256"), digest="sha256")
UUID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def site() -> Iterator[Sandbox]:
    with Sandbox(confirm_uploads=True) as site:
        yield site


def upload(site: Sandbox, document: bytes = DOCUMENT) -> requests.Response:
    headers = {**XML, "Content-Type": "application/xml"}
    url = f"{site.url}/marketplace/metadata"
    return requests.post(url, document, headers=headers, timeout=30)


def mails(site: Sandbox) -> list[Path]:
    return sorted((site.dir / "mail").iterdir())


def read(path: Path) -> EmailMessage:
    return email.message_from_bytes(path.read_bytes(), policy=email.policy.default)


def link(site: Sandbox, command: str) -> str:
    """The address in the only e-mail."""
    (path,) = mails(site)
    (found,) = re.findall(rf"\S+/{command}/", read(path).get_content())
    return str(found)


def get(url: str) -> tuple[int, str]:
    answer = requests.get(url, headers=XML, timeout=30)
    if answer.headers.get("Content-Type", "").startswith("application/xml"):
        return answer.status_code, ET.fromstring(answer.content).text or ""
    return answer.status_code, answer.text


def is_listed(site: Sandbox) -> bool:
    return get(f"{site.url}/metadata/{ENTRY.identifier}")[0] == 200


def test_an_upload_is_published_when_its_endorser_confirms_it(site: Sandbox) -> None:
    answer = upload(site)
    assert answer.status_code == 202
    assert answer.text == "confirmation email sent for new metadata entry\n"
    assert not is_listed(site)
    (path,) = mails(site)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read(path)["To"] == "ada@example.org"
    address = link(site, "confirm")
    assert address.startswith(f"{site.url}/marketplace/action/")
    confirmed = requests.get(address, headers=XML, timeout=30)
    assert (confirmed.status_code, confirmed.text) == (201, "metadata entry created\n")
    assert is_listed(site)
    served = requests.get(confirmed.headers["Content-Location"], timeout=30)
    assert served.content == DOCUMENT
    assert get(address)[0] == 404


def test_it_waits_through_a_restart(tmp_path: Path) -> None:
    with Sandbox(tmp_path, confirm_uploads=True) as site:
        upload(site)
    with Sandbox(tmp_path, confirm_uploads=True, port=site.port) as site:
        assert not is_listed(site)
        assert get(link(site, "confirm").rstrip("/"))[0] == 201
        assert is_listed(site)


def test_an_upload_that_is_discarded_is_gone(site: Sandbox) -> None:
    upload(site)
    name = mails(site)[0].stem
    expected = (200, f"aborted addition of metadata entry {name}\n")
    assert get(link(site, "abort")) == expected
    assert get(link(site, "confirm"))[0] == 404
    assert not is_listed(site)


def test_an_abuse_is_reported_to_the_administrator(site: Sandbox) -> None:
    upload(site)
    status, text = get(link(site, "abuse"))
    assert status == 200
    assert text.startswith("administrators have been notified of the problem and may contact you")
    (report,) = [path for path in mails(site) if path.name.startswith("abuse-")]
    assert read(report)["To"] == "marketplace@localhost"
    assert ENTRY.identifier in read(report).get_content()
    assert not is_listed(site)


def test_other_actions_do_nothing(site: Sandbox) -> None:
    upload(site)
    assert get(link(site, "abort").replace("abort", "dance")) == (204, "")
    assert get(f"{site.url}/action/{UUID}/confirm")[0] == 404
    address = f"{site.url}/action/what/is/this"
    assert get(address) == (404, f"invalid action: {address}")
    assert get(link(site, "confirm"))[0] == 201


def test_what_is_refused_is_not_asked_about(site: Sandbox) -> None:
    answer = upload(site, DOCUMENT.replace(b"virtio", b"ide"))
    assert answer.status_code == 400
    assert mails(site) == []


def test_an_email_that_cannot_be_written_keeps_nothing(site: Sandbox) -> None:
    (site.dir / "mail").rmdir()
    answer = upload(site)
    assert answer.status_code == 500
    assert ET.fromstring(answer.content).text == "error sending confirmation email"
    assert not is_listed(site)


def test_without_it_nothing_waits() -> None:
    with Sandbox() as site:
        assert upload(site).status_code == 201
        assert not (site.dir / "mail").exists()
        assert get(f"{site.url}/action/{UUID}/confirm")[0] == 404
