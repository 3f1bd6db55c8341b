"""Uploads to the sandbox's Marketplace, over HTTP: what is taken, and the words of each refusal."""

import hashlib
import http.client
import io
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests
from endorsers import ENTRY, certified, forged, names

from stratuslab_libcloud.metadata.entry import Entry, identifier
from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.sandbox.site import Sandbox

SAMPLES = sorted((Path(__file__).parents[2] / "samples").iterdir())
WHEN = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
XML = "application/xml"
ADA = certified("P-256")
BOB = certified("P-256", 1, subject=names(cn="Bob"), email="bob@example.org")
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    """One for all: each test has images of its own."""
    with Sandbox() as site:
        yield site


def entry(**fields: object) -> Entry:
    """What is said of an image that nobody else has."""
    sha1 = hashlib.sha1(b"%d" % next(NUMBERS)).hexdigest()
    made = replace(ENTRY, identifier=identifier(sha1), checksums={"SHA-1": sha1})
    return replace(made, **fields)  # type: ignore[arg-type]


def signed(entry: Entry, key: SigningKey = ADA, days: int = 0) -> bytes:
    """An entry as its endorser uploads it."""
    digest = "sha1" if key.kind == "rsa" else "sha256"
    return sign(write_entry(entry), key, digest=digest, when=WHEN + timedelta(days))


def post(
    site: Sandbox, body: bytes, kind: str | None = XML, path: str = "/metadata", **headers: str
) -> requests.Response:
    headers = {"Accept": XML, **({"Content-Type": kind} if kind else {}), **headers}
    return requests.post(site.url + path, data=body, headers=headers, timeout=30)


def listed(site: Sandbox, image: str, status: str = "valid") -> list[tuple[str | None, ...]]:
    """Endorsers and dates of an image's entries."""
    url = f"{site.url}/metadata/{image}"
    answer = requests.get(url, {"status": status}, headers={"Accept": XML}, timeout=30)
    if answer.status_code == 404:
        return []
    ns = {"q": "http://mp.stratuslab.eu/slreq#", "t": "http://purl.org/dc/terms/"}
    found = ET.fromstring(answer.content).iterfind(".//q:endorsement", ns)
    return [
        (one.findtext(".//q:email", None, ns), one.findtext("t:created", None, ns)) for one in found
    ]


def everything(site: Sandbox) -> list[list[str]]:
    """What all listings show, of any status."""
    accept = {"Accept": "application/json"}
    answer = requests.get(f"{site.url}/metadata", {"status": "all"}, headers=accept, timeout=30)
    rows: list[list[str]] = answer.json()["aaData"]
    return rows


def refusal(answer: requests.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == f"{XML}; charset=UTF-8"
    root = ET.fromstring(answer.content)
    assert root.tag == "error"
    return root.text or ""


# -- what is taken


@pytest.mark.parametrize("prefix", ["", "/marketplace"])
@pytest.mark.parametrize("kind", [XML, "application/rdf+xml; charset=utf-8"])
def test_an_entry_is_taken_and_visible_at_once(site: Sandbox, prefix: str, kind: str) -> None:
    made = entry()
    document = signed(made)
    answer = post(site, document, kind, f"{prefix}/metadata")
    assert (answer.status_code, answer.text) == (201, "metadata entry created")
    assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
    path = f"{prefix}/metadata/{made.identifier}/ada@example.org/2025-03-01T10:00:00Z"
    assert answer.headers["Content-Location"] == answer.headers["Location"] == site.url + path
    assert requests.get(site.url + path, timeout=30).content == document
    assert listed(site, made.identifier) == [("ada@example.org", "2025-03-01T10:00:00Z")]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_what_the_tools_of_2014_signed_is_taken(site: Sandbox, path: Path) -> None:
    answer = post(site, path.read_bytes())
    assert answer.status_code == 201, answer.text
    served = requests.get(answer.headers["Location"], timeout=30)
    assert served.content.split() == path.read_bytes().split()


def test_an_rsa_key_with_sha1_is_what_original_clients_have(site: Sandbox) -> None:
    assert post(site, signed(entry(), certified())).status_code == 201


def test_the_url_is_that_of_the_proxy_in_front(site: Sandbox) -> None:
    answer = post(site, signed(entry()), Host="localhost", **{"X-Forwarded-Proto": "https"})
    assert answer.headers["Location"].startswith("https://localhost/metadata/")


def test_a_browser_gets_a_page(site: Sandbox) -> None:
    made = entry()
    upload = {"metadata": ("entry.xml", io.BytesIO(signed(made)), "text/xml")}
    headers = {"Accept": "text/html, */*;q=0.1"}
    answer = requests.post(
        f"{site.url}/metadata", {"x": "y"}, files=upload, headers=headers, timeout=30
    )
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert "metadata entry created" in answer.text
    assert listed(site, made.identifier)


def test_a_declaration_counts_for_nothing(site: Sandbox) -> None:
    document = signed(entry(title="Été"))
    body = re.sub(
        rb"^<\?xml.*?\?>", b'\xef\xbb\xbf<?xml version="1.0" encoding="latin1"?>', document
    )
    answer = post(site, body)
    assert answer.status_code == 201, answer.text
    assert requests.get(answer.headers["Location"], timeout=30).content == document


def test_the_query_of_a_web_pages_table_is_no_upload(site: Sandbox) -> None:
    made = entry()
    post(site, signed(made))
    kind = "application/x-www-form-urlencoded"
    answer = post(site, f"identifier={made.identifier}&sEcho=3".encode(), kind)
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.json()["sEcho"] == 3
    assert [row[7] for row in answer.json()["aaData"]] == [made.identifier]


# -- several endorsers, dates, deprecation


def test_each_endorser_has_a_latest_entry_and_all_dates_can_be_read(site: Sandbox) -> None:
    made = entry()
    documents = [signed(made), signed(made, days=1), signed(made, BOB)]
    urls = [post(site, document).headers["Location"] for document in documents]
    assert listed(site, made.identifier) == [
        ("ada@example.org", "2025-03-02T10:00:00Z"),
        ("bob@example.org", "2025-03-01T10:00:00Z"),
    ]
    assert [requests.get(url, timeout=30).content for url in urls] == documents


def test_an_older_entry_is_refused_one_of_the_same_date_takes_its_place(site: Sandbox) -> None:
    made = entry()
    assert post(site, signed(made, days=1)).status_code == 201
    assert refusal(post(site, signed(made))) == "invalid metadata: older than latest entry"
    same = post(site, signed(replace(made, title="again"), days=1))
    assert same.status_code == 201
    assert b"again" in requests.get(same.headers["Location"], timeout=30).content
    assert listed(site, made.identifier, "all") == [("ada@example.org", "2025-03-02T10:00:00Z")]


def test_a_deprecated_image_leaves_the_listing_and_stays_where_it_was(site: Sandbox) -> None:
    made = entry()
    before = post(site, signed(made))
    by_bob = post(site, signed(made, BOB))
    end = post(site, signed(replace(made, deprecated="too old"), days=1))
    assert listed(site, made.identifier) == [("bob@example.org", "2025-03-01T10:00:00Z")]
    assert listed(site, made.identifier, "deprecated") == [
        ("ada@example.org", "2025-03-02T10:00:00Z")
    ]
    for answer in (before, by_bob, end):
        assert requests.get(answer.headers["Location"], timeout=30).status_code == 200
    assert refusal(post(site, signed(made))) == "invalid metadata: older than latest entry"
    assert post(site, signed(made, days=2)).status_code == 201  # the only way back
    assert len(listed(site, made.identifier)) == 2


def test_what_was_taken_is_there_after_a_restart(tmp_path: Path) -> None:
    made = entry()
    with Sandbox(tmp_path) as site:
        post(site, signed(made))
        post(site, signed(replace(made, deprecated=""), BOB))
    with Sandbox(tmp_path) as site:
        assert [email for email, _ in listed(site, made.identifier)] == ["ada@example.org"]
        assert [email for email, _ in listed(site, made.identifier, "deprecated")] == [
            "bob@example.org"
        ]


# -- what is refused, in the words of marketplace-rest 2.6 and 4.5

SAMPLE = entry()
GOOD = signed(SAMPLE).decode()
SHA1 = SAMPLE.checksums["SHA-1"]
OTHER = entry()
TYPE, VALID = b"<dcterms:type>base</dcterms:type>", b"2035-01-01T00:00:00Z"
CHECKSUM = re.search(rb"(?s)<slreq:checksum.*</slreq:checksum>", write_entry(SAMPLE))
assert CHECKSUM


def changed(old: bytes, new: bytes) -> bytes:
    """An entry whose endorser signed it so, which our signing tool would not make."""
    document = write_entry(
        replace(
            SAMPLE,
            endorser="ada@example.org",
            endorsed="2025-03-01T10:00:00Z",
            subject=ADA.certificate.subject,
            issuer=ADA.certificate.issuer,
        )
    )
    assert old in document
    return forged(document.replace(old, new), ADA, "sha256")


def without(pattern: str, instead: str = "") -> bytes:
    """The good entry, changed after it was signed."""
    found = re.sub(pattern, instead, GOOD, count=1, flags=re.DOTALL)
    assert found != GOOD
    return found.encode()


REFUSED = {
    "nothing": (b"", "post with null entity"),
    "not well-formed": (GOOD.encode()[:-9], r"unable to parse metadata: not well-formed XML \(.*"),
    "not UTF-8": (
        signed(entry(title="é")).replace("é".encode(), b"\xe9"),
        "unable to parse metadata: .*UTF-8",
    ),
    "DOCTYPE": (
        without(r"\?>", '?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'),
        "unable to parse metadata: XML with a DOCTYPE is refused",
    ),
    "two MiB": (
        GOOD.replace("Last", "Last" * 2**19).replace("last", "last" * 2**19).encode(),
        "unable to parse metadata: it has more than 1 MiB",
    ),
    "another root": (b"<metadata/>", "invalid metadata: no signature"),
    "a listing": (
        b"<metadata>" + GOOD.encode().partition(b"?>")[2] + b"</metadata>",
        "invalid metadata: invalid signature element",
    ),
    "no signature": (without("<Signature.*</Signature>"), "invalid metadata: no signature"),
    "no SignedInfo": (
        without("<SignedInfo>.*</SignedInfo>"),
        "invalid metadata: Missing SignedInfo element",
    ),
    "two signatures": (
        without("(<Signature.*</Signature>)", r"\1\1"),
        "invalid metadata: invalid signature element",
    ),
    "a method without its key": (
        without("2001/04/xmldsig-more#ecdsa-sha256", "2000/09/xmldsig#rsa-sha1"),
        "invalid metadata: cannot find validation key",
    ),
    "another value": (
        without("virtio", "ide"),
        r"invalid metadata: signature validation: truecontent \(ref=''\) validity: false",
    ),
    "another signature value": (
        without("(?<=<SignatureValue>)....", "AAAA"),
        r"invalid metadata: signature validation: falsecontent \(ref=''\) validity: true",
    ),
    "another's address": (
        changed(b"ada@example.org", b"eve@example.org"),
        r"invalid metadata: endorser inconsistency \(email\): ada@example.org != eve@example.org",
    ),
    "another's name": (
        changed(b"CN=Ada Builder,O=Example Org,C=EU</subject>", b"CN=Eve</subject>"),
        r"invalid metadata: endorser inconsistency \(subject\): "
        "CN=Ada Builder,O=Example Org,C=EU != CN=Eve",
    ),
    "no issuer": (
        changed(b"<issuer>CN=Ada Builder,O=Example Org,C=EU</issuer>", b""),
        r"invalid metadata: endorser inconsistency \(issuer\): "
        "CN=Ada Builder,O=Example Org,C=EU != null",
    ),
    "no base": (
        changed(b' xml:base="http://mp.stratuslab.eu/"', b""),
        "invalid metadata: root element must have xml:base attribute with value "
        "http://mp.stratuslab.eu/",
    ),
    "two types": (
        changed(TYPE, TYPE * 2),
        "invalid metadata: description must have exactly 1 dcterms:type element",
    ),
    "a type with children": (
        changed(TYPE, TYPE.replace(b"base", b"<b/>")),
        "invalid metadata: dcterms:type cannot have child elements",
    ),
    "no checksum": (
        changed(CHECKSUM[0], b""),
        "invalid metadata: description must have exactly 1 slterms:checksum element using SHA-1 "
        "algorithm",
    ),
    "two systems": (
        changed(b"<slterms:os/>", b"<slterms:os/><slterms:os/>"),
        "invalid metadata: description must have at most 1 slterms:os element",
    ),
    "about another image": (
        changed(b'rdf:about="#', b'rdf:about="#' + OTHER.identifier.encode()),
        r"invalid metadata: rdf:about attribute \(.*\) and dcterms:identifier \(.*\) are not "
        "consistent",
    ),
    "a checksum that is none": (
        changed(SHA1.encode(), b"x"),
        "invalid metadata: x is not a valid SHA-1 checksum",
    ),
    "another image's checksum": (
        changed(SHA1.encode(), OTHER.checksums["SHA-1"].encode()),
        rf"invalid metadata: checksum from identifier \({int(SHA1, 16)}\) and SHA-1 checksum "
        rf"\({int(OTHER.checksums['SHA-1'], 16)}\) are not consistent",
    ),
    "no end of validity": (
        changed(VALID, b"soon"),
        r"invalid metadata: dcterms:valid value \(soon\) is not a valid date",
    ),
    "no endorsement date": (
        changed(b"2025-03-01T10:00:00Z", b"2025-03-01"),
        r"invalid metadata: dcterms:created value \(2025-03-01\) is not a valid date",
    ),
    "no day of the calendar": (
        changed(VALID, b"2035-02-30T00:00:00Z"),
        'invalid metadata: Unparseable date: "2035-02-30T00:00:00Z"',
    ),
    "a location that is none": (
        changed(b"pdisk:pdisk.example.org:8445:0f6c", b"the second drawer"),
        r"invalid metadata: slterms:location value \(the second drawer\) is not a URI",
    ),
    "not RDF": (
        changed(b"<dcterms:creator/>", b'<dcterms:creator rdf:bagID="x" rdf:aboutEach="y"/>'),
        r"invalid metadata: not RDF/XML \(.*\)",
    ),
    "expired": (
        signed(SAMPLE, certified("P-256", begins=2020, ends=2024)),
        "invalid metadata: the endorser's certificate is valid from 2020-01-01T00:00:00Z to "
        "2024-01-01T00:00:00Z, and was not at the endorsement date, 2025-03-01T10:00:00Z",
    ),
}


@pytest.mark.parametrize(("body", "text"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_with_its_reason_and_not_stored(
    site: Sandbox, body: bytes, text: str
) -> None:
    before = everything(site)
    assert re.fullmatch(text, refusal(post(site, body)))
    assert everything(site) == before


def test_an_upload_of_another_type_is_refused(site: Sandbox) -> None:
    for kind in ("text/xml", None):
        text = refusal(post(site, signed(entry()), kind), 415)
        assert text.startswith("The server is refusing to service the request because the entity")


def test_a_form_without_a_file_is_refused(site: Sandbox) -> None:
    form = {"metadata": (None, signed(entry()))}
    answer = requests.post(f"{site.url}/metadata", files=form, headers={"Accept": XML}, timeout=30)
    assert refusal(answer) == "no valid file uploaded"


def test_fifty_megabytes_are_refused_before_they_are_read(site: Sandbox) -> None:
    before = everything(site)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.putrequest("POST", "/metadata")
    connection.putheader("Content-Type", XML)
    connection.putheader("Content-Length", str(50_000_000))
    connection.endheaders()
    answer = connection.getresponse()
    text = b"The entity sent with the request exceeds the maximum allowed bytes."
    assert (answer.status, answer.read()) == (413, text)
    connection.close()
    assert everything(site) == before


def test_pages_of_other_sites_cannot_upload(site: Sandbox) -> None:
    answer = post(site, signed(entry()), Origin="http://evil.example")
    assert answer.status_code == 403
