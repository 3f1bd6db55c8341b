"""Documents in JSON and XML, by the table: either is read into, and written from, the same data."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Collection
from datetime import datetime, timezone
from typing import Any

from stratuslab_libcloud.cimi.table import DATE, FLAG, NS, PAIRS, TEXT, TYPES, WHOLE
from stratuslab_libcloud.untrusted.text import printable
from stratuslab_libcloud.untrusted.xml import UnsafeXMLError, parse

__all__ = ["JSON", "XML", "Document", "DocumentError", "moment", "read", "write"]

JSON, XML = "application/json", "application/xml"
Document = dict[str, Any]
"""Attributes by name, as in JSON; ``resourceURI`` ends in the type."""

_LARGEST = 2**53  # what every reader of JSON reads as it is
_IN_TAGS = ("rel", "href")


class DocumentError(ValueError):
    """A document cannot be read. The text is one line."""


def read(body: bytes, media_type: str, types: Collection[str]) -> Document:
    """
    Read a document; what the table does not have is left out.

    :param types: those that it may have. JSON need not say which it is if there is only one.
    :raises DocumentError: it is malformed, or of another type.
    """
    if media_type == JSON:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DocumentError(f"this is no JSON: {error}") from None
        uri = value.get("resourceURI", f"{NS}/{min(types)}") if isinstance(value, dict) else ""
    else:
        try:
            value = parse(body)
        except UnsafeXMLError as error:
            raise DocumentError(str(error)) from None
        uri = value.tag.replace("{" + NS + "}", f"{NS}/")
        if uri == f"{NS}/Collection":
            uri = value.get("resourceURI", uri)
        if value.get("resourceURI", uri) != uri:
            raise DocumentError("resourceURI and the root element are not the same type")
    known = {f"{NS}/{name}": name for name in types}
    if not isinstance(uri, str) or uri not in known:
        raise DocumentError(f"the document must be a {' or '.join(sorted(known))}")
    kind = known[uri]
    return {
        "resourceURI": uri,
        **_checked(kind, value if media_type == JSON else _raw(kind, value)),
    }


def write(document: Document, media_type: str) -> bytes:
    """Write a document, with all text on one line; XML has no other characters than JSON."""
    clean = _printable(document)
    if media_type == JSON:
        return json.dumps(clean, indent=2, ensure_ascii=False).encode() + b"\n"
    kind = document["resourceURI"].rpartition("/")[2]
    root = ET.Element("Collection" if kind.endswith("Collection") else kind, xmlns=NS)
    root.set("resourceURI", document["resourceURI"])
    _fill(root, kind, clean)
    ET.indent(root)
    return bytes(ET.tostring(root, "utf-8", xml_declaration=True)) + b"\n"


def moment(text: str) -> datetime:
    """
    Read a date in ISO 8601; without a zone it is in UTC.

    :raises ValueError: it is none.
    """
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(one) for key, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list) else value


def _raw(kind: str, element: ET.Element) -> Document:
    """Bring XML into the shape of JSON, with all values as text."""
    found: Document = {name: element.attrib[name] for name in _IN_TAGS if name in element.attrib}
    for one in TYPES[kind]:
        name = "property" if one.kind == PAIRS else one.each or one.name
        given = element.findall(f"{{{NS}}}{name}")
        items = [_raw(one.kind, item) if one.kind in TYPES else item.text or "" for item in given]
        if one.kind == PAIRS and given:
            keys = [item.get("name", item.get("key", "")) for item in given]
            found[one.name] = dict(zip(keys, items, strict=True))
        elif len(items) > 1 and not one.each:
            raise DocumentError(f"{name} is given twice")
        elif items:
            found[one.name] = items if one.each else items[0]
    return found


def _checked(kind: str, value: Any) -> Document:
    if not isinstance(value, dict):
        raise DocumentError(f"a {kind} must be an object")
    found = {"href": _scalar("href", TEXT, value["href"])} if "href" in value else {}
    for one in TYPES[kind]:
        if (given := value.get(one.name)) is None:
            continue
        if one.each and not isinstance(given, list):
            raise DocumentError(f"{one.name} must be a list")
        items = [
            _checked(one.kind, item) if one.kind in TYPES else _scalar(one.name, one.kind, item)
            for item in (given if one.each else [given])
        ]
        found[one.name] = items if one.each else items[0]
    return found


def _scalar(name: str, kind: str, value: Any) -> Any:
    if kind == PAIRS:
        if not isinstance(value, dict):
            raise DocumentError(f"{name} must be an object")
        return {key: _scalar(key, TEXT, text) for key, text in value.items()}
    if kind == WHOLE:
        number = value.strip() if isinstance(value, str) else value
        if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 17:
            number = int(number)
        if type(number) is int and 0 <= number <= _LARGEST:
            return number
        raise DocumentError(f"{name} must be a whole number")
    if kind == FLAG:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip() in ("true", "false", "1", "0"):
            return value.strip() in ("true", "1")
        raise DocumentError(f"{name} must be true or false")
    if not isinstance(value, str):
        raise DocumentError(f"{name} must be text")
    if kind == DATE:
        try:
            moment(value)
        except ValueError:
            raise DocumentError(f"{name} must be a date") from None
    return value


def _fill(element: ET.Element, kind: str, document: Document) -> None:
    for name in _IN_TAGS:
        if name in document:
            element.set(name, document[name])
    for one in TYPES[kind]:
        if one.name not in document or one.name in _IN_TAGS:
            continue
        value = document[one.name]
        if one.kind == PAIRS:
            for key, text in value.items():
                ET.SubElement(element, "property", name=key).text = text
            continue
        for item in value if one.each else [value]:
            child = ET.SubElement(element, one.each or one.name)
            if one.kind in TYPES:
                _fill(child, one.kind, item)
            else:
                child.text = str(item).lower() if one.kind == FLAG else str(item)
