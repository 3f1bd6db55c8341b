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
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import urllib3

from stratuslab_libcloud.client.http.sessions import Patience
from stratuslab_libcloud.errors import (
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
from stratuslab_libcloud.untrusted import xml

__all__ = ["explanation", "in_doubt", "misdirected", "refusal", "translated", "with_doubt"]

_LARGEST_ERROR = 64 * 1024
_UNMET = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    ssl.SSLCertVerificationError,
)

_NETWORK = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException)
_WRONG = (  # not with the network, but with what was sent or came
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.InvalidHeader,
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
# What the builds of OpenSSL say of an answer in plain text.
_NOT_TLS = (
    "wrong version number",
    "packet length too long",
    "record layer failure",
    "unknown protocol",
    "http request",
)
_ADVICE = {401: "check user name and password", 429: "try again later"}


@contextmanager
def translated(patience: Patience) -> Iterator[None]:
    """
    Foreign exceptions become ours, here and nowhere else, whatever they are.

    :param patience: that of the attempt, which knows whether the request went out.
    """
    try:
        yield
    except StratusLabError as error:
        error.sent = patience.sent
        raise
    except Exception as error:
        failure = _failure(error, patience)
        failure.sent = patience.sent
        for cause in _causes(error):
            # Python 3.10 leaves a proxy's answer open; its frames would keep it so.
            traceback.clear_frames(cause.__traceback__)
        raise failure from error


def _failure(error: Exception, patience: Patience) -> StratusLabError:
    causes = list(_causes(error))
    if isinstance(error, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
        return _tls_failure(_reason(causes), patience.sent)
    if patience.sent:
        return _broken(error, causes, patience.silence)
    return _unmet(error, causes, patience.silence)


def _unmet(error: Exception, causes: list[BaseException], silence: float) -> StratusLabError:
    """Before anything of the request was sent."""
    # A ProxyError alone says little: urllib3 makes one of whatever breaks behind a proxy, too.
    proxy = isinstance(error, requests.exceptions.ProxyError) and _among(causes, *_UNMET)
    if proxy or any(map(_is_from_tunnel, causes)):
        return ConnectionFailedError(f"the proxy cannot be used: {_reason(causes)}")
    if _among(causes, socket.gaierror):
        return ConnectionFailedError("there is no host of that name; is the endpoint right?")
    if _among(causes, TimeoutError, urllib3.exceptions.ReadTimeoutError):
        return ConnectionFailedError(f"does not accept a connection within {silence:.3g} s")
    if _among(causes, ConnectionRefusedError):
        return ConnectionFailedError(
            "the connection was refused; is the service up, the port right?"
        )
    if isinstance(error, _NETWORK) and type(error) is not OSError and not _among(causes, *_WRONG):
        return ConnectionFailedError(f"cannot be connected to: {_reason(causes)}")
    # An OSError of requests': a file that it was to use is not there.
    return ConfigurationError(f"the request cannot be sent: {error}")


def _broken(error: Exception, causes: list[BaseException], silence: float) -> StratusLabError:
    """When the request, or a part of it, had been sent."""
    if _among(causes, urllib3.exceptions.DecodeError, zlib.error):
        return MalformedAnswerError("the answer is not compressed as it says it is")
    if not isinstance(error, _NETWORK) or _among(causes, *_WRONG):
        return MalformedAnswerError(f"the answer cannot be understood: {error}")
    if _among(causes, TimeoutError, urllib3.exceptions.TimeoutError):
        return ConnectionFailedError(f"did not answer for {silence:.3g} s")
    if _among(causes, http.client.RemoteDisconnected):
        return ConnectionFailedError("closed the connection without an answer")
    if _among(causes, http.client.HTTPException) and not _among(causes, http.client.IncompleteRead):
        return ConnectionFailedError("does not speak HTTP; is the endpoint right?")
    return ConnectionFailedError(f"the connection broke before the whole answer: {_reason(causes)}")


def _among(causes: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _tls_failure(reason: str, sent: bool) -> ConnectionFailedError:
    failure = ConnectionFailedError(f"TLS failed: {reason}")
    if "certificate verify failed" in reason or "doesn't match" in reason:
        failure.value = f"its TLS certificate is not trusted ({reason}); {_tls_advice(reason)}"
    elif not sent and any(text in reason.lower() for text in _NOT_TLS):
        failure.value = "does not speak TLS; is it http, not https?"
    elif "alert" in reason:
        failure.value = f"refused the TLS connection, or its certificate ({reason})"
    else:
        return failure
    failure.passing = False
    return failure


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
    error.said = text.strip()
    if isinstance(error, UnavailableError):
        error.retry_after = _seconds(retry_after or "")
        error.refused = status == 429
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
            return "".join(map(str, xml.parse(body).itertext()))
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


def in_doubt(error: StratusLabError) -> bool:
    """Whether a request may have had its effect all the same: it was sent, and not refused."""
    return error.sent and not (isinstance(error, ServiceError) and error.refused)


def with_doubt(error: StratusLabError, lost: str) -> StratusLabError:
    """For a request that is sent once: say so where it may have had its effect."""
    if not in_doubt(error):
        return error
    if isinstance(error, ConnectionFailedError):
        doubtful = LostAnswerError(error.value, advice=lost)
        doubtful.endpoint = error.endpoint
        return doubtful
    error.advice = lost
    return error
