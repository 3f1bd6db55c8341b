"""The key of a site, which endorses the entries of its own images."""

import pathlib
from datetime import datetime, timedelta, timezone
from functools import cache, lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from stratuslab_libcloud.metadata.entry import Entry, MetadataError
from stratuslab_libcloud.metadata.keys import SigningKey, pem_key
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.rules import read_date
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.sandbox.durable import write_private
from stratuslab_libcloud.sandbox.errors import SandboxError

__all__ = ["endorse", "site_key", "throwaway_key"]

# Wide enough for the dates of all examples.
_LEEWAY = timedelta(minutes=1)
_BEGIN, _END = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in (2000, 2100))


def site_key(directory: pathlib.Path, *, durable: bool = True) -> SigningKey:
    """
    Read the key of the site in a directory, from ``endorser.pem``, which is made if it is missing.

    Sites that are not durable share a key within a process.

    :raises SandboxError: the file is damaged.
    """
    path = directory / "endorser.pem"
    if not path.exists():
        write_private(path, _make() if durable else _make_once(), durable=durable)
    try:
        return _parse(path.read_bytes())
    except MetadataError:
        raise SandboxError(f"{path} is damaged: remove it, and it is made anew") from None


@lru_cache(maxsize=64)
def endorse(entry: Entry, key: SigningKey) -> bytes:
    """
    Sign an entry, in the name and of the date that it has, as an ``rdf:RDF`` document.

    :raises MetadataError: it cannot be written.
    """
    when = read_date(entry.endorsed or "")
    return sign(write_entry(entry), key, digest="sha256", email=entry.endorser, when=when)


def throwaway_key(seconds: int) -> SigningKey:
    """Make a key that signs for others until they do, with a certificate for this time."""
    now = datetime.now(timezone.utc)
    pem = _make("StratusLab Sandbox, throw-away", now - _LEEWAY, now + timedelta(seconds=seconds))
    return pem_key(pem, pem)


def _make(
    called: str = "StratusLab Sandbox", begin: datetime = _BEGIN, end: datetime = _END
) -> bytes:
    """Make a key and its certificate, which has no e-mail address: the site's names are many."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


_make_once = cache(_make)


@lru_cache(maxsize=8)
def _parse(pem: bytes) -> SigningKey:
    return pem_key(pem, pem)
