"""The storage service over REST (pdisk-rest 2): its routes, forms and answers."""

import json
import logging
import os
import sqlite3
import urllib.parse
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from werkzeug import Request, Response
from werkzeug.exceptions import MethodNotAllowed, NotFound, UnsupportedMediaType
from werkzeug.wsgi import wrap_file

from stratuslab_libcloud.sandbox.ranges import keep_single_range
from stratuslab_libcloud.sandbox.routes import Routes
from stratuslab_libcloud.sandbox.storage.forms import Form, image_pieces
from stratuslab_libcloud.sandbox.storage.records import Refusal, RequestRefusedError
from stratuslab_libcloud.sandbox.storage.rules import Storage
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["STATUS", "answer", "send_disk"]

_LOG = logging.getLogger(__name__)

_MULTIPART = "multipart/form-data"
_PIECE_BYTES = 1 << 16
_URL_ENCODED = "application/x-www-form-urlencoded"
STATUS = {
    Refusal.MALFORMED: 400,
    Refusal.DENIED: 403,
    Refusal.UNKNOWN: 404,
    Refusal.CONFLICT: 409,
    Refusal.UNSETTLED: 504,
    Refusal.NO_ROOM: 507,
}


class _Asked(NamedTuple):
    storage: Storage
    request: Request
    account: Account


def answer(
    storage: Storage, request: Request, account: Account, segments: Sequence[str]
) -> Response:
    """
    Answer a request of this account about disks (pdisk-rest 2).

    :param segments: of the path after ``pswd`` or ``cert``, decoded, without empty ones.
    """
    try:
        respond, variables = _ROUTES.match(_method(request), segments)
        response: Response = respond(_Asked(storage, request, account), **variables)
    except NotFound:
        text = "The server has not found anything matching the request URI"
        response = _error(request, 404, text)
    except MethodNotAllowed as error:
        response = _error(request, 405, "The method specified in the request is not allowed")
        response.headers["Allow"] = ", ".join(error.valid_methods or ())
    except UnsupportedMediaType as error:
        response = _error(request, 415, str(error.description))
    except RequestRefusedError as refused:
        response = _error(request, STATUS[refused.kind], str(refused))
    except (OSError, sqlite3.Error) as error:
        _LOG.error("%s %r: %s", request.method, request.path, error)
        response = _error(request, 500, "The disk service could not do this")
    return response


def _welcome(asked: _Asked) -> Response:
    return Response("<html><body>Persistent disks</body></html>", mimetype="text/html")


def _list_disks(asked: _Asked) -> Response:
    return _json(asked.storage.disks(asked.account))


def _create_disk(asked: _Asked) -> Response:
    if asked.request.mimetype == _MULTIPART:
        return _upload_disk(asked)
    return _json({"uuid": asked.storage.create(asked.account, _read_form(asked.request))}, 201)


def _upload_disk(asked: _Asked) -> Response:
    request = asked.request
    boundary = request.mimetype_params.get("boundary", "")
    disk = asked.storage.upload(asked.account, image_pieces(request.input_stream, boundary))
    return Response(status=303, headers={"Location": f"{_own_url(request).rstrip('/')}/{disk}"})


def _show_disk(asked: _Asked, disk: str) -> Response:
    if _wants_gzip(asked.request) and asked.request.method == "GET":
        return send_disk(*asked, disk)
    return _json(asked.storage.disk(asked.account, disk))


def send_disk(storage: Storage, request: Request, account: Account, disk: str) -> Response:
    """Send a disk in gzip; a part of it, if a range is asked for (RFC 9110, 14)."""
    file, changed = storage.download(account, disk)
    try:
        size = os.fstat(file.fileno()).st_size
        response = Response(
            wrap_file(request.environ, file, _PIECE_BYTES),
            content_type="application/x-gzip",
            direct_passthrough=True,
        )
        response.headers["Content-Disposition"] = f"attachment; filename={disk}.gz"
        response.content_length = size
        response.last_modified = datetime.fromtimestamp(changed / 1e9, timezone.utc)
        response.set_etag(f"{changed:x}")
        keep_single_range(request, size)
        if "HTTP_RANGE" in request.environ:  # else it could answer 304, and leave the file open
            response.make_conditional(request, accept_ranges=True, complete_length=size)
        response.headers["Accept-Ranges"] = "bytes"
    except BaseException:
        file.close()
        raise
    return response


def _copy_disk(asked: _Asked, disk: str) -> Response:
    if asked.request.mimetype == _MULTIPART:
        raise UnsupportedMediaType("The entity of the request is not a form")
    return _json(asked.storage.copy(asked.account, disk))


def _update_disk(asked: _Asked, disk: str) -> Response:
    asked.storage.update(asked.account, disk, _read_form(asked.request))
    return Response(status=303, headers={"Location": _own_url(asked.request)})


def _delete_disk(asked: _Asked, disk: str) -> Response:
    asked.storage.delete(asked.account, disk)
    return _json({"uuid": disk})


def _list_mounts(asked: _Asked, disk: str) -> Response:
    return _json(asked.storage.mounts(asked.account, disk))


def _attach(asked: _Asked, disk: str) -> Response:
    return _json(asked.storage.attach(asked.account, disk, _read_form(asked.request)))


def _show_mount(asked: _Asked, disk: str, mount: str) -> Response:
    return _json(asked.storage.mount(asked.account, disk, mount))


def _detach(asked: _Asked, disk: str, mount: str) -> Response:
    return _json(asked.storage.detach(asked.account, disk, mount))


def _show_turl(asked: _Asked, disk: str) -> Response:
    return _json({"uuid": disk, "turl": asked.storage.turl(asked.account, disk)})


def _list_instances(asked: _Asked, instance: str = "") -> Response:
    """List all of them, even if one is named."""
    return _json(asked.storage.instances(asked.account))


_ROUTES = Routes(
    ("GET", "/", _welcome),
    ("GET", "/disks", _list_disks),
    ("POST", "/disks", _create_disk),
    ("GET", "/disks/<disk>", _show_disk),
    ("POST", "/disks/<disk>", _copy_disk),
    ("PUT", "/disks/<disk>", _update_disk),
    ("DELETE", "/disks/<disk>", _delete_disk),
    ("GET", "/disks/<disk>/mounts", _list_mounts),
    ("POST", "/disks/<disk>/mounts", _attach),
    ("GET", "/disks/<disk>/mounts/<mount>", _show_mount),
    ("DELETE", "/disks/<disk>/mounts/<mount>", _detach),
    ("GET", "/disks/<disk>/turl", _show_turl),
    ("GET", "/instances", _list_instances),
    ("GET", "/instances/<instance>", _list_instances),
)


def _method(request: Request) -> str:
    """Return the intended method: browsers tunnel PUT and DELETE through POST (1.7)."""
    override = request.headers.get("X-HTTP-Method-Override") or request.args.get("method", "")
    if request.method == "POST" and override.upper() in ("PUT", "DELETE"):
        return override.upper()
    return request.method


def _read_form(request: Request) -> Form:
    if request.mimetype not in ("", _URL_ENCODED):
        raise UnsupportedMediaType("The entity of the request is not a form")
    body = request.get_data().decode("utf-8", "replace")
    try:
        fields = urllib.parse.parse_qs(body, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise RequestRefusedError(Refusal.MALFORMED, "The form has too many fields") from None
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
    """Write an error: as JSON, unless the request prefers text (1.6, NEW)."""
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
