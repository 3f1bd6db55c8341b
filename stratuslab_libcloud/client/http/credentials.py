"""Credentials in the form that is sent; their files are checked first."""

import base64
import ssl
from urllib.parse import unquote, urlsplit

from stratuslab_libcloud.configuration.settings import Certificate
from stratuslab_libcloud.errors import ConfigurationError

__all__ = ["check_authority", "checked_certificate", "encoded", "secrets_of"]


def checked_certificate(credentials: Certificate) -> tuple[str, str]:
    """
    Check a certificate and its key before they are used; OpenSSL might prompt for a passphrase.

    :return: the paths of the two files.
    :raises ConfigurationError: a file cannot be read or used, or the two do not match.
    """
    for path in (credentials.certificate, credentials.key):
        try:
            with open(path, encoding="latin-1") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"the PEM file {path} cannot be read: {reason}") from error
        if "-----BEGIN" not in text:
            raise ConfigurationError(f"{path} is not a PEM file")
        if path == credentials.key and "ENCRYPTED" in text:
            raise ConfigurationError(
                f"the key in {path} is encrypted; give an unencrypted one, or a proxy"
            )
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(credentials.certificate, credentials.key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"certificate {credentials.certificate} and key {credentials.key} do not match: {error}"
        ) from error
    return credentials.certificate, credentials.key


def check_authority(path: str) -> None:
    """
    Check that a file of CA certificates can be used.

    :raises ConfigurationError: it cannot be used.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except FileNotFoundError:
        raise ConfigurationError(f"the CA certificate file {path} does not exist") from None
    except (ssl.SSLError, ValueError) as error:
        raise ConfigurationError(f"{path} holds no CA certificate that can be used") from error
    except OSError as error:
        reason = error.strerror
        raise ConfigurationError(
            f"the CA certificate file {path} cannot be read: {reason}"
        ) from error


def secrets_of(proxy_url: str) -> list[str]:
    """List the password in a proxy's URL, and the form in which it is sent."""
    parts = urlsplit(proxy_url)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    return [password, encoded(f"{username}:{password}".encode())] if password else []


def encoded(login: bytes) -> str:
    """Encode ``user:password`` for HTTP Basic."""
    return base64.b64encode(login).decode("ascii")
