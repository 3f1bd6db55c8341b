"""
Templates as a modern engine reads them: text or XML, names in capitals (modern 2, engines 4).

They are kept in the same form as those of the older engine, whose grammar has other quirks.
"""

import re

from stratuslab_libcloud.sandbox.template import Template, TemplateError, Vector
from stratuslab_libcloud.untrusted import xml

__all__ = ["expand_context", "flat", "merge", "parse", "restricted", "whole"]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_EQUAL = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r"[^=#,\[\]\s\"]+")
_UNENDED = re.compile(r"\"[^=#,\[\]\s\"\\]*(?=\s|$)")  # a quotation mark that no other follows
_SYNTAX = "Parse error: syntax error, unexpected {}, expecting {} at line {}, columns {}:{}"
_MAX_ATTRIBUTES = 10_000

# What only an administrator may write: in which vector, and its name (modern 6).
_RESTRICTED = (("NIC", "MAC"), ("NIC", "VLAN_ID"), ("CONTEXT", "FILES"), ("RAW", "DATA"))


def parse(text: str, *, strip: bool = True) -> Template:
    """
    Parse a template.

    :param strip: drop the line end at the end of a value, as 7.4 does and 6.10 does not.
    :raises TemplateError: a syntax error, in the words of the engine.
    """
    is_xml = text.lstrip().startswith("<")
    if "]]>" in text and not is_xml:
        raise TemplateError(_SYNTAX.format("VARIABLE", "CBRACKET or COMMA", 1, 1, 1))
    attributes = _from_xml(text) if is_xml else _Reader(text).read()
    if strip:
        attributes = [(name, _stripped(value)) for name, value in attributes]
    return Template(attributes)


def _stripped(value: str | Vector) -> str | Vector:
    if isinstance(value, str):
        return value.removesuffix("\n")
    return {key: text.removesuffix("\n") for key, text in value.items()}


def _from_xml(text: str) -> list[tuple[str, str | Vector]]:
    try:
        root = xml.parse(text.encode())
    except ValueError:
        raise TemplateError("Parse error: XML Template malformed.") from None
    attributes: list[tuple[str, str | Vector]] = []
    for child in root:
        if len(child):
            vector = {leaf.tag.upper(): leaf.text or "" for leaf in child}
            attributes.append((child.tag.upper(), vector))
        else:
            attributes.append((child.tag.upper(), child.text or ""))
    return attributes


class _Reader:
    """Reads ``NAME = value`` and ``NAME = [ KEY = value, ... ]``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> list[tuple[str, str | Vector]]:
        attributes: list[tuple[str, str | Vector]] = []
        while self._skip() < len(self._text):
            name = self._take(_NAME, "VARIABLE").upper()
            self._take(_EQUAL, "EQUAL or EQUAL_EMPTY")
            value: str | Vector
            value = self._vector() if self._text.startswith("[", self._at) else self._value()
            attributes.append((name, value))
            if len(attributes) > _MAX_ATTRIBUTES:
                raise TemplateError("Parse error: too many attributes")
        return attributes

    def _vector(self) -> Vector:
        vector: Vector = {}
        self._at += 1
        self._skip()
        while not self._text.startswith("]", self._at):
            key = self._take(_NAME, "VARIABLE").upper()
            self._take(_EQUAL, "EQUAL")
            self._skip()
            vector.setdefault(key, self._value())  # the first one wins
            self._skip()
            if self._text.startswith(",", self._at):
                self._at += 1
                self._skip()
            elif not self._text.startswith("]", self._at):
                raise self._unexpected("COMMA or CBRACKET")
        self._at += 1
        return vector

    def _value(self) -> str:
        if quoted := _QUOTED.match(self._text, self._at):
            self._at = quoted.end()
            return quoted[1].replace('\\"', '"')
        if self._text.startswith("\n", self._at) or self._at == len(self._text):
            return ""
        return self._take(_UNENDED if self._text.startswith('"', self._at) else _BARE, "STRING")

    def _skip(self) -> int:
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._at

    def _take(self, pattern: re.Pattern[str], expected: str) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise self._unexpected(expected)
        self._at = match.end()
        return match[0]

    def _unexpected(self, expected: str) -> TemplateError:
        at, text = self._at, self._text
        kinds = {"=": "EQUAL", ",": "COMMA", "[": "OBRACKET", "]": "CBRACKET", "": "$end"}
        kind = kinds.get(text[at : at + 1], "VARIABLE")
        line = text.count("\n", 0, at) + 1
        return TemplateError(_SYNTAX.format(kind, expected, line, at + 1, at + 2))


def whole(text: str) -> int | None:
    """Return the whole number that a text is; None if it is none, or one that nothing has."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text.strip()) else None


def flat(template: Template) -> dict[str, str]:
    """Return the plain texts of a template; of several with one name, the first."""
    texts: dict[str, str] = {}
    for name, value in template.attributes:
        if isinstance(value, str):
            texts.setdefault(name, value)
    return texts


def merge(base: Template, extra: Template) -> Template:
    """Replace whole attributes of a template by those with the same name (modern 1)."""
    names = {name for name, _ in extra.attributes}
    kept = [(name, value) for name, value in base.attributes if name not in names]
    return Template([*kept, *extra.attributes])


def restricted(template: Template) -> str:
    """Return the name of an attribute that only an administrator may write; empty if none."""
    for name, key in _RESTRICTED:
        if any(key in vector for vector in template.vectors(name)):
            return key
    return "EMULATOR" if template.text("EMULATOR") else ""


def expand_context(context: Vector, template: Template, user: dict[str, str]) -> Vector:
    """
    Replace the ``$`` references in a context (modern 1).

    :param user: the attributes that ``$USER[...]`` stands for.
    :raises TemplateError: a ``$`` without a name.
    """
    known = Template([*template.attributes, ("USER", dict(user))])
    try:
        return {key: known.expand(text) for key, text in context.items()}
    except TemplateError:
        whole = ",".join(f'{key}="{text}"' for key, text in context.items())
        text = f"Error parsing: {whole}. syntax error, unexpected end of file, expecting VARIABLE"
        raise TemplateError(text) from None
