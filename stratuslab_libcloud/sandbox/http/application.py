"""The WSGI application: authenticates a request and passes it to the service that answers."""

import base64
import contextlib
import logging
import pathlib
import re
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.utils import send_file

from stratuslab_libcloud.sandbox.accounts import Accounts
from stratuslab_libcloud.sandbox.compute import console, xmlrpc
from stratuslab_libcloud.sandbox.compute.rules import Compute
from stratuslab_libcloud.sandbox.http.browsers import Names
from stratuslab_libcloud.sandbox.http.screening import is_upload, refusal
from stratuslab_libcloud.sandbox.marketplace import rest as marketplace_rest
from stratuslab_libcloud.sandbox.marketplace.registry import Registry
from stratuslab_libcloud.sandbox.opennebula.engine import OpenNebula
from stratuslab_libcloud.sandbox.pages.answer import Pages
from stratuslab_libcloud.sandbox.pages.visit import HOME, wants_page
from stratuslab_libcloud.sandbox.phrases import status_line
from stratuslab_libcloud.sandbox.ranges import keep_single_range
from stratuslab_libcloud.sandbox.routes import Routes
from stratuslab_libcloud.sandbox.storage import rest as storage_rest
from stratuslab_libcloud.sandbox.storage.rules import Storage
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["CERTIFICATE", "Application", "Seen"]

_LOG = logging.getLogger(__name__)

CERTIFICATE = "stratuslab.certificate"  # the key of the peer's certificate, as DER, in the environ
_REALM = 'Basic realm="StratusLab Password Realm"'
_PIECE_BYTES = 1 << 20
_AUTHORIZATION = re.compile(rb"\nauthorization:[ \t]*([^\r\n]*)", re.IGNORECASE)


@dataclass(frozen=True)
class Seen:
    """A request and the status of its answer. ``peer`` is the client's address and port."""

    method: str
    path: str
    peer: tuple[str, int]
    status: int


class Application:
    """
    Answer requests, in both layouts of paths, however many slashes they contain.

    :param find_image: returns the file of a disk image that the site offers, given its name.
    :param pages: what people see in a browser.
    :param names: the host names that requests may use for the site.
    :param on_request: called with each request before its answer is sent.
    """

    def __init__(
        self,
        accounts: Accounts,
        compute: Compute,
        opennebula: OpenNebula,
        storage: Storage,
        marketplace: Registry,
        find_image: Callable[[str], pathlib.Path | None],
        pages: Pages,
        names: Names,
        on_request: Callable[[Seen], object] | None,
    ) -> None:
        self._accounts = accounts
        self._compute = compute
        self._storage = storage
        self._marketplace = marketplace
        self._find_image = find_image
        self._pages = pages
        self._names = names
        self._on_request = on_request
        self._opennebula = opennebula

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # The form for proxies; the host in it takes precedence (RFC 9112 3.2.2).
        if whole := re.match("(?i:https?)://([^/?]*)", environ["REQUEST_URI"]):
            environ["REQUEST_URI"] = environ["REQUEST_URI"][whole.end() :]
            environ["HTTP_HOST"] = whole[1]
        request = Request(environ)
        # Raw, so that %2F is not taken for a separator.
        path = environ["REQUEST_URI"].partition("?")[0]
        response = refusal(request, self._names)
        try:
            response = response or self._respond(request, path)
        except HTTPException as refused:
            response = refused.get_response(environ)
        except (OSError, sqlite3.Error) as error:  # a full disk is no bug
            _LOG.error("%s %s: %s", request.method, path, error)
            response = Response("Internal Server Error", 500)
        except Exception:
            _LOG.exception("%s %s", request.method, path)
            response = Response("Internal Server Error", 500)
        response.status = status_line(response.status_code)
        if self._on_request:
            peer = environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"])
            self._on_request(Seen(request.method, path, peer, response.status_code))
        _drain(request)
        return response(environ, start_response)

    def admit(self, head: bytes, certificate: bytes | None) -> IO[bytes] | None:
        """
        Return a file for the body of an upload; None unless its sender has an account.

        :param head: of the request.
        :param certificate: the peer's, as DER, if there is one.
        """
        header = _AUTHORIZATION.search(head)
        login = _login(header[1].decode("latin-1")) if header else None
        if login:
            account = self._accounts.by_password(*login)
        else:
            account = self._accounts.by_certificate(certificate) if certificate else None
        return self._storage.temporary_file() if account else None

    def _respond(self, request: Request, path: str) -> Response:
        segments = [urllib.parse.unquote(segment) for segment in path.split("/") if segment]
        try:
            respond, variables = _ROUTES.match(request.method, segments)
            response: Response = respond(self, request, **variables)
        except (NotFound, MethodNotAllowed):
            return Response("There is nothing here.", 404)
        return response

    def _welcome(self, request: Request) -> Response:
        if not wants_page(request):
            raise NotFound
        return _see(HOME)

    def _open_page(self, request: Request, rest: Sequence[str] = ()) -> Response:
        return self._pages.open(request, _own_door(request), rest)

    def _show_page(self, request: Request, door: str, rest: Sequence[str] = ()) -> Response:
        account = self._authenticate(request, door)
        if isinstance(account, Response):
            return self._pages.refuse(request, door, account)
        return self._pages.answer(request, door, account, rest)

    def _ask_marketplace(self, request: Request, door: str, rest: Sequence[str] = ()) -> Response:
        show = self._pages.shows(request, _own_door(request))
        return marketplace_rest.answer(self._marketplace, request, [door, *rest], show)

    def _enter_marketplace(self, request: Request) -> Response:
        if not wants_page(request):
            raise NotFound
        return _see("/marketplace/metadata")

    def _send_image(self, request: Request, name: str) -> Response:
        image = self._find_image(name)
        if image is None:
            return Response("There is nothing here.", 404)
        keep_single_range(request, image.stat().st_size)
        return send_file(image, request.environ, mimetype="application/octet-stream")

    def _call_opennebula(self, request: Request) -> Response:
        return self._opennebula.answer(request)

    def _call_compute(self, request: Request, door: str) -> Response:
        account = self._authenticate(request, door)
        if isinstance(account, Response):
            return account
        return xmlrpc.answer(self._compute, request, account)

    def _show_console(self, request: Request, door: str, machine: str) -> Response:
        account = self._authenticate(request, door)
        if isinstance(account, Response):
            return account
        return console.answer(self._compute, account, machine)

    def _ask_storage(self, request: Request, door: str, rest: Sequence[str] = ()) -> Response:
        if list(rest) in ([], ["disks"]) and wants_page(request):
            return _see(f"{HOME}/{door}/storage")
        account = self._authenticate(request, door)
        if isinstance(account, Response):
            return account
        return storage_rest.answer(self._storage, request, account, rest)

    def _authenticate(self, request: Request, door: str) -> Account | Response:
        """Return the account, or the refusal. The XML-RPC session is ignored, as by the proxy."""
        if door == "cert":
            der = request.environ.get(CERTIFICATE)
            known = self._accounts.by_certificate(der) if der else None
            return known or Response("This needs a certificate that this site has issued.", 403)
        login = _login(request.headers.get("Authorization", ""))
        if login and (account := self._accounts.by_password(*login)):
            return account
        html = "text/html; charset=ISO-8859-1"
        return Response(status=401, headers={"WWW-Authenticate": _REALM}, content_type=html)


_MARKETPLACE_DOOR = f"<any({', '.join(marketplace_rest.DOORS)}):door>"
_ROUTES = Routes(
    ("GET", "/", Application._welcome),
    (None, HOME, Application._open_page),
    (None, f"{HOME}/<rest:rest>", Application._open_page),
    (None, f"{HOME}/<any(pswd, cert):door>", Application._show_page),
    (None, f"{HOME}/<any(pswd, cert):door>/<rest:rest>", Application._show_page),
    ("GET", "/images/<name>", Application._send_image),
    (None, "/RPC2", Application._call_opennebula),
    ("GET", "/marketplace", Application._enter_marketplace),
    (None, f"/{_MARKETPLACE_DOOR}", Application._ask_marketplace),
    (None, f"/{_MARKETPLACE_DOOR}/<rest:rest>", Application._ask_marketplace),
    (None, f"/marketplace/{_MARKETPLACE_DOOR}", Application._ask_marketplace),
    (None, f"/marketplace/{_MARKETPLACE_DOOR}/<rest:rest>", Application._ask_marketplace),
    (None, "/<any(pswd, cert):door>/xmlrpc", Application._call_compute),
    (None, "/one-proxy/<any(pswd, cert):door>/xmlrpc", Application._call_compute),
    ("GET", f"/<any(pswd, cert):door>/{console.PATH}", Application._show_console),
    ("GET", f"/one-proxy/<any(pswd, cert):door>/{console.PATH}", Application._show_console),
    (None, "/<any(pswd, cert):door>", Application._ask_storage),
    (None, "/<any(pswd, cert):door>/<rest:rest>", Application._ask_storage),
    (None, "/pdisk/<any(pswd, cert):door>", Application._ask_storage),
    (None, "/pdisk/<any(pswd, cert):door>/<rest:rest>", Application._ask_storage),
)


def _own_door(request: Request) -> str:
    """Return where the sender of a request that needs no login would log in."""
    return "cert" if request.environ.get(CERTIFICATE) else "pswd"


def _see(path: str) -> Response:
    """Send a browser to a page."""
    return Response(status=303, headers={"Location": path, "Vary": "Accept"})


def _login(header: str) -> tuple[str, str] | None:
    """Return name and password; None unless it is HTTP Basic in UTF-8 (RFC 7617)."""
    kind, _, rest = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, password = (
            base64.b64decode(rest.strip(" \t"), validate=True).decode().partition(":")
        )
    except ValueError:
        return None
    return name, password


def _drain(request: Request) -> None:
    """Read what a service has left of an upload; cheroot would hold all of it."""
    with contextlib.suppress(HTTPException, OSError):
        while is_upload(request) and request.input_stream.read(_PIECE_BYTES):
            pass
