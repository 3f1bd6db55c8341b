"""The throw-away CA of a site, and the certificates that it issues."""

import contextlib
import pathlib
import ssl
import urllib.parse
from collections.abc import Callable, Iterator

import trustme
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from stratuslab_libcloud.sandbox.durable import write_private
from stratuslab_libcloud.sandbox.errors import SandboxError

__all__ = ["server_context", "user_certificate"]


def server_context(directory: pathlib.Path, host: str, *, durable: bool = True) -> ssl.SSLContext:
    """
    Make the TLS context of a server that accepts, but does not require, certificates of its own CA.

    The CA (``ca.pem``) and the server's certificate are made if they are missing.

    :raises SandboxError: a file is damaged.
    """
    names = {"localhost", "127.0.0.1", host}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = _issued(
        directory,
        f"server-{host}",
        lambda authority: authority.issue_cert(*sorted(names)),
        durable,
    )
    with _intact(path):
        context.load_cert_chain(path)
    context.load_verify_locations(directory / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    return context


def user_certificate(
    directory: pathlib.Path, user: str, *, durable: bool = True
) -> tuple[pathlib.Path, str]:
    """
    Return the certificate of a user, making it if it is missing.

    :return: the file with certificate and key, and the subject, which is the account's name.
    :raises SandboxError: a file is damaged.
    """
    path = _issued(
        directory,
        f"user-{user}",
        lambda authority: authority.issue_cert(
            "user@localhost",
            common_name=user,
            organization_unit_name="Users",
            organization_name="StratusLab Sandbox",
        ),
        durable,
    )
    with _intact(path):
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return path, certificate.subject.rfc4514_string()


@contextlib.contextmanager
def _intact(*paths: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, ssl.SSLError, UnsupportedAlgorithm):
        names = " or ".join(map(str, paths))
        raise SandboxError(f"{names} is damaged: remove it, and it will be made again") from None


def _issued(
    directory: pathlib.Path,
    stem: str,
    issue: Callable[[trustme.CA], trustme.LeafCert],
    durable: bool,
) -> pathlib.Path:
    authority = _authority(directory, durable)
    path = directory / f"{urllib.parse.quote(stem, safe='')}.pem"
    if not path.exists():
        leaf = issue(authority)
        write_private(path, leaf.private_key_and_cert_chain_pem.bytes(), durable=durable)
    return path


def _authority(directory: pathlib.Path, durable: bool) -> trustme.CA:
    path, key = directory / "ca.pem", directory / "ca.key"
    if path.exists() and key.exists():
        with _intact(path, key):
            return trustme.CA.from_pem(path.read_bytes(), key.read_bytes())
    for stale in (*directory.glob("server-*.pem"), *directory.glob("user-*.pem")):
        stale.unlink()
    authority = trustme.CA(organization_name="StratusLab Sandbox")
    write_private(key, authority.private_key_pem.bytes(), durable=durable)
    write_private(path, authority.cert_pem.bytes(), durable=durable)
    return authority
