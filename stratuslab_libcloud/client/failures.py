"""
Failures in our words: the exceptions of requests and urllib3, and answers that say no.

The other side of transport.py's border; nothing foreign comes past it.
"""

import http.client
import json
import re
import socket
import ssl
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3

from stratuslab_libcloud import safe_xml
from stratuslab_libcloud.client.errors import (
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    CredentialsError,
    LostAnswerError,
    MalformedAnswerError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    ServiceError,
    StratusLabError,
    UnavailableError,
)

__all__ = ["explanation", "misdirected", "refusal", "translated", "with_doubt"]

_LARGEST_ERROR = 64 * 1024
_UNSENDABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.LocationValueError,
)
_UNMET = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    ssl.SSLCertVerificationError,
)

_BY_STATUS: dict[int, type[ServiceError]] = {
    401: CredentialsError,
    403: NotPermittedError,
    404: NotFoundError,
    405: NotSupportedError,
    409: ConflictError,
    429: UnavailableError,
    501: NotSupportedError,
}
_ADVICE = {401: "check user name and password", 429: "try again later"}


@contextmanager
def translated(silence: float) -> Iterator[None]:
    """
    Foreign exceptions become ours, here and nowhere else.

    :param silence: seconds that the service may say nothing.
    """
    try:
        yield
    except StratusLabError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        failure = _failure(error, silence)
        for cause in _causes(error):
            # Python 3.10 leaves a proxy's answer open; its frames would keep it so.
            traceback.clear_frames(cause.__traceback__)
        raise failure from error


def _failure(error: BaseException, silence: float) -> StratusLabError:
    causes = list(_causes(error))

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if among(*_UNSENDABLE):
        return ConfigurationError(f"the request cannot be sent: {error}")
    if among(urllib3.exceptions.DecodeError):
        return MalformedAnswerError("the answer is not compressed as it says it is")
    if isinstance(error, ValueError) and not isinstance(error, requests.RequestException):
        return MalformedAnswerError(f"the answer cannot be understood: {error}")
    if type(error) is OSError:  # requests': a file that it was to use is not there
        return ConfigurationError(f"the request cannot be sent: {error}")
    if isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
        return _tls_failure(_reason(causes))
    # A ProxyError alone says little: urllib3 makes one of whatever breaks behind a proxy, too.
    unmet = isinstance(error, requests.exceptions.ProxyError) and among(*_UNMET)
    if unmet or any(map(_is_from_tunnel, causes)):
        return _unsent(f"the proxy cannot be used: {_reason(causes)}")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _unsent(f"does not accept a connection within {silence:.3g} s")
    if among(socket.gaierror):
        return _unsent("there is no host of that name; is the endpoint right?")
    if among(ConnectionRefusedError):
        return _unsent("the connection was refused; is the service up, the port right?")
    if among(urllib3.exceptions.NewConnectionError):
        return _unsent(f"cannot be connected to: {_reason(causes)}")
    if among(TimeoutError, urllib3.exceptions.TimeoutError):
        return ConnectionFailedError(f"did not answer for {silence:.3g} s")
    if among(http.client.RemoteDisconnected):
        return ConnectionFailedError("closed the connection without an answer")
    if among(http.client.HTTPException) and not among(http.client.IncompleteRead):
        return ConnectionFailedError("does not speak HTTP; is the endpoint right?")
    return ConnectionFailedError(f"the connection broke before the whole answer: {_reason(causes)}")


def _unsent(text: str, passing: bool = True) -> ConnectionFailedError:
    error = ConnectionFailedError(text)
    error.sent, error.passing = False, passing
    return error


def _tls_failure(reason: str) -> ConnectionFailedError:
    if "certificate verify failed" in reason or "doesn't match" in reason:
        return _unsent(
            f"its TLS certificate is not trusted ({reason}); {_tls_advice(reason)}", passing=False
        )
    if "wrong version number" in reason.lower():
        return _unsent("does not speak TLS; is it http, not https?", passing=False)
    if "alert" in reason:
        return _unsent(f"refused the TLS connection, or its certificate ({reason})", passing=False)
    return ConnectionFailedError(f"TLS failed: {reason}")


def _tls_advice(reason: str) -> str:
    if "mismatch" in reason or "doesn't match" in reason:
        return "the endpoint has to name the host as its certificate does"
    if "expired" in reason or "not yet valid" in reason:
        return "the cloud has to renew it, unless the clock is wrong here"
    return "if it is the cloud's own, name its authority's file with ca_certificate"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps: requests and urllib3 nest by argument, attribute and cause."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [*cause.args, getattr(cause, "reason", None), cause.__cause__]
            waiting.append(cause.__context__)


def _is_from_tunnel(cause: BaseException) -> bool:
    """Whether http.client tells that a proxy refused to CONNECT."""
    return type(cause) is OSError and str(cause).startswith("Tunnel connection failed")


def _reason(causes: list[BaseException]) -> str:
    """The plainest text among the causes of an error."""
    texts = []
    for cause in causes:
        verification = getattr(cause, "verify_message", None)
        if verification:
            return f"certificate verify failed: {verification.rstrip('.')}"
        if _is_from_tunnel(cause):
            return str(cause)
        if isinstance(cause, OSError) and cause.strerror:
            texts.append(re.sub(r" \(_ssl\.c:[0-9]+\)|\[SSL: \w+\] ", "", str(cause.strerror)))
    return texts[-1] if texts else type(causes[0]).__name__


def refusal(status: int, reason: str, text: str, retry_after: str | None) -> ServiceError:
    """The error for an answer of 400 or more, with what the service says about it."""
    kind = _BY_STATUS.get(status, UnavailableError if status >= 500 else ServiceError)
    said = f"{text.strip()} (HTTP {status})" if text.strip() else f"HTTP {status} {reason}".strip()
    error = kind(said, advice=_ADVICE.get(status, ""), http_code=status)
    if isinstance(error, UnavailableError):
        error.retry_after = _seconds(retry_after or "")
    return error


def _seconds(retry_after: str) -> float:
    """Seconds to wait: a number of them, or a date (RFC 9110, 10.2.3)."""
    if retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def explanation(content_type: str, pieces: Iterator[bytes]) -> str:
    """What an error answer says in words: JSON, XML or plain text; nothing from HTML."""
    body = b""
    for piece in pieces:
        body += piece
        if len(body) > _LARGEST_ERROR:
            break
    try:
        if content_type.endswith("json"):
            return _json_message(json.loads(body))
        if content_type.endswith("xml"):
            return "".join(map(str, safe_xml.parse(body).itertext()))
        if content_type == "text/plain":
            return body.decode("utf-8", "replace")
    except (ValueError, RecursionError):
        pass
    return ""


def _json_message(document: Any) -> str:
    """``{"message": text or list}`` (pdisk-rest 4.3), ``{"404": text}`` (marketplace-rest 1.4)."""
    if not isinstance(document, dict):
        return ""
    message = document.get("message", next(iter(document.values()), ""))
    return " ".join(map(str, message)) if isinstance(message, list) else str(message)


def misdirected(error: StratusLabError, absent: str) -> ServiceError:
    """For a request about no particular thing: 404 means that the service is not there."""
    wrong = ServiceError(error.value, advice=absent, http_code=404)
    wrong.endpoint = error.endpoint
    return wrong


def with_doubt(error: StratusLabError, lost: str) -> StratusLabError:
    """For a request that is sent once: say so where it may have had its effect all the same."""
    if isinstance(error, ConnectionFailedError) and error.sent:
        doubtful = LostAnswerError(error.value, advice=lost)
        doubtful.endpoint = error.endpoint
        return doubtful
    if isinstance(error, (MalformedAnswerError, UnavailableError)) and error.http_code != 429:
        error.advice = lost
    return error
