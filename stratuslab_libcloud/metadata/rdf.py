"""
Read and write Marketplace entries in RDF (marketplace-rest 4 and 5).

An entry is an ``rdf:RDF`` element with one ``rdf:Description``. Each endorsement of an image is an
entry of its own; several people may endorse the same image, and each of them several times.
"""

import re
import xml.etree.ElementTree as ET
from html import escape  # xml.sax.saxutils loads all of urllib.request
from typing import Any

from stratuslab_libcloud.metadata.entry import ABSENT, Entry, MetadataError, is_identifier
from stratuslab_libcloud.untrusted import xml

__all__ = [
    "NAMESPACES",
    "RDF",
    "STRAY_DECLARATION",
    "SharedTexts",
    "clark",
    "cut_entries",
    "read_entries",
    "read_entry",
    "write_entry",
]

NAMESPACES = {
    "dcterms": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "slreq": "http://mp.stratuslab.eu/slreq#",
    "slterms": "http://mp.stratuslab.eu/slterms#",
}

# Element to field of Entry, in the order of writing (marketplace-rest 8.2).
_ELEMENTS = {
    "dcterms:type": "type",
    "slterms:kind": "kind",
    "slterms:os": "os",
    "slterms:os-version": "os_version",
    "slterms:os-arch": "os_arch",
    "slterms:version": "version",
    "dcterms:compression": "compression",
    "slterms:location": "locations",
    "dcterms:format": "format",
    "dcterms:creator": "creator",
    "dcterms:created": "created",
    "dcterms:valid": "valid",
    "dcterms:title": "title",
    "dcterms:alternative": "tag",
    "dcterms:description": "description",
    "slterms:hypervisor": "hypervisor",
    "slterms:disks-bus": "disks_bus",
    "slterms:inbound-port": "inbound_ports",
    "dcterms:publisher": "publisher",
    "slterms:deprecated": "deprecated",
}

# The others are written even if empty: the original commands need them (marketplace-rest 4.3, 7.3).
_OPTIONAL = {"kind", "created", "valid", "title", "tag", "disks_bus", "deprecated"}


def clark(name: str) -> str:
    """``dcterms:title`` and the like in Clark notation."""
    prefix, _, local = name.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


RDF = clark("rdf:RDF")
"""The name of an entry's element in Clark notation."""

# Without "<" between, as the search could otherwise take quadratic time.
STRAY_DECLARATION = re.compile(rb"<\?xml\s[^<>]*\?>")
"""The XML declarations that the original server leaves within listings (marketplace-rest 3.2)."""

_DESCRIPTION = clark("rdf:Description")
_BYTES = clark("slreq:bytes")
_CHECKSUM = clark("slreq:checksum")
_ALGORITHM = clark("slreq:algorithm")
_VALUE = clark("slreq:value")
_ENDORSEMENT = clark("slreq:endorsement")
_ENDORSER = clark("slreq:endorser")
_CREATED = clark("dcterms:created")
_EMAIL = clark("slreq:email")
_SUBJECT = clark("slreq:subject")
_ISSUER = clark("slreq:issuer")
_LOCATION = clark("slterms:location")
_INBOUND_PORT = clark("slterms:inbound-port")
_DEPRECATED = clark("slterms:deprecated")
_TEXTS = {
    clark(element): name
    for element, name in {"dcterms:identifier": "identifier", **_ELEMENTS}.items()
    if name not in {"locations", "inbound_ports", "deprecated"}
}

_HEX = re.compile(r"[0-9A-Fa-f]+")
_NUMBER = re.compile(r"[0-9]{1,18}")
_MAX_PORT = 65535
_LONGEST_SHARED = 100  # characters
_MOST_SHARED = 10_000
_NEITHER = "neither a listing nor an entry of a Marketplace"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'


def read_entries(document: bytes) -> list[Entry]:
    """
    The entries of an answer: a listing (root ``metadata``) or a single entry (``rdf:RDF``).

    :raises MetadataError: it is neither, or an entry has no identifier.
    :raises safe_xml.UnsafeXMLError: as for :func:`safe_xml.parse`.
    """
    # Registries of old leave the declarations of stored documents in (marketplace-rest 3.2).
    root = xml.parse(document[:1] + STRAY_DECLARATION.sub(b"", document[1:]))
    if root.tag == RDF:
        return [read_entry(root)]
    if root.tag != "metadata":
        raise MetadataError(_NEITHER)
    return [read_entry(rdf) for rdf in root.iterfind(RDF)]


def cut_entries(answer: bytes) -> list[bytes]:
    """
    The entries of an answer as documents of their own, byte for byte: what was signed
    (marketplace-rest 3.2).

    :param answer: a listing (root ``metadata``) or a single entry (``rdf:RDF``), in UTF-8.
    :raises MetadataError: it is neither.
    :raises UnsafeXMLError: it is not well-formed, or has a DOCTYPE.
    """
    answer = answer[:1] + STRAY_DECLARATION.sub(b"", answer[1:])
    scanner = xml.Scanner(namespace_separator="}")
    open_elements: list[str] = []
    found: list[bytes] = []
    root, begin = "", 0

    def start(name: str, _: object) -> None:
        nonlocal root, begin
        open_elements.append(name)
        if len(open_elements) == 1:
            root = name
        elif len(open_elements) == 2:
            begin = scanner.parser.CurrentByteIndex

    def end(name: str) -> None:
        open_elements.pop()
        if name == RDF[1:] and open_elements == ["metadata"]:
            found.append(answer[begin : answer.index(b">", scanner.parser.CurrentByteIndex) + 1])

    scanner.parser.StartElementHandler = start
    scanner.parser.EndElementHandler = end
    scanner.feed(answer, last=True)
    if root == RDF[1:]:
        return [answer]
    if root != "metadata":
        raise MetadataError(_NEITHER)
    return found


class SharedTexts(dict[str, str]):
    """One copy of each text that many entries of a listing share, which halves its memory."""

    def __missing__(self, text: str) -> str:
        if len(text) <= _LONGEST_SHARED and len(self) < _MOST_SHARED:
            self[text] = text
        return text


def read_entry(rdf: ET.Element, shared: SharedTexts | None = None) -> Entry:
    """
    Read an ``rdf:RDF`` element.

    Only direct children of the description count, as others may have the same names. Of several
    texts the first is used; invalid numbers are ignored.

    :param shared: the texts that the entries of a listing share.
    :raises MetadataError: it has no usable identifier.
    """
    shared = SharedTexts() if shared is None else shared
    values: dict[str, Any] = ABSENT.copy()
    checksums: dict[str, str] = {}
    locations: dict[str, None] = {}  # in order
    ports: list[int] = []
    description = rdf.find(_DESCRIPTION)
    for child in () if description is None else description:
        tag = child.tag
        if tag in _TEXTS:
            text = child.text
            if text and not text.isspace() and values[_TEXTS[tag]] is None:
                values[_TEXTS[tag]] = shared[text]
        elif tag == _LOCATION:
            text = _text(child)
            if text is not None:
                locations[text] = None
        elif tag == _INBOUND_PORT:
            port = _number(child.text)
            if port is not None and port <= _MAX_PORT:
                ports.append(port)
        elif tag == _CHECKSUM:
            checksums |= _checksum(child, shared)
        elif tag == _ENDORSEMENT:
            values |= _endorsement(child, shared)
        elif tag == _BYTES:
            values["size"] = _number(child.text)
        elif tag == _DEPRECATED:
            values["deprecated"] = _text(child) or ""
    if not is_identifier(values["identifier"] or ""):
        raise MetadataError("a Marketplace entry without an image identifier")
    values.update(checksums=checksums, locations=(*locations,), inbound_ports=(*ports,))
    return Entry(**values)


def _text(element: ET.Element) -> str | None:
    text = element.text
    return text if text and not text.isspace() else None


def _texts(element: ET.Element | None, shared: SharedTexts) -> dict[str, str]:
    """Read the first text of each kind of child."""
    texts: dict[str, str] = {}
    for child in () if element is None else element:
        text = _text(child)
        if text is not None:
            texts.setdefault(child.tag, shared[text])
    return texts


def _number(text: str | None) -> int | None:
    digits = (text or "").strip()
    return int(digits) if _NUMBER.fullmatch(digits) else None


def _checksum(element: ET.Element, shared: SharedTexts) -> dict[str, str]:
    texts = _texts(element, shared)
    algorithm, value = texts.get(_ALGORITHM), texts.get(_VALUE, "").strip()
    return {algorithm: value.lower()} if algorithm and _HEX.fullmatch(value) else {}


def _endorsement(element: ET.Element, shared: SharedTexts) -> dict[str, str | None]:
    endorser = _texts(element.find(_ENDORSER), shared)
    return {
        "endorsed": _texts(element, shared).get(_CREATED),
        "endorser": endorser.get(_EMAIL),
        "subject": endorser.get(_SUBJECT),
        "issuer": endorser.get(_ISSUER),
    }


def write_entry(entry: Entry) -> bytes:
    """
    Write an ``rdf:RDF`` document without a signature, as the original registry stores it
    (marketplace-rest 4.2 and 8.2).

    :raises MetadataError: the identifier is invalid, or a text has characters that XML cannot hold.
    """
    if not is_identifier(entry.identifier):
        raise MetadataError("not an image identifier")
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    about = entry.identifier
    lines = [
        f'{_DECLARATION}<rdf:RDF {declared} xml:base="http://mp.stratuslab.eu/">',
        # The original server searches for exactly this start tag (marketplace-rest 4.1).
        f'  <rdf:Description rdf:about="#{about}">',
        f"    <dcterms:identifier>{about}</dcterms:identifier>",
    ]
    if entry.size is not None:
        lines.append(f"    <slreq:bytes>{entry.size}</slreq:bytes>")
    for algorithm, value in entry.checksums.items():
        lines += [
            '    <slreq:checksum rdf:parseType="Resource">',
            f"      {_element('slreq:algorithm', algorithm)}",
            f"      {_element('slreq:value', value)}",
            "    </slreq:checksum>",
        ]
    lines.append(f"    {_written_endorsement(entry)}")
    for name, field_name in _ELEMENTS.items():
        value = getattr(entry, field_name)
        if value is None and field_name not in _OPTIONAL:
            value = ""
        texts = value if isinstance(value, tuple) else () if value is None else (value,)
        lines += (f"    {_element(name, str(text))}" for text in texts)
    lines += ["  </rdf:Description>", "</rdf:RDF>\n"]
    return "\n".join(lines).encode()


def _element(name: str, text: str, attributes: str = "") -> str:
    if xml.NOT_XML.search(text):
        raise MetadataError(f"{name} has characters that XML cannot hold")
    # A carriage return would be read back as a newline.
    escaped = escape(text, quote=False).replace("\r", "&#13;")
    return f"<{name}{attributes}>{escaped}</{name}>" if text else f"<{name}{attributes}/>"


def _written_endorsement(entry: Entry) -> str:
    """Write an endorsement as the original signer does: inner elements with default namespaces."""
    inner = ""
    if entry.endorsed is not None:
        inner += _element("created", entry.endorsed, f' xmlns="{NAMESPACES["dcterms"]}"')
    names = {"email": entry.endorser, "subject": entry.subject, "issuer": entry.issuer}
    who = "".join(_element(name, text) for name, text in names.items() if text is not None)
    if who:
        namespace = f'xmlns="{NAMESPACES["slreq"]}"'
        inner += f'<endorser {namespace} rdf:parseType="Resource">{who}</endorser>'
    start = 'slreq:endorsement rdf:parseType="Resource"'
    return f"<{start}>{inner}</slreq:endorsement>" if inner else f"<{start}/>"
