"""The checks of uploaded entries (marketplace-rest 2.6, 4.5, 6.2)."""

import contextlib
import sqlite3

from stratuslab_libcloud.metadata import form
from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.metadata.rules import refusals, written_date
from stratuslab_libcloud.metadata.signature import Endorser, verify
from stratuslab_libcloud.sandbox.marketplace.rows import Row, bare, stored
from stratuslab_libcloud.sandbox.marketplace.triples import NotRdfError, read_triples
from stratuslab_libcloud.untrusted import xml

__all__ = ["RefusedUploadError", "check_newest", "checked"]


class RefusedUploadError(Exception):
    """An upload is refused. One line, in the original server's words where it has any."""


def checked(document: bytes) -> Row:
    """
    Check an uploaded document in the original server's order, and return its columns.

    They hold the very bytes that were checked, which are UTF-8 whatever the declaration says.

    :raises RefusedUploadError: names the first check that failed.
    """
    text = _well_formed(document)
    try:
        endorser = _signed(text)
        for reason in refusals(text):
            raise RefusedUploadError(f"invalid metadata: {reason}")
        row = stored(text)
        _check_certificate(endorser, str(row["created"]))
        read_triples(text)
    except (MetadataError, xml.UnsafeXMLError, NotRdfError) as error:
        raise RefusedUploadError(f"invalid metadata: {error}") from None
    return row


def check_newest(db: sqlite3.Connection, row: Row) -> None:
    """
    Refuse an entry that is older than one of the same image and endorser.

    :param db: the connection, within the transaction that stores the entry.
    """
    newer = db.execute(
        "SELECT 1 FROM entries "
        "WHERE identifier = :identifier AND email = :email AND created > :created",
        row,
    )
    if newer.fetchone():
        raise RefusedUploadError("invalid metadata: older than latest entry")


def _well_formed(document: bytes) -> bytes:
    try:
        text = bare(document)
        with contextlib.suppress(MetadataError):  # a later check refuses another root
            form.parsed(text)
        root = xml.parse(text)
    except (MetadataError, xml.UnsafeXMLError) as error:
        raise RefusedUploadError(f"unable to parse metadata: {error}") from None
    if next(root.iter(f"{form.DS}Signature"), None) is None:
        raise RefusedUploadError("invalid metadata: no signature")
    return text


def _signed(text: bytes) -> Endorser:
    verdict = verify(text)
    if verdict.endorser is None:
        raise RefusedUploadError(f"invalid metadata: {verdict.refusal}")
    return verdict.endorser


def _check_certificate(endorser: Endorser, endorsed: str) -> None:
    """Refuse an endorsement outside the certificate's validity, which the original accepted."""
    if not endorser.in_force:
        certificate = endorser.certificate
        begin, end = written_date(certificate.not_before), written_date(certificate.not_after)
        raise RefusedUploadError(
            f"invalid metadata: the endorser's certificate is valid from {begin} to {end}, "
            f"and was not at the endorsement date, {endorsed}"
        )
