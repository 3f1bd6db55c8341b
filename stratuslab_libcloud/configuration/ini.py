"""
INI files as the original client read them (config-and-cli 1.2), with its faults mended.
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
    Section to its options, interpolated, in file order.

    ``[DEFAULT]``, in capitals, is no section: its options are in every other one.

    :param source: the file's name, for messages.
    :param standalone: sections that ``[DEFAULT]`` does not concern.
    :raises ConfigurationError: naming the file and the line, without showing it.
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
    # The parser's own messages, and so its exceptions, repeat lines that may hold a password.
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
    """The value without empty lines and inline comment; ``""`` stands for the empty value."""
    text = "\n".join(line for line in text.split("\n") if line)
    comment = re.search(r"\s;", text.partition("\n")[0])
    if comment and key.endswith("password"):
        # In 2014 a password was cut here without a word.
        warnings.warn(
            f"{source}: [{section}] {key}: what follows ' ;' is taken as part of the password; "
            "write comments on lines of their own",
            stacklevel=2,
        )
    elif comment:
        text = text[: comment.start()].rstrip()
    return "" if text == '""' else text


_PERCENT = re.compile(r"%(?:(%)|\(([^()]*)\)s|)")
_DEEPEST = 10  # references within references, as in 2014; it also ends circles
_MOST_REFERENCES = 1000  # that one value may lead to: ten of ten levels make gigabytes


def _interpolated(where: str, text: str, raw: Mapping[str, str]) -> str:
    """Interpolate if every ``%`` can be, otherwise leave the value as it is, whole."""
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
                f"{where} leads to more than {_MOST_REFERENCES} references"
            )
        return expand(raw[match[2].lower()], depth + 1)

    return expand(text, 0)
