"""
The signature of an entry: who endorsed it, and that nothing in it has changed (marketplace-rest 6).

Only the form that StratusLab's tools write is accepted, with newer algorithms beside its own: one
signature of the whole entry by the key of the one certificate in it. What is reported of an entry
is read from the very bytes that were signed, so nothing that is wrapped around them, or put beside
them, counts.

lxml and ``cryptography`` are loaded when the first signature is looked at, not when this module is.
"""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from stratuslab_libcloud.metadata.entry import Entry, MetadataError
from stratuslab_libcloud.metadata.form import (
    CANONICAL,
    DIGESTS,
    DS,
    ENVELOPED,
    INCLUSIVE,
    METHODS,
    NAMESPACE,
    NO_KEY,
    Form,
    Invalid,
    canonical,
    certificate_of,
    parsed,
    remove,
    signature_of,
    signed_info,
)
from stratuslab_libcloud.metadata.keys import Certificate, SigningKey
from stratuslab_libcloud.metadata.rdf import clark, read_entry
from stratuslab_libcloud.metadata.rules import is_email, read_date, written_date
from stratuslab_libcloud.untrusted import xml
from stratuslab_libcloud.untrusted.text import one_line

if TYPE_CHECKING:
    from lxml import etree

__all__ = ["Endorser", "Verdict", "sign", "verify"]

_DESCRIPTION = clark("rdf:Description")
_ENDORSEMENT = clark("slreq:endorsement")
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
_TEMPLATE = (
    f'<Signature xmlns="{NAMESPACE}"><SignedInfo>'
    f'<CanonicalizationMethod Algorithm="{INCLUSIVE}#WithComments"/>'
    '<SignatureMethod Algorithm="{method}"/><Reference URI=""><Transforms>'
    f'<Transform Algorithm="{ENVELOPED}"/></Transforms>'
    '<DigestMethod Algorithm="{digest_method}"/><DigestValue>{digest}</DigestValue>'
    "</Reference></SignedInfo><SignatureValue/><KeyInfo><X509Data><X509Certificate>{certificate}"
    "</X509Certificate></X509Data></KeyInfo></Signature>"
)


@dataclass(frozen=True, slots=True)
class Endorser:
    """
    The person that signed an entry, as far as the entry says.

    Anybody can make a certificate in anybody's name: only its fingerprint, or an authority that
    issued it, says that it is genuine.

    :ivar email: as the entry has it; that of the certificate, if it has one.
    :ivar certified: whether the certificate has an e-mail address.
    :ivar in_force: whether the certificate was valid at the endorsement date.
    :ivar method: of the signature, such as ``rsa-sha1``.
    """

    email: str
    certified: bool
    in_force: bool
    method: str
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The judgement on an entry's signature.

    :ivar reason: in one line, why it is not valid; "" when it is.
    :ivar entry: read from the signed bytes; None when it is not valid, and likewise the endorser.
    :ivar refusal: what an original registry says to it after ``invalid metadata:``, or, where the
        document is not well-formed, ``unable to parse metadata:`` (marketplace-rest 2.6).
    """

    reason: str = ""
    entry: Entry | None = None
    endorser: Endorser | None = None
    refusal: str = ""

    @property
    def valid(self) -> bool:
        """Whether it is an entry that this endorser signed, and that is as it was then."""
        return self.entry is not None


def verify(document: bytes) -> Verdict:
    """
    Verify the signature of an entry.

    Nobody's clock is asked, and nobody is trusted: that is the caller's to judge by the endorser.

    :param document: an ``rdf:RDF`` document as it was received; those of a listing are cut out of
        it by :func:`~stratuslab_libcloud.metadata.rdf.cut_entries`.
    """
    from lxml import etree

    try:
        root = parsed(document)
        signature = signature_of(root)
        form = Form.of(signature)
        certificate = certificate_of(signature)
        signed = signed_info(signature, form.canonicalization)
        remove(signature)
        content = canonical(root, form.content)
        _check(form, certificate, signed, content)
        return _endorsed(content, certificate, form.method)
    except Invalid as why:
        return Verdict(why.reason, refusal=why.refusal)
    except xml.UnsafeXMLError as error:
        return Verdict(str(error), refusal=str(error))
    except MetadataError as error:
        return Verdict(str(error), refusal="invalid signature element")
    except etree.LxmlError as error:
        reason = f"it cannot be canonicalised ({one_line(str(error))})"
        return Verdict(reason, refusal="invalid signature element")


def sign(
    document: bytes,
    key: SigningKey,
    *,
    digest: str = "sha1",
    email: str | None = None,
    when: datetime | None = None,
) -> bytes:
    """
    Endorse an entry: fill in who and when, and sign it, in place of what it had of both
    (marketplace-rest 6.4).

    The key is used whatever its certificate's dates are: the verdict on the result reports that.

    :param document: an ``rdf:RDF`` document with one ``slreq:endorsement`` at least.
    :param digest: ``sha1``, the only one that original registries accept, and only with an RSA
        key; ``sha256``, ``sha384`` or ``sha512`` for newer ones.
    :param email: taken when the certificate has no e-mail address.
    :param when: of the endorsement, aware of its zone; now, if it is not given.
    :raises MetadataError: it is no such document, or cannot be signed so.
    :raises UnsafeXMLError: it is not well-formed, or has a DOCTYPE.
    """
    from lxml import etree

    if digest not in DIGESTS.values():
        raise MetadataError(f"no such digest: {digest}; there are {', '.join(DIGESTS.values())}")
    if key.kind == "ecdsa" and digest == "sha1":
        raise MetadataError("original registries take RSA keys only: choose sha256 for this one")
    try:
        # Without what stands beside the root, which would not be written.
        root = parsed(etree.tostring(parsed(document), encoding="utf-8"))
        for signature in list(root.iter(f"{DS}Signature")):
            remove(signature)
        _endorse(root, key.certificate, email, when or datetime.now(timezone.utc))
        _append_signature(root, key, digest)
        signed = _DECLARATION + etree.tostring(root, encoding="utf-8") + b"\n"
    except etree.LxmlError as error:
        raise MetadataError(f"it cannot be canonicalised ({one_line(str(error))})") from None
    except Invalid as why:
        raise MetadataError(why.reason) from None
    verdict = verify(signed)
    if not verdict.valid:
        raise MetadataError(f"what was signed is not valid: {verdict.reason}")
    return signed


# What was signed, and by whom


def _check(form: Form, certificate: Certificate, signed: bytes, content: bytes) -> None:
    digest = hashlib.new(form.digest, content, usedforsecurity=False).digest()
    unchanged = digest == form.digest_value
    try:
        by_key = certificate.verifies(form.method, form.value, signed)
    except MetadataError as error:
        raise Invalid(str(error), NO_KEY) from None
    if not (unchanged and by_key):
        raise Invalid(
            "its signature was not made by the key of its certificate"
            if unchanged
            else "it was changed after it had been signed",
            f"signature validation: {by_key}content (ref='') validity: {unchanged}".lower(),
        )


def _endorsed(content: bytes, certificate: Certificate, method: str) -> Verdict:
    """The verdict on what was signed by the certificate's key."""
    root = xml.parse(content)
    _only_endorsement(root)
    entry = read_entry(root)
    for name, certified, claimed in (
        ("email", certificate.email or entry.endorser, entry.endorser),
        ("subject", certificate.subject, entry.subject),
        ("issuer", certificate.issuer, entry.issuer),
    ):
        if certified is None or claimed is None or _plain(certified) != _plain(claimed):
            raise Invalid(
                f"it names another {name} than its certificate: {claimed}, not {certified}"
                if claimed
                else f"it names no {name} of its endorser",
                f"endorser inconsistency ({name}): {certified or 'null'} != {claimed or 'null'}",
            )
    endorsed = read_date(entry.endorsed or "")
    endorser = Endorser(
        email=entry.endorser or "",
        certified=certificate.email is not None,
        in_force=endorsed is not None and certificate.in_force(endorsed),
        method=method,
        certificate=certificate,
    )
    return Verdict(entry=entry, endorser=endorser)


def _only_endorsement(root: ET.Element) -> None:
    """See that nobody can take anything else for the entry's description or endorsement."""
    for path, what in (
        (_DESCRIPTION, "descriptions"),
        (f"{_DESCRIPTION}/{_ENDORSEMENT}", "endorsements"),
    ):
        found = len(root.findall(path))
        if found != 1:
            raise Invalid(f"it has {found or 'no'} {what}")


def _plain(name: str) -> str:
    """A name without the escapes that some write and others do not."""
    return re.sub(r"(?s)\\([=# ])|(\\.)", lambda found: found[1] or found[2], name)


# Signing


def _endorse(
    root: etree._Element, certificate: Certificate, email: str | None, when: datetime
) -> None:
    """Fill in the last of the endorsements, and remove the others."""
    from lxml import etree

    email = certificate.email or email
    if not email:
        raise MetadataError("the certificate has no e-mail address, and none was given")
    if not is_email(email):
        raise MetadataError(f"{email!r} is not an e-mail address")
    found = root.findall(f"{_DESCRIPTION}/{_ENDORSEMENT}")
    if not found:
        raise MetadataError("it has no slreq:endorsement to fill in")
    for other in found[:-1]:
        remove(other)
    endorsement, tail = found[-1], found[-1].tail
    endorsement.clear()
    endorsement.tail = tail
    endorsement.set(clark("rdf:parseType"), "Resource")
    etree.SubElement(endorsement, clark("dcterms:created")).text = written_date(when)
    endorser = etree.SubElement(endorsement, clark("slreq:endorser"))
    endorser.set(clark("rdf:parseType"), "Resource")
    try:
        etree.SubElement(endorser, clark("slreq:email")).text = email
        etree.SubElement(endorser, clark("slreq:subject")).text = certificate.subject
        etree.SubElement(endorser, clark("slreq:issuer")).text = certificate.issuer
    except ValueError:
        raise MetadataError("the certificate has names that XML cannot hold") from None


def _append_signature(root: etree._Element, key: SigningKey, digest: str) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding
    from lxml import etree

    content = canonical(root, CANONICAL[INCLUSIVE])
    certificate = key.certificate.parsed.public_bytes(Encoding.DER)
    signature = etree.fromstring(
        _TEMPLATE.format(
            method=_named(METHODS, f"{key.kind}-{digest}"),
            digest_method=_named(DIGESTS, digest),
            digest=_encoded(hashlib.new(digest, content, usedforsecurity=False).digest()),
            certificate=_encoded(certificate),
        )
    )
    root.append(signature)
    signed = signed_info(signature, CANONICAL[f"{INCLUSIVE}#WithComments"])
    signature[1].text = _encoded(key.sign(digest, signed))


def _named(known: dict[str, str], name: str) -> str:
    return next(algorithm for algorithm, known_name in known.items() if known_name == name)


def _encoded(data: bytes) -> str:
    """In lines of 76 characters."""
    return base64.encodebytes(data).decode().strip()
