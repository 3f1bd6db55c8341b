"""Signing entries: what the tool makes of them, and whether others' programs agree."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from endorsers import ENTRY, certified, names, needed, xmlsec1

from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.rules import violations
from stratuslab_libcloud.metadata.signature import sign, verify
from stratuslab_libcloud.untrusted.xml import UnsafeXMLError

SAMPLES = Path(__file__).parents[1] / "samples"
WHEN = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
UNSIGNED = write_entry(ENTRY)


def test_signing_says_who_and_when() -> None:
    document = sign(UNSIGNED, certified(), when=WHEN.astimezone(timezone(timedelta(hours=5))))
    name = "CN=Ada Builder,O=Example Org,C=EU"
    assert verify(document).entry == replace(
        ENTRY,
        endorser="ada@example.org",
        endorsed="2025-03-01T10:00:00Z",
        subject=name,
        issuer=name,
    )
    assert violations(document) == []


def test_it_is_of_now_unless_said_otherwise() -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    entry = verify(sign(UNSIGNED, certified())).entry
    assert entry is not None
    assert f"{before:%Y-%m-%dT%H:%M:%SZ}" <= (entry.endorsed or "")
    assert (entry.endorsed or "") <= f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def test_the_document_is_as_the_original_signer_writes_it() -> None:
    document = sign(UNSIGNED, certified(), when=WHEN).decode()
    assert document.startswith(
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?><rdf:RDF xmlns:dcterms='
    )
    # What the original server looks for, to the letter.
    assert f'<rdf:Description rdf:about="#{ENTRY.identifier}">' in document
    head = document.partition('<Signature xmlns="http://www.w3.org/2000/09/xmldsig#">')[2]
    assert head.startswith(
        "<SignedInfo><CanonicalizationMethod "
        'Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"/>'
        '<SignatureMethod Algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1"/>'
        '<Reference URI=""><Transforms>'
        '<Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'
        '</Transforms><DigestMethod Algorithm="http://www.w3.org/2000/09/xmldsig#sha1"/>'
        "<DigestValue>"
    )
    assert document.endswith("</X509Certificate></X509Data></KeyInfo></Signature></rdf:RDF>\n")
    assert max(map(len, head.partition("<SignatureValue>")[2].splitlines())) < 200


def test_signing_again_replaces_signature_and_endorsement() -> None:
    old = (SAMPLES / "made-deprecated.xml").read_bytes()
    key = certified()
    new = sign(old, key, when=WHEN)
    before, after = verify(old).entry, verify(new).entry
    assert before is not None
    assert after is not None
    changes = {name: getattr(after, name) for name in ("endorser", "endorsed", "subject", "issuer")}
    assert after == replace(before, **changes)
    assert after.endorser == "ada@example.org"
    assert new.count(b"<Signature ") == new.count(b"<slreq:endorsement ") == 1
    assert sign(new, key, when=WHEN) == new


def test_what_it_does_not_know_is_kept() -> None:
    foreign = b'<x:y xmlns:x="urn:x" rdf:parseType="Resource"><x:z>1<!-- c --></x:z></x:y>'
    document = UNSIGNED.replace(b"<dcterms:type>", foreign + b"<dcterms:type>")
    document = document.replace(b"<rdf:RDF ", b"<!-- before --><?before?><rdf:RDF ")
    signed = sign(document, certified())
    assert foreign in signed
    assert b"before" not in signed
    assert verify(signed).valid


def test_of_several_endorsements_the_last_is_filled_in() -> None:
    end = b"</rdf:Description>"
    empty = b'<slreq:endorsement parseType="Resource"/>'
    signed = sign(UNSIGNED.replace(end, empty + end), certified())
    assert signed.count(b"<slreq:endorsement") == 1
    assert b"</slreq:endorsement></rdf:Description>" in signed
    assert verify(signed).valid


def test_the_certificates_address_comes_before_the_given_one() -> None:
    entry = verify(sign(UNSIGNED, certified(), email="bob@example.org")).entry
    assert entry is not None
    assert entry.endorser == "ada@example.org"


@pytest.mark.parametrize(
    ("document", "options", "reason"),
    [
        (UNSIGNED, {"email": None}, "the certificate has no e-mail address, and none was given"),
        (UNSIGNED, {"email": "a@b@c"}, "'a@b@c' is not an e-mail address"),
        (
            UNSIGNED,
            {"digest": "md5"},
            "no such digest: md5; there are sha1, sha256, sha384, sha512",
        ),
        (b"<metadata/>", {}, "not a Marketplace entry: its root is not rdf:RDF"),
        (UNSIGNED.replace(b"slreq:endorsement", b"slreq:x"), {}, "it has no slreq:endorsement"),
    ],
    ids=["no address", "no good address", "digest", "listing", "no endorsement"],
)
def test_what_cannot_be_signed_is_refused(
    document: bytes, options: dict[str, str], reason: str
) -> None:
    options = {"email": "bob@example.org", **options}
    with pytest.raises(MetadataError) as caught:
        sign(document, certified(email=None), **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(reason)


def test_elliptic_keys_need_a_digest_that_is_not_the_original_registries() -> None:
    with pytest.raises(MetadataError, match="original registries take RSA keys only"):
        sign(UNSIGNED, certified("P-256"))
    assert verify(sign(UNSIGNED, certified("P-256"), digest="sha256")).valid


def test_a_document_with_a_doctype_is_not_signed() -> None:
    with pytest.raises(UnsafeXMLError, match="DOCTYPE"):
        sign(b"<!DOCTYPE x>" + UNSIGNED.partition(b"?>")[2], certified())


# Others' programs

KINDS = [("RSA", "sha1"), ("RSA", "sha256"), ("RSA", "sha512"), ("P-256", "sha256")]
ODD = certified(subject=names(c="EU", o='a=b, "c" #é', cn=" #1+2;<> ", email="x@example.org"))


@needed
@pytest.mark.parametrize(("kind", "digest"), KINDS)
def test_what_we_sign_verifies_with_xmlsec1(tmp_path: Path, kind: str, digest: str) -> None:
    key = certified(kind)
    signed = sign(UNSIGNED, key, digest=digest)
    assert xmlsec1(tmp_path, signed, key, sign=False)
    changed = signed.replace(b"<base>", b"<bass>").replace(b"&lt;base", b"&lt;bass")
    assert xmlsec1(tmp_path, changed, key, sign=False) is None


@needed
def test_an_odd_name_and_a_second_signing_verify_with_xmlsec1(tmp_path: Path) -> None:
    signed = sign((SAMPLES / "made-odd-subject.xml").read_bytes(), ODD)
    assert xmlsec1(tmp_path, signed, ODD, sign=False)


METHODS = {
    "sha1": ("2000/09/xmldsig#rsa-sha1", "2000/09/xmldsig#sha1"),
    "sha256": ("2001/04/xmldsig-more#rsa-sha256", "2001/04/xmlenc#sha256"),
    "sha512": ("2001/04/xmldsig-more#rsa-sha512", "2001/04/xmlenc#sha512"),
    "ecdsa": ("2001/04/xmldsig-more#ecdsa-sha256", "2001/04/xmlenc#sha256"),
}
INCLUSIVE = "TR/2001/REC-xml-c14n-20010315"
EXCLUSIVE = "2001/10/xml-exc-c14n#"


def template(key: SigningKey, digest: str, canonicalization: str, transform: str = "") -> bytes:
    """What xmlsec1 signs: in the form of the original, with other prefixes and attributes."""
    w3 = "http://www.w3.org"
    method, digest_method = METHODS[digest]
    signature = (
        f'<ds:Signature xmlns:ds="{w3}/2000/09/xmldsig#" xml:space="preserve">\n<ds:SignedInfo>'
        f'<ds:CanonicalizationMethod Algorithm="{w3}/{canonicalization}"/>'
        f'<ds:SignatureMethod Algorithm="{w3}/{method}"/>\n<ds:Reference URI=""><ds:Transforms>'
        f'<ds:Transform Algorithm="{w3}/2000/09/xmldsig#enveloped-signature"/>{transform}'
        f'</ds:Transforms><ds:DigestMethod Algorithm="{w3}/{digest_method}"/><ds:DigestValue/>'
        "</ds:Reference></ds:SignedInfo><ds:SignatureValue/>"
        "<ds:KeyInfo><ds:X509Data><ds:X509Certificate/></ds:X509Data></ds:KeyInfo></ds:Signature>"
    )
    certificate = key.certificate
    entry = replace(
        ENTRY,
        endorsed="2025-03-01T10:00:00Z",
        endorser=certificate.email,
        subject=certificate.subject,
        issuer=certificate.issuer,
    )
    document = write_entry(entry).decode()
    document = document.replace("<rdf:RDF ", '<rdf:RDF xml:lang="en" xmlns="urn:default" ')
    document = document.replace("<dcterms:type>", "<!-- kind --><?of image?><dcterms:type>")
    return document.replace("</rdf:RDF>", f"{signature}\n</rdf:RDF>").encode()


@needed
@pytest.mark.parametrize(
    ("kind", "digest", "canonicalization"),
    [
        ("RSA", "sha1", f"{INCLUSIVE}#WithComments"),
        ("RSA", "sha1", INCLUSIVE),
        ("RSA", "sha1", EXCLUSIVE),
        ("RSA", "sha256", f"{INCLUSIVE}#WithComments"),
        ("RSA", "sha512", f"{EXCLUSIVE}WithComments"),
        ("P-384", "ecdsa", f"{INCLUSIVE}#WithComments"),
    ],
)
def test_what_xmlsec1_signs_verifies(
    tmp_path: Path, kind: str, digest: str, canonicalization: str
) -> None:
    key = certified(kind)
    signed = xmlsec1(tmp_path, template(key, digest, canonicalization), key, sign=True)
    assert signed is not None
    verdict = verify(signed)
    assert (verdict.reason, verdict.valid) == ("", True)
    assert verdict.entry is not None
    assert verdict.entry.title == ENTRY.title


@needed
@pytest.mark.parametrize("algorithm", [INCLUSIVE, f"{INCLUSIVE}#WithComments", EXCLUSIVE])
def test_a_canonicalisation_named_for_the_document_is_used(tmp_path: Path, algorithm: str) -> None:
    transform = f'<ds:Transform Algorithm="http://www.w3.org/{algorithm}"/>'
    document = template(certified(), "sha256", EXCLUSIVE, transform)
    signed = xmlsec1(tmp_path, document, certified(), sign=True)
    assert signed is not None
    assert verify(signed).reason == ""
