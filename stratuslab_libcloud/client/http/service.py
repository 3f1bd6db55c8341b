"""
HTTP for the three services: sessions, TLS, credentials, time-outs, retries.

This is the one border to requests and urllib3; failures.py puts what they raise in our words.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import requests

from stratuslab_libcloud.client.http import debug_log
from stratuslab_libcloud.client.http.answer import (
    ENCODINGS,
    LARGEST_HELD,
    Answer,
    check_encoding,
    final,
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
    in_doubt,
    misdirected,
    refusal,
    translated,
    with_doubt,
)
from stratuslab_libcloud.client.http.masking import mask
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.proxies import proxies
from stratuslab_libcloud.client.http.redirects import Request, same_origin_target, shown
from stratuslab_libcloud.client.http.retries import ATTEMPTS, ENOUGH, pause_after
from stratuslab_libcloud.client.http.sessions import Session
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConnectionFailedError,
    CredentialsError,
    MalformedAnswerError,
    StratusLabError,
)
from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.untrusted import xml
from stratuslab_libcloud.untrusted.text import one_line

__all__ = ["Service", "understood"]

T = TypeVar("T")

_LARGEST_ANSWER = 640 * 1024 * 1024  # 100,000 entries are 500


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
        self._secrets = secrets
        if options.ca_certificate and options.verify_tls:
            check_authority(options.ca_certificate)

    @cached_property
    def _masked(self) -> Callable[[str], str]:
        """Masks our secrets; made when a text may have them, as it takes milliseconds."""
        return mask(self._secrets)

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
        silence = limit if lost or timeout else limit / ATTEMPTS
        request = Request(
            method, f"{self._url}{path}", {"Accept": accept, **self._headers}, body, streamed
        )
        if content_type:
            request.headers["Content-Type"] = content_type
        begun = time.monotonic()
        attempts = 1 if lost else ATTEMPTS
        retried = False
        for attempt in range(attempts):
            try:
                return self._attempt(request, read, silence, begun + limit)
            except StratusLabError as error:
                error.endpoint = self.endpoint
                error.value = one_line(self._masked(error.value))
                error.said = one_line(self._masked(error.said))
                error.args = (error.value,)
                error.retried = retried
                retried = retried or in_doubt(error)
                if absent and error.http_code == 404:
                    raise misdirected(error, absent) from error
                if lost:
                    raise with_doubt(error, lost) from error.__cause__
                pause = pause_after(error, attempt)
                waited = time.monotonic() - begun
                if attempt + 1 == attempts or pause is None or waited + pause > ENOUGH * limit:
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
        self, request: Request, read: Callable[[Answer], T], silence: float, deadline: float
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
            check_encoding(response)
            pieces = pieces_of(response, _LARGEST_ANSWER if request.streamed else LARGEST_HELD)
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
        if 300 <= status < 400 and not (status == 303 and request.method == "PUT"):
            raise final(
                f"redirects to {shown(headers.get('Location', '?'))}, which is not followed; "
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
            return understood(read, Answer(status, headers, iter((whole,))))
        self._log(f"< {status} {request.url} (streamed)")
        result = understood(read, Answer(status, headers, pieces))
        for _ in pieces:
            pass  # what was not read, so that the connection can be used again
        return result

    def _log(self, line: str, body: bytes | None = None) -> None:
        debug_log.write(line, body, self._masked)


def understood(read: Callable[[Answer], T], answer: Answer) -> T:
    """
    What an answer says.

    :raises MalformedAnswerError: it cannot be read.
    """
    try:
        return read(answer)
    except (xml.UnsafeXMLError, MetadataError, RecursionError) as error:
        # Not chained: its text is here, where secrets in it will be masked.
        text = f"the answer cannot be read: {error}"
        if isinstance(error, xml.TooMuchError):
            raise final(text) from None
        raise MalformedAnswerError(text) from None
