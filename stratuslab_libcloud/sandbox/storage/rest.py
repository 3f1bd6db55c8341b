"""TODO."""

import json
import logging
import sqlite3
import urllib.parse

from werkzeug import Request, Response

from stratuslab_libcloud.sandbox.storage.rules import Form, RequestRefusedError, Storage
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["FORM", "answer_rest"]


log = logging.getLogger(__name__)

FORM = "application/x-www-form-urlencoded"


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
