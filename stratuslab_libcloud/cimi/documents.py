"""Documents in JSON and XML, by the table: either is read into, and written from, the same data."""

import base64
import contextlib
import json
import re
import xml.etree.ElementTree as ET
from datetime import datetime, timezone
from typing import Any

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from stratuslab_libcloud.cimi.table import NS, TYPES, Attribute
from stratuslab_libcloud.errors import NotSupportedError
from stratuslab_libcloud.untrusted.text import printable
from stratuslab_libcloud.untrusted.xml import parse

__all__ = ["JSON", "XML", "Document", "date", "read", "read_value", "values", "write"]

JSON, XML = "application/json", "application/xml"
_LARGEST = 2**20  # bytes


class Document(dict[str, Any]):
    """Attributes by name, as in JSON; the request is bad if one that is needed is missing."""

    def __missing__(self, name: str) -> Any:
        raise BadRequest(f"{self.get('href', 'the document')} has no {name}")


def read(body: bytes, media_type: str, kind: str) -> Document:
    """Read a document of a type, which JSON need not name; what the table lacks is left out."""
    if media_type not in (JSON, XML):
        raise UnsupportedMediaType(f"a body must be {JSON} or {XML}")
    if len(body) > _LARGEST:
        raise RequestEntityTooLarge(f"a body may have {_LARGEST} bytes")
    uri = f"{NS}/{kind}"
    try:
        given = json.loads(body) if media_type == JSON else parse(body)
        found = _read(kind, given)
        json.dumps(found, ensure_ascii=False).encode()  # as JSON can have half a character
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body cannot be read: {error}") from None
    implied = uri if media_type == JSON else re.sub("{(.*)}", r"\1/", given.tag)
    if found.pop("resourceURI", implied) != uri:
        raise BadRequest(f"the body must be a {kind}: {uri}")
    return found


def write(document: Document, media_type: str) -> bytes:
    """Write a document, whose ``resourceURI`` ends in its type; each text is put on one line."""
    clean = json.loads(json.dumps(document), object_hook=_printable)
    if media_type == JSON:
        return json.dumps(clean, indent=2, ensure_ascii=False).encode() + b"\n"
    kind = clean["resourceURI"].rpartition("/")[2]
    root = ET.Element("Collection" if kind.endswith("Collection") else kind, xmlns=NS)
    _fill(root, kind, clean)
    ET.indent(root)
    return bytes(ET.tostring(root, "utf-8", xml_declaration=True)) + b"\n"


def read_value(one: Attribute, value: Any) -> Any:
    """Read the value of an attribute; numbers and the like may be given as text."""
    if one.kind in TYPES:
        return _read(one.kind, value)
    text = value.strip() if isinstance(value, str) else json.dumps(value)
    if one.only is not None and (text != one.only or not text):
        raise NotSupportedError(f"{one.name} can only be {one.only or 'absent'} here")
    match one.kind:
        case "number" if re.fullmatch("[0-9]{1,15}", text):
            return int(text)
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "date" if found := date(text):
            return found
        case "base64":
            return base64.b64encode(base64.b64decode(text, validate=True)).decode()
        case "publicKey":  # the standard has it in hexadecimal digits; as it is will do, too
            with contextlib.suppress(ValueError):
                text = bytes.fromhex(text).decode().strip()
            if re.fullmatch(r"(ssh-|ecdsa-|sk-)[!-~]+ [!-~]+[^\r\n]*", text):
                return text.encode().hex()
        case "map" if isinstance(value, dict):
            return {name: read_value(Attribute(name), item) for name, item in value.items()}
        case "text" | "tag" if isinstance(value, str):
            return value
    raise BadRequest(f"{one.name} is no {one.kind}")


def date(found: str | float | None) -> str | None:
    """Write a date, in ISO 8601 or seconds, as all are written here; ``None`` if it is none."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if isinstance(found, str):
            when = datetime.fromisoformat(found.replace("/", "-").replace("Z", "+00:00"))
            found = (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
        if found is not None:
            return datetime.fromtimestamp(found, timezone.utc).isoformat(timespec="seconds")
    return None


def values(one: Attribute, given: Any) -> list[Any]:
    """List what an object, or an element that is yet to be read, has of an attribute."""
    if isinstance(given, dict) or one.kind == "tag":
        value = given.get(one.name)
        return value if isinstance(value, list) else [] if value is None else [value]
    found = given.findall(f"{{{NS}}}{one.tag}")
    if one.kind == "map":  # some consumers call the name key
        pairs = {item.get("name", item.get("key", "")): item.text or "" for item in found}
        return [pairs] if pairs else []
    return found if one.kind in TYPES else [item.text or "" for item in found]


def _read(kind: str, given: Any) -> Document:
    if not isinstance(given, (dict, ET.Element)):
        raise BadRequest(f"a {kind} must be an object")
    found = Document()
    for name, one in TYPES[kind].items():
        items = [read_value(one, value) for value in values(one, given)]
        if len(items) > 1 and not one.many:
            raise BadRequest(f"{name} is given twice")
        if items:
            found[name] = items if one.many else items[0]
    return found


def _fill(element: ET.Element, kind: str, document: dict[str, Any]) -> None:
    for name, one in TYPES[kind].items():
        for value in values(one, document):
            if one.kind == "tag":
                element.set(name, value)
            elif one.kind == "map":
                for key in value:
                    ET.SubElement(element, one.tag, name=key).text = value[key]
            elif one.kind in TYPES:
                _fill(ET.SubElement(element, one.tag), one.kind, value)
            else:
                text = value if isinstance(value, str) else json.dumps(value)
                ET.SubElement(element, one.tag).text = text


def _printable(found: dict[str, Any]) -> dict[str, Any]:
    return {
        printable(name): printable(value) if isinstance(value, str) else value
        for name, value in found.items()
    }
