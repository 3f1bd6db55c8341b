"""
From requests to rules: who asks, which service answers, and XML-RPC and REST in front of compute
and storage.
"""

import base64
import json
import logging
import pathlib
import re
import sqlite3
import urllib.parse
import xml.etree.ElementTree as ET
import xmlrpc.client
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.utils import send_file

from stratuslab_libcloud.sandbox.accounts import Accounts
from stratuslab_libcloud.sandbox.compute.rules import CallRefusedError, Compute
from stratuslab_libcloud.sandbox.http.browsers import Names, is_foreign
from stratuslab_libcloud.sandbox.storage.rules import Form, RequestRefusedError, Storage
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.untrusted import xml

__all__ = ["CERTIFICATE", "Application", "Seen", "answer_call", "answer_rest"]

log = logging.getLogger(__name__)

CERTIFICATE = "stratuslab.certificate"  # in the environ: the peer's, as DER
DOORS = ("pswd", "cert")
REALM = 'Basic realm="StratusLab Password Realm"'
MAX_CALL_BYTES = 512 * 1024
FORM = "application/x-www-form-urlencoded"
RANGE = re.compile(r"bytes=(?!-$)([0-9]*)-([0-9]*)", re.IGNORECASE | re.ASCII)

# Tag of error texts, types of parameters, rule.
METHODS: dict[str, tuple[str, tuple[type, ...], Callable[..., int | str]]] = {
    "one.vm.allocate": ("VirtualMachineAllocate", (str, str), Compute.allocate),
    "one.vm.info": ("VirtualMachineInfo", (str, int), Compute.info),
    "one.vm.action": ("VirtualMachineAction", (str, str, int), Compute.action),
    "one.vmpool.info": ("VirtualMachinePoolInfo", (str, int, int, int, int), Compute.pool),
}


@dataclass(frozen=True)
class Seen:
    """A request and the status of its answer; ``peer`` (address, port) tells connections apart."""

    method: str
    path: str
    peer: tuple[str, int]
    status: int


class Application:
    """
    Routing: both layouts of paths (design 5), whatever their number of slashes.

    :param marketplace: answers what comes after ``metadata``.
    :param find_image: the file of a disk image that the site offers, by name.
    :param names: what the site may be called.
    :param on_request: called with each request before its answer is sent.
    """

    def __init__(
        self,
        accounts: Accounts,
        compute: Compute,
        storage: Storage,
        marketplace: Callable[[Request, list[str]], Response],
        find_image: Callable[[str], pathlib.Path | None],
        names: Names,
        on_request: Callable[[Seen], object] | None,
    ) -> None:
        self._accounts = accounts
        self._compute = compute
        self._storage = storage
        self._marketplace = marketplace
        self._find_image = find_image
        self._names = names
        self._on_request = on_request

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # As clients of a proxy write it; the host in it is the one that counts, RFC 9112 3.2.2.
        if whole := re.match("(?i:https?)://([^/?]*)", environ["REQUEST_URI"]):
            environ["REQUEST_URI"] = environ["REQUEST_URI"][whole.end() :]
            environ["HTTP_HOST"] = whole[1]
        request = Request(environ)
        # Raw: what was %2F is no separator.
        path = environ["REQUEST_URI"].partition("?")[0]
        response = _read_body(request)
        try:
            response = response or self._refuse_page(request) or self._respond(request, path)
        except HTTPException as refused:
            response = refused.get_response(environ)
        except (OSError, sqlite3.Error) as error:  # a full disk is no bug
            log.error("%s %s: %s", request.method, path, error)
            response = Response("Internal Server Error", 500)
        except Exception:
            log.exception("%s %s", request.method, path)
            response = Response("Internal Server Error", 500)
        # The phrase is all that users of the original client see of an error.
        response.status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
        if self._on_request:
            peer = environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"])
            self._on_request(Seen(request.method, path, peer, response.status_code))
        return response(environ, start_response)

    def _refuse_page(self, request: Request) -> Response | None:
        host = request.environ.get("HTTP_HOST")
        if host is not None and host not in self._names:
            return Response("No site on this port has the name that was asked for.", 421)
        if is_foreign(request.headers, host or ""):
            return Response("Pages of other sites may not ask this one.", 403)
        return None

    def _respond(self, request: Request, path: str) -> Response:
        segments = [urllib.parse.unquote(segment) for segment in path.split("/") if segment]
        match segments:
            case ["metadata", *rest] | ["marketplace", "metadata", *rest]:
                return self._marketplace(request, rest)
            case ["images", name] if request.method in ("GET", "HEAD"):
                if image := self._find_image(name):
                    _take_range(request, image.stat().st_size)
                    return send_file(image, request.environ, mimetype="application/octet-stream")
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
        login = _login(request.headers.get("Authorization", ""))
        if login and (account := self._accounts.by_password(*login)):
            return account
        html = "text/html; charset=ISO-8859-1"
        return Response(status=401, headers={"WWW-Authenticate": REALM}, content_type=html)


def _login(header: str) -> tuple[str, str] | None:
    """Name and password; None unless it is HTTP Basic in UTF-8 (RFC 7617)."""
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


def _take_range(request: Request, size: int) -> None:
    """Leave one range of bytes to werkzeug; whatever else is said is ignored (RFC 9110 14.2)."""
    match = RANGE.fullmatch(request.environ.pop("HTTP_RANGE", ""))
    if match is None or request.method != "GET":
        return
    # A number that is too long to be read is beyond the end of any file.
    first, last = (text if len(text) < 19 else "9" * 18 for text in match.groups())
    if not first:  # so many at the end
        first, last = f"{max(0, size - int(last))}", ""
    if not last or int(first) <= int(last):
        request.environ["HTTP_RANGE"] = f"bytes={first}-{last}"


def _read_body(request: Request) -> Response | None:
    """
    Always: the next request on this connection comes after it (pdisk-rest 1.4).

    :return: the refusal, if the body is not what its head promised.
    """
    try:
        request.get_data()
    except Exception as error:  # cheroot's and werkzeug's readers have no common one
        log.debug("%s %s", request.method, request.path, exc_info=True)
        status = 413 if "Too Large" in str(error) else 400
        text = "The body of the request is malformed, incomplete or too large."
        return Response(text, status, {"Connection": "close"})
    return None


def answer_call(compute: Compute, request: Request, account: Account) -> Response:
    """Answer an XML-RPC call of this account: an array of three, or a fault (2.1, 7.3)."""
    if request.method != "POST":
        return Response(status=405, headers={"Allow": "POST"})
    try:
        method, parameters = _read_call(request.get_data())
        array = _call(compute, account, method, parameters)
        answer = xmlrpc.client.dumps((array,), methodresponse=True)
    except xmlrpc.client.Fault as fault:
        answer = xmlrpc.client.dumps(fault, methodresponse=True)
    return Response(answer, content_type="text/xml; charset=utf-8")


def _call(
    compute: Compute, account: Account, method: str, parameters: list[object]
) -> list[object]:
    if method not in METHODS:
        raise xmlrpc.client.Fault(-506, f"Method '{method}' not defined")
    tag, types, rule = METHODS[method]
    if len(parameters) < len(types):
        raise xmlrpc.client.Fault(-501, "Not enough parameters")
    for parameter, wanted in zip(parameters, types, strict=False):
        if type(parameter) is not wanted:
            name = "integer" if wanted is int else "a string"
            raise xmlrpc.client.Fault(-501, f"Parameter that is supposed to be {name} is not")
    try:
        # Not the session, the first one: the proxy would have put its own in its place (1.6).
        return [True, rule(compute, account, *parameters[1 : len(types)]), 0]
    except CallRefusedError as refused:
        return [False, f"[{tag}] {refused}", refused.code]


def _read_call(body: bytes) -> tuple[str, list[object]]:
    """Method and parameters; None stands for a parameter of a type that no method takes."""
    if len(body) > MAX_CALL_BYTES:
        raise xmlrpc.client.Fault(-509, "The call is larger than 512 KiB")
    try:
        root = xml.parse(body)
        if max("".join(root.itertext()), default="") > "\uffff":
            raise ValueError("a character is not in the Basic Multilingual Plane")
        method = root.findtext("methodName") if root.tag == "methodCall" else None
        if not method:
            raise ValueError("not a method call")
        return method, [_read_value(value) for value in root.iterfind("params/param/value")]
    except ValueError as error:
        raise xmlrpc.client.Fault(-503, f"Call is not valid XML-RPC: {error}") from None


def _read_value(value: ET.Element) -> object:
    typed = value[0] if len(value) else None
    if typed is None or typed.tag == "string":
        return (value if typed is None else typed).text or ""
    text = (typed.text or "").strip()
    if typed.tag in ("int", "i4"):
        if not re.fullmatch("[+-]?[0-9]{1,10}", text) or not -(2**31) <= int(text) < 2**31:
            raise ValueError("not a 32-bit integer")
        return int(text)
    return text == "1" if typed.tag == "boolean" and text in ("0", "1") else None


def answer_rest(
    storage: Storage, request: Request, account: Account, segments: list[str]
) -> Response:
    """
    Answer a request of this account for disks (pdisk-rest 2).

    :param segments: the path after ``pswd`` or ``cert``, without empty segments.
    """
    try:
        return _route(storage, request, account, segments)
    except RequestRefusedError as refused:
        return _error(request, refused.status, str(refused))
    except (OSError, sqlite3.Error) as error:
        log.error("%s %r: %s", request.method, request.path, error)
        return _error(request, 500, "The disk service could not do this")


def _route(storage: Storage, request: Request, account: Account, segments: list[str]) -> Response:
    match _method(request), segments:
        case "GET", []:
            return Response("<html><body>Persistent disks</body></html>", mimetype="text/html")
        case "GET", ["disks"]:
            return _json(storage.disks(account))
        case "POST", ["disks"]:
            return _json({"uuid": storage.create(account, _form(request))}, 201)
        case "GET", ["disks", disk]:
            shown = storage.disk(account, disk)
            if _wants_gzip(request):
                raise RequestRefusedError(403, "the sandbox does not download disks")
            return _json(shown)
        case "POST", ["disks", disk]:
            storage.disk(account, disk)
            raise RequestRefusedError(403, "the sandbox does not copy disks")
        case "PUT", ["disks", disk]:
            storage.update(account, disk, _form(request))
            return Response(status=303, headers={"Location": _own_url(request)})
        case "DELETE", ["disks", disk]:
            storage.delete(account, disk)
            return _json({"uuid": disk})
        case "GET", ["disks", disk, "mounts"]:
            return _json(storage.mounts(account, disk))
        case "POST", ["disks", disk, "mounts"]:
            return _json(storage.attach(account, disk, _form(request)))
        case "GET", ["disks", disk, "mounts", mount]:
            return _json(storage.mount(account, disk, mount))
        case "DELETE", ["disks", disk, "mounts", mount]:
            return _json(storage.detach(account, disk, mount))
        case "GET", ["disks", disk, "turl"]:
            return _json({"uuid": disk, "turl": storage.turl(account, disk)})
        case "GET", ["instances"] | ["instances", _]:
            return _json(storage.instances(account))
        case _:
            return _no_route(request, segments)


def _method(request: Request) -> str:
    """The verb that is meant: browsers tunnel theirs through POST (1.7)."""
    if request.method == "HEAD":
        return "GET"
    override = request.headers.get("X-HTTP-Method-Override") or request.args.get("method", "")
    if request.method == "POST" and override.upper() in ("PUT", "DELETE"):
        return override.upper()
    return request.method


def _form(request: Request) -> Form:
    if request.mimetype == "multipart/form-data":
        raise RequestRefusedError(403, "the sandbox does not take uploads")
    if request.mimetype not in ("", FORM):
        raise RequestRefusedError(415, "The entity of the request is not a form")
    body = request.get_data().decode("utf-8", "replace")
    try:
        fields = urllib.parse.parse_qs(body, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise RequestRefusedError(400, "The form has too many fields") from None
    return {name: values[0] for name, values in fields.items()}


def _own_url(request: Request) -> str:
    forwarded = request.headers.get("X-Forwarded-Proto", "")
    scheme = forwarded if forwarded in ("http", "https") else request.scheme
    path = request.environ["REQUEST_URI"].partition("?")[0]
    return f"{scheme}://{request.host}{path}"


def _json(value: object, status: int = 200) -> Response:
    text = json.dumps(value, ensure_ascii=False)
    return Response(text, status, content_type="application/json; charset=UTF-8")


def _error(request: Request, status: int, text: str) -> Response:
    """JSON, unless something else that errors are written in is named first (1.6, NEW)."""
    for media in request.headers.get("Accept", "").split(","):
        match media.partition(";")[0].strip().lower():
            case "application/json":
                break
            case "text/plain" | "application/x-gzip":
                return Response(f"ERROR ({status}): {text}", status, mimetype="text/plain")
    return _json({"message": text, "code": status}, status)


def _wants_gzip(request: Request) -> bool:
    wanted = request.headers.get("Accept", "")
    return "application/x-gzip" in wanted or request.args.get("media") == "gzip"


def _no_route(request: Request, segments: list[str]) -> Response:
    match segments:
        case [] | ["instances"] | ["instances", _] | ["disks", _, "turl"]:
            allowed = "GET, HEAD"
        case ["disks"] | ["disks", _, "mounts"]:
            allowed = "GET, HEAD, POST"
        case ["disks", _]:
            allowed = "GET, HEAD, POST, PUT, DELETE"
        case ["disks", _, "mounts", _]:
            allowed = "GET, HEAD, DELETE"
        case _:
            raise RequestRefusedError(
                404, "The server has not found anything matching the request URI"
            )
    response = _error(request, 405, "The method specified in the request is not allowed")
    response.headers["Allow"] = allowed
    return response
