"""
Make text from clouds and images safe to print.

Otherwise an escape sequence could control the terminal, and a bidirectional control character could
reverse a line.
"""

import re

__all__ = ["one_line", "printable", "printable_lines"]

_LONGEST = 500
# ECMA-48: sequences that begin with CSI, control strings (within a line), and any other.
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
)


def printable(text: str) -> str:
    """Replace every character that is neither visible nor a blank with a blank."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str) -> str:
    """Join a text into one printable line of at most 500 characters."""
    begin = text[: 20 * _LONGEST]  # a service can send more than there is time to process
    line = " ".join(printable(begin).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def printable_lines(text: str) -> str:
    """
    Make the output of a terminal's program printable, line by line.

    Escape sequences are left out, and whatever else is not visible becomes a blank.
    """
    plain = _ESCAPE.sub("", text.replace("\r\r\n", "\n"))
    return "".join(f"{printable(line).rstrip()}\n" for line in plain.splitlines())
