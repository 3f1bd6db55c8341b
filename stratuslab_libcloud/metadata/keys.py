"""
Certificates of endorsers, and the keys that entries are signed with (marketplace-rest 6.2 to 6.4).

``cryptography`` is loaded when the first certificate or key is read, not when this module is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from stratuslab_libcloud.metadata.entry import MetadataError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = ["Certificate", "SigningKey", "pem_key", "pkcs12_key", "read_certificates"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SHORTEST_RSA = 1024  # bits: of the time there are many of these, and shorter ones can be broken
# The types that have a name in RFC 2253 (marketplace-rest 6.3).
_NAMED = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """
    What a certificate says.

    :ivar subject: as RFC 2253 string, spelled as the original signer spells it; likewise issuer.
    :ivar email: the first e-mail address among its alternative names.
    :ivar fingerprint: SHA-256 of the certificate, in lower-case hex.
    :ivar parsed: as ``cryptography`` has it.
    """

    subject: str
    issuer: str
    email: str | None
    not_before: datetime
    not_after: datetime
    fingerprint: str
    parsed: x509.Certificate = field(repr=False, compare=False)

    @classmethod
    def read(cls, der: bytes) -> Certificate:
        """
        Read a certificate.

        :raises MetadataError: it cannot be read.
        """
        from cryptography import x509

        return cls.of(_read(x509.load_der_x509_certificate, der))

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Certificate:
        """
        What this certificate says.

        :raises MetadataError: it cannot be read.
        """
        from cryptography.hazmat.primitives import hashes

        return cls(
            subject=_read(_rfc2253, certificate, "subject"),
            issuer=_read(_rfc2253, certificate, "issuer"),
            email=_read(_email, certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            parsed=certificate,
        )

    def in_force(self, when: datetime) -> bool:
        """Whether it is valid at this time (aware of its zone), by its own dates."""
        return self.not_before <= when <= self.not_after

    def issued_by(self, authority: Certificate) -> bool:
        """
        Whether this authority's key signed it, or it is the authority's own certificate.

        An entry has no chain: the issuer itself must be known. Dates are not looked at.
        """
        if self.fingerprint == authority.fingerprint:
            return True
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        try:
            constraints = authority.parsed.extensions.get_extension_for_class(x509.BasicConstraints)
            self.parsed.verify_directly_issued_by(authority.parsed)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return False
        return constraints.value.ca

    def verifies(self, method: str, signature: bytes, data: bytes) -> bool:
        """
        Whether its key made this signature of ``data``.

        :param method: ``rsa-sha1``, ``ecdsa-sha256`` and the like.
        :raises MetadataError: its key is not one for this method, or too short.
        """
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

        kind, _, digest = method.partition("-")
        key = _read(self.parsed.public_key)
        try:
            if kind == "rsa" and isinstance(key, rsa.RSAPublicKey):
                if key.key_size < _SHORTEST_RSA:
                    raise MetadataError(f"an RSA key of {key.key_size} bits is too short")
                key.verify(signature, data, padding.PKCS1v15(), _hash(digest))
            elif kind == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
                size = (key.key_size + 7) // 8
                if len(signature) != 2 * size:
                    return False
                r, s = (
                    int.from_bytes(half, "big") for half in (signature[:size], signature[size:])
                )
                key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(_hash(digest)))
            else:
                raise MetadataError(f"the certificate's key is not one for {method}")
        except InvalidSignature:
            return False
        except UnsupportedAlgorithm:
            raise MetadataError(f"{method} is switched off on this machine") from None
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and the certificate that goes with it."""

    private: RSAPrivateKey | EllipticCurvePrivateKey = field(repr=False)
    certificate: Certificate

    @property
    def kind(self) -> str:
        """``rsa`` or ``ecdsa``."""
        return "ecdsa" if hasattr(self.private, "curve") else "rsa"

    def sign(self, digest: str, data: bytes) -> bytes:
        """
        Sign as XML signatures want it: an ECDSA signature is its two numbers, side by side.

        :param digest: ``sha1``, ``sha256``, ``sha384`` or ``sha512``.
        """
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), _hash(digest))
        size = (self.private.key_size + 7) // 8
        numbers = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(_hash(digest))))
        return b"".join(number.to_bytes(size, "big") for number in numbers)


def pkcs12_key(data: bytes, password: str | None) -> SigningKey:
    """
    The key in a PKCS12 file (guide 4.9.3), of any age.

    :param data: the file's contents.
    :raises MetadataError: wrong password, no such file, or no key with a certificate in it.
    """
    from cryptography.hazmat.primitives.serialization import pkcs12

    # Some programs take no password for an empty one, others do not.
    for encoded in [password.encode()] if password else [None, b""]:
        try:
            private, certificate, _ = pkcs12.load_key_and_certificates(data, encoded)
            break
        except (ValueError, TypeError):
            continue
    else:
        raise MetadataError("the password is wrong, or it is not a PKCS12 file")
    if private is None or certificate is None:
        raise MetadataError("the PKCS12 file does not hold a private key with its certificate")
    return _signing_key(private, certificate)


def pem_key(key: bytes, certificate: bytes, password: str | None = None) -> SigningKey:
    """
    A pair of PEM files.

    :param certificate: contents of the certificate's file; the first in it counts.
    :raises MetadataError: wrong password, not PEM, or the two do not belong together.
    """
    from cryptography.hazmat.primitives import serialization

    try:
        private = serialization.load_pem_private_key(key, password.encode() if password else None)
    except (ValueError, TypeError):
        raise MetadataError(
            "the password of the private key is wrong, or it is not a key in PEM form"
        ) from None
    return _signing_key(private, read_certificates(certificate)[0].parsed)


def read_certificates(pem: bytes) -> list[Certificate]:
    """
    All certificates of a PEM file, such as one of authorities.

    :raises MetadataError: there are none, or one cannot be read.
    """
    from cryptography import x509

    return [Certificate.of(one) for one in _read(x509.load_pem_x509_certificates, pem)]


def _signing_key(private: object, certificate: x509.Certificate) -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise MetadataError("the private key is neither RSA nor elliptic-curve")
    if private.public_key() != _read(certificate.public_key):
        raise MetadataError("the private key and the certificate do not belong together")
    return SigningKey(private, Certificate.of(certificate))


def _read(reader: Callable[_P, _T], *arguments: _P.args, **keywords: _P.kwargs) -> _T:
    """What the reader makes of it; certificates of strangers fail in every way there is."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return reader(*arguments, **keywords)
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        raise MetadataError("the certificate cannot be read") from None


def _email(certificate: x509.Certificate) -> str | None:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return None
    return next(iter(names.value.get_values_for_type(x509.RFC822Name)), None)


def _rfc2253(certificate: x509.Certificate, which: str) -> str:
    """
    A name as the original signer spells it: escapes and all, as Java does (tried with Java 17).

    cryptography's own is RFC 4514, which escapes less and does not write types without a name in
    hex.
    """
    name: x509.Name = getattr(certificate, which)
    return ",".join("+".join(map(_written, part)) for part in reversed(name.rdns))


def _written(attribute: x509.NameAttribute[str | bytes]) -> str:
    from cryptography import x509

    oid = attribute.oid.dotted_string
    if oid in _NAMED and isinstance(attribute.value, str):
        text = re.sub(r'[,=+<>#;"\\]', r"\\\g<0>", attribute.value).replace("\0", "\\00")
        text = re.sub(
            r"\A[ \r]+|[ \r]+\Z", lambda found: re.sub("(?s).", r"\\\g<0>", found[0]), text
        )
        return f"{_NAMED[oid]}={text}"
    # A name of this alone, as DER: three envelopes, the last of which holds its type and value.
    der = x509.Name([attribute]).public_bytes()
    for _ in range(3):
        der = _contents(der)
    return f"{oid}=#{der[2 + der[1] :].hex()}"


def _contents(der: bytes) -> bytes:
    return der[2 if der[1] < 0x80 else 2 + (der[1] & 0x7F) :]


def _hash(name: str) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    kinds: dict[str, Callable[[], HashAlgorithm]] = {
        "sha1": hashes.SHA1,
        "sha256": hashes.SHA256,
        "sha384": hashes.SHA384,
        "sha512": hashes.SHA512,
    }
    return kinds[name]()
