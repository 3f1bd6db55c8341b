"""
Text of strangers, made fit to be shown: an escape sequence would command a terminal, a
bidirectional control turn a line around.
"""

__all__ = ["one_line", "printable"]

_LONGEST = 500


def printable(text: str) -> str:
    """The same without what is neither a visible character nor a blank."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def one_line(text: str) -> str:
    """``text`` as a single printable line, cut where it gets too long to read."""
    begin = text[: 20 * _LONGEST]  # services can send more than there is time to look at
    line = " ".join(printable(begin).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
