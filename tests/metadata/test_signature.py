"""Signatures of entries: what verifies, and what does not."""

import os
import re
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from endorsers import ENTRY, ada, certified, forged, mallory, names
from hypothesis import given, settings
from hypothesis import strategies as st

from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.metadata.rdf import cut_entries, read_entries, write_entry
from stratuslab_libcloud.metadata.signature import Verdict, sign, verify

SAMPLES = Path(__file__).parents[1] / "samples"
# Signed by the tool of 2014; genuine entries of the time besides, for who has some.
FOLDERS = [SAMPLES, *map(Path, filter(None, [os.environ.get("STRATUSLAB_GENUINE_ENTRIES")]))]
SIGNED = [path for folder in FOLDERS for path in sorted(folder.glob("*.xml"))]
PLAIN = (SAMPLES / "made-plain.xml").read_bytes()
WHEN = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
signed = pytest.mark.parametrize("path", SIGNED, ids=lambda path: path.stem)


# What verifies


@signed
def test_what_the_tool_of_2014_signed_verifies(path: Path) -> None:
    document = path.read_bytes()
    verdict = verify(document)
    assert (verdict.reason, verdict.refusal, verdict.valid) == ("", "", True)
    (entry,) = read_entries(document)
    assert verdict.entry == entry
    assert verdict.endorser is not None
    assert verdict.endorser.email == entry.endorser
    assert verdict.endorser.method == "rsa-sha1"
    assert verdict.endorser.in_force


def test_who_endorsed_it_is_reported() -> None:
    endorser = verify(PLAIN).endorser
    assert endorser is not None
    certificate = endorser.certificate
    assert endorser.email == certificate.email == "ada@example.org"
    assert certificate.subject == certificate.issuer == "CN=Ada Example,O=Example Lab,C=FR"
    assert len(bytes.fromhex(certificate.fingerprint)) == 32
    assert certificate.not_before <= datetime(2026, 11, 26, 22, tzinfo=timezone.utc)
    assert endorser.in_force


def test_each_verifies_when_it_was_cut_out_of_a_listing_of_thousands() -> None:
    documents = [path.read_bytes() for path in SIGNED]
    # Old registries leave the declarations in, others take them out.
    documents += [document.partition(b"?>")[2] for document in documents]
    times = 2000 // len(documents)
    listing = b"<metadata>" + b"\n".join(documents * times) + b"\n</metadata>"
    found = cut_entries(listing)
    assert len(found) == len(documents) * times > 1900
    for position in range(len(documents)):
        assert verify(found[-1 - position]) == verify(documents[-1 - position])
        assert verify(found[position]).valid


def test_a_single_entry_is_cut_out_of_itself() -> None:
    assert [verify(document) for document in cut_entries(PLAIN)] == [verify(PLAIN)]


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384", "P-521"])
def test_every_algorithm_verifies(kind: str, digest: str) -> None:
    verdict = verify(forged(endorsed_by(certified(kind)), certified(kind), digest))
    assert verdict.reason == ""
    assert verdict.endorser is not None
    assert verdict.endorser.method == f"{'rsa' if kind == 'RSA' else 'ecdsa'}-{digest}"


def test_comments_do_not_count_and_what_is_read_is_what_was_signed() -> None:
    changed = PLAIN.replace(b"<dcterms:title>tty", b"<dcterms:title><!-- a -->t<!-- b -->ty")
    changed = b"<!-- c -->" + changed.partition(b"?>")[2] + b"<!-- d -->"
    assert verify(changed) == verify(PLAIN)
    (entry,) = read_entries(changed)
    assert entry == verify(PLAIN).entry


def test_other_spellings_of_the_same_document_verify() -> None:
    changed = PLAIN.replace(
        b"<dcterms:alternative/>", b"<dcterms:alternative ></dcterms:alternative>"
    )
    changed = changed.replace(b"ttylinux (made)", b"<![CDATA[tty]]>&#108;inux (made)")
    changed = changed.replace(b'parseType="Resource"', b"parseType = 'Resource'")
    assert changed != PLAIN
    assert verify(changed) == verify(PLAIN)


# What does not


def values(document: bytes) -> list[int]:
    """Where the bytes of the description's values are."""
    end = document.index(b"</rdf:Description>")
    found = re.finditer(rb">([^<>]*[^<>\s][^<>]*)</|rdf:about=\"([^\"]+)\"", document[:end])
    return [position for one in found for group in (1, 2) for position in range(*one.span(group))]


@signed
def test_no_byte_of_a_value_can_be_changed(path: Path) -> None:
    document = path.read_bytes()
    positions = values(document)
    assert len(positions) > 500
    for position in positions:
        changed = bytearray(document)
        changed[position] ^= 1
        assert not verify(bytes(changed)).valid, changed[position - 20 : position + 20]


def between(document: bytes, start: bytes, end: bytes) -> bytes:
    begin = document.index(start)
    return document[begin : document.index(end, begin) + len(end)]


TITLE = between(PLAIN, b"<dcterms:title>", b"</dcterms:title>")
LOCATION = between(PLAIN, b"<slterms:location>", b"</slterms:location>")
DESCRIPTION = between(PLAIN, b"<rdf:Description", b"</rdf:Description>")
SIGNATURE = between(PLAIN, b"<Signature", b"</Signature>")
CERTIFICATE = between(PLAIN, b"<X509Certificate>", b"</X509Certificate>")
DIGEST = between(PLAIN, b"<DigestValue>", b"</DigestValue>")
ROOT = between(PLAIN, b"<rdf:RDF", b">")
EVIL = DESCRIPTION.replace(b"images.example.org", b"evil.example.org")
WHOLE = b'Reference URI=""'
CHANGED = "it was changed after it had been signed"
UNKNOWN = "its signature is by an unknown algorithm, "

ATTACKS: dict[str, tuple[bytes, bytes, str]] = {
    "removed element": (TITLE, b"", CHANGED),
    "duplicated element": (TITLE, TITLE * 2, CHANGED),
    "moved element": (TITLE, b"", CHANGED),
    "another location": (LOCATION, LOCATION + LOCATION.replace(b"images", b"evil"), CHANGED),
    "processing instruction in a value": (b">ttylinux (", b">tty<?x?>linux (", CHANGED),
    "another base": (b'base="http://mp.stratuslab.eu/"', b'base="http://evil.eu/"', CHANGED),
    "another attribute": (b"<dcterms:title>", b'<dcterms:title rdf:x="y">', CHANGED),
    "another prefix": (b"xmlns:dcterms=", b"xmlns:x='urn:x' xmlns:dcterms=", CHANGED),
    "a blank between": (b"</slterms:os>", b"</slterms:os> ", CHANGED),
    "second description before": (DESCRIPTION, EVIL + DESCRIPTION, CHANGED),
    "second description after": (DESCRIPTION, DESCRIPTION + EVIL, CHANGED),
    "description in the description": (DESCRIPTION, EVIL[:-18] + DESCRIPTION + EVIL[-18:], CHANGED),
    "second endorsement": (b"<dcterms:type>", b"<slreq:endorsement/><dcterms:type>", CHANGED),
    "second signature": (SIGNATURE, SIGNATURE * 2, "it has 2 signatures"),
    "signature in the signature": (
        b"</KeyInfo>",
        b"</KeyInfo><Object>" + SIGNATURE + b"</Object>",
        "it has 2 signatures",
    ),
    "no signature": (SIGNATURE, b"", "it is not signed"),
    "empty signature": (
        SIGNATURE,
        b'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/>',
        "its signature has an unusual Signature",
    ),
    "signature before": (
        DESCRIPTION + b"\n" + SIGNATURE,
        SIGNATURE + DESCRIPTION + b"\n",
        "its signature is not the last element in it",
    ),
    "signature in the description": (
        b"</rdf:Description>\n" + SIGNATURE,
        SIGNATURE + b"</rdf:Description>\n",
        "its signature is not the last element in it",
    ),
    "signature of a part": (
        WHOLE,
        b'Reference URI="#x"',
        "the signature is not one of the whole entry",
    ),
    "reference without a URI": (WHOLE, b"Reference", "the signature is not one of the whole entry"),
    "signature of something inside it": (
        b"</KeyInfo>",
        b'</KeyInfo><Object Id="x">' + ROOT + DESCRIPTION + b"</rdf:RDF></Object>",
        "its signature has an unusual Signature",
    ),
    "two references": (
        between(PLAIN, b"<Reference", b"</Reference>"),
        between(PLAIN, b"<Reference", b"</Reference>") * 2,
        "its signature has an unusual SignedInfo",
    ),
    "no transforms": (
        between(PLAIN, b"<Transforms>", b"</Transforms>"),
        b"",
        "its signature has an unusual Reference",
    ),
    "no enveloped transform": (
        b"xmldsig#enveloped-signature",
        b"xmldsig#base64",
        "the signature is not one of the entry that it stands in",
    ),
    "XPath transform": (
        b"</Transforms>",
        b'<Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"/></Transforms>',
        f"{UNKNOWN}http://www.w3.org/TR/1999/REC-xpath-19991116",
    ),
    "three transforms": (
        b"</Transforms>",
        b'<Transform Algorithm="x"/>' * 2 + b"</Transforms>",
        "its signature has an unusual Transforms",
    ),
    "HMAC by its own certificate": (
        b"xmldsig#rsa-sha1",
        b"xmldsig#hmac-sha1",
        f"{UNKNOWN}http://www.w3.org/2000/09/xmldsig#hmac-sha1",
    ),
    "MD5": (
        b"2000/09/xmldsig#sha1",
        b"2001/04/xmldsig-more#md5",
        f"{UNKNOWN}http://www.w3.org/2001/04/xmldsig-more#md5",
    ),
    "another method": (
        b"2000/09/xmldsig#rsa-sha1",
        b"2001/04/xmldsig-more#ecdsa-sha256",
        "the certificate's key is not one for ecdsa-sha256",
    ),
    "another digest": (
        DIGEST,
        b"<DigestValue>AAAAAAAAAAAAAAAAAAAAAAAAAAA=</DigestValue>",
        CHANGED,
    ),
    "comment in the digest": (
        DIGEST,
        DIGEST.replace(b"=", b"=<!-- x -->"),
        "its signature has an unusual DigestValue",
    ),
    "comment beside the digest": (
        DIGEST,
        DIGEST + b"<!-- x -->",
        "its signature has an unusual Reference",
    ),
    "value not in base 64": (
        b"<SignatureValue>",
        b"<SignatureValue>!",
        "its signature is not in base 64",
    ),
    "no certificate": (CERTIFICATE, b"", "its signature has no certificates"),
    "two certificates": (CERTIFICATE, CERTIFICATE * 2, "its signature has 2 certificates"),
    "certificate beside its place": (
        between(PLAIN, b"<X509Data>", b"</X509Data>"),
        CERTIFICATE,
        "its signature has an unusual KeyInfo",
    ),
    "no good certificate": (
        CERTIFICATE,
        b"<X509Certificate>AAAA</X509Certificate>",
        "the certificate cannot be read",
    ),
    "signed entry within another": (
        ROOT,
        ROOT + EVIL + ROOT,
        "",
    ),
}


def attacked(name: str) -> tuple[bytes, str]:
    old, new, reason = ATTACKS[name]
    changed = PLAIN.replace(old, new)
    if name == "moved element":
        changed = changed.replace(LOCATION, LOCATION + TITLE)
    if name == "signed entry within another":
        changed += b"</rdf:RDF>"
        reason = "its signature is not the last element in it"
    assert changed != PLAIN
    return changed, reason


@pytest.mark.parametrize("name", ATTACKS)
def test_what_was_tampered_with_does_not_verify(name: str) -> None:
    document, reason = attacked(name)
    assert verify(document).reason == reason
    in_a_listing = cut_entries(b"<metadata>" + document + b"</metadata>")
    assert [verify(one).valid for one in in_a_listing] == [False]


def test_an_instruction_beside_an_entry_counts_when_it_stands_alone() -> None:
    document = PLAIN.replace(b"<rdf:RDF", b"<?x?><rdf:RDF")
    assert verify(document).reason == CHANGED
    (cut,) = cut_entries(b"<metadata>" + document + b"</metadata>")
    assert verify(cut) == verify(PLAIN)  # it is none of the entry's there


@pytest.mark.parametrize("around", [b"<metadata>%s</metadata>", b"<x>%s</x>"])
def test_a_listing_itself_does_not_verify(around: bytes) -> None:
    document = around % PLAIN.partition(b"?>")[2]
    assert verify(document).reason == "not a Marketplace entry: its root is not rdf:RDF"


def test_a_deeper_entry_is_not_cut_out_of_a_listing() -> None:
    inner = PLAIN.partition(b"?>")[2]
    assert cut_entries(b"<metadata><x>" + inner + b"</x></metadata>") == []


def test_a_swapped_key_does_not_verify() -> None:
    by_ada = sign(write_entry(ENTRY), ada(), when=WHEN)
    by_mallory = sign(write_entry(ENTRY), mallory(), when=WHEN)
    start, end = b"<X509Certificate>", b"</X509Certificate>"
    swapped = by_ada.replace(between(by_ada, start, end), between(by_mallory, start, end))
    assert verify(swapped) == Verdict(
        "its signature was not made by the key of its certificate",
        refusal="signature validation: falsecontent (ref='') validity: true",
    )
    whole = between(by_mallory, b"<Signature", b"</Signature>")
    resigned = by_ada.replace(between(by_ada, b"<Signature", b"</Signature>"), whole)
    assert verify(resigned).valid  # the same words by another key: whom to trust is not asked here
    endorser = verify(resigned).endorser
    assert endorser is not None
    assert endorser.certificate.fingerprint == mallory().certificate.fingerprint


def test_a_short_ecdsa_signature_does_not_verify() -> None:
    document = forged(endorsed_by(certified("P-256")), certified("P-256"), "sha256")
    value = between(document, b"<SignatureValue>", b"</SignatureValue>")
    changed = document.replace(value, b"<SignatureValue>AAAA</SignatureValue>")
    assert verify(changed).reason == "its signature was not made by the key of its certificate"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(PLAIN)),
            st.integers(0, 40),
            st.sampled_from([b"<!--", b"-->", b"<?x", b"?>", b"&#13;", b"<x/>", SIGNATURE, TITLE])
            | st.binary(max_size=3),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_nothing_but_what_was_signed_is_ever_believed(
    edits: list[tuple[int, int, bytes]],
) -> None:
    changed = PLAIN
    for position, length, put in edits:
        changed = changed[:position] + put + changed[position + length :]
    verdict = verify(changed)
    assert verdict.entry in (None, verify(PLAIN).entry)
    assert verdict.valid == (verdict.reason == "")
    assert len(verdict.reason.splitlines()) <= 1


@pytest.mark.timeout(30)  # it takes a fifth of a second; with ten times as many it takes minutes
def test_as_many_namespaces_as_are_taken_do_not_take_long() -> None:
    declared = b" ".join(b"xmlns:a%d='a:%d'" % (number, number) for number in range(90))
    document = PLAIN.replace(b"<rdf:RDF", b"<rdf:RDF " + declared, 1)
    assert verify(document.replace(SIGNATURE, b"<x/>" * 4900 + SIGNATURE)).reason == CHANGED


MANY_NAMESPACES = b" ".join(b"xmlns:a%d='a:'" % number for number in range(50_000))


@pytest.mark.timeout(60)  # it takes a second at most
@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not well-formed XML (no element found: line 1, column 0)"),
        (
            b"<!DOCTYPE r [<!ENTITY e 'x'>]>" + ROOT + b"&e;</rdf:RDF>",
            "XML with a DOCTYPE is refused",
        ),
        (PLAIN[:-12], "not well-formed XML (unclosed token: line 75, column 79)"),
        (ROOT + b" " * 50_000_000 + b"</rdf:RDF>", "it has more than 1 MiB"),
        (
            ROOT + b"<x " + b" ".join(b"a%d=''" % n for n in range(90_000)) + b"/></rdf:RDF>",
            "it has more than 2,000 attributes",
        ),
        (
            ROOT
            + b"<x "
            + b" ".join(b"xmlns:a%d='a:'" % n for n in range(50_000))
            + b"/></rdf:RDF>",
            "it has more than 100 namespaces",
        ),
        (
            ROOT + b"<x/>" * 20_000 + b"</rdf:RDF>",
            "it has more than 5,000 elements",
        ),
        (PLAIN.decode().encode("utf-16"), "not well-formed XML"),
    ],
    ids=["empty", "DOCTYPE", "cut off", "50 MB", "attributes", "namespaces", "elements", "UTF-16"],
)
def test_what_is_no_harmless_document_is_refused(document: bytes, reason: str) -> None:
    verdict = verify(document)
    assert not verdict.valid
    assert verdict.reason.startswith(reason)
    assert verdict.refusal == verdict.reason


def test_nesting_without_bounds_is_refused() -> None:
    verdict = verify(ROOT + b"<x>" * 2000 + b"</x>" * 2000 + b"</rdf:RDF>")
    assert not verdict.valid
    assert verdict.reason.startswith("not well-formed XML")


# Who signed it


def endorsed_by(key: SigningKey, **changes: str | None) -> bytes:
    """The entry as the signing tool fills it in, but for these changes."""
    words: dict[str, str | None] = {
        "endorsed": "2025-03-01T10:00:00Z",
        "endorser": key.certificate.email,
        "subject": key.certificate.subject,
        "issuer": key.certificate.issuer,
    }
    return write_entry(replace(ENTRY, **{**words, **changes}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason", "refusal"),
    [
        (
            {"endorser": "eve@example.org"},
            "it names another email than its certificate: eve@example.org, not ada@example.org",
            "endorser inconsistency (email): ada@example.org != eve@example.org",
        ),
        (
            {"subject": "CN=Eve"},
            "it names another subject than its certificate: "
            "CN=Eve, not CN=Ada Builder,O=Example Org,C=EU",
            "endorser inconsistency (subject): CN=Ada Builder,O=Example Org,C=EU != CN=Eve",
        ),
        (
            {"issuer": None},
            "it names no issuer of its endorser",
            "endorser inconsistency (issuer): CN=Ada Builder,O=Example Org,C=EU != null",
        ),
    ],
    ids=["email", "subject", "issuer"],
)
def test_the_endorser_named_is_the_certificates(
    changes: dict[str, str | None], reason: str, refusal: str
) -> None:
    verdict = verify(forged(endorsed_by(ada(), **changes), ada()))
    assert verdict == Verdict(reason, refusal=refusal)


def test_a_certificate_without_an_address_vouches_for_none() -> None:
    key = certified(email=None)
    verdict = verify(sign(write_entry(ENTRY), key, email="bob@example.org"))
    assert verdict.valid
    assert verdict.endorser is not None
    assert (verdict.endorser.email, verdict.endorser.certified) == ("bob@example.org", False)
    assert not verify(forged(endorsed_by(key), key)).valid


@pytest.mark.parametrize(
    ("begins", "ends", "expected"), [(2020, 2030, True), (2010, 2025, False), (2026, 2030, False)]
)
def test_whether_the_certificate_was_in_force_is_by_the_endorsement_date(
    begins: int, ends: int, expected: bool
) -> None:
    verdict = verify(sign(write_entry(ENTRY), certified(begins=begins, ends=ends), when=WHEN))
    assert verdict.valid
    assert verdict.endorser is not None
    assert verdict.endorser.in_force is expected


def test_without_an_endorsement_date_no_certificate_was_in_force() -> None:
    verdict = verify(forged(endorsed_by(ada(), endorsed="yesterday"), ada()))
    assert verdict.endorser is not None
    assert not verdict.endorser.in_force


def test_names_may_be_escaped_more_or_less() -> None:
    key = certified(subject=names(o="a=b, c", cn="#1"))
    assert key.certificate.subject == r"CN=\#1,O=a\=b\, c"
    assert verify(forged(endorsed_by(key, subject=r"CN=\#1,O=a=b\, c"), key)).valid
    assert not verify(forged(endorsed_by(key, subject=r"CN=\#1,O=a=b, c"), key)).valid


@pytest.mark.parametrize("more", ["description", "endorsement"])
def test_what_was_signed_twice_over_is_nobodys(more: str) -> None:
    document = endorsed_by(ada())
    if more == "description":
        part = between(document, b"<rdf:Description", b"</rdf:Description>")
    else:
        part = between(document, b"<slreq:endorsement", b"</slreq:endorsement>")
    verdict = verify(forged(document.replace(part, part * 2), ada()))
    assert verdict.reason == f"it has 2 {more}s"


# As the original registry puts it


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no signature", "no signature"),
        ("empty signature", "Missing SignedInfo element"),
        ("two references", "invalid signature element"),
        ("another method", "cannot find validation key"),
        ("no certificate", "cannot find validation key"),
        ("removed element", "signature validation: truecontent (ref='') validity: false"),
        ("another digest", "signature validation: falsecontent (ref='') validity: false"),
    ],
)
def test_the_registrys_words(name: str, expected: str) -> None:
    document, _ = attacked(name)
    assert verify(document).refusal == expected
