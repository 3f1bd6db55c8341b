"""Machine sizes: the standard ones, and those of ``[instance_types]`` (config-and-cli 1.5)."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SECTION", "STANDARD_TYPES", "InstanceType", "all_types"]

SECTION = "instance_types"


@dataclass(frozen=True)
class InstanceType:
    """
    A machine size (guide 9.1.4).

    :ivar ram: MiB.
    :ivar swap: MiB.
    """

    name: str
    cpus: int
    ram: int
    swap: int


STANDARD_TYPES = (
    InstanceType("t1.micro", 1, 512, 512),
    InstanceType("m1.small", 1, 1536, 1536),
    InstanceType("m1.medium", 1, 3072, 3072),
    InstanceType("m1.large", 2, 6144, 6144),
    InstanceType("m1.xlarge", 4, 8192, 8192),
    InstanceType("c1.medium", 2, 1536, 1536),
    InstanceType("c1.xlarge", 4, 6144, 6144),
)


def all_types(source: str, lines: Mapping[str, str]) -> tuple[InstanceType, ...]:
    """Return the standard types and the user's, which may replace standard ones."""
    types = {kind.name: kind for kind in STANDARD_TYPES}
    for name, text in lines.items():
        kind = _instance_type(name, text)
        if kind:
            types[name] = kind
        else:
            warnings.warn(
                f"{source}: [{SECTION}] {name} is ignored: it must be three numbers, "
                "'cpus, ram, swap', with at least one CPU and 1 MiB of RAM",
                stacklevel=2,
            )
    return tuple(types.values())


def _instance_type(name: str, text: str) -> InstanceType | None:
    numbers = re.findall(r"[0-9]+", text)
    if len(numbers) != 3 or any(len(number) > 9 for number in numbers):
        return None
    cpus, ram, swap = map(int, numbers)
    return InstanceType(name, cpus, ram, swap) if cpus and ram else None
