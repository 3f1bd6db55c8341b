"""JSON and XML say the same, and XML is as the schema has it."""

import base64
import json
from datetime import timezone
from typing import Any

import pytest
from consumers import JSON, NS, SCHEMA, XML, of_xml
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from werkzeug.exceptions import BadRequest

from stratuslab_libcloud.cimi.documents import Document, date, read, write
from stratuslab_libcloud.cimi.table import TYPES, Attribute
from stratuslab_libcloud.errors import NotSupportedError

URLS = st.sampled_from(["http://localhost/cimi/machines/1", "volumes/x%20y", "a&b"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=20),
    "tag": URLS,
    "number": st.integers(0, 10**15 - 1),
    "boolean": st.booleans(),
    "date": st.datetimes(timezones=st.just(timezone.utc)).map(lambda one: date(one.isoformat())),
    "base64": st.binary(max_size=20).map(lambda some: base64.b64encode(some).decode()),
    "publicKey": st.from_regex(r"ssh-rsa [!-~]{1,9} x", fullmatch=True).map(
        lambda some: some.encode().hex()
    ),
    "map": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
}
SENT = ("Volume", "MachineTemplate", "VolumeTemplate", "Credential", "MachineCreate", "Action")
REFUSED: list[Any] = ["other", "", {"href": "x"}, [{}], True, 1]
ANSWERED = sorted(set(TYPES) - {"Operation", "Reference", "Address", "DiskConfiguration"})


def values(one: Attribute, depth: int) -> st.SearchStrategy[Any]:
    if one.name in ("id", "baseURI"):
        return URLS
    if one.only:
        return st.just(one.only)
    if one.kind in VALUES:
        return VALUES[one.kind]
    item = documents(one.kind, depth + 1)
    if one.tag == one.kind:
        item = item.map(lambda found: {**found, "resourceURI": f"{NS}/{one.kind}"})
    return st.lists(item, min_size=1, max_size=2) if one.many else item


def documents(kind: str, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of a type; far below the root there are only references."""
    needed = {"Operation": ("rel", "href")}.get(kind, ("href",) if depth else ())
    known = {one.name: values(one, depth) for one in TYPES[kind].values() if possible(one, depth)}
    return st.fixed_dictionaries(
        {name: known.pop(name) for name in needed},
        optional={name: known[name] for name in known if name not in ("href", "resourceURI")},
    )


def possible(one: Attribute, depth: int) -> bool:
    return one.only != "" and (depth < 3 or one.kind not in TYPES)


def typed(kind: str) -> st.SearchStrategy[Document]:
    return documents(kind).map(lambda found: Document({**found, "resourceURI": f"{NS}/{kind}"}))


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
    of_json = read(write(document, JSON), JSON, kind)
    assert as_text(read(write(document, XML), XML, kind)) == as_text(of_json)
    sent = json.loads(write(document, JSON))
    assert as_text(of_json) == as_text({name: sent[name] for name in sent if name != "resourceURI"})


@settings(max_examples=200)
@given(st.binary(max_size=100), st.sampled_from([JSON, XML]))
def test_any_bytes_are_read_or_refused(body: bytes, media_type: str) -> None:
    try:
        read(body, media_type, "Machine")
    except BadRequest as error:
        assert "\n" not in str(error.description)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (kind, one.name, value)
        for kind in SENT
        for one in TYPES[kind].values()
        if one.only is not None
        for value in REFUSED
    ],
)
def test_what_would_change_the_thing_that_is_made_is_refused(
    kind: str, name: str, value: Any
) -> None:
    with pytest.raises(NotSupportedError, match=name):
        read(json.dumps({name: value}).encode(), JSON, kind)
    read(json.dumps({name: None}).encode(), JSON, kind)
