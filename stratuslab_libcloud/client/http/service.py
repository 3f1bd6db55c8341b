"""
HTTP for the three services: sessions, TLS, credentials, time-outs, retries.

This is the one border to requests and urllib3; failures.py puts what they raise in our words.
"""

import base64
import contextlib
import os
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import unquote, urljoin, urlsplit

import libcloud.security
import requests

from stratuslab_libcloud.client.http import debug_log
from stratuslab_libcloud.client.http.failures import (
    explanation,
    in_doubt,
    misdirected,
    refusal,
    translated,
    with_doubt,
)
from stratuslab_libcloud.client.http.masking import mask
from stratuslab_libcloud.client.http.proxies import proxies
from stratuslab_libcloud.client.http.sessions import Session
from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConnectionFailedError,
    CredentialsError,
    MalformedAnswerError,
    StratusLabError,
    UnavailableError,
)
from stratuslab_libcloud.metadata.rdf import rdf
from stratuslab_libcloud.untrusted import xml
from stratuslab_libcloud.untrusted.text import one_line

__all__ = ["Answer", "HTTPOptions", "Service"]

T = TypeVar("T")

_ATTEMPTS = 3
_FIRST_PAUSE = 0.25  # seconds; doubled for each further attempt
_ENOUGH = 0.95  # of the time; what is left then is no chance, and would hide the real trouble
_LARGEST_ANSWER = 640 * 1024 * 1024  # 100,000 entries are 500
_LARGEST_HELD = 64 * 1024 * 1024  # of what is not streamed
_PIECE = 256 * 1024
_ENCODINGS = "gzip, deflate"  # which urllib3 unpacks piece by piece, whatever is installed


@dataclass(frozen=True)
class HTTPOptions:
    """
    How the services of a site are talked to.

    :ivar timeout: seconds that a whole call may take, retries included. An attempt may be silent
        for a third of it. Streamed answers may take longer while they bring a KiB a second.
    :ivar proxy_url: an HTTP proxy to go through.
    :ivar verify_tls: check certificates, against ``ca_certificate`` if that is given.
    """

    timeout: float = 60.0
    proxy_url: str | None = field(default=None, repr=False)  # may have a password in it
    verify_tls: bool = True
    ca_certificate: str | None = None

    def verify(self) -> bool | str:
        """
        For requests; Libcloud's own two settings are honoured at every request.

        :raises ConfigurationError: Libcloud's is no path.
        """
        if not (self.verify_tls and libcloud.security.VERIFY_SSL_CERT):
            return False
        if self.ca_certificate:
            return self.ca_certificate
        trusted = libcloud.security.CA_CERTS_PATH
        if isinstance(trusted, list) and trusted:  # of Libcloud 0.x, which 3.9 takes so, too
            warnings.warn(
                "libcloud.security.CA_CERTS_PATH is a list, of which only the first path is used",
                DeprecationWarning,
                stacklevel=2,
            )
            trusted = trusted[0]
        try:
            return os.fsdecode("" if trusted is None else trusted) or True
        except TypeError:
            raise ConfigurationError(
                f"libcloud.security.CA_CERTS_PATH is not the path of a file: {trusted!r}"
            ) from None


@dataclass(frozen=True)
class Answer:
    """
    A successful answer whose body is still to be read.

    :ivar pieces: the body, decompressed, bounded in size and time.
    """

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes] = field(repr=False)

    @property
    def content_type(self) -> str:
        """The media type, lower-case and without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def body(self) -> bytes:
        """All of the body, of 64 MiB at most."""
        return b"".join(_bounded(self.pieces, _LARGEST_HELD))


class Service:
    """
    One service of one site, to be shared by threads.

    Idle sessions are kept on a stack. A call borrows one and gives it back once the answer was
    read whole, so that successive calls use one connection, and n simultaneous ones n.
    """

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials | None,
        options: HTTPOptions,
        *,
        url: str | None = None,
        basic: bool = True,
    ) -> None:
        """
        :param endpoint: the service as users know it, for messages.
        :param url: where its paths begin, if that differs.
        :param basic: send user name and password as HTTP Basic.
        """
        self.endpoint = endpoint
        self._url = url or endpoint
        self._options = options
        self._idle: list[Session] = []
        self._headers = {
            "User-Agent": "stratuslab-libcloud-drivers",
            "Accept-Encoding": _ENCODINGS,
        }
        self._certificate: tuple[str, str] | None = None
        secrets = _secrets_of(options.proxy_url or "")
        if isinstance(credentials, Password):
            try:
                login = f"{credentials.username}:{credentials.password}".encode()
            except UnicodeEncodeError:
                raise ConfigurationError(
                    "the user name or the password is not Unicode text"
                ) from None
            if basic:
                self._headers["Authorization"] = f"Basic {_base64(login)}"
            secrets += [credentials.password, login.decode(), _base64(login)]
        elif isinstance(credentials, Certificate):
            self._certificate = _checked(credentials)
        self._masked = mask(secrets)
        if options.ca_certificate and options.verify_tls:
            _check_authority(options.ca_certificate)

    def send(
        self,
        method: str,
        path: str,
        read: Callable[[Answer], T],
        *,
        accept: str,
        body: bytes | None = None,
        content_type: str | None = None,
        lost: str | None = None,
        absent: str | None = None,
        streamed: bool = False,
        timeout: float | None = None,
    ) -> T:
        """
        Send one request, and again while that is harmless and a fault may have passed.

        :param path: what comes after the service's URL.
        :param read: turns the answer into the result; called anew for each attempt.
        :param lost: for a request that must not be sent twice: what may have happened when no
            answer came, and how to find out.
        :param absent: for a request that is about no particular thing: what 404 suggests.
        :param streamed: the body may take longer while it keeps coming.
        :param timeout: instead of the service's own.
        :raises StratusLabError: one line, with this service's URL and no secret.
        """
        limit = timeout or self._options.timeout
        # A request that has one chance may use up all its time, and so may a site in a listing.
        silence = limit if lost or timeout else limit / _ATTEMPTS
        request = _Request(
            method, f"{self._url}{path}", {"Accept": accept, **self._headers}, body, streamed
        )
        if content_type:
            request.headers["Content-Type"] = content_type
        begun = time.monotonic()
        attempts = 1 if lost else _ATTEMPTS
        retried = False
        for attempt in range(attempts):
            try:
                return self._attempt(request, read, silence, begun + limit)
            except StratusLabError as error:
                error.endpoint = self.endpoint
                error.value = one_line(self._masked(error.value))
                error.args = (error.value,)
                error.retried = retried
                retried = retried or in_doubt(error)
                if absent and error.http_code == 404:
                    raise misdirected(error, absent) from error
                if lost:
                    raise with_doubt(error, lost) from error.__cause__
                pause = _pause(error, attempt)
                waited = time.monotonic() - begun
                if attempt + 1 == attempts or pause is None or waited + pause > _ENOUGH * limit:
                    if attempt and error.passing:
                        error.value += f" (attempt {attempt + 1}; {waited:.3g} s in all)"
                        error.args = (error.value,)
                    raise
                time.sleep(pause)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the idle sessions; a later call opens a new one."""
        with contextlib.suppress(IndexError):  # not asked first: other threads take and bring
            while True:
                self._idle.pop().close()

    # -- one attempt ---------------------------------------------------------------------------

    def _attempt(
        self, request: "_Request", read: Callable[[Answer], T], silence: float, deadline: float
    ) -> T:
        try:
            session = self._idle.pop()
        except IndexError:
            session = Session()
        session.patience.sent = False
        try:
            with translated(session.patience):
                return self._exchange(session, request, read, silence, deadline)
        except MalformedAnswerError:
            session.close()  # what comes by that connection may be the answers to other requests
            raise
        except ConnectionFailedError as error:
            if not error.sent and isinstance(error.__cause__, requests.exceptions.SSLError):
                self._check_trusted()
            raise
        finally:
            self._idle.append(session)  # a connection that broke was dropped from it

    def _check_trusted(self) -> None:
        """Whether TLS failed for want of authorities: the file that Libcloud names may be any."""
        trusted = self._options.verify()
        if isinstance(trusted, str) and not os.path.isdir(trusted):
            _check_authority(trusted)

    def _exchange(
        self,
        session: Session,
        request: "_Request",
        read: Callable[[Answer], T],
        silence: float,
        deadline: float,
        redirected: bool = False,
    ) -> T:
        patience = session.patience
        patience.begin(silence, deadline, streamed=request.streamed)
        self._log(f"> {request.method} {request.url}", request.body)
        response = session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            stream=True,
            timeout=patience.silence,
            allow_redirects=False,
            verify=self._options.verify(),
            cert=self._certificate,
            proxies=proxies(request.url, self._options.proxy_url),
        )
        try:
            _check_encoding(response)
            pieces = _pieces(response, _LARGEST_ANSWER if request.streamed else _LARGEST_HELD)
            target = _same_origin_target(request, response)
            if not target or redirected:
                return self._read(request, response, pieces, read)
            for _ in pieces:
                pass
        finally:
            response.close()
        request = replace(request, url=target)
        return self._exchange(session, request, read, silence, deadline, redirected=True)

    def _read(
        self,
        request: "_Request",
        response: requests.Response,
        pieces: Iterator[bytes],
        read: Callable[[Answer], T],
    ) -> T:
        status, headers = response.status_code, response.headers
        if 300 <= status < 400 and not (status == 303 and request.method == "PUT"):
            raise _final(
                f"redirects to {_shown(headers.get('Location', '?'))}, which is not followed; "
                "is the endpoint right?",
                status,
            )
        if status >= 400:
            text = explanation(Answer(status, headers, pieces).content_type, pieces)
            self._log(f"< {status} {request.url}", text.encode())
            if status == 403 and self._certificate and not text:
                raise CredentialsError(
                    "HTTP 403 Forbidden", advice="is this certificate known there?", http_code=403
                )
            raise refusal(status, response.reason or "", text, headers.get("Retry-After"))
        if not request.streamed:
            whole = b"".join(pieces)
            self._log(f"< {status} {request.url}", whole)
            return _understood(read, Answer(status, headers, iter((whole,))))
        self._log(f"< {status} {request.url} (streamed)")
        result = _understood(read, Answer(status, headers, pieces))
        for _ in pieces:
            pass  # what was not read, so that the connection can be used again
        return result

    def _log(self, line: str, body: bytes | None = None) -> None:
        debug_log.write(line, body, self._masked)


@dataclass(frozen=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    streamed: bool


def _understood(read: Callable[[Answer], T], answer: Answer) -> T:
    try:
        return read(answer)
    except (xml.UnsafeXMLError, rdf.MetadataError, RecursionError) as error:
        # Not chained: its text is here, where secrets in it will be masked.
        text = f"the answer cannot be read: {error}"
        if isinstance(error, xml.TooMuchError):
            raise _final(text) from None
        raise MalformedAnswerError(text) from None


def _pause(error: StratusLabError, attempt: int) -> float | None:
    """Seconds to wait before another attempt; ``None``: it would be no use."""
    if not error.passing:
        return None
    asked_for = error.retry_after if isinstance(error, UnavailableError) else 0.0
    return max(asked_for, float(_FIRST_PAUSE * 2**attempt))


def _pieces(response: requests.Response, largest: int) -> Iterator[bytes]:
    """The decompressed body; ``read1``, as ``read`` would wait for a whole piece to drip in."""
    return _bounded(iter(lambda: response.raw.read1(_PIECE, decode_content=True), b""), largest)


def _bounded(pieces: Iterator[bytes], largest: int) -> Iterator[bytes]:
    total = 0
    for number, piece in enumerate(pieces):
        total += len(piece)
        if total > largest:
            raise _final(f"the answer is larger than {largest >> 20} MiB")
        if number > largest >> 10:
            raise _final(f"the answer comes in more than {largest >> 10:,} pieces")
        yield piece


def _final(text: str, http_code: int | None = None) -> MalformedAnswerError:
    error = MalformedAnswerError(text, http_code=http_code)
    error.passing = False
    return error


def _check_encoding(response: requests.Response) -> None:
    """Encodings within encodings could make terabytes of one piece."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "x-gzip", *_ENCODINGS.split(", ")):
        raise MalformedAnswerError(
            f"the answer is encoded as {encoding!r}, which it was not asked to be"
        )


def _same_origin_target(request: _Request, response: requests.Response) -> str | None:
    location = response.headers.get("Location")
    if request.method != "GET" or not location or not 300 < response.status_code < 309:
        return None
    try:
        target = urljoin(request.url, location)
        same = endpoints.origin(request.url) == endpoints.origin(target)
    except ValueError:
        return None
    return target if same else None


def _checked(credentials: Certificate) -> tuple[str, str]:
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


def _check_authority(path: str) -> None:
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


def _secrets_of(proxy_url: str) -> list[str]:
    """The password in a proxy's URL, and how it is sent."""
    parts = urlsplit(proxy_url)
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    return [password, _base64(f"{username}:{password}".encode())] if password else []


def _base64(login: bytes) -> str:
    return base64.b64encode(login).decode("ascii")


def _shown(url: str) -> str:
    """A foreign URL without what may be secret in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is none"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path
