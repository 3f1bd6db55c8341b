"""
Parsers of the values of options.

Each is given a value that is not empty. Its ``ValueError`` completes a sentence that begins with
the key, and does not repeat the value, which may be a secret.
"""

import re
from collections.abc import Callable

from stratuslab_libcloud.metadata.rules import is_email
from stratuslab_libcloud.paths import expanded

__all__ = ["choice", "endorsers", "number", "path", "text", "truth", "unquoted"]


def text(value: str) -> str:
    """Return the value as it is."""
    return value


def unquoted(value: str) -> str:
    """Remove the double quotes around the value, if there are any."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def path(value: str) -> str:
    """Parse a file name, and expand a leading ``~``."""
    return str(expanded(value))


def truth(value: str) -> bool:
    """Parse yes or no, in any of the spellings common in INI files."""
    if value.lower() in ("true", "yes", "on", "1"):
        return True
    if value.lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError("must be yes or no")


def number(largest: int) -> Callable[[str], int]:
    """Parse a whole number from 1 to ``largest``."""

    def parse_number(value: str) -> int:
        if not re.fullmatch("[0-9]{1,5}", value) or not 0 < int(value) <= largest:
            raise ValueError(f"must be a whole number from 1 to {largest}")
        return int(value)

    return parse_number


def choice(*choices: str) -> Callable[[str], str]:
    """Parse one of these words, in upper or lower case."""

    def parse_choice(value: str) -> str:
        if value.lower() not in choices:
            raise ValueError(f"must be one of: {', '.join(choices)}")
        return value.lower()

    return parse_choice


def endorsers(value: str) -> tuple[str, ...]:
    """Parse e-mail addresses, and SHA-256 fingerprints with or without colons; lower-case."""
    found = [one.lower() for one in re.split(r"[\s,]+", value) if one]
    found = [one if is_email(one) else one.replace(":", "") for one in found]
    if not all(is_email(one) or re.fullmatch("[0-9a-f]{64}", one) for one in found):
        raise ValueError(
            "must be e-mail addresses and SHA-256 fingerprints of certificates, separated by commas"
        )
    return tuple(found)
