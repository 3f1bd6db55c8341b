"""Documents in JSON and XML, by the table: either is read into, and written from, the same data."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from datetime import datetime, timezone
from typing import Any

from werkzeug.exceptions import BadRequest

from stratuslab_libcloud.cimi.table import NS, TYPES, Attribute
from stratuslab_libcloud.errors import NotSupportedError
from stratuslab_libcloud.untrusted.text import printable
from stratuslab_libcloud.untrusted.xml import parse

__all__ = ["JSON", "XML", "Document", "moment", "read", "write"]

JSON, XML = "application/json", "application/xml"


class Document(dict[str, Any]):
    """Attributes by name, as in JSON; the request is bad if one is missing."""

    def __missing__(self, name: str) -> Any:
        raise BadRequest(f"{name} is missing")


def read(body: bytes, media_type: str, kind: str) -> Document:
    """
    Read a document of a type, which JSON need not name; what the table does not have is left out.

    :raises BadRequest: it is malformed, or of another type.
    :raises NotSupportedError: it asks for what this provider does not have.
    """
    uri = f"{NS}/{kind}"
    try:
        given = json.loads(body) if media_type == JSON else parse(body)
        found = _read(kind, given)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body cannot be read: {error}") from None
    named = isinstance(given, dict) or given.tag == f"{{{NS}}}{kind}"
    if not named or given.get("resourceURI", uri) != uri:
        raise BadRequest(f"the body must be a {kind}: {uri}")
    return found


def write(document: Document, media_type: str) -> bytes:
    """Write a document, whose ``resourceURI`` ends in its type; each text is put on one line."""
    clean = _printable(document)
    if media_type == JSON:
        return json.dumps(clean, indent=2, ensure_ascii=False).encode() + b"\n"
    uri = clean["resourceURI"]
    kind = uri.rpartition("/")[2]
    root = ET.Element("Collection" if kind.endswith("Collection") else kind)
    root.attrib.update(xmlns=NS, resourceURI=uri)
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


def _read(kind: str, given: Any) -> Document:
    if not isinstance(given, (dict, ET.Element)):
        raise BadRequest(f"a {kind} must be an object")
    found, items = Document(), _in_json if isinstance(given, dict) else _in_xml
    for one in TYPES[kind]:
        is_object = one.kind in TYPES
        values = [
            _read(one.kind, item) if is_object else _value(one, item) for item in items(one, given)
        ]
        if len(values) > 1 and not one.each:
            raise BadRequest(f"{one.name} is given twice")
        if values:
            found[one.name] = values if one.each else values[0]
    return found


def _in_json(one: Attribute, given: Any) -> list[Any]:
    value = given.get(one.name)
    return value if isinstance(value, list) else [] if value is None else [value]


def _in_xml(one: Attribute, given: Any) -> list[Any]:
    if one.kind == "tag":
        return [given.attrib[one.name]] if one.name in given.attrib else []
    found = given.findall(f"{{{NS}}}{'property' if one.kind == 'map' else one.each or one.name}")
    if one.kind == "map":  # some consumers call the name key
        pairs = {item.get("name", item.get("key", "")): item.text or "" for item in found}
        return [pairs] if pairs else []
    return found if one.kind in TYPES else [item.text or "" for item in found]


def _value(one: Attribute, value: Any) -> Any:
    text = value.strip() if isinstance(value, str) else json.dumps(value)
    if one.only is not None and (text != one.only or not text):
        raise NotSupportedError(f"{one.name} can only be {one.only or 'absent'} here")
    match one.kind:
        case "number" if re.fullmatch("[0-9]{1,15}", text):
            return int(text)
        case "boolean" if text in ("true", "false", "1", "0"):
            return text in ("true", "1")
        case "map" if isinstance(value, dict):
            return {name: _value(Attribute(name), item) for name, item in value.items()}
        case "date" | "base64":
            moment(text) if one.kind == "date" else base64.b64decode(text, validate=True)
            return text
        case "text" | "tag" if isinstance(value, str) or one.only:
            return value
    raise BadRequest(f"{one.name} is no {one.kind}")


def _fill(element: ET.Element, kind: str, document: Document) -> None:
    for one in TYPES[kind]:
        value = document.get(one.name, [])
        if one.kind == "tag" and value:
            element.set(one.name, value)
        elif one.kind == "map":
            for name in value:
                ET.SubElement(element, "property", name=name).text = value[name]
        else:
            for item in value if isinstance(value, list) else [value]:
                child = ET.SubElement(element, one.each or one.name)
                if one.kind in TYPES:
                    _fill(child, one.kind, item)
                else:
                    child.text = item if isinstance(item, str) else json.dumps(item)


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(name): _printable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value
