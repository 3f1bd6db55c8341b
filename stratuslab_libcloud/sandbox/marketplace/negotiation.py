"""Which media type an answer has, in the original's manner (marketplace-rest 1.3, 1.4)."""

import re

from werkzeug import Request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

__all__ = ["HTML", "JSON", "RDF_XML", "XML", "error_type", "first_accepted", "preferred_type"]

XML, JSON, HTML = "application/xml", "application/json", "text/html"
RDF_XML = "application/rdf+xml"
_TYPES = {XML: XML, "text/xml": XML, RDF_XML: XML, JSON: JSON, HTML: HTML}
_MEDIA = {"xml": XML, "json": JSON, "html": HTML}


def _accept(request: Request) -> str:
    """Return the media types asked for; ``media`` replaces the header (marketplace-rest 1.3)."""
    media = request.args.get("media")
    return _MEDIA.get(media, media) if media else request.headers.get("Accept", "")


def preferred_type(request: Request) -> str:
    """Choose the media type of highest quality; XML in a tie, or if none fits."""
    qualities = {XML: 0.0, JSON: 0.0, HTML: 0.0}
    for accepted, quality in parse_accept_header(_accept(request), MIMEAccept):
        media_type = _TYPES.get(accepted.partition(";")[0].strip().lower())
        if media_type:
            qualities[media_type] = max(quality, qualities[media_type])
    return max(qualities, key=lambda media_type: qualities[media_type])


def error_type(request: Request) -> str:
    """Choose the media type named first, whatever its quality (marketplace-rest 1.4)."""
    return _TYPES.get(first_accepted(request), HTML)


def first_accepted(request: Request) -> str:
    """Return the media type named first, in lower case; "" if none is."""
    return re.split("[,;]", _accept(request))[0].strip().lower()
