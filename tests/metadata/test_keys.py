"""Keys and certificates of endorsers."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import NameOID
from endorsers import certified, names

from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.metadata.keys import (
    Certificate,
    SigningKey,
    pem_key,
    pkcs12_key,
    read_certificates,
)

OLD = (Path(__file__).parent / "old.p12").read_bytes()  # RC2 and 3DES


def store(key: SigningKey, encryption: KeySerializationEncryption) -> bytes:
    certificate = key.certificate.parsed
    return pkcs12.serialize_key_and_certificates(None, key.private, certificate, None, encryption)


def pem(key: SigningKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    encryption = encryption or NoEncryption()
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def certificate_pem(key: SigningKey) -> bytes:
    return key.certificate.parsed.public_bytes(Encoding.PEM)


def test_an_old_pkcs12_file_is_read() -> None:
    key = pkcs12_key(OLD, "geheim")
    assert key.certificate.subject == "CN=Old Tool,O=Example Org,C=EU"
    assert key.certificate.email == "old@example.org"
    assert key.kind == "rsa"


@pytest.mark.parametrize("kind", ["RSA", "P-256"])
def test_a_modern_pkcs12_file_is_read(kind: str) -> None:
    made = certified(kind)
    key = pkcs12_key(store(made, BestAvailableEncryption("pässword".encode())), "pässword")
    assert key.certificate == made.certificate


@pytest.mark.parametrize("password", ["", None])
def test_a_pkcs12_file_without_a_password_is_read(password: str | None) -> None:
    made = certified()
    assert pkcs12_key(store(made, NoEncryption()), password).certificate == made.certificate


@pytest.mark.parametrize("password", ["wrong", "", None])
@pytest.mark.parametrize("data", [OLD, b"", b"\0" * 100], ids=["old", "empty", "zeros"])
def test_with_a_wrong_password_or_file_there_is_no_key(data: bytes, password: str | None) -> None:
    with pytest.raises(MetadataError) as caught:
        pkcs12_key(data, password)
    assert str(caught.value) == "the password is wrong, or it is not a PKCS12 file"


def test_a_pkcs12_file_without_a_key_is_none() -> None:
    data = pkcs12.serialize_key_and_certificates(
        None, None, None, [certified().certificate.parsed], BestAvailableEncryption(b"x")
    )
    with pytest.raises(MetadataError, match="does not hold a private key"):
        pkcs12_key(data, "x")


def test_a_pair_of_pem_files_is_read() -> None:
    made, other = certified(), certified(number=1)
    chain = certificate_pem(made) + certificate_pem(other)
    assert pem_key(pem(made), chain).certificate == made.certificate
    encrypted = pem(made, BestAvailableEncryption(b"secret"))
    assert pem_key(encrypted, chain, "secret").certificate == made.certificate
    for password in ("wrong", None):
        with pytest.raises(MetadataError, match="the password of the private key is wrong"):
            pem_key(encrypted, chain, password)


def test_a_pair_that_does_not_belong_together_is_refused() -> None:
    with pytest.raises(MetadataError, match="do not belong together"):
        pem_key(pem(certified()), certificate_pem(certified(number=1)))


def test_keys_of_other_kinds_are_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(MetadataError, match="neither RSA nor elliptic-curve"):
        pem_key(data, certificate_pem(certified()))


def test_a_file_without_certificates_is_refused() -> None:
    with pytest.raises(MetadataError, match="the certificate cannot be read"):
        read_certificates(b"nothing")


def test_a_key_does_not_show_itself() -> None:
    assert "private" not in repr(certified())


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (names(c="EU", o="Example Org", cn="Ada"), "CN=Ada,O=Example Org,C=EU"),
        # As Java 17 writes them.
        (names(o='a=b #c;d<e>f+g,\\h"i', cn="#x"), r"CN=\#x,O=a\=b \#c\;d\<e\>f\+g\,\\h\"i"),
        (names(cn=" sp  aces "), r"CN=\ sp  aces\ "),
        (names(cn="é", email="a@b.c"), "1.2.840.113549.1.9.1=#16056140622e63,CN=é"),
        (
            x509.Name([x509.NameAttribute(NameOID.TITLE, "x" * 130)]),
            "2.5.4.12=#0c8182" + "78" * 130,
        ),
        (
            x509.Name(
                [
                    x509.RelativeDistinguishedName(
                        [
                            x509.NameAttribute(NameOID.COMMON_NAME, "a"),
                            x509.NameAttribute(NameOID.USER_ID, "u"),
                        ]
                    )
                ]
            ),
            "CN=a+UID=u",
        ),
    ],
    ids=["plain", "escapes", "blanks", "email", "long", "several"],
)
def test_names_are_written_as_the_original_signer_does(name: x509.Name, expected: str) -> None:
    assert certified(subject=name).certificate.subject == expected


# Authorities


def test_an_authority_vouches_for_what_it_issued() -> None:
    authority = certified(number=1, subject=names(cn="Authority"), email=None, is_ca=True)
    issued = certified(ca=authority).certificate
    assert issued.issuer == "CN=Authority"
    assert issued.issued_by(authority.certificate)
    assert issued.issued_by(issued)  # which somebody trusts as it is
    assert not certified().certificate.issued_by(authority.certificate)
    # The same name, another key.
    impostor = certified(number=2, subject=names(cn="Authority"), email=None, is_ca=True)
    assert not issued.issued_by(impostor.certificate)


def test_who_is_no_authority_vouches_for_nobody() -> None:
    ada = certified(number=1, subject=names(cn="Ada"))
    issued = certified(ca=ada).certificate
    assert issued.issuer == ada.certificate.subject
    assert not issued.issued_by(ada.certificate)


@pytest.mark.parametrize("data", [b"", b"0\x82", b"\x30\x03\x02\x01\x01"])
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(MetadataError, match="the certificate cannot be read"):
        Certificate.read(data)
