"""Read the values of an engine's documents; every element is optional."""

import xml.etree.ElementTree as ET

__all__ = ["NONE", "children", "decimal", "integer", "part", "text"]

_LONG = 20  # characters of a number that no engine writes
NONE = ET.Element("none")
"""Stands for an element that is missing."""


def text(element: ET.Element, tag: str) -> str | None:
    """Read a value, without the blanks and line breaks that an indented document adds."""
    # Plain names only: paths take ten times as long, and pools are large.
    found = element.findtext(tag)
    return found.strip() or None if found else None


def part(element: ET.Element, tag: str) -> ET.Element:
    """Return a child, or an empty element."""
    found = element.find(tag)
    return NONE if found is None else found


def children(element: ET.Element) -> dict[str, ET.Element]:
    """The children of an element by their names; of several with one name the last."""
    return {child.tag: child for child in element}


def integer(value: str | None) -> int | None:
    """Return a whole number; ``None`` for anything else."""
    # In half of the time of a regular expression.
    if value and len(value) < _LONG and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    return None


def decimal(value: str | None) -> float | None:
    """Return a number; ``None`` for anything else."""
    if value and len(value) < 2 * _LONG and value.isascii():
        digits = value.removeprefix("-").replace(".", "", 1)
        return float(value) if digits.isdigit() else None
    return None
