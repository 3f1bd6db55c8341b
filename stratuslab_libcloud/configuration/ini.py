"""
Parse INI files as the original client did (config-and-cli 1.2), but without its bugs.
"""

import configparser
import re
import warnings
from collections.abc import Collection, Mapping

from stratuslab_libcloud import errors

__all__ = ["parse"]


def parse(
    source: str, content: str | bytes, standalone: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """
    Parse a file to the interpolated options of each section, in file order.

    ``[DEFAULT]``, in capitals, is not a section of its own: every other section gets its options.

    :param source: the file's name, for messages.
    :param standalone: sections that do not get the options of ``[DEFAULT]``.
    :raises ConfigurationError: names the file and the line, without showing the line.
    """
    parser = _parsed(source, _decoded(source, content))
    sections = {}
    for name in parser.sections():
        raw = {key: _cleaned(source, name, key, text) for key, text in parser.items(name)}
        hidden = parser.defaults() if name in standalone else {}
        sections[name] = {
            key: _interpolated(f"{source}: [{name}] {key}", text, raw)
            for key, text in raw.items()
            if key not in hidden
        }
    return sections


def _decoded(source: str, content: str | bytes) -> str:
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise errors.ConfigurationError(f"{source}: line {line} is not UTF-8 text") from None


def _parsed(source: str, text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(
        strict=False,
        delimiters=("=", ":"),
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=None,
    )
    try:
        parser.read_string(text)
    # Not chained: the parser's messages repeat lines that may contain a password.
    except configparser.MissingSectionHeaderError as error:
        raise errors.ConfigurationError(
            f"{source}: line {error.lineno} comes before any section header, such as [default]"
        ) from None
    except configparser.ParsingError as error:
        line = error.errors[0][0] if error.errors else "?"
        raise errors.ConfigurationError(
            f"{source}: line {line} is not of the form key = value"
        ) from None
    except configparser.Error as error:
        raise errors.ConfigurationError(
            f"{source}: not an INI file ({type(error).__name__})"
        ) from None
    return parser


def _cleaned(source: str, section: str, key: str, text: str) -> str:
    """Strip empty lines and an inline comment from a value; ``""`` means an empty value."""
    text = "\n".join(line for line in text.split("\n") if line)
    comment = re.search(r"\s;", text.partition("\n")[0])
    if comment and key.endswith("password"):
        # In 2014 a password was silently cut here.
        warnings.warn(
            f"{source}: [{section}] {key}: the text after ' ;' is part of the password; "
            "put comments on lines of their own",
            stacklevel=2,
        )
    elif comment:
        text = text[: comment.start()].rstrip()
    return "" if text == '""' else text


_PERCENT = re.compile(r"%(?:(%)|\(([^()]*)\)s|)")
_DEEPEST = 10  # levels of references within references, as in 2014; also ends circles
_MOST_REFERENCES = 1000  # per value: ten references on each of ten levels would make gigabytes


def _interpolated(where: str, text: str, raw: Mapping[str, str]) -> str:
    """Interpolate a value if every ``%`` in it is valid, otherwise return it unchanged."""
    followed = 0

    def expand(text: str, depth: int) -> str:
        for match in _PERCENT.finditer(text):
            name = match[2].lower() if match[2] is not None else None
            if not match[1] and (name is None or name not in raw or depth == _DEEPEST):
                return text
        return _PERCENT.sub(lambda match: replacement(match, depth), text)

    def replacement(match: re.Match[str], depth: int) -> str:
        nonlocal followed
        if match[1]:
            return "%"
        followed += 1
        if followed > _MOST_REFERENCES:
            raise errors.ConfigurationError(
                f"{where} expands to more than {_MOST_REFERENCES} references"
            )
        return expand(raw[match[2].lower()], depth + 1)

    return expand(text, 0)
