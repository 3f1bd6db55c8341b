"""
The sandbox's one port: socket, TLS, threads, authentication, and which service answers.

A connection takes one of the threads only while it is being talked on. Whoever connects and says
nothing, before or after a TLS handshake, waits in the selector with the idle connections. Who stops
in the middle of a handshake or a request holds a thread for TALK_SECONDS.
"""

import hashlib
import hmac
import logging
import pathlib
import re
import secrets
import socket
import ssl
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import cheroot.errors
import cheroot.makefile
import cheroot.server
import cheroot.ssl
import cheroot.wsgi
import trustme
from cryptography import x509
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from stratuslab_libcloud.sandbox.compute import Compute
from stratuslab_libcloud.sandbox.doors import answer_call, answer_rest
from stratuslab_libcloud.sandbox.storage import Storage
from stratuslab_libcloud.sandbox.store import Account, SandboxError, Store, write_private

__all__ = ["Accounts", "Application", "Seen", "Server", "server_context", "user_certificate"]

THREADS = 32
IDLE_SECONDS = 75  # a silent connection is kept that long
TALK_SECONDS = 15  # a pause within a handshake or a request
MAX_CONNECTIONS = 500  # silent ones; more are closed
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
DOORS = ("pswd", "cert")
REALM = 'Basic realm="StratusLab Password Realm"'
CERTIFICATE = "stratuslab.certificate"  # in the environ: the peer's, as DER

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """A request and the status of its answer; ``peer`` (address, port) tells connections apart."""

    method: str
    path: str
    peer: tuple[str, int]
    status: int


class _Request(cheroot.server.HTTPRequest):
    def __init__(self, server: Any, conn: Any) -> None:
        # Not strict: clients whose endpoint ends in a slash ask for //metadata.
        super().__init__(server, conn, strict_mode=False)


class _Connection(cheroot.server.HTTPConnection):
    RequestHandlerClass = _Request

    def __init__(self, server: Any, sock: Any, makefile: Any = cheroot.makefile.MakeFile) -> None:
        super().__init__(server, sock, makefile)
        sock.settimeout(TALK_SECONDS)
        self._greeted = server.ssl_adapter is None

    def communicate(self) -> bool:
        """Do what the peer wants; True to wait in the selector for more."""
        if self._greeted or self._greet():
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        return self._greeted

    def _greet(self) -> bool:
        """Shake hands; True if the peer has spoken already, too."""
        try:
            self.socket.do_handshake()
        except OSError as error:
            if getattr(error, "reason", "") == "HTTP_REQUEST":
                self._refuse_plain_http()
            return False
        self._greeted = True
        self.ssl_env[CERTIFICATE] = self.socket.getpeercert(binary_form=True)
        return bool(self.socket.pending())

    def _refuse_plain_http(self) -> None:
        answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        try:
            # Below TLS. What was sent is read first: closing would else reset the connection.
            socket.socket.recv(self.socket, MAX_HEADER_BYTES)
            socket.socket.sendall(self.socket, answer)
        except OSError:
            log.debug("a plain HTTP client on the TLS port is gone", exc_info=True)


class _Adapter(cheroot.ssl.Adapter):
    """Leaves the handshake to the worker threads; cheroot's own does it while accepting."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def bind(self, sock: Any) -> Any:
        return sock

    def wrap(self, sock: Any) -> tuple[Any, dict[str, Any]]:
        try:
            wrapped = self.context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
        except OSError as error:  # the peer has gone already
            sock.close()
            raise cheroot.errors.FatalSSLAlert(*error.args) from error
        return wrapped, self.get_environ()

    def get_environ(self) -> dict[str, Any]:
        return {"wsgi.url_scheme": "https"}

    def makefile(self, sock: Any, mode: str = "r", bufsize: int = -1) -> Any:
        return cheroot.makefile.MakeFile(sock, mode, bufsize)


class Server(cheroot.wsgi.Server):
    """
    The HTTP server; ``prepare()`` takes the port, ``serve()`` serves until ``stop()``.

    :param tls: the context to wrap connections in, if any.
    """

    ConnectionClass = _Connection
    expiration_interval = 0.1  # also how long stop() may take to be noticed
    keep_alive_conn_limit = MAX_CONNECTIONS
    max_request_body_size = MAX_BODY_BYTES
    max_request_header_size = MAX_HEADER_BYTES

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            (host, port),
            None,
            numthreads=THREADS,
            server_name="sandbox",
            request_queue_size=128,
            timeout=IDLE_SECONDS,
            shutdown_timeout=1,
        )
        self.ssl_adapter = _Adapter(tls) if tls else None

    def process_conn(self, conn: Any) -> None:
        if conn.last_used is not None:
            super().process_conn(conn)  # it has something to say
        elif self.can_add_keepalive_connection:
            self.put_conn(conn)  # new
        else:
            conn.close()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        # What goes wrong on the wire is the peer's affair.
        wire = isinstance(sys.exc_info()[1], OSError)
        log.log(logging.DEBUG if wire else level, "%s", msg, exc_info=traceback)

    @staticmethod
    def bind_socket(socket_: socket.socket, bind_addr: tuple[str, int]) -> socket.socket:
        try:
            socket_.bind(bind_addr)
        except OSError as error:
            socket_.close()
            host, port = bind_addr
            raise SandboxError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        return socket_


class Accounts:
    """Who may come in. Passwords are kept as scrypt hashes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = secrets.token_bytes(32)
        self._verified: dict[bytes, Account] = {}  # by a MAC of name and password

    def enrol(self, passwords: Mapping[str, str], subjects: Iterable[str] = ()) -> None:
        """
        Make these the accounts that may come in; others keep what they have.

        :param passwords: user name to password.
        :param subjects: of certificates, as ``cryptography`` writes them (RFC 4514).
        """
        hashes: list[tuple[str, bytes | None, bytes | None]] = [(s, None, None) for s in subjects]
        for name, password in passwords.items():
            salt = secrets.token_bytes(16)
            hashes.append((name, salt, _hash(password, salt)))
        with self._store.transaction() as db:
            db.execute("UPDATE accounts SET salt = NULL, hash = NULL")
            db.executemany(
                # 0 and 1 are oneadmin and serveradmin on a real engine.
                "INSERT INTO accounts SELECT COALESCE(MAX(uid), 1) + 1, ?1, ?2, ?3 FROM accounts "
                "WHERE true ON CONFLICT (name) DO UPDATE SET salt = ?2, hash = ?3",
                hashes,
            )

    def by_password(self, name: str, password: str) -> Account | None:
        """The account, if the password is right."""
        proof = hmac.digest(self._key, f"{name}\0{password}".encode(), "sha256")
        if proof in self._verified:
            return self._verified[proof]
        with self._store.reading() as db:
            row = db.execute(
                "SELECT * FROM accounts WHERE name = ? AND hash IS NOT NULL", (name,)
            ).fetchone()
        # An unknown name takes as long as a wrong password.
        salt, expected = (row["salt"], row["hash"]) if row else (bytes(16), bytes(64))
        if not hmac.compare_digest(_hash(password, salt), expected) or row is None:
            return None
        account = self._verified[proof] = Account(row["uid"], row["name"])
        return account

    def by_certificate(self, der: bytes) -> Account | None:
        """The account of a certificate, or of the one that signed this proxy certificate."""
        name = x509.load_der_x509_certificate(der).subject.rfc4514_string()
        for prefix in (r"CN=proxy,", r"CN=[0-9]+,"):  # in that order, once each (1.6)
            name = re.sub(f"^{prefix}", "", name)
        with self._store.reading() as db:
            row = db.execute("SELECT * FROM accounts WHERE name = ?", (name,)).fetchone()
        return Account(row["uid"], row["name"]) if row else None


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << 12, r=8, p=1)


class Application:
    """
    Routing: both layouts of paths (design 5), whatever their number of slashes.

    :param marketplace: answers what comes after ``metadata``.
    :param on_request: called with each request before its answer is sent.
    """

    def __init__(
        self,
        accounts: Accounts,
        compute: Compute,
        storage: Storage,
        marketplace: Callable[[Request, list[str]], Response],
        on_request: Callable[[Seen], object] | None,
    ) -> None:
        self._accounts = accounts
        self._compute = compute
        self._storage = storage
        self._marketplace = marketplace
        self._on_request = on_request

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        # Raw: what was %2F is no separator.
        path = environ["REQUEST_URI"].partition("?")[0]
        try:
            # Always read: the next request on this connection comes after it (pdisk-rest 1.4).
            request.get_data()
            response = self._respond(request, path)
        except HTTPException as error:
            response = Response(error.description, error.code)
        except Exception:
            log.exception("%s %s", request.method, path)
            response = Response("Internal Server Error", 500)
        # The phrase is all that users of the original client see of an error.
        response.status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
        if self._on_request:
            peer = environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"])
            self._on_request(Seen(request.method, path, peer, response.status_code))
        return response(environ, start_response)

    def _respond(self, request: Request, path: str) -> Response:
        segments = [urllib.parse.unquote(segment) for segment in path.split("/") if segment]
        match segments:
            case ["metadata", *rest] | ["marketplace", "metadata", *rest]:
                return self._marketplace(request, rest)
            case ["one-proxy", door, "xmlrpc"] | [door, "xmlrpc"] if door in DOORS:
                account = self._authenticate(request, door)
                if isinstance(account, Response):
                    return account
                return answer_call(self._compute, request, account)
            case ["pdisk", door, *rest] | [door, *rest] if door in DOORS:
                account = self._authenticate(request, door)
                if isinstance(account, Response):
                    return account
                return answer_rest(self._storage, request, account, rest)
        return Response("There is nothing here.", 404)

    def _authenticate(self, request: Request, door: str) -> Account | Response:
        """Who asks, or the refusal. Only HTTP and TLS count, not the XML-RPC session."""
        if door == "cert":
            der = request.environ.get(CERTIFICATE)
            known = self._accounts.by_certificate(der) if der else None
            return known or Response("This needs a certificate that is known here.", 403)
        given = request.authorization
        account = None
        if given and given.type == "basic":
            account = self._accounts.by_password(given.username or "", given.password or "")
        if account:
            return account
        html = "text/html; charset=ISO-8859-1"
        return Response(status=401, headers={"WWW-Authenticate": REALM}, content_type=html)


def server_context(directory: pathlib.Path, host: str) -> ssl.SSLContext:
    """
    TLS for a server that takes certificates of the sandbox's own CA, but insists on none.

    The CA (``ca.pem``) and the server's certificate are made where they are missing.
    """
    names = {"localhost", "127.0.0.1", host}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(
        _issued(directory, f"server-{host}", lambda authority: authority.issue_cert(*sorted(names)))
    )
    context.load_verify_locations(directory / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    return context


def user_certificate(directory: pathlib.Path, user: str) -> tuple[pathlib.Path, str]:
    """
    The certificate of a user, made where it is missing.

    :return: the file with certificate and key, and the subject: the name of the account.
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
    )
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return path, certificate.subject.rfc4514_string()


def _issued(
    directory: pathlib.Path, stem: str, issue: Callable[[trustme.CA], trustme.LeafCert]
) -> pathlib.Path:
    authority = _authority(directory)
    path = directory / f"{urllib.parse.quote(stem, safe='')}.pem"
    if not path.exists():
        leaf = issue(authority)
        write_private(path, leaf.private_key_and_cert_chain_pem.bytes())
    return path


def _authority(directory: pathlib.Path) -> trustme.CA:
    path, key = directory / "ca.pem", directory / "ca.key"
    if path.exists() and key.exists():
        return trustme.CA.from_pem(path.read_bytes(), key.read_bytes())
    for stale in (*directory.glob("server-*.pem"), *directory.glob("user-*.pem")):
        stale.unlink()
    authority = trustme.CA(organization_name="StratusLab Sandbox")
    write_private(key, authority.private_key_pem.bytes())
    write_private(path, authority.cert_pem.bytes())
    return authority
