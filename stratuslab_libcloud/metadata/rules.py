"""What an entry must be like (marketplace-rest 4), whoever signed it."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from stratuslab_libcloud.metadata.entry import MetadataError, is_identifier, sha1_of
from stratuslab_libcloud.metadata.rdf import NAMESPACES, RDF, clark
from stratuslab_libcloud.untrusted import xml
from stratuslab_libcloud.untrusted.text import one_line

__all__ = ["is_email", "read_date", "refusals", "violations", "written_date"]

_BASE = "http://mp.stratuslab.eu/"
_XML_BASE = "{http://www.w3.org/XML/1998/namespace}base"
_ABOUT = clark("rdf:about")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
# As loose as those that are about: pdisk:HOST:PORT:UUID, https:HOST:UUID (marketplace-rest 4.3).
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f-\xa0]+")
_SHA1 = "SHA-1"
_HEX_DIGITS = {"MD5": 32, _SHA1: 40, "SHA-256": 64, "SHA-512": 128}
_SINGLE = ("serial-number", "version", "deprecated", "os", "os-arch", "os-version")

_ONE = ("dcterms:description", "dcterms:format", "slreq:bytes", "slreq:endorsement")
_AT_MOST_ONE = (
    *("slterms:kind", "slterms:hypervisor", "slterms:disks-bus", "dcterms:valid"),
    *("dcterms:created", "dcterms:creator", "dcterms:publisher", "dcterms:title"),
    *("dcterms:alternative", "dcterms:compression", "dcterms:isReplacedBy", "dcterms:replaces"),
    "dcterms:isVersionOf",
)


def is_email(text: str) -> bool:
    """Whether it has the form that the Marketplace's schema asks of an e-mail address (4.5)."""
    return _EMAIL.fullmatch(text) is not None


def read_date(text: str) -> datetime | None:
    """The time that a date of an entry means (4.4); None if it means none."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, _FORMAT).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def written_date(when: datetime) -> str:
    """A time, aware of its zone, as entries have it."""
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + "Z"


def refusals(document: bytes) -> list[str]:
    """
    Why a Marketplace must not store an entry (4.5), its signature aside; nothing if it may.

    Those that the original server has come first, in its order and its words.

    :param document: an ``rdf:RDF`` document.
    :raises MetadataError: its root is not ``rdf:RDF``, or it has not exactly one description.
    :raises UnsafeXMLError: it is not well-formed, or has a DOCTYPE.
    """
    root, description = _read(document)
    return list(map(one_line, _refusals(root, description)))


def violations(document: bytes) -> list[str]:
    """
    Every rule that an entry breaks: those of :func:`refusals`, and those that no server enforces
    (4.2 to 4.4).

    Elements may be in any order.

    :param document: an ``rdf:RDF`` document.
    :raises MetadataError: its root is not ``rdf:RDF``, or it has not exactly one description.
    :raises UnsafeXMLError: it is not well-formed, or has a DOCTYPE.
    """
    root, description = _read(document)
    found = [*_refusals(root, description), *_numbers(description), *_values(description)]
    return list(map(one_line, found))


def _read(document: bytes) -> tuple[ET.Element, ET.Element]:
    root = xml.parse(document)
    if root.tag != RDF:
        raise MetadataError("not a Marketplace entry: its root is not rdf:RDF")
    descriptions = root.findall("rdf:Description", NAMESPACES)
    if len(descriptions) != 1:
        raise MetadataError(f"it has {len(descriptions) or 'no'} descriptions")
    return root, descriptions[0]


def _refusals(root: ET.Element, description: ET.Element) -> Iterator[str]:
    if root.get(_XML_BASE) != _BASE:
        yield f"root element must have xml:base attribute with value {_BASE}"
    types = description.findall("dcterms:type", NAMESPACES)
    if len(types) != 1:
        yield "description must have exactly 1 dcterms:type element"
    if any(len(one) for one in types):
        yield "dcterms:type cannot have child elements"
    # The server counts those whose algorithm comes before their value.
    sha1s = [value for algorithm, value in _checksums(description) if algorithm == _SHA1]
    if len(sha1s) != 1:
        # slterms is the original's mistake.
        yield "description must have exactly 1 slterms:checksum element using SHA-1 algorithm"
    for name in _SINGLE:
        if len(description.findall(f"slterms:{name}", NAMESPACES)) > 1:
            yield f"description must have at most 1 slterms:{name} element"
    yield from _identity(description, sha1s[0] if len(sha1s) == 1 else None)
    yield from _dates(description)
    email = _text(description, "slreq:endorsement/slreq:endorser/slreq:email")
    if not is_email(email):
        yield f"endorser's email ({email}) is not an e-mail address"
    for location in description.findall("slterms:location", NAMESPACES):
        text = "".join(location.itertext())
        if text and not text.isspace() and not _URI.fullmatch(text.strip()):
            yield f"slterms:location value ({text}) is not a URI"


def _identity(description: ET.Element, sha1: str | None) -> Iterator[str]:
    about, claimed = description.get(_ABOUT, ""), _text(description, "dcterms:identifier")
    if about != f"#{claimed}":
        yield f"rdf:about attribute ({about}) and dcterms:identifier ({claimed}) are not consistent"
    try:
        meant = sha1_of(claimed)
    except MetadataError:
        yield f"dcterms:identifier ({claimed}) is not an image identifier"
        return
    if sha1 is None:
        return
    if not re.fullmatch("[0-9A-Fa-f]{1,128}", sha1):
        yield f"{sha1} is not a valid SHA-1 checksum"
    elif int(sha1, 16) != int(meant, 16):
        yield (
            f"checksum from identifier ({int(meant, 16)}) and SHA-1 checksum ({int(sha1, 16)}) "
            "are not consistent"
        )


def _dates(description: ET.Element) -> Iterator[str]:
    valid = _text(description, "dcterms:valid")
    endorsed = _text(description, "slreq:endorsement/dcterms:created")
    if valid and not _DATE.fullmatch(valid):
        yield f"dcterms:valid value ({valid}) is not a valid date"
    if endorsed and not _DATE.fullmatch(endorsed):
        yield f"dcterms:created value ({endorsed}) is not a valid date"
    for date in (valid, endorsed):
        if _DATE.fullmatch(date) and read_date(date) is None:
            yield f'Unparseable date: "{date}"'
    if not valid:
        yield "description must have a dcterms:valid element"
    if not endorsed:
        yield "endorsement must have a dcterms:created element"


def _numbers(description: ET.Element) -> Iterator[str]:
    """Elements that are missing, or there too often."""
    for name in (*_ONE, "dcterms:identifier"):
        if len(description.findall(name, NAMESPACES)) != 1:
            yield f"description must have exactly 1 {name} element"
    for name in _AT_MOST_ONE:
        if len(description.findall(name, NAMESPACES)) > 1:
            yield f"description must have at most 1 {name} element"
    for endorsement in description.findall("slreq:endorsement", NAMESPACES):
        for name in ("dcterms:created", "slreq:endorser"):
            if len(endorsement.findall(name, NAMESPACES)) != 1:
                yield f"endorsement must have exactly 1 {name} element"
        for endorser in endorsement.findall("slreq:endorser", NAMESPACES):
            for name in ("slreq:email", "slreq:subject"):
                if len(endorser.findall(name, NAMESPACES)) != 1:
                    yield f"endorser must have exactly 1 {name} element"
            if endorser.find("slreq:issuer", NAMESPACES) is None:
                yield "endorser must have a slreq:issuer element"


def _values(description: ET.Element) -> Iterator[str]:
    """Values that are not of their type."""
    for algorithm, value in _checksums(description):
        if algorithm not in _HEX_DIGITS:
            yield f"checksum algorithm ({algorithm}) is none of {', '.join(_HEX_DIGITS)}"
        elif not re.fullmatch(f"[0-9A-Fa-f]{{{_HEX_DIGITS[algorithm]}}}", value):
            yield f"{algorithm} checksum ({value}) has not {_HEX_DIGITS[algorithm]} hex digits"
    for name, (expected, fits) in _TYPES.items():
        for element in description.findall(name, NAMESPACES):
            text = "".join(element.itertext())
            if len(element) or not fits(text):
                yield f"{name} value ({text}) is not {expected}"


def _checksums(description: ET.Element) -> Iterator[tuple[str, str]]:
    for checksum in description.findall("slreq:checksum", NAMESPACES):
        yield _text(checksum, "slreq:algorithm"), _text(checksum, "slreq:value")


def _text(element: ET.Element, path: str) -> str:
    """Of the first, without trimming; "" when there is none."""
    return element.findtext(path, "", NAMESPACES) or ""


def _up_to(highest: int) -> Callable[[str], bool]:
    return lambda text: re.fullmatch("[0-9]{1,18}", text) is not None and int(text) <= highest


_ANY_NUMBER = 10**18
_TYPES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "slreq:bytes": ("a number of bytes", _up_to(_ANY_NUMBER)),
    "slterms:serial-number": ("a number", _up_to(_ANY_NUMBER)),
    "dcterms:created": ("a date", lambda text: not text or read_date(text) is not None),
    "slterms:disks-bus": ("ide, scsi or virtio", lambda text: text in ("ide", "scsi", "virtio")),
    "slterms:kind": ("machine or disk", lambda text: text in ("", "machine", "disk")),
    "slterms:inbound-port": ("a port, 0 to 65535", _up_to(65535)),
    "slterms:outbound-port": ("a port, 0 to 65535", _up_to(65535)),
    "slterms:icmp": ("a type of ICMP, 0 to 255", _up_to(255)),
    "dcterms:isReplacedBy": ("an image identifier", is_identifier),
    "dcterms:replaces": ("an image identifier", is_identifier),
    "dcterms:isVersionOf": ("an image identifier", is_identifier),
}
