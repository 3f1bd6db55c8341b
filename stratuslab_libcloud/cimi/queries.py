"""The query of a request: ``$select``, ``$expand``, ``$first``, ``$last`` and ``$filter``."""

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from stratuslab_libcloud.cimi.documents import Document, moment
from stratuslab_libcloud.cimi.table import DATE, FLAG, TEXT, TYPES, WHOLE

__all__ = ["Query", "QueryError"]

_KEPT = ("resourceURI", "id", "href")
_ON_COLLECTIONS = ("$first", "$last", "$filter")
_LONGEST, _DEEPEST = 2000, 30
_COMPARED = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_TOKEN = re.compile(
    r"""\s*(?: (?P<sign>[()\[\]]|[<>]=?|!?=)
          | "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\.)*)'
          | (?P<date>\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?) | (?P<whole>-?\d+)(?![\w-])
          | (?P<word>[A-Za-z]\w*) )""",
    re.VERBOSE,
)
Test = Callable[[Document], bool]


class QueryError(ValueError):
    """A query cannot be answered. The text is one line."""


class Query:
    """
    A query about a resource, or about the members of a collection.

    :param given: names and values, as they are in the URL.
    :param kind: the type of the resource, or of the members.
    :raises QueryError: it cannot be answered, or asks for what this provider does not have.
    """

    def __init__(self, given: Iterable[tuple[str, str]], kind: str, *, many: bool) -> None:
        names = {one.name for one in TYPES[kind]}
        values: dict[str, list[str]] = {}
        for name, value in given:
            values.setdefault(name, []).append(value)
        known = {"$select", "$expand", *(_ON_COLLECTIONS if many else ())}
        for name in values.keys() - known:
            raise QueryError(f"{name!r} is not supported here")
        self.select = self._names(values.get("$select"), names)
        self.expand = self._names(values.get("$expand"), names | {"*"}) or set()
        self._first = self._place(values.get("$first"), 1)
        self._last = self._place(values.get("$last"), None)
        self._tests = [_Filter(text, kind).test for text in values.get("$filter", [])]

    def members(self, documents: list[Document]) -> tuple[int, list[Document]]:
        """Return how many members match, and those of them that were asked for."""
        found = [one for one in documents if all(test(one) for test in self._tests)]
        return len(found), found[(self._first or 1) - 1 : self._last]

    def selected(self, document: Document) -> Document:
        """Leave out what was not asked for; what says which document it is stays."""
        if self.select is None:
            return document
        return {k: v for k, v in document.items() if k in self.select or k in _KEPT}

    @staticmethod
    def _names(values: list[str] | None, known: set[str]) -> set[str] | None:
        if values is None:
            return None
        names = {name.strip() for value in values for name in value.split(",")}
        for name in sorted(names - known):
            raise QueryError(f"there is no attribute {name!r} here")
        return names

    @staticmethod
    def _place(values: list[str] | None, default: int | None) -> int | None:
        if values is None:
            return default
        if len(values) > 1 or not re.fullmatch("[1-9][0-9]{0,8}", values[0]):
            raise QueryError("$first and $last must be whole numbers from 1")
        return int(values[0])


class _Filter:
    """
    One filter: comparisons, ``and``, which binds closer than ``or``, and parentheses.

    An attribute that a document lacks is ``!=`` to everything, and no other comparison is true.
    """

    def __init__(self, text: str, kind: str) -> None:
        if len(text) > _LONGEST or text.count("(") > _DEEPEST:
            raise QueryError("$filter is too long")
        self._kinds = {one.name: one.kind for one in TYPES[kind] if not one.each}
        self._tokens: list[tuple[str, str]] = []
        end = 0
        while text[end:].strip():
            token = _TOKEN.match(text, end)
            if token is None:
                raise QueryError(f"$filter cannot be read from character {end + 1} on")
            kind, end = token.lastgroup or "", token.end()
            self._tokens.append((kind, token[kind]))
        self._tokens.append(("end", ""))
        self.test = self._either()
        self._take("end")

    def _take(self, kind: str, *texts: str) -> str:
        """Take the next token, which must be of this kind, and one of these texts if given."""
        found, text = self._tokens[0]
        if found != kind or (texts and text not in texts):
            raise QueryError(f"$filter has {text or 'its end'!r} where something else must be")
        del self._tokens[0]
        return text

    def _either(self) -> Test:
        return self._joined("or", self._all, any)

    def _all(self) -> Test:
        return self._joined("and", self._one, all)

    def _joined(self, word: str, part: Callable[[], Test], join: Callable[..., bool]) -> Test:
        tests = [part()]
        while self._tokens[0] == ("word", word):
            del self._tokens[0]
            tests.append(part())
        return lambda document: join(test(document) for test in tests)

    def _one(self) -> Test:
        if self._tokens[0] == ("sign", "("):
            del self._tokens[0]
            test = self._either()
            self._take("sign", ")")
            return test
        left = self._side()
        sign = self._take("sign", *_COMPARED)
        right = self._side()
        if callable(right[1]):
            left, right, sign = right, left, _TURNED.get(sign, sign)
        (kind, get), (other, value) = left, right
        if not callable(get) or callable(value):
            raise QueryError("$filter must compare an attribute with a value")
        if kind != other or (kind in (TEXT, FLAG) and sign not in ("=", "!=")):
            raise QueryError(f"$filter cannot compare a {kind} with a {other} by {sign}")
        compare, absent = _COMPARED[sign], sign == "!="
        return lambda one: absent if (have := get(one)) is None else bool(compare(have, value))

    def _side(self) -> tuple[str, Any]:
        """Take an attribute (a kind and a function) or a value (a kind and the value)."""
        kind, text = self._tokens.pop(0)
        if kind in ("double", "single"):
            return TEXT, re.sub(r"\\(.)", r"\1", text)
        if kind == WHOLE:
            return WHOLE, int(text)
        if kind == DATE:
            return DATE, _date(text)
        if kind == "word" and text in ("true", "false"):
            return FLAG, text == "true"
        if kind == "word" and text == "property":
            self._take("sign", "[")
            _, key = self._side()
            self._take("sign", "]")
            return TEXT, lambda document: document.get("properties", {}).get(key)
        have = self._kinds.get(text, "") if kind == "word" else ""
        if have == DATE:
            return DATE, lambda document: _date(document[text]) if text in document else None
        if have not in (TEXT, WHOLE, FLAG):
            raise QueryError(f"$filter cannot compare {text or 'its end'!r}")
        return have, lambda document: document.get(text)


def _date(text: str) -> Any:
    try:
        return moment(text)
    except ValueError:
        raise QueryError(f"{text} is no date") from None
