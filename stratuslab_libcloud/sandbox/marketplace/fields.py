"""What an entry says about its image, field by field, for people to read (marketplace-rest 4.3)."""

import xml.etree.ElementTree as ET
from typing import NamedTuple

from stratuslab_libcloud.metadata.rdf import NAMESPACES, clark

__all__ = ["Field", "fields_of"]

_LABELS = {
    "dcterms:title": "Title",
    "dcterms:description": "Description",
    "dcterms:identifier": "Identifier",
    "dcterms:alternative": "Tag",
    "slterms:version": "Version",
    "dcterms:type": "Type",
    "slterms:kind": "Kind",
    "slterms:os": "Operating system",
    "slterms:os-version": "Version of the operating system",
    "slterms:os-arch": "Architecture",
    "slreq:bytes": "Size in bytes, uncompressed",
    "dcterms:format": "Format",
    "dcterms:compression": "Compression",
    "slterms:hypervisor": "Hypervisor",
    "slterms:disks-bus": "Bus of the disks",
    "slterms:inbound-port": "Inbound ports",
    "dcterms:creator": "Creator",
    "dcterms:publisher": "Publisher",
    "dcterms:created": "Created",
    "dcterms:valid": "Valid until",
    "slterms:deprecated": "Deprecated",
}
# These have parts of their own on the page.
_ELSEWHERE = {"slreq:checksum", "slreq:endorsement", "slterms:location"}
_PREFIXES = {uri: prefix for prefix, uri in NAMESPACES.items()}


class Field(NamedTuple):
    """The values of a field. One that no table knows has its XML name for a label."""

    label: str
    values: list[str]


def fields_of(rdf: ET.Element) -> list[Field]:
    """
    List what an entry says, in the order of the table, followed by what is not in it.

    :param rdf: an ``rdf:RDF`` element with one description.
    """
    found: dict[str, list[str]] = {}
    for element in rdf.iterfind(f"{clark('rdf:Description')}/*"):
        found.setdefault(_name(element.tag), []).append("".join(element.itertext()))
    known = [Field(label, found[name]) for name, label in _LABELS.items() if name in found]
    others = found.keys() - _LABELS.keys() - _ELSEWHERE
    return known + [Field(name, found[name]) for name in found if name in others]


def _name(tag: str) -> str:
    """Return an element's name with a prefix, if its namespace is one of an entry's."""
    uri, _, local = tag.removeprefix("{").rpartition("}")
    return f"{_PREFIXES[uri]}:{local}" if uri in _PREFIXES else tag
