"""JSON and XML say the same, and XML is as the schema has it."""

import json
from datetime import timezone
from typing import Any

import pytest
from consumers import JSON, NS, SCHEMA, XML, of_xml
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from stratuslab_libcloud.cimi.documents import DocumentError, read, write
from stratuslab_libcloud.cimi.table import DATE, FLAG, PAIRS, TEXT, TYPES, WHOLE, Attribute

URLS = st.sampled_from(["http://localhost/cimi/machines/1", "volumes/x%20y", "a&b"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    TEXT: st.text(max_size=20),
    WHOLE: st.integers(0, 2**53),
    FLAG: st.booleans(),
    DATE: st.datetimes(timezones=st.just(timezone.utc)).map(lambda date: date.isoformat()),
    PAIRS: st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
}
SENT = ("Volume", "MachineTemplate", "VolumeTemplate", "Credential", "MachineCreate", "Action")
ANSWERED = sorted(set(TYPES) - {"Operation", "Reference", "Address", "DiskConfiguration"})


def values(one: Attribute, depth: int) -> st.SearchStrategy[Any]:
    if one.name in ("id", "baseURI"):
        return URLS
    if one.kind in VALUES:
        return VALUES[one.kind]
    item = documents(one.kind, depth + 1)
    if one.each == one.kind:
        item = item.map(lambda found: {**found, "resourceURI": f"{NS}/{one.kind}"})
    return st.lists(item, min_size=1, max_size=2) if one.each else item


def documents(kind: str, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of a type; far below the root there are only references."""
    if kind == "Operation":
        return st.fixed_dictionaries({"rel": st.sampled_from(["add", "a:b"]), "href": URLS})
    reference = {"href": URLS} if depth else {}
    known = TYPES[kind] if depth < 3 else ()
    return st.fixed_dictionaries(
        reference, optional={one.name: values(one, depth) for one in known}
    )


def typed(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return documents(kind).map(lambda found: {**found, "resourceURI": f"{NS}/{kind}"})


def as_text(value: Any) -> Any:
    """As XML has it, where all is text, and an empty object nothing."""
    if isinstance(value, dict):
        return {name: as_text(one) for name, one in value.items() if one != {}}
    if isinstance(value, list):
        return [as_text(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("kind", ANSWERED)
@settings(max_examples=15)
@given(data=st.data())
def test_xml_is_valid_and_says_what_json_says(kind: str, data: st.DataObject) -> None:
    document = data.draw(typed(kind))
    root = etree.fromstring(write(document, XML))
    SCHEMA.assertValid(root)
    assert of_xml(root) == as_text(json.loads(write(document, JSON)))


@pytest.mark.parametrize("kind", SENT)
@settings(max_examples=15)
@given(data=st.data())
def test_both_are_read_as_the_same(kind: str, data: st.DataObject) -> None:
    document = data.draw(typed(kind))
    of_json = read(write(document, JSON), JSON, [kind])
    assert as_text(read(write(document, XML), XML, [kind])) == as_text(of_json)
    assert as_text(of_json) == as_text(json.loads(write(document, JSON)))


@settings(max_examples=200)
@given(st.binary(max_size=100), st.sampled_from([JSON, XML]))
def test_any_bytes_are_read_or_refused(body: bytes, media_type: str) -> None:
    try:
        read(body, media_type, ["Machine"])
    except DocumentError as error:
        assert str(error).isprintable() or "\n" not in str(error)
