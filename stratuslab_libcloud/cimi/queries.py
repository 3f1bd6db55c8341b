"""The query of a request: ``$select``, ``$expand``, ``$first``, ``$last`` and ``$filter``."""

import operator
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pyparsing as pp
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from stratuslab_libcloud.cimi.documents import Document, read_value
from stratuslab_libcloud.cimi.table import TYPES, Attribute

__all__ = ["Query"]

_LONGEST, _DEEPEST = 2000, 30
_EQUAL = {"=": operator.eq, "!=": operator.ne}
_ORDER = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
Test = Callable[[Document], bool]


class Query:
    """
    The query about a document of a type; about a collection, it is one about the documents in it.

    :raises BadRequest: it cannot be read, or asks for what this provider does not have.
    """

    def __init__(self, given: MultiDict[str, str], kind: str) -> None:
        one = kind.removesuffix("Collection")
        known = {"$select", "$expand", *(("$first", "$last", "$filter") if one != kind else ())}
        self.select, self.expand = (
            {name for text in given.getlist(key) for name in text.split(",")}
            for key in ("$select", "$expand")
        )
        names = self.select | self.expand - {"*"}
        for unknown in (given.keys() - known) | (names - TYPES[one].keys()):
            raise BadRequest(f"{unknown!r} is not supported here")
        places = given.get("$first", "1"), given.get("$last", "999999999")
        if not all(re.fullmatch("[1-9][0-9]{0,8}", place) for place in places):
            raise BadRequest("$first and $last must be whole numbers from 1")
        self._first, self._last = map(int, places)
        self._tests = [_filter(text, one) for text in given.getlist("$filter")]

    def members(self, documents: Iterable[Document]) -> tuple[int, list[Document]]:
        """Return how many match, and those of them that were asked for."""
        found = [one for one in documents if all(test(one) for test in self._tests)]
        return len(found), found[self._first - 1 : self._last]

    def selected(self, document: Document) -> Document:
        """Leave out what was not asked for; what says which document it is stays."""
        names = self.select | {"resourceURI", "id", "href"} if self.select else document.keys()
        return Document({name: document[name] for name in document if name in names})


def _filter(text: str, kind: str) -> Test:
    """Read a filter: comparisons, ``and``, which binds closer than ``or``, and parentheses."""
    if len(text) > _LONGEST or text.count("(") > _DEEPEST:
        raise BadRequest("$filter is too long")
    quoted = pp.QuotedString("'", "\\") | pp.QuotedString('"', "\\")
    value = pp.Regex(r"[\w:.+-]+")
    key = pp.Suppress("property[") + quoted + pp.Suppress("]")
    key.add_parse_action(lambda found: Attribute(found[0], "property"))
    text_is = (_one_of(kind, "text") | key) + pp.one_of(_EQUAL) + quoted
    value_is = (
        _one_of(kind, "boolean") + pp.one_of(_EQUAL) + value
        | _one_of(kind, "number", "date") + pp.one_of(_EQUAL | _ORDER) + value
    ).add_parse_action(lambda found: [*found[:2], read_value(found[0], found[2])])
    comparison = (text_is | value_is).add_parse_action(lambda found: partial(_compare, *found))
    either = pp.Forward()
    one = comparison | pp.Suppress("(") + either + pp.Suppress(")")
    every = pp.DelimitedList(one, pp.Keyword("and")).add_parse_action(partial(_joined, all))
    either <<= pp.DelimitedList(every, pp.Keyword("or")).add_parse_action(partial(_joined, any))
    try:
        test: Test = either.parse_string(text, parse_all=True)[0]
    except pp.ParseBaseException as error:
        raise BadRequest(f"$filter cannot be read from character {error.column} on") from None
    return test


def _one_of(kind: str, *kinds: str) -> pp.ParserElement:
    names = [one.name for one in TYPES[kind].values() if one.kind in kinds]
    return pp.one_of(names, as_keyword=True).add_parse_action(lambda found: TYPES[kind][found[0]])


def _compare(one: Attribute, sign: str, value: Any, document: Document) -> bool:
    """Compare; what a document lacks is ``!=`` to everything, and nothing else is true of it."""
    owner = document.get("properties", {}) if one.kind == "property" else document
    have = owner.get(one.name)
    return sign == "!=" if have is None else bool((_EQUAL | _ORDER)[sign](have, value))


def _joined(how: Callable[[Iterable[bool]], bool], found: pp.ParseResults) -> Test:
    tests = found.as_list()
    return lambda document: how(test(document) for test in tests)
