"""People who endorse images: their keys, made once a session, and what they sign."""

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from stratuslab_libcloud.metadata import form, signature
from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.metadata.keys import Certificate, SigningKey
from stratuslab_libcloud.metadata.rdf import write_entry

__all__ = [
    "ENTRY",
    "ada",
    "certified",
    "forged",
    "mallory",
    "names",
    "needed",
    "pkcs12_file",
    "private",
    "xmlsec1",
]

_ABSENT = not shutil.which("xmlsec1")
if _ABSENT and os.environ.get("CI"):
    raise RuntimeError("not installed: xmlsec1")  # never skipped there
needed = pytest.mark.skipif(_ABSENT, reason="not installed: xmlsec1")
"""The mark of tests that use :func:`xmlsec1`."""

ENTRY = Entry(
    identifier="IgBUoILNIAlD290Tvui-60IdiLZ",
    size=30,
    checksums={"SHA-1": "880152820b3480250f6f744efba2fbad087622d9"},
    type="base",
    kind="machine",
    compression="gz",
    locations=("https://images.example.org/one.gz?a=1&b=2", "pdisk:pdisk.example.org:8445:0f6c"),
    format="qcow2",
    valid="2035-01-01T00:00:00Z",
    title="Débian <base>",
    description="First line.\r\nSecond & last\u2028line.",
    disks_bus="virtio",
    inbound_ports=(22,),
)
"""An entry that nobody has signed yet."""


@cache
def private(kind: str, number: int = 0) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """
    A key: ``RSA``, ``P-256``, ``P-384`` or ``P-521``.

    :param number: of several.
    """
    if kind == "RSA":
        return rsa.generate_private_key(65537, 2048)
    curves: dict[str, Callable[[], ec.EllipticCurve]] = {
        "P-256": ec.SECP256R1,
        "P-384": ec.SECP384R1,
        "P-521": ec.SECP521R1,
    }
    return ec.generate_private_key(curves[kind]())


def names(**parts: str) -> x509.Name:
    """A name, its most general part first."""
    oids = {
        "c": NameOID.COUNTRY_NAME,
        "o": NameOID.ORGANIZATION_NAME,
        "cn": NameOID.COMMON_NAME,
        "email": NameOID.EMAIL_ADDRESS,
    }
    return x509.Name([x509.NameAttribute(oids[key], text) for key, text in parts.items()])


def certified(
    kind: str = "RSA",
    number: int = 0,
    *,
    subject: x509.Name | None = None,
    email: str | None = "ada@example.org",
    begins: int = 2020,
    ends: int = 2120,
    ca: SigningKey | None = None,
    is_ca: bool = False,
) -> SigningKey:
    """
    A key with a certificate for it.

    :param begins: the year; ``ends`` likewise.
    :param ca: who issues it; itself, if nobody is given.
    """
    key = private(kind, number)
    subject = subject or names(c="EU", o="Example Org", cn="Ada Builder")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.certificate.parsed.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(begins, 1, 1, tzinfo=timezone.utc))
        .not_valid_after(datetime(ends, 1, 1, tzinfo=timezone.utc))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if email:
        alternative = x509.SubjectAlternativeName([x509.RFC822Name(email)])
        builder = builder.add_extension(alternative, critical=False)
    certificate = builder.sign(ca.private if ca else key, hashes.SHA256())
    return SigningKey(key, Certificate.of(certificate))


@cache
def ada() -> SigningKey:
    return certified()


@cache
def mallory() -> SigningKey:
    """Another key for the same names."""
    return certified(number=1)


def pkcs12_file(path: Path, key: SigningKey, password: str = "geheim") -> Path:
    """The file with this key and its certificate."""
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(
            None,
            key.private,
            key.certificate.parsed,
            None,
            BestAvailableEncryption(password.encode()),
        )
    )
    return path


def forged(entry: Entry | bytes, key: SigningKey, digest: str = "sha1") -> bytes:
    """A good signature of whatever stands in an entry, which the signing tool would not make."""
    root = form.parsed(write_entry(entry) if isinstance(entry, Entry) else entry)
    signature._append_signature(root, key, digest)
    from lxml import etree

    return etree.tostring(root, encoding="utf-8")


def xmlsec1(folder: Path, document: bytes, key: SigningKey, *, sign: bool) -> bytes | None:
    """
    Sign a template, or verify a document, with another's program.

    :return: what it signed, or ``document`` when it is valid; None when it is not.
    """
    path, pem, certificate, out = (folder / name for name in ("in", "key", "certificate", "out"))
    path.write_bytes(document)
    pem.write_bytes(
        key.private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    certificate.write_bytes(key.certificate.parsed.public_bytes(Encoding.PEM))
    if sign:
        words = ["--sign", "--privkey-pem", f"{pem},{certificate}", "--output", str(out)]
    else:
        words = ["--verify", "--pubkey-cert-pem", str(certificate)]
    done = subprocess.run(["xmlsec1", *words, str(path)], capture_output=True, timeout=60)
    if done.returncode:
        return None
    return out.read_bytes() if sign else document
