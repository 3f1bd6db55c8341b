"""
Sessions of requests in which every wait ends in time.

urllib3 allows the whole time-out for each address of a host. http.client reads the head of an
answer, the sizes of chunks and every "100 Continue" with a time-out for each single read, so that
an answer that drips would never end. Here one clock governs connecting, sending and reading. It
also records whether the request was sent.
"""

import http.client
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from stratuslab_libcloud.client.http.connecting import connect
from stratuslab_libcloud.errors import ConnectionFailedError, MalformedAnswerError

__all__ = ["Patience", "Session"]

_PIECE = 16 * 1024  # bytes sent at a time
_LEAST_PER_SECOND = 1024  # bytes a second that a streamed body must bring
_MOST_RECEIVED = 256 * 1024 * 1024  # bytes, before unpacking


@dataclass
class Patience:
    """
    How long an attempt at a request may take, and how far it has got.

    :ivar silence: seconds until the request must have been sent, which includes the look-up of the
        host, connecting, a proxy and TLS. The head of the answer may take as long again, and so may
        the body.
    :ivar deadline: when the answer must be complete, by the monotonic clock.
    :ivar streamed: whether the body may take longer as long as it brings 1 KiB a second.
    :ivar largest: bytes that the answer may have, before unpacking.
    :ivar uploads: whether the request, too, may take longer as long as it moves 1 KiB a second.
    :ivar uploaded: bytes of such a request that have been sent.
    :ivar sent: whether the first byte of the request may have been sent.
    :ivar begun: when the attempt began, by the monotonic clock.
    """

    silence: float = 0.0
    deadline: float = 0.0
    streamed: bool = False
    sent: bool = False
    begun: float = 0.0
    largest: int = 0
    uploads: bool = False
    uploaded: int = 0

    def begin(
        self,
        silence: float,
        deadline: float,
        *,
        streamed: bool,
        largest: int = 0,
        uploads: bool = False,
    ) -> None:
        """Start the clock for a request."""
        self.begun = time.monotonic()
        self.silence = max(0.01, min(silence, deadline - self.begun))
        self.deadline, self.streamed = deadline, streamed
        self.largest = largest or _MOST_RECEIVED
        self.uploads, self.uploaded = uploads, 0

    @property
    def end(self) -> float:
        """When the request must have been sent, by the monotonic clock."""
        return min(self.begun + self.silence, self.deadline) + self.granted

    @property
    def granted(self) -> float:
        """The further seconds that a body takes which has been sent so far."""
        return self.uploaded / _LEAST_PER_SECOND

    def left(self) -> float:
        """
        Return the seconds until :attr:`end`.

        :raises TimeoutError: time is up.
        """
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class Session(requests.Session):
    """
    A session for one thread at a time, which nothing but the configuration influences.

    :ivar patience: the clock of the current request; call its ``begin`` before each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patience = Patience()
        # Otherwise a .netrc file or REQUESTS_CA_BUNDLE would override the configuration.
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _TimedAdapter(self.patience)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: to follow one, requests would read the whole answer, without a limit."""
        return None


class _TimedAdapter(HTTPAdapter):
    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._latest: Any = (None, None)  # what a pool was found for, and the pool
        super().__init__(pool_connections=1, pool_maxsize=1)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> Any:
        """Make the pool use timed connections; requests calls this with and without a proxy."""
        # The same as for the request before, nearly always: to find it again takes long.
        wanted = urlsplit(request.url)[:2], verify, cert, proxies and dict(proxies)
        pool: Any
        found, pool = self._latest
        if found != wanted:
            self._latest = (None, None)  # what is made now may close it
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            pool.ConnectionCls = partial(_timed(type(pool).ConnectionCls), self._patience)
            self._latest = (wanted, pool)
        return pool

    def close(self) -> None:
        """Close the connections; a closed pool cannot be used again."""
        self._latest = (None, None)
        super().close()


@cache
def _timed(kind: type) -> type:
    return type(kind.__name__, (_TimedConnection, kind), {})


class _TimedConnection:
    """Mixed into each of urllib3's classes of connections."""

    def __init__(self, patience: Patience, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience
        # Also for a proxy's answer to CONNECT.
        self.response_class = partial(_TimedResponse, patience)

    def _new_conn(self: Any) -> Any:
        """Connect in time; urllib3 calls this, and lets subclasses override it."""
        if hasattr(self, "_socks_options"):  # SOCKS connects by a library of its own
            return super()._new_conn()  # type: ignore[misc]
        try:
            return connect(self._dns_host, self.port, self._patience.end, self.socket_options)
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error

    def _tunnel(self: Any) -> None:
        super()._tunnel()  # type: ignore[misc]
        self.sock.settimeout(self._patience.left())  # for the TLS handshake that follows

    def endheaders(self: Any, *arguments: Any, **options: Any) -> None:
        """Record that the request goes out; http.client calls this when it begins to send."""
        if self.sock is None:
            self.connect()
        self._patience.sent = True
        super().endheaders(*arguments, **options)  # type: ignore[misc]

    def send(self: Any, data: bytes) -> None:
        """Send in pieces: over TLS the time-out applies to each call."""
        for start in range(0, len(data), _PIECE):
            self.sock.settimeout(min(self._patience.left(), self._patience.silence))
            super().send(data[start : start + _PIECE])  # type: ignore[misc]
            if self._patience.uploads:
                self._patience.uploaded += len(data[start : start + _PIECE])


class _TimedResponse(http.client.HTTPResponse):
    fp: Any = None  # an interrupt may come before it is set, and Python closes it all the same

    def __init__(self, patience: Patience, sock: Any, **options: Any) -> None:
        super().__init__(sock, **options)
        buffered, self.fp = self.fp, None
        self._incoming = _TimedReader(buffered.detach(), sock, patience)
        self.fp = io.BufferedReader(self._incoming)

    def begin(self) -> None:
        super().begin()
        self._incoming.begin_body()

    def _read_status(self) -> tuple[str, int, str]:
        """Read the final status: http.client skips 100 but not 103 Early Hints (RFC 9110, 15.2)."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _TimedReader(io.RawIOBase):
    """Reads from a socket until time runs out."""

    _raw: Any = None  # likewise

    def __init__(self, raw: io.RawIOBase, sock: Any, patience: Patience) -> None:
        self._raw = raw
        self._socket = sock
        self._patience = patience
        self._begun = time.monotonic()
        self._received = 0
        self._in_body = False

    def begin_body(self) -> None:
        self._begun = time.monotonic()
        self._in_body = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end() - time.monotonic()
        if left <= 0:
            raise ConnectionFailedError("did not complete its answer in time")
        self._socket.settimeout(min(left, self._patience.silence))
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            if self._received:
                raise ConnectionFailedError("did not complete its answer in time") from None
            raise
        self._received += count or 0
        if self._received > self._patience.largest:
            largest = self._patience.largest >> 20
            raise MalformedAnswerError(f"the answer is larger than {largest} MiB")
        return count

    def close(self) -> None:
        if self._raw:
            self._raw.close()
        super().close()

    def _end(self) -> float:
        end = self._begun + self._patience.silence
        if self._in_body and self._patience.streamed:
            return end + self._received / _LEAST_PER_SECOND
        return min(end, self._patience.deadline + self._patience.granted)
