"""The image that the source of a machine's disk refers to."""

import re

__all__ = ["image_id"]


# The URL of a Marketplace entry, perhaps with /ENDORSER/DATE, or any form of a disk's name.
_SOURCES = (
    re.compile(r"/metadata/(?:[^/?#]*/)*?([A-Za-z0-9_-]{27})(?=$|[/?#])"),
    re.compile(r"[/:]([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?$"),
)


def image_id(source: str) -> str:
    """
    Find the image or disk that the source of a disk refers to (compute-xmlrpc 4.4, pdisk-rest 6).

    :return: an identifier or a UUID; for any other source, its last part.
    """
    for form in _SOURCES:
        if found := form.search(source):
            return found[1]
    return source.rstrip("/").rpartition("/")[2]
