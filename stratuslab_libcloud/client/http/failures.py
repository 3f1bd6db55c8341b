"""
Translate failures: the exceptions of requests and urllib3, and answers that report an error.

With :mod:`.service` this is the border to requests; no foreign exception gets past it.
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
    MalformedAnswerError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    ServiceError,
    StratusLabError,
    UnavailableError,
)
from stratuslab_libcloud.untrusted import xml

__all__ = ["explanation", "refusal", "translated"]

_LARGEST_ERROR = 64 * 1024
_UNMET = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    ssl.SSLCertVerificationError,
)

_NETWORK = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException)
_WRONG = (  # the fault is in what was sent or received, not in the network
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
# What the various builds of OpenSSL say about an answer in plain text.
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
    Turn every foreign exception of a block into one of ours; this happens nowhere else.

    :param patience: the attempt's clock, which knows whether the request was sent.
    """
    try:
        yield
    except StratusLabError:
        raise
    except Exception as error:
        failure = _failure(error, patience)
        for cause in _causes(error):
            # Python 3.10 leaves a proxy's answer open, and these frames would keep it open.
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
    """Describe a failure before any part of the request was sent."""
    # A ProxyError alone says little: urllib3 also raises it for what breaks behind the proxy.
    proxy = isinstance(error, requests.exceptions.ProxyError) and _among(causes, *_UNMET)
    if proxy or any(map(_is_from_tunnel, causes)):
        return ConnectionFailedError(f"the proxy cannot be used: {_reason(causes)}")
    if _among(causes, socket.gaierror):
        return ConnectionFailedError("the host name cannot be resolved; is the endpoint right?")
    if _among(causes, TimeoutError, urllib3.exceptions.ReadTimeoutError):
        return ConnectionFailedError(f"does not accept a connection within {silence:.3g} s")
    if _among(causes, ConnectionRefusedError):
        return ConnectionFailedError(
            "the connection was refused; is the service running, and the port right?"
        )
    if isinstance(error, _NETWORK) and type(error) is not OSError and not _among(causes, *_WRONG):
        return ConnectionFailedError(f"the connection failed: {_reason(causes)}")
    # A plain OSError from requests: a file that it needs does not exist.
    return ConfigurationError(f"the request cannot be sent: {error}")


def _broken(error: Exception, causes: list[BaseException], silence: float) -> StratusLabError:
    """Describe a failure after the request, or a part of it, was sent."""
    if _among(causes, urllib3.exceptions.DecodeError, zlib.error):
        return MalformedAnswerError("the answer cannot be decompressed")
    if not isinstance(error, _NETWORK) or _among(causes, *_WRONG):
        return MalformedAnswerError(f"the answer cannot be understood: {error}")
    if _among(causes, TimeoutError, urllib3.exceptions.TimeoutError):
        return ConnectionFailedError(f"did not answer for {silence:.3g} s")
    if _among(causes, http.client.RemoteDisconnected):
        return ConnectionFailedError("closed the connection without an answer")
    if _among(causes, http.client.HTTPException) and not _among(causes, http.client.IncompleteRead):
        return ConnectionFailedError("does not speak HTTP; is the endpoint right?")
    return ConnectionFailedError(
        f"the connection broke before the answer was complete: {_reason(causes)}"
    )


def _among(causes: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _tls_failure(reason: str, sent: bool) -> ConnectionFailedError:
    if "certificate verify failed" in reason or "doesn't match" in reason:
        text = f"its TLS certificate is not trusted ({reason}); {_tls_advice(reason)}"
    elif not sent and any(text in reason.lower() for text in _NOT_TLS):
        text = "does not speak TLS; is it http, not https?"
    elif "alert" in reason:
        text = f"refused the TLS connection, or its certificate ({reason})"
    else:
        return ConnectionFailedError(f"TLS failed: {reason}")
    return ConnectionFailedError(text, passing=False)


def _tls_advice(reason: str) -> str:
    if "mismatch" in reason or "doesn't match" in reason:
        return "use the host name that the certificate is for in the endpoint"
    if "expired" in reason or "not yet valid" in reason:
        return "ask the operator to renew it, or check this machine's clock"
    return "if the cloud uses its own CA, set ca_certificate to that CA's file"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it wraps, by argument, attribute, cause or context."""
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
    """Whether http.client reports that a proxy refused to CONNECT."""
    return type(cause) is OSError and str(cause).startswith("Tunnel connection failed")


def _reason(causes: list[BaseException]) -> str:
    """Choose the plainest text among the causes of an error."""
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
    """Build the error for an HTTP status of 400 or more, with the explanation of the service."""
    kind = _BY_STATUS.get(status, UnavailableError if status >= 500 else ServiceError)
    value = f"{text.strip()} (HTTP {status})" if text.strip() else f"HTTP {status} {reason}".strip()
    details: dict[str, Any] = {
        "advice": _ADVICE.get(status, ""),
        "http_code": status,
        "said": text.strip(),
    }
    if kind is UnavailableError:
        seconds, refused = _seconds(retry_after or ""), status == 429
        return UnavailableError(value, retry_after=seconds, refused=refused, **details)
    return kind(value, **details)


def _seconds(retry_after: str) -> float:
    """Parse ``Retry-After``: a number of seconds, or a date (RFC 9110, 10.2.3)."""
    if retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def explanation(content_type: str, pieces: Iterator[bytes]) -> str:
    """Extract the explanation from an error answer in JSON, XML or plain text; ``""`` from HTML."""
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
    """Read ``{"message": …}`` (pdisk-rest 4.3) or ``{"404": …}`` (marketplace-rest 1.4)."""
    if not isinstance(document, dict):
        return ""
    message = document.get("message", next(iter(document.values()), ""))
    return " ".join(map(str, message)) if isinstance(message, list) else str(message)
