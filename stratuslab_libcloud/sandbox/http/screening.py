"""What a request must be before anything answers it: whole, for this site, and of a program."""

import io
import logging

from werkzeug import Request, Response

from stratuslab_libcloud.sandbox.http.browsers import Names, is_foreign
from stratuslab_libcloud.sandbox.http.wire import MAX_BODY_BYTES

__all__ = ["is_upload", "refusal"]

_LOG = logging.getLogger(__name__)


def refusal(request: Request, names: Names) -> Response | None:
    """
    Read the body of a request; return the answer if it must go no further.

    :param names: the host names that requests may use for the site.
    """
    host = request.environ.get("HTTP_HOST")
    if refused := _read_body(request):
        return refused
    if host is not None and host not in names:
        return Response("No site on this port has the requested name.", 421)
    if is_foreign(request.headers, host or ""):
        return Response("Web pages of other sites may not send requests to this one.", 403)
    return None


def is_upload(request: Request) -> bool:
    """Return whether the body is complete, and too large to be held."""
    return (request.content_length or 0) > MAX_BODY_BYTES


def _read_body(request: Request) -> Response | None:
    """
    Read the body in any case, since the next request follows it (pdisk-rest 1.4).

    :return: the refusal, if the body does not match its head.
    """
    if is_upload(request):
        return None
    try:
        request.environ["wsgi.input"] = io.BytesIO(request.get_data())
    except Exception as error:  # the readers of cheroot and werkzeug raise too many kinds
        _LOG.debug("%s %s", request.method, request.path, exc_info=True)
        status = 413 if "Too Large" in str(error) else 400
        text = "The body of the request is malformed, incomplete or too large."
        return Response(text, status, {"Connection": "close"})
    return None
