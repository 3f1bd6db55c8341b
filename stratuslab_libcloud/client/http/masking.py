"""Hide secrets in text, in whatever encoding they appear."""

import re
from collections.abc import Callable, Iterable
from functools import cache

__all__ = ["mask"]

_SHORTEST = 4  # characters; a shorter secret could be part of any other text
_ESCAPING = "&%+\\"  # without these letters nothing is escaped

# The beginnings of escapes, also when they have been escaped again, several times.
_BACKSLASHES = r"\\{1,15}"
_PERCENT = "%(?:25){0,9}"
_SEMICOLON = f"(?:;|{_PERCENT}3b)"
_NUMBER = f"(?:#|{_PERCENT}23)"
_AMPERSAND = (
    f"(?:&|{_PERCENT}26|{_BACKSLASHES}u0026)(?:(?:amp|{_NUMBER}38|{_NUMBER}x26){_SEMICOLON}){{0,9}}"
)

_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_ESCAPES = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}


def mask(secrets: Iterable[str]) -> Callable[[str], str]:
    """
    Make a function that replaces secrets of at least four characters with asterisks.

    It finds them in plain text, and escaped as in XML, URLs, JSON and ``repr()``, in any mixture
    and escaped several times.
    """
    long = sorted((s for s in set(secrets) if len(s) >= _SHORTEST), key=len, reverse=True)
    as_they_are = "|".join(map(re.escape, long))

    @cache
    def escaped() -> re.Pattern[str]:
        """Make the pattern of all the ways to write them, which takes tens of milliseconds."""
        begins = re.escape("".join(secret[0] for secret in long) + _ESCAPING)
        ways = "|".join("".join(map(_written, secret)) for secret in long)
        return re.compile(f"(?=[{begins}])(?:{ways})")  # the look-ahead is for speed

    def masked(text: str) -> str:
        if not long:
            return text
        pattern = escaped() if any(letter in text for letter in _ESCAPING) else as_they_are
        return re.sub(pattern, "***", text)

    return masked


@cache
def _written(letter: str) -> str:
    """Make a pattern of the ways to write a letter."""
    code = ord(letter)
    name = _ENTITIES.get(letter, "(?!)")
    entity = f"{_AMPERSAND}(?:{_NUMBER}0*{code}|{_NUMBER}x0*{code:x}|{name}){_SEMICOLON}"
    octets = "".join(f"{_PERCENT}{octet:02x}" for octet in letter.encode())
    utf16 = letter.encode("utf-16-be").hex()
    units = "".join(f"{_BACKSLASHES}u{utf16[i : i + 4]}" for i in range(0, len(utf16), 4))
    ways = [
        re.escape(letter),
        _BACKSLASHES + re.escape(_ESCAPES.get(letter, letter)),
        f"(?i:{entity})",
        f"(?i:{octets})",
        f"(?i:{units})",
        f"(?i:{_BACKSLASHES}(?:x{code:02x}|U{code:08x}))",
    ]
    if letter == " ":
        ways += [r"\+", f"(?i:{_PERCENT}2b)"]
    return f"(?:{'|'.join(ways)})"
