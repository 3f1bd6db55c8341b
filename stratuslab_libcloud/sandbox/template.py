"""
VM templates as OpenNebula 3.2 reads them, and the XML in which it returns them.

The grammar is that of compute-xmlrpc 4.1, including the quirks in its table, so that clients meet
here what they would meet on a real site.
"""

import json
import re
from typing import NamedTuple

from lxml import etree

__all__ = ["NOT_XML", "Template", "TemplateError", "Vector", "parse"]

Vector = dict[str, str]

_NAME = re.compile(r"[A-Za-z0-9_]+")
_BARE = re.compile(r"[^=#,\[\] \t\n]+")
_BLANKS = re.compile(r"[ \t]*")
_EMPTY = re.compile(r"=[ \t]*\n")
_MARKS = {"=": "EQUAL", ",": "COMMA", "[": "OBRACKET", "]": "CBRACKET"}
# Linear on any text: no two neighbours begin alike, and no run passes the next reference.
_REFERENCE = re.compile(
    r"""\$(?:(?P<name>\w+)(?![\w,=])
        (?:\[\s*(?P<key>\w+)\s*
            (?:,\s*(?P<selector>\w+)\s*=\s*
                (?:(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"$=#,\[\]]+))\s*)?
            )?
        \])?)?""",
    re.VERBOSE | re.ASCII,
)
_ESCAPED = re.compile(r'(?<!\\)\\+"')
NOT_XML = "Error transforming the VM to XML."
_MAX_REFERENCES = 256
_MAX_EXPANDED = 512 * 1024  # characters


class TemplateError(ValueError):
    """The template is refused; the text is for the caller."""


class Template:
    """
    The attributes of a template, in the order in which they were written. Names may repeat; values
    are texts or vectors (name to text).
    """

    def __init__(self, attributes: list[tuple[str, str | Vector]]) -> None:
        self.attributes = attributes

    @classmethod
    def loads(cls, text: str) -> "Template":
        """Read the JSON that :meth:`dumps` wrote."""
        return cls([(name, value) for name, value in json.loads(text)])

    def dumps(self) -> str:
        """Write the template as JSON, for the store."""
        return json.dumps(self.attributes, ensure_ascii=False)

    def text(self, name: str) -> str:
        """Return the first text with this name; empty if there is none."""
        return next((v for n, v in self.attributes if n == name and isinstance(v, str)), "")

    def vectors(self, name: str) -> list[Vector]:
        """Return all vectors with this name."""
        return [v for n, v in self.attributes if n == name and isinstance(v, dict)]

    def set(self, name: str, value: str) -> None:
        """Set an attribute to this one text."""
        self.attributes = [(n, v) for n, v in self.attributes if n != name]
        self.attributes.append((name, value))

    def element(self) -> etree._Element:
        """Make the ``<TEMPLATE>`` element of a VM document, sorted by name (compute-xmlrpc 5.1)."""
        root = etree.Element("TEMPLATE")
        for name, value in sorted(self.attributes, key=lambda attribute: attribute[0]):
            child = etree.SubElement(root, name)
            if isinstance(value, str):
                child.text = value
            else:
                for key in sorted(value):
                    # The engine would write a key that is not an XML name.
                    tag = f"ONE_{key}" if key[0].isdigit() else key
                    etree.SubElement(child, tag).text = value[key]
        return root

    def substitute(self) -> None:
        """
        Replace the references in CONTEXT and REQUIREMENTS, and nowhere else (compute-xmlrpc 4.1).

        :raises TemplateError: one is malformed, or there are too many.
        """
        vectors = self.vectors("CONTEXT")
        requirements = self.text("REQUIREMENTS")
        texts = [requirements, *(text for vector in vectors for text in vector.values())]
        if sum(text.count("$") for text in texts) > _MAX_REFERENCES:
            raise TemplateError("There are too many variables in CONTEXT and REQUIREMENTS.")
        for vector in vectors:
            vector.update({key: self.expand(text) for key, text in vector.items()})
            if sum(map(len, vector.values())) > _MAX_EXPANDED:
                raise TemplateError("CONTEXT is too long.")
        if requirements:
            self.set("REQUIREMENTS", self.expand(requirements))

    def expand(self, text: str) -> str:
        """
        Replace ``$NAME``, ``$VECTOR[KEY]`` and ``$VECTOR[KEY, SELECTOR="v"]`` by their
        values in the template, or by nothing. A ``$`` cannot be escaped.

        :raises TemplateError: a ``$`` without a name, or directly followed by ``,`` or ``=``.
        """
        return _REFERENCE.sub(self._referenced, text)

    def _referenced(self, match: re.Match[str]) -> str:
        name, key, selector = match.group("name", "key", "selector")
        value = match["quoted"] or match["bare"] or ""
        if name is None:
            raise TemplateError("A $ must be followed by the name of an attribute.")
        if key is None:
            return self.text(name.upper())
        for vector in self.vectors(name.upper()):
            if selector is None or vector.get(selector.upper()) == value:
                return vector.get(key.upper(), "")
        return ""


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class _Reader:
    """Splits a text into tokens."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._last_newline = text.rfind("\n")

    def next(self) -> _Token:
        """Read a token where no value is allowed. Other characters (a lone quote) are skipped."""
        text = self._text
        while self._at < len(text):
            if match := _NAME.match(text, self._at):
                return self._token("VARIABLE", match.end())
            if text[self._at] == "#" and self._at < self._last_newline:
                self._at = text.find("\n", self._at) + 1
            elif empty := _EMPTY.match(text, self._at):
                return self._token("EQUAL_EMPTY", empty.end())
            elif text[self._at] in _MARKS:
                return self._token(_MARKS[text[self._at]], self._at + 1)
            else:
                self._at += 1
        return self._token("$end", self._at)

    def value(self) -> _Token:
        """Read the token after an equals sign."""
        text = self._text
        blanks = _BLANKS.match(text, self._at)
        self._at = blanks.end() if blanks else self._at
        closing = self._closing_quote()
        if closing:
            return self._token("STRING", closing + 1)
        if match := _BARE.match(text, self._at):
            return self._token("STRING", match.end())
        if self._at == len(text):
            return self._token("$end", self._at)
        return self._token(_MARKS.get(text[self._at], "$undefined"), self._at + 1)

    def _closing_quote(self) -> int:
        """Return where the quoted text that begins here ends; 0 if none does. ``""`` is none."""
        text = self._text
        if not text.startswith('"', self._at) or text.startswith('""', self._at):
            return 0
        end = text.find('"', self._at + 1)
        while end > 0 and text[end - 1] == "\\":
            end = text.find('"', end + 1)
        return max(end, 0)

    def _token(self, kind: str, end: int) -> _Token:
        start, self._at = self._at, end
        return _Token(kind, self._text[start:end], start, end)

    def unexpected(self, token: _Token, *expected: str) -> TemplateError:
        # The engine does not reset columns at a new line.
        line = self._text.count("\n", 0, token.start) + 1
        first, last = token.start + 1, max(token.end, token.start + 1)
        return TemplateError(
            f"Parse error: syntax error, unexpected {token.kind}, expecting "
            f"{' or '.join(expected)} at line {line}, columns {first}:{last}"
        )


def parse(text: str) -> Template:
    """
    Parse a template.

    :raises TemplateError: a syntax error, in the words of the engine.
    """
    if "]]>" in text:
        # The engine writes it into a CDATA section. (It does accept balanced markup.)
        raise TemplateError(NOT_XML)
    reader = _Reader(text)
    attributes: list[tuple[str, str | Vector]] = []
    while (token := reader.next()).kind != "$end":
        if token.kind != "VARIABLE":
            raise reader.unexpected(token, "$end", "VARIABLE")
        # Only "XML" in capitals: the engine tests the name as it was written.
        prefix = "" if token.text[0].isalpha() and token.text[:3] != "XML" else "ONE_"
        attributes.append((prefix + token.text.upper(), _read_value(reader)))
    return Template(attributes)


def _read_value(reader: _Reader) -> str | Vector:
    equal = reader.next()
    if equal.kind == "EQUAL_EMPTY":
        return ""
    if equal.kind != "EQUAL":
        raise reader.unexpected(equal, "EQUAL", "EQUAL_EMPTY")
    token = reader.value()
    if token.kind == "OBRACKET":
        return _read_vector(reader)
    if token.kind != "STRING":
        raise reader.unexpected(token, "OBRACKET", "STRING")
    return _unquote(token.text)


def _read_vector(reader: _Reader) -> Vector:
    vector: Vector = {}
    while True:
        for kind in ("VARIABLE", "EQUAL"):
            token = reader.next()
            if token.kind != kind:
                raise reader.unexpected(token, kind)
            if kind == "VARIABLE":
                key = token.text.upper()
        value = reader.value()
        if value.kind != "STRING":
            raise reader.unexpected(value, "STRING")
        vector.setdefault(key, _unquote(value.text))  # the first one wins
        token = reader.next()
        if token.kind == "CBRACKET":
            return vector
        if token.kind != "COMMA":
            raise reader.unexpected(token, "COMMA", "CBRACKET")


def _unquote(text: str) -> str:
    if len(text) < 3 or not (text.startswith('"') and text.endswith('"')):
        return text
    return _ESCAPED.sub('"', text[1:-1])  # however many backslashes there are (4.1)
