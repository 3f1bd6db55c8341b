"""The reason phrases of answers: those of RFC 9110, whichever Python the sandbox runs on."""

from http import HTTPStatus

__all__ = ["reason_phrase", "status_line"]

# Those that Python changed in 3.13. A user of the original client sees nothing else of an error.
_CHANGED = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def reason_phrase(status: int) -> str:
    """Say in words what a status means, such as ``Not Found``."""
    return _CHANGED.get(status) or HTTPStatus(status).phrase


def status_line(status: int) -> str:
    """Return a status as WSGI takes it, such as ``404 Not Found``."""
    return f"{status} {reason_phrase(status)}"
