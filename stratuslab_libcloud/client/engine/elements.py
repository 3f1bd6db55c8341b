"""Read the values of an engine's documents; every element is optional."""

import re
import xml.etree.ElementTree as ET

__all__ = ["decimal", "integer", "part", "text"]

_INTEGER = re.compile("-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
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
    return int(value) if value and _INTEGER.fullmatch(value) else None


def decimal(value: str | None) -> float | None:
    """Return a number; ``None`` for anything else."""
    return float(value) if value and _DECIMAL.fullmatch(value) else None
