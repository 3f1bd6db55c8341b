"""What must not be shown, however it is written in somebody's text."""

import re
from collections.abc import Callable, Iterable

__all__ = ["mask"]

_SHORTEST = 4  # characters; a shorter secret could not be told from other text

# What escaping makes of what begins an escape when a text is escaped again, and again.
_AMPERSAND = "&(?:amp;|#38;|#x26;){0,9}"
_PERCENT = "%(?:25){0,9}"
_BACKSLASHES = r"\\{1,15}"

_ENTITIES = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_ESCAPES = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r"}


def mask(secrets: Iterable[str]) -> Callable[[str], str]:
    """
    What replaces secrets of four characters and more by asterisks.

    They are found as they are, and as XML, URLs, JSON and ``repr()`` write them, mixed and several
    times over.
    """
    long = sorted((s for s in set(secrets) if len(s) >= _SHORTEST), key=len, reverse=True)
    pattern = re.compile("|".join("".join(map(_written, secret)) for secret in long))
    return lambda text: pattern.sub("***", text) if long else text


def _written(letter: str) -> str:
    """A pattern for the ways to write a letter."""
    code = ord(letter)
    entity = "|".join([f"#0*{code}", f"#x0*{code:x}", _ENTITIES.get(letter, "(?!)")])
    octets = "".join(f"{_PERCENT}{octet:02x}" for octet in letter.encode())
    utf16 = letter.encode("utf-16-be").hex()
    units = "".join(f"{_BACKSLASHES}u{utf16[i : i + 4]}" for i in range(0, len(utf16), 4))
    ways = [
        re.escape(letter),
        _BACKSLASHES + re.escape(_ESCAPES.get(letter, letter)),
        f"(?i:{_AMPERSAND}(?:{entity});)",
        f"(?i:{octets})",
        f"(?i:{units})",
        f"(?i:{_BACKSLASHES}(?:x{code:02x}|U{code:08x}))",
    ]
    if letter == " ":
        ways += [r"\+", f"(?i:{_PERCENT}2b)"]
    return f"(?:{'|'.join(ways)})"
