"""
HTTP for all services: sessions, TLS, credentials, time-outs, retries.

This is the one border to requests and urllib3; :mod:`.failures` translates their exceptions.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import IO, TypeVar

import requests

from stratuslab_libcloud.client.http import debug_log
from stratuslab_libcloud.client.http.answer import (
    ENCODINGS,
    LARGEST_HELD,
    Answer,
    check_encoding,
    pieces_of,
)
from stratuslab_libcloud.client.http.credentials import (
    check_authority,
    checked_certificate,
    encoded,
    secrets_of,
)
from stratuslab_libcloud.client.http.failures import (
    explanation,
    refusal,
    translated,
)
from stratuslab_libcloud.client.http.masking import mask
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.proxies import proxies
from stratuslab_libcloud.client.http.redirects import Request, same_origin_target, shown
from stratuslab_libcloud.client.http.retries import ATTEMPTS, LATEST_START, pause_after
from stratuslab_libcloud.client.http.sessions import Session
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConnectionFailedError,
    CredentialsError,
    LostAnswerError,
    MalformedAnswerError,
    ServiceError,
    StratusLabError,
)
from stratuslab_libcloud.errors.asked import asking
from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.untrusted import xml

__all__ = ["Service", "read_answer"]

T = TypeVar("T")

_LARGEST_ANSWER = 640 * 1024 * 1024  # 100,000 entries are 500


class Service:
    """
    One service of one site. Threads can share it.

    Idle sessions are kept on a stack. A call borrows one and returns it once the whole answer has
    been read; so successive calls use one connection, and n simultaneous calls use n.
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
        :param endpoint: URL of the service as users know it, for messages.
        :param url: URL that paths are appended to, if that differs.
        :param basic: whether to send user name and password by HTTP Basic.
        :raises ConfigurationError: the credentials or the CA certificate cannot be used.
        """
        self.endpoint = endpoint
        self._url = url or endpoint
        self._options = options
        self._idle: list[Session] = []
        self._headers = {
            "User-Agent": "stratuslab-libcloud-drivers",
            "Accept-Encoding": ENCODINGS,
        }
        self._certificate: tuple[str, str] | None = None
        secrets = secrets_of(options.proxy_url or "")
        if isinstance(credentials, Password):
            try:
                login = f"{credentials.username}:{credentials.password}".encode()
            except UnicodeEncodeError:
                raise ConfigurationError(
                    "the user name or the password is not Unicode text"
                ) from None
            if basic:
                self._headers["Authorization"] = f"Basic {encoded(login)}"
            secrets += [credentials.password, login.decode(), encoded(login)]
        elif isinstance(credentials, Certificate):
            self._certificate = checked_certificate(credentials)
        self._masked = mask(secrets)
        if options.ca_certificate and options.verify_tls:
            check_authority(options.ca_certificate)

    def send(
        self,
        method: str,
        path: str,
        read: Callable[[Answer], T],
        *,
        accept: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        if_lost: str = "",
        if_not_found: str = "",
        streamed: bool = False,
        largest: int = 0,
        timeout: float | None = None,
    ) -> T:
        """
        Send one request, and repeat it while that is safe and the failure looks temporary.

        :param path: appended to the URL of the service.
        :param read: turns the answer into the result; called again for each attempt.
        :param body: bytes, or a file that is sent once, for as long as it keeps going.
        :param headers: further ones, as they are at each attempt.
        :param if_lost: advice for when the answer is lost: what may have happened, and how to find
            out. A request with such advice is sent only once.
        :param if_not_found: advice for HTTP 404, for a request that is about no particular thing:
            then it is the service that is not there.
        :param streamed: whether the body may take longer than that as long as it keeps coming.
        :param largest: bytes that a streamed answer may have; 0 for the usual.
        :param timeout: seconds; default: the service's own.
        :raises StratusLabError: with the endpoint, and without secrets.
        """
        limit = timeout or self._options.timeout
        # A request that is sent only once may use all its time, and so may one site in a listing.
        silence = limit if if_lost or timeout else limit / ATTEMPTS
        request = Request(
            method,
            f"{self._url}{path}",
            {"Accept": accept, **self._headers},
            body,
            streamed,
            largest,
        )
        if content_type:
            request.headers["Content-Type"] = content_type
        begun = time.monotonic()
        attempts = 1 if if_lost else ATTEMPTS
        retried = False
        for attempt in range(1, attempts + 1):
            with asking(
                endpoint=self.endpoint,
                attempt=attempt,
                begun=begun,
                retried=retried,
                doubt=if_lost,
                masked=self._masked,
            ):
                asked = replace(request, headers={**request.headers, **(headers or {})})
                try:
                    return self._attempt(asked, read, silence, begun + limit)
                except StratusLabError as error:
                    if if_not_found and error.http_code == 404:
                        raise ServiceError(
                            error.value, advice=if_not_found, http_code=404
                        ) from error
                    if if_lost and isinstance(error, ConnectionFailedError) and error.sent:
                        raise LostAnswerError(error.value, advice=if_lost) from error.__cause__
                    pause = pause_after(error, attempt)
                    waited = time.monotonic() - begun
                    if (
                        attempt == attempts
                        or pause is None
                        or waited + pause > LATEST_START * limit
                    ):
                        raise
                    retried = retried or error.in_doubt
            time.sleep(pause)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close the idle sessions; a later call opens a new one."""
        with contextlib.suppress(
            IndexError
        ):  # not checked first, as other threads take and return sessions
            while True:
                self._idle.pop().close()

    # -- one attempt ---------------------------------------------------------------------------

    def _attempt(
        self, request: Request, read: Callable[[Answer], T], silence: float, deadline: float
    ) -> T:
        try:
            session = self._idle.pop()
        except IndexError:
            session = Session()
        session.patience.sent = False
        try:
            with asking(sent=lambda: session.patience.sent), translated(session.patience):
                return self._exchange(session, request, read, silence, deadline)
        except MalformedAnswerError:
            session.close()  # this connection may now deliver the answers to other requests
            raise
        except ConnectionFailedError as error:
            if not error.sent and isinstance(error.__cause__, requests.exceptions.SSLError):
                self._check_trusted()
            raise
        finally:
            self._idle.append(session)  # which has dropped a broken connection by itself

    def _check_trusted(self) -> None:
        """Check the CA file after TLS has failed: Libcloud's setting may name any file."""
        trusted = self._options.verify()
        if isinstance(trusted, str) and not os.path.isdir(trusted):
            check_authority(trusted)

    def _exchange(
        self,
        session: Session,
        request: Request,
        read: Callable[[Answer], T],
        silence: float,
        deadline: float,
        redirected: bool = False,
    ) -> T:
        patience = session.patience
        patience.begin(
            silence,
            deadline,
            streamed=request.streamed,
            largest=request.largest,
            uploads=request.uploads,
        )
        shown_body = request.body if isinstance(request.body, bytes) else None
        self._log(f"> {request.method} {request.url}", shown_body)
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
            check_encoding(response)
            largest = (request.largest or _LARGEST_ANSWER) if request.streamed else LARGEST_HELD
            pieces = pieces_of(response, largest)
            target = same_origin_target(request, response)
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
        request: Request,
        response: requests.Response,
        pieces: Iterator[bytes],
        read: Callable[[Answer], T],
    ) -> T:
        status, headers = response.status_code, response.headers
        if 300 <= status < 400 and not (
            status == 303 and (request.method == "PUT" or request.uploads)
        ):
            raise MalformedAnswerError(
                f"redirects to {shown(headers.get('Location', '?'))}, which is not followed; "
                "is the endpoint right?",
                http_code=status,
                passing=False,
            )
        if status >= 400:
            text = explanation(Answer(status, headers, pieces).content_type, pieces)
            self._log(f"< {status} {request.url}", text.encode())
            if status == 403 and self._certificate and not text:
                raise CredentialsError(
                    "HTTP 403 Forbidden",
                    advice="is this certificate registered with the cloud?",
                    http_code=403,
                )
            raise refusal(status, response.reason or "", text, headers.get("Retry-After"))
        if not request.streamed:
            whole = b"".join(pieces)
            self._log(f"< {status} {request.url}", whole)
            return read_answer(read, Answer(status, headers, iter((whole,))))
        self._log(f"< {status} {request.url} (streamed)")
        result = read_answer(read, Answer(status, headers, pieces))
        for _ in pieces:
            pass  # the rest, so that the connection can be used again
        return result

    def _log(self, line: str, body: bytes | None = None) -> None:
        debug_log.write(line, body, self._masked)


def read_answer(read: Callable[[Answer], T], answer: Answer) -> T:
    """
    Read an answer.

    :raises MalformedAnswerError: it cannot be read.
    """
    try:
        return read(answer)
    except (xml.UnsafeXMLError, MetadataError, RecursionError) as error:
        # Not chained, as only our own text has its secrets masked.
        raise MalformedAnswerError(
            f"the answer cannot be read: {error}", passing=not isinstance(error, xml.TooMuchError)
        ) from None
