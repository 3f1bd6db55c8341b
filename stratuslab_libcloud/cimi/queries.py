"""The query of a request: ``$select``, ``$expand``, ``$first``, ``$last`` and ``$filter``."""

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pyparsing as pp
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from stratuslab_libcloud.cimi.documents import Document, moment
from stratuslab_libcloud.cimi.table import TYPES

__all__ = ["Query"]

_ALWAYS = {"resourceURI", "id", "href"}
_LONGEST, _DEEPEST = 2000, 30
_SIGNS = {"=": "eq", "!=": "ne", "<=": "le", ">=": "ge", "<": "lt", ">": "gt"}
_TURNED = {"<=": ">=", ">=": "<=", "<": ">", ">": "<"}
Test = Callable[[Document], bool]


class Query:
    """
    A query about a resource, or about the members of a collection.

    :param given: names and values, as they are in the URL.
    :param kind: the type of the resource, or of the members.
    :param many: whether it is about members.
    :ivar expand: names of the references to follow; ``*`` for all.
    :ivar select: names of the attributes to keep; empty for all.
    :raises BadRequest: it cannot be read, or asks for what this provider does not have.
    """

    def __init__(self, given: MultiDict[str, str], kind: str, *, many: bool = False) -> None:
        self.select, self.expand = (
            {name for text in given.getlist(key) for name in text.split(",")}
            for key in ("$select", "$expand")
        )
        known = {"$select", "$expand", *(("$first", "$last", "$filter") if many else ())}
        names = {one.name for one in TYPES[kind]}
        for unknown in (given.keys() - known) | ((self.select | self.expand - {"*"}) - names):
            raise BadRequest(f"{unknown!r} is not supported here")
        places = given.get("$first", "1"), given.get("$last", "999999999")
        if not all(re.fullmatch("[1-9][0-9]{0,8}", place) for place in places):
            raise BadRequest("$first and $last must be whole numbers from 1")
        self._first, self._last = map(int, places)
        self._tests = [_filter(text, kind) for text in given.getlist("$filter")]

    def members(self, documents: Iterable[Document]) -> tuple[int, list[Document]]:
        """Return how many members match, and those of them that were asked for."""
        found = [one for one in documents if all(test(one) for test in self._tests)]
        return len(found), found[self._first - 1 : self._last]

    def selected(self, document: Document) -> Document:
        """Leave out what was not asked for; what says which document it is stays."""
        names = self.select | _ALWAYS if self.select else document.keys()
        return Document({name: document[name] for name in document if name in names})


def _filter(text: str, kind: str) -> Test:
    """
    Read a filter: comparisons, ``and``, which binds closer than ``or``, and parentheses.

    An attribute that a document lacks is ``!=`` to everything, and no other comparison is true.
    """
    if len(text) > _LONGEST or text.count("(") > _DEEPEST:
        raise BadRequest("$filter is too long")
    either = pp.Forward()
    one = pp.MatchFirst(_comparisons(kind)) | pp.Suppress("(") + either + pp.Suppress(")")
    every = pp.DelimitedList(one, pp.Keyword("and")).add_parse_action(partial(_joined, all))
    either <<= pp.DelimitedList(every, pp.Keyword("or")).add_parse_action(partial(_joined, any))
    try:
        test: Test = either.parse_string(text, parse_all=True)[0]
    except pp.ParseBaseException as error:
        raise BadRequest(f"$filter cannot be read from character {error.column} on") from None
    except ValueError as error:  # of a date
        raise BadRequest(f"$filter: {error}") from None
    return test


def _comparisons(kind: str) -> Iterator[pp.ParserElement]:
    """Yield what a comparison can be: for each kind of value, with the attribute on either side."""
    text = pp.QuotedString("'", esc_char="\\") | pp.QuotedString('"', esc_char="\\")
    number = pp.Regex(r"-?\d+(?![\w-])").add_parse_action(lambda found: int(found[0]))
    boolean = pp.one_of("true false", as_keyword=True).add_parse_action(lambda it: it[0] == "true")
    date = pp.Regex(r"\d{4}-\d\d-\d\d[\d:.TZ+-]*").add_parse_action(lambda it: moment(it[0]))
    known = {"text": text, "number": number, "boolean": boolean, "date": date}
    for value_kind, value in known.items():
        names = [one.name for one in TYPES[kind] if one.kind == value_kind and not one.each]
        name = pp.one_of(names, as_keyword=True).add_parse_action(
            lambda it: operator.methodcaller("get", it[0])
        )
        if value is text:
            name |= (
                pp.Suppress("property") + pp.Suppress("[") + text + pp.Suppress("]")
            ).add_parse_action(
                lambda it: lambda document: document.get("properties", {}).get(it[0])
            )
        sign = pp.one_of(_SIGNS if value_kind in ("number", "date") else ("=", "!="))
        yield (name + sign + value).add_parse_action(lambda it: _test(*it))
        yield (value + sign + name).add_parse_action(
            lambda it: _test(it[2], _TURNED.get(it[1], it[1]), it[0])
        )


def _joined(how: Callable[..., bool], tests: Any) -> Test:
    parts = tests.as_list()
    return lambda document: how(test(document) for test in parts)


def _test(get: Callable[[Document], Any], sign: str, value: Any) -> Test:
    def test(document: Document) -> bool:
        have = get(document)
        if have is None:
            return sign == "!="
        have = moment(have) if isinstance(value, datetime) else have
        return bool(getattr(operator, _SIGNS[sign])(have, value))

    return test
