"""Credentials, as they are sent; what is wrong with their files is said before."""

import base64
import ssl
from urllib.parse import unquote, urlsplit

from stratuslab_libcloud.configuration.settings import Certificate
from stratuslab_libcloud.errors import ConfigurationError

__all__ = ["check_authority", "checked_certificate", "encoded", "secrets_of"]


def checked_certificate(credentials: Certificate) -> tuple[str, str]:
    """The two paths; whatever is wrong with the files is said here, not by OpenSSL at a prompt."""
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
            f"certificate {credentials.certificate} and key {credentials.key} do not fit: {error}"
        ) from error
    return credentials.certificate, credentials.key


def check_authority(path: str) -> None:
    """
    Look at a file of CA certificates.

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
    """The password in a proxy's URL, and how it is sent."""
    parts = urlsplit(proxy_url)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    return [password, encoded(f"{username}:{password}".encode())] if password else []


def encoded(login: bytes) -> str:
    """User name and password, as HTTP Basic sends them."""
    return base64.b64encode(login).decode("ascii")
