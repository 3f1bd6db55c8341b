"""Ranges of bytes, which requests may ask for (RFC 9110, 14.2)."""

import re

from werkzeug import Request

__all__ = ["keep_single_range"]

_RANGE = re.compile(r"bytes=(?!-$)([0-9]*)-([0-9]*)", re.IGNORECASE | re.ASCII)


def keep_single_range(request: Request, size: int) -> None:
    """Keep a single range of bytes for werkzeug, and ignore any other."""
    match = _RANGE.fullmatch(request.environ.pop("HTTP_RANGE", ""))
    if match is None or request.method != "GET":
        return
    # A number too long to convert is beyond the end of any file.
    first, last = (text if len(text) < 19 else "9" * 18 for text in match.groups())
    if not first:  # the last so many bytes
        first, last = f"{max(0, size - int(last))}", ""
    if not last or int(first) <= int(last):
        request.environ["HTTP_RANGE"] = f"bytes={first}-{last}"
