"""
Downloads that always end, whatever the server does, and that end at once when they are stopped.

A socket's time-out applies to each read, and http.client reads the whole head of an answer: from a
server that drips it would read for ever. So a thread watches each download, and shuts its
connection down.
"""

import contextlib
import socket
import threading
import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from stratuslab_libcloud.sandbox.errors import MachineError

__all__ = ["Download", "Way"]

_SILENCE_SECONDS = 15.0
_SLOWEST = 1024  # bytes a second
_POLL_SECONDS = 0.1
_REDIRECTS = 5

# Returns ``verify`` and ``proxies`` for a URL, as requests takes them.
Way = Callable[[str], Mapping[str, Any]]


class Download:
    """
    One download, watched within a ``with`` block.

    Connecting and the head of the answer may take ``_SILENCE_SECONDS``; then the body must bring
    at least ``_SLOWEST`` bytes a second.

    :param stop: set when the download is no longer needed.
    :ivar received: the bytes of the body received so far, before unpacking.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.received = 0
        self._stop = stop
        self._why = ""  # it was cut off, if not empty
        self._url = ""
        self._reading = False
        self._waited, self._before = 0.0, 0
        self._done = threading.Event()
        self._socket: socket.socket | None = None
        self._answer: requests.Response | None = None
        self._session = _Session(self._connect)
        self._thread = threading.Thread(target=self._watch, name="sandbox download", daemon=True)

    def __enter__(self) -> "Download":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        if self._answer is not None:
            self._answer.close()
        self._session.close()
        self._hold(None)

    def get(self, url: str, way: Way, accept: str = "*/*") -> requests.Response:
        """
        Return the head of the answer, after following redirects.

        :param way: called for each URL.
        :raises MachineError: there is no answer, or there are too many redirects.
        """
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        for _ in range(_REDIRECTS + 1):
            self._begin()
            self._url = url
            try:
                self._answer = self._session.get(
                    url,
                    headers=headers,
                    timeout=2 * _SILENCE_SECONDS,  # the watching thread acts first
                    stream=True,
                    allow_redirects=False,
                    **way(url),
                )
                target = self._redirect_target()
            except (OSError, ValueError, HTTPError) as error:  # those of requests are OSErrors
                self._check()
                raise MachineError(f"{url} cannot be fetched: {_reason(error)}") from error
            finally:
                self._reading = False
            if not target:
                self._waited = 0.0
                return self._answer
            self._answer.close()
            url = target
        raise MachineError(f"{url} cannot be fetched: there are more than {_REDIRECTS} redirects")

    def _redirect_target(self) -> str | None:
        answer = self._answer
        if answer is None or answer.status_code not in (301, 302, 303, 307, 308):
            return None
        location = answer.headers.get("Location")
        return urljoin(self._url, location) if location else None

    def read(self, size: int) -> bytes:
        """
        Read the next part of the body, at most ``size`` bytes; none at its end.

        :raises MachineError: the download broke off, was too slow or was stopped.
        """
        if self._answer is None:
            return b""
        self._begin(anew=False)
        try:
            data = bytes(self._answer.raw.read1(size))
        except (OSError, HTTPError) as error:
            self._check()
            raise MachineError(f"{self._url} broke off: {_reason(error)}") from error
        finally:
            self._reading = False
        self._check()  # after a shutdown, reading finds the end
        self.received += len(data)
        return data

    def _begin(self, anew: bool = True) -> None:
        self._check()
        if anew:
            self._waited, self._before = 0.0, self.received
        self._reading = True

    def _check(self) -> None:
        if self._stop.is_set():
            raise MachineError("the download was stopped")
        if self._why:
            raise MachineError(f"{self._url} {self._why}")

    # The watching thread.

    def _watch(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            if self._reading:  # the reader may take its time in between
                self._waited += _POLL_SECONDS
            if self._waited >= _SILENCE_SECONDS:
                if self.received - self._before < _SLOWEST * _SILENCE_SECONDS:
                    self._why = f"is too slow: it sends less than {_SLOWEST} bytes a second"
                self._waited, self._before = 0.0, self.received
            if self._why or self._stop.is_set():
                self._cut()

    def _cut(self) -> None:
        held = self._socket
        if held:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)

    def _hold(self, connection: socket.socket | None) -> None:
        held, self._socket = self._socket, connection and connection.dup()
        if held:
            held.close()

    # Connecting.

    def _connect(self, host: str, port: int) -> socket.socket:
        """Do as ``socket.create_connection()``, but let the watching thread interrupt it."""
        failure: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in self._resolve(host, port):
            self._check()
            connection = socket.socket(family, kind, protocol)
            self._hold(connection)
            connection.settimeout(2 * _SILENCE_SECONDS)
            try:
                connection.connect(address)
                return connection
            except OSError as error:
                connection.close()
                failure = error
        self._check()
        raise failure

    def _resolve(self, host: str, port: int) -> list[Any]:
        """Resolve a name, in a thread of its own, since nothing can interrupt that."""
        found: list[Any] = []
        failures: list[Exception] = []

        def ask() -> None:
            try:
                found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                failures.append(error)

        asking = threading.Thread(target=ask, name="sandbox resolver", daemon=True)
        asking.start()
        while asking.is_alive():
            asking.join(_POLL_SECONDS)
            self._check()
        for failure in failures:
            raise failure
        return found


class _Session(requests.Session):
    """A session that ignores the environment and follows no redirects."""

    def __init__(self, connect: Callable[[str, int], socket.socket]) -> None:
        super().__init__()
        self.trust_env = False  # a .netrc holds logins of this host's user
        adapter = _Adapter(connect)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: otherwise requests would read the whole answer."""
        return None


class _Adapter(HTTPAdapter):
    def __init__(self, connect: Callable[[str, int], socket.socket]) -> None:
        self._connect = connect
        super().__init__(pool_connections=1, pool_maxsize=1)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> Any:
        """Do as requests, but open the connections ourselves."""
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        pool.ConnectionCls = partial(_connection, type(pool).ConnectionCls, self._connect)
        return pool


def _connection(
    kind: Callable[..., Any], connect: Callable[[str, int], socket.socket], **options: Any
) -> Any:
    connection = kind(**options)
    connection._new_conn = lambda: connect(connection.host, connection.port)
    return connection


def _reason(error: BaseException) -> str:
    """Return the text of the innermost cause; the outer ones only name libraries."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
