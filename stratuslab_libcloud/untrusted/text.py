"""
Make text from clouds and images safe to print.

Otherwise an escape sequence could control the terminal, and a bidirectional control character could
reverse a line.
"""

__all__ = ["one_line", "printable"]

_LONGEST = 500


def printable(text: str) -> str:
    """Replace every character that is neither visible nor a blank with a blank."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str) -> str:
    """Join a text into one printable line of at most 500 characters."""
    begin = text[: 20 * _LONGEST]  # a service can send more than there is time to process
    line = " ".join(printable(begin).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
