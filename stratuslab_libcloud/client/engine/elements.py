"""Read the values of an engine's documents; every element is optional."""

import xml.etree.ElementTree as ET

__all__ = ["decimal", "integer", "part", "text"]

_NONE = ET.Element("none")


def text(element: ET.Element, tag: str) -> str | None:
    """Read a value, without the blanks and line breaks that an indented document adds."""
    # Plain names only: paths take ten times as long, and pools are large.
    found = element.findtext(tag)
    return found.strip() or None if found else None


def part(element: ET.Element, tag: str) -> ET.Element:
    """Return a child, or an empty element."""
    found = element.find(tag)
    return _NONE if found is None else found


def integer(value: str | None) -> int | None:
    """Return a whole number; ``None`` for anything else."""
    return int(value) if value and _is_digits(value.removeprefix("-"), 18) else None


def decimal(value: str | None) -> float | None:
    """Return a number; ``None`` for anything else."""
    if value and _is_digits(value.removeprefix("-").replace(".", "", 1), 36):
        return float(value)
    return None


def _is_digits(text: str, most: int) -> bool:
    # In half of the time of a regular expression, and pools are large.
    return len(text) <= most and text.isascii() and text.isdigit()
