"""Make and check the entries that are published (marketplace-rest 2.6, 7.6)."""

import warnings
from dataclasses import replace

from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.errors import (
    InvalidValueError,
    MalformedAnswerError,
    UntrustedImageError,
)
from stratuslab_libcloud.metadata import rdf as metadata
from stratuslab_libcloud.metadata.entry import Entry, MetadataError
from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.metadata.signature import sign, verify
from stratuslab_libcloud.untrusted import xml

__all__ = ["LARGEST_ENTRY", "checked", "deprecated", "endorser_of", "read_stored"]

LARGEST_ENTRY = 2**20  # bytes


def endorser_of(key: SigningKey, email: str | None) -> str:
    """
    Return the e-mail address of the endorser who has this key.

    :param email: the address, if the certificate has none.
    :raises InvalidValueError: there is no address, or the certificate has another.
    """
    endorser = key.certificate.email or email
    if not endorser:
        raise InvalidValueError("the certificate has no e-mail address: give the endorser's")
    if email and email != endorser:
        raise InvalidValueError(
            f"the certificate is that of {endorser}, not of {email}: only the endorser can "
            "deprecate an entry"
        )
    return endorser


def deprecated(
    identifier: str, document: bytes, key: SigningKey, endorser: str, reason: str
) -> bytes:
    """
    Make the entry that replaces another one and deprecates it.

    :param identifier: the image that the other should describe.
    :raises UntrustedImageError: the other has no valid signature.
    :raises InvalidValueError: the new one cannot be signed.
    """
    verdict = verify(document)
    if verdict.entry is None or verdict.entry.identifier != identifier:
        raise UntrustedImageError(
            f"the entry of image {identifier} by {endorser} fails verification, so it is not "
            f"signed again: {verdict.reason or 'it describes another image'}"
        )
    try:
        return sign(
            metadata.write_entry(replace(verdict.entry, deprecated=reason)),
            key,
            digest="sha1" if key.kind == "rsa" else "sha256",
            email=endorser,
        )
    except MetadataError as error:
        raise InvalidValueError(f"the deprecated entry cannot be signed: {error}") from None


def checked(document: bytes) -> Entry:
    """Read a document that is about to be published."""
    if not isinstance(document, bytes):
        raise InvalidValueError(f"metadata must be bytes, not {type(document).__name__}")
    if len(document) > LARGEST_ENTRY:
        raise InvalidValueError(f"the metadata has more than {LARGEST_ENTRY >> 20} MiB")
    try:
        return metadata.read_entry(xml.parse(document))
    except (xml.UnsafeXMLError, MetadataError) as error:
        raise InvalidValueError(f"the metadata cannot be read: {error}") from None


def read_stored(answer: Answer) -> None:
    """Read the answer to an upload (marketplace-rest 2.6)."""
    if answer.status not in (201, 202):
        raise MalformedAnswerError(
            f"answered {answer.status} to metadata; is marketplace_endpoint right?"
        )
    if answer.status == 202:
        warnings.warn(
            "the Marketplace has sent an e-mail to the endorser: the metadata is published once "
            "that is confirmed",
            stacklevel=2,
        )
