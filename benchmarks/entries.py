"""A signed Marketplace entry: read, and read with its signature verified."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from benchmarks import documents
from stratuslab_libcloud.metadata.keys import Certificate, SigningKey
from stratuslab_libcloud.metadata.rdf import cut_entries, read_entries
from stratuslab_libcloud.metadata.signature import sign, verify

__all__ = ["read", "verified"]


def read(_: str) -> Callable[[], object]:
    """Nobody's word is checked."""
    document = _signed()
    return lambda: read_entries(document)


def verified(_: str) -> Callable[[], object]:
    """What was signed is read, when it was signed."""
    document = _signed()

    def call() -> None:
        assert verify(document).valid  # noqa: S101

    return call


def _signed() -> bytes:
    """An entry as registries have them, with an RSA key of 2048 bits and SHA-1."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ada Builder")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (entry,) = cut_entries(documents.entries_xml(1))
    return sign(entry, SigningKey(key, Certificate.of(certificate)), email="ada@example.org")
