"""What every page of the sandbox must be: HTML without an error, that a screen reader can read."""

import itertools
from collections import Counter
from collections.abc import Container
from xml.etree.ElementTree import Element

import html5lib
import requests

__all__ = ["checked", "text_of"]


def checked(page: requests.Response, outside: Container[str] = ()) -> Element:
    """
    The parsed page, once nothing is wrong with it.

    :param outside: the addresses of other sites that it may link to.
    """
    assert page.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert page.text.startswith("<!DOCTYPE html>\n")
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    root: Element = parser.parse(page.text)
    assert root.get("lang") == "en"
    for tag in ("head/title", "body/main", "body/main//h1", "body/header/nav"):
        assert len(root.findall(tag)) == 1, tag
    levels = [int(element.tag[1]) for element in root.iter() if element.tag in ("h1", "h2", "h3")]
    assert all(lower <= upper + 1 for upper, lower in itertools.pairwise(levels))
    ids = Counter(found for element in root.iter() if (found := element.get("id")))
    assert [found for found, times in ids.items() if times > 1] == []
    for name in ("aria-labelledby", "aria-describedby", "for"):
        assert {element.get(name) for element in root.iterfind(f".//*[@{name}]")} <= set(ids)
    assert not root.findall(".//script") + root.findall(".//style") + root.findall(".//*[@style]")
    names = {name for element in root.iter() for name in element.keys()}  # noqa: SIM118
    assert [name for name in names if name.startswith("on")] == []
    labels = {label.get("for") for label in root.iterfind(".//label")}
    for tag in ("input", "select", "textarea"):
        for field in root.iter(tag):
            assert field.get("type") == "hidden" or field.get("id") in labels, field.attrib
    for table in root.iter("table"):
        assert table.find("caption") is not None or table.get("aria-labelledby")
        assert [cell.get("scope") for cell in table.iter("th") if not cell.get("scope")] == []
    for form in root.iterfind(".//form[@method='post']"):
        own = form.get("action", "").startswith("/pages/")  # others are nobody's: need no login
        assert not own or form.findall("./input[@name='token']"), form.attrib
    for name in ("href", "src", "action"):
        targets = {element.get(name, "") for element in root.iterfind(f".//*[@{name}]")}
        targets = {target for target in targets if target not in outside}
        assert [target for target in targets if not target.startswith(("/", "#", "?"))] == []
        assert [target for target in targets if target.startswith("//")] == []
    return root


def text_of(element: Element | None) -> str:
    """Its text, with single blanks."""
    assert element is not None
    return " ".join("".join(element.itertext()).split())
