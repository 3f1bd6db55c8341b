"""
Decide which endorsements to trust: ``verify_images``, ``trusted_endorsers`` and ``trusted_ca``.

Anybody may upload to a Marketplace, and its operator may answer anything. Only the signature of an
entry shows that it says what its endorser wrote (marketplace-rest 6).
"""

import threading
import warnings
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from stratuslab_libcloud.client.data import Endorsement
from stratuslab_libcloud.configuration.options import Options
from stratuslab_libcloud.errors import ConfigurationError, UntrustedImageError
from stratuslab_libcloud.metadata.entry import Entry, MetadataError
from stratuslab_libcloud.metadata.keys import Certificate, read_certificates
from stratuslab_libcloud.metadata.rules import read_date
from stratuslab_libcloud.metadata.signature import Endorser, verify
from stratuslab_libcloud.parallel import lazy
from stratuslab_libcloud.untrusted.text import one_line

__all__ = ["Found", "Judged", "Trust"]


class Found(NamedTuple):
    """An entry as the Marketplace has it, with the bytes that it was read from."""

    entry: Entry
    document: bytes


class Judged(NamedTuple):
    """
    An entry with the verdict on it.

    :ivar entry: read from the signed bytes if the signature is valid; otherwise as it was found.
    :ivar endorser: None if the signature is missing or not valid.
    :ivar trusted: whether the configuration trusts the endorser.
    :ivar reasons: why no machine should be started by this entry; empty if one may be.
    """

    entry: Entry
    endorser: Endorser | None = None
    trusted: bool = False
    reasons: tuple[str, ...] = ()

    def endorsement(self) -> Endorsement:
        """Return the same as plain data."""
        entry, endorser = self.entry, self.endorser
        certificate = endorser.certificate if endorser else None
        return Endorsement(
            image=entry.identifier,
            endorser=entry.endorser,
            endorsed=entry.endorsed,
            title=entry.title,
            expires=entry.valid,
            deprecated=entry.deprecated,
            signed=endorser is not None,
            trusted=self.trusted,
            reasons=list(self.reasons),
            subject=certificate.subject if certificate else None,
            issuer=certificate.issuer if certificate else None,
            fingerprint=certificate.fingerprint if certificate else None,
            certified=endorser.certified if endorser else None,
            in_force=endorser.in_force if endorser else None,
            method=endorser.method if endorser else None,
        )


class Trust:
    """
    The policy of one location. Threads may share it.

    It remembers the newest endorsement of each image by each trusted endorser: once an entry is
    known to have been replaced or deprecated, it is not trusted again during the life of this
    object, whatever the Marketplace answers.

    :ivar verifies: whether signatures are verified.
    :ivar required: whether machines start only by entries of trusted endorsers.
    """

    def __init__(self, options: Options, where: str) -> None:
        """
        Keep the options; no file is read yet.

        :param where: the file and section, for messages.
        """
        self.verifies = options.verify_images != "off"
        self.required = options.verify_images == "require"
        self._named = frozenset(options.trusted_endorsers)
        self._ca = options.trusted_ca
        self._where = where
        self._newest: dict[tuple[str, str], tuple[str, bool]] = {}
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    def chosen(self, identifier: str, found: Sequence[Found]) -> Judged:
        """
        Choose the entry that counts: the newest or, with ``require``, the newest acceptable one.

        If none is acceptable, return one with its reasons: a trusted endorser's, if there is any.

        :param found: entries of this image, the newest first.
        :raises ConfigurationError: ``require`` without anybody to trust, or an unreadable
            ``trusted_ca``.
        """
        if self.required and not (self._named or self._ca):
            raise ConfigurationError(
                f"{self._where} verify_images is require, but nobody is trusted; set "
                "trusted_endorsers or trusted_ca"
            )
        best: Judged | None = None
        for one in found:
            judged = self.judged(identifier, one)
            if not judged.reasons or not self.required:
                return judged
            if best is None or (judged.trusted and not best.trusted):
                best = judged
        assert best is not None  # noqa: S101 - for the types: there is one entry at least
        return best

    def judged(self, identifier: str, found: Found) -> Judged:
        """
        Verify one entry.

        :param identifier: the image that it should describe.
        :raises ConfigurationError: ``trusted_ca`` cannot be read.
        """
        verdict = verify(found.document)
        entry, endorser = verdict.entry, verdict.endorser
        if entry is None or endorser is None:
            return Judged(found.entry, reasons=(verdict.reason,))
        trusted = self._trusts(endorser, read_date(entry.endorsed or ""))
        reasons = [] if entry.identifier == identifier else [f"it describes {entry.identifier}"]
        if not trusted and (self._named or self._ca):
            reasons.append(self._stranger(endorser))
        if not endorser.in_force:
            reasons.append("the endorser's certificate was not valid at the endorsement date")
        reasons += _outdated(entry)
        if trusted and (newest := self._remembered(entry)):
            reasons.append(f"the endorser replaced it on {newest}")
        return Judged(entry, endorser, trusted, tuple(reasons))

    def admit(self, identifier: str, judged: Judged) -> None:
        """
        Refuse an image that is not acceptable, or warn about it, once, if that is the policy.

        :raises UntrustedImageError: it is refused.
        """
        if not judged.reasons:
            return
        by = f" by {judged.entry.endorser}" if judged.entry.endorser else ""
        reasons = "; ".join(judged.reasons)
        why = one_line(f"its Marketplace entry{by} fails verification: {reasons}")
        if self.required:
            raise UntrustedImageError(
                f"image {identifier} is refused ({self._where} verify_images = require): {why}"
            )
        with self._lock:
            if identifier in self._warned:
                return
            self._warned.add(identifier)
        warnings.warn(f"image {identifier}: {why}", stacklevel=2)

    @lazy
    def _authorities(self) -> list[Certificate]:
        if not self._ca:
            return []
        try:
            return read_certificates(Path(self._ca).read_bytes())
        except (OSError, ValueError) as error:  # a file has no such name
            problem = error.strerror if isinstance(error, OSError) else error
            if isinstance(error, MetadataError):
                problem = "it does not hold certificates in PEM form"
            raise ConfigurationError(
                f"{self._where} trusted_ca {self._ca} cannot be read: {problem}"
            ) from None

    def _trusts(self, endorser: Endorser, when: datetime | None) -> bool:
        certificate = endorser.certificate
        if certificate.fingerprint in self._named:
            return True
        if when is None or not any(
            authority.in_force(when) and certificate.issued_by(authority)
            for authority in self._authorities
        ):
            return False
        # The maker of a certificate chooses its address: only an authority makes it mean anything.
        return not self._named or (endorser.certified and endorser.email.lower() in self._named)

    def _stranger(self, endorser: Endorser) -> str:
        certificate = endorser.certificate
        text = (
            f"the endorser is not trusted (certificate fingerprint {certificate.fingerprint}, "
            f"{certificate.subject})"
        )
        if endorser.email.lower() in self._named:
            text += ", as an address alone proves nothing: no authority of trusted_ca certifies it"
        return text

    def _remembered(self, entry: Entry) -> str | None:
        """Remember this entry; return the date of a newer one by the same endorser, if known."""
        key = entry.identifier, entry.endorser or ""
        mine = entry.endorsed or "", entry.deprecated is not None
        with self._lock:
            newest = self._newest[key] = max(self._newest.get(key, mine), mine)
        return newest[0] if newest > mine else None


def _outdated(entry: Entry) -> list[str]:
    """Return what the entry itself has against its use, although the Marketplace lists it."""
    reasons = []
    valid = read_date(entry.valid or "")
    if valid is None:
        reasons.append("it has no end of validity")
    elif valid <= datetime.now(timezone.utc):
        reasons.append(f"it expired on {entry.valid}")
    if read_date(entry.endorsed or "") is None:
        reasons.append("it has no endorsement date")
    if entry.deprecated is not None:
        reasons.append(f"it is deprecated: {entry.deprecated or 'no reason is given'}")
    return reasons
