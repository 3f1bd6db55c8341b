"""The stored form of a Marketplace entry: its document, and the row that listings show."""

import json
import re
import xml.etree.ElementTree as ET
from typing import NamedTuple

from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.metadata.rdf import RDF, read_entry
from stratuslab_libcloud.untrusted import xml

__all__ = ["DATE", "EMAIL", "ENDORSED", "LAST_COLUMN", "Coordinates", "Row", "StoredEntry"]
__all__ += ["bare", "stored"]

Row = dict[str, object]

EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
# Columns of a listing's row: 1 to 10 (marketplace-rest 2.1); 0 is a dummy.
_ENDORSER, ENDORSED, _IDENTIFIER = 4, 6, 7
_COLUMNS = {
    1: "slterms:os",
    2: "slterms:os-version",
    3: "slterms:os-arch",
    5: "slterms:kind",
    8: "slterms:location",
    9: "dcterms:description",
    10: "dcterms:title",
}
LAST_COLUMN = 10  # followed by all locations, which are selected by but not shown

_AROUND = "\ufeff \t\r\n"  # byte order marks, and the blanks of XML
_DECLARATION = re.compile(r"<\?xml\s[^>]*\?>")
_NAMESPACES = {
    "dcterms": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "slterms": "http://mp.stratuslab.eu/slterms#",
}


class Coordinates(NamedTuple):
    """The path of an entry (2.4); none of them has characters that a path must quote."""

    identifier: str
    email: str
    created: str

    @classmethod
    def of(cls, row: Row) -> "Coordinates":
        """Return those of an entry with these columns."""
        return cls(str(row["identifier"]), str(row["email"]), str(row["created"]))


class StoredEntry(NamedTuple):
    """An entry, and whether it is the latest of its endorser about its image."""

    identifier: str
    email: str
    created: str
    latest: bool
    document: bytes


def bare(document: bytes) -> bytes:
    """
    Return a document as it came, in UTF-8, but without the declaration, which would make a listing
    ill-formed (marketplace-rest 3.2).

    :raises MetadataError: it is not UTF-8, or has two declarations.
    """
    try:
        text = document.decode().strip(_AROUND)
    except UnicodeDecodeError:
        raise MetadataError("a Marketplace entry that is not UTF-8") from None
    declaration = _DECLARATION.match(text)
    text = text[declaration.end() :].strip(_AROUND) if declaration else text
    if _DECLARATION.match(text):
        raise MetadataError("a Marketplace entry with two declarations")
    return text.encode()


def stored(document: bytes) -> Row:
    """
    Return the columns of an entry, whose document is kept :func:`bare`.

    :raises MetadataError: it is not an entry, or has no endorser or endorsement date.
    :raises UnsafeXMLError: it is not well-formed, or has a DOCTYPE.
    """
    document = bare(document)
    rdf = xml.parse(document)
    if rdf.tag != RDF:
        raise MetadataError("not a Marketplace entry")
    entry = read_entry(rdf)
    if not (EMAIL.fullmatch(entry.endorser or "") and DATE.fullmatch(entry.endorsed or "")):
        raise MetadataError("a Marketplace entry without an endorser's address and a date")
    row: list[object] = [""] * (LAST_COLUMN + 1)
    row[_ENDORSER], row[ENDORSED], row[_IDENTIFIER] = (
        entry.endorser,
        entry.endorsed,
        entry.identifier,
    )
    for column, name in _COLUMNS.items():
        value = _value(rdf, name)
        row[column] = "null" if value is None else value
    return {
        "identifier": entry.identifier,
        "email": entry.endorser,
        "created": entry.endorsed,
        "document": document,
        "valid": _value(rdf, "dcterms:valid"),
        "deprecated": entry.deprecated is not None,
        "tag": entry.tag,
        "subject": entry.subject,
        "issuer": entry.issuer,
        "row": json.dumps([*row, entry.locations]),
    }


def _value(rdf: ET.Element, name: str) -> str | None:
    """Return a text: empty if its element is empty, None if it is missing, as rows differ."""
    element = rdf.find(f"rdf:Description/{name}", _NAMESPACES)
    return None if element is None else element.text or ""
