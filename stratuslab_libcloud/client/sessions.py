"""
Sessions of requests whose answers end in time, however they come.

http.client reads the head of an answer to its end, and so the sizes of chunks, and skips every
"100 Continue". Its time-out is for each read: what drips would never end. So the reads themselves
know when to stop.
"""

import http.client
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from stratuslab_libcloud.client.errors import ConnectionFailedError, MalformedAnswerError

__all__ = ["Session"]

_SLOWEST = 1024  # bytes a second
_MOST = 256 * 1024 * 1024  # bytes that may come, whatever they unpack to: nothing, for instance


@dataclass
class Patience:
    """
    How long an answer is waited for.

    :ivar silence: seconds that may pass before anything comes. The head may take as long in all,
        and the body once more.
    :ivar deadline: when all must be there, by the monotonic clock.
    :ivar streamed: the body may take longer than that while it brings a KiB a second.
    """

    silence: float = 0.0
    deadline: float = 0.0
    streamed: bool = False


class Session(requests.Session):
    """
    A session that only the configuration can influence, for one thread at a time.

    :ivar patience: to be set before each request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patience = Patience()
        # A .netrc or REQUESTS_CA_BUNDLE would override what the configuration says.
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(self.patience)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Nowhere: to find out, requests would read the whole answer, bounded by nothing."""
        return None


class _Adapter(HTTPAdapter):
    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        super().__init__(pool_connections=1, pool_maxsize=1)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> Any:
        """As requests has it; with a proxy, too, all connections come from here."""
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        pool.ConnectionCls = partial(_connection, type(pool).ConnectionCls, self._patience)
        return pool


def _connection(
    kind: Callable[..., Any], patience: Patience, **options: Any
) -> http.client.HTTPConnection:
    connection: http.client.HTTPConnection = kind(**options)
    # For a proxy's answer to CONNECT, too.
    connection.response_class = partial(_Response, patience)  # type: ignore[assignment]
    return connection


class _Response(http.client.HTTPResponse):
    def __init__(self, patience: Patience, sock: Any, **options: Any) -> None:
        super().__init__(sock, **options)
        self._incoming = _Incoming(self.fp.detach(), sock, patience)
        self.fp = io.BufferedReader(self._incoming)

    def begin(self) -> None:
        super().begin()
        self._incoming.begin_body()


class _Incoming(io.RawIOBase):
    """What a socket receives, until patience runs out."""

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
            raise ConnectionFailedError("gave no whole answer in time")
        self._socket.settimeout(min(left, self._patience.silence))
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            if self._received:
                raise ConnectionFailedError("gave no whole answer in time") from None
            raise
        self._received += count or 0
        if self._received > _MOST:
            raise MalformedAnswerError(f"the answer is larger than {_MOST >> 20} MiB")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()

    def _end(self) -> float:
        end = self._begun + self._patience.silence
        if self._in_body and self._patience.streamed:
            return end + self._received / _SLOWEST
        return min(end, self._patience.deadline)
