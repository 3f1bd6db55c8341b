"""The key that image metadata is signed with (guide 4.9.3)."""

from datetime import datetime, timezone

from stratuslab_libcloud import errors
from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.metadata.keys import SigningKey, pkcs12_key
from stratuslab_libcloud.metadata.rules import written_date
from stratuslab_libcloud.paths import expanded

__all__ = ["signing_key"]

_DEFAULT = "~/.globus/usercert.p12"


def signing_key(p12_certificate: str, p12_password: str) -> SigningKey:
    """
    Read a PKCS12 file.

    :param p12_certificate: its path; ``""`` for the default one.
    :param p12_password: ``""`` if the file has none.
    :raises ConfigurationError: it cannot be read, or its certificate is not valid today.
    """
    try:
        path = expanded(p12_certificate or _DEFAULT)
        key = pkcs12_key(path.read_bytes(), p12_password)
    except OSError as error:
        raise errors.ConfigurationError(
            f"p12_certificate {path} cannot be read: {error.strerror}"
        ) from None
    except MetadataError as error:
        raise errors.ConfigurationError(f"p12_certificate {path}: {error}") from None
    except ValueError as error:  # a file has no such name, or there is no home directory
        raise errors.ConfigurationError(f"p12_certificate {error}") from None
    now = datetime.now(timezone.utc)
    if not key.certificate.in_force(now):
        first, last = key.certificate.not_before, key.certificate.not_after
        when = f"expired on {written_date(last)}" if now > last else f"begins {written_date(first)}"
        raise errors.ConfigurationError(
            f"p12_certificate {path}: the certificate {when}, so entries signed with it would not "
            "be trusted"
        )
    return key
