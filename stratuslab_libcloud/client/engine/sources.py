"""What the source of a machine's disk means."""

import re

__all__ = ["image_id"]


# A Marketplace entry's URL, which may go on with /ENDORSER/DATE, or a disk in any of its forms.
_SOURCES = (
    re.compile(r"/metadata/(?:[^/?#]*/)*?([A-Za-z0-9_-]{27})(?=$|[/?#])"),
    re.compile(r"[/:]([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?$"),
)


def image_id(source: str) -> str:
    """
    The image or disk that a disk's source means (compute-xmlrpc 4.4, pdisk-rest 6).

    :return: an identifier or a UUID; of other sources, the last part.
    """
    for form in _SOURCES:
        if found := form.search(source):
            return found[1]
    return source.rstrip("/").rpartition("/")[2]
