"""How the site describes a machine image in the Marketplace: what all of its entries have."""

from dataclasses import dataclass, replace
from typing import Any

from stratuslab_libcloud.metadata.entry import Entry, identifier

__all__ = ["VALID_UNTIL", "Endorser", "describe_image"]

VALID_UNTIL = "2099-01-01T00:00:00Z"


@dataclass(frozen=True)
class Endorser:
    """
    The author of entries.

    :ivar publisher: the organisation that the author belongs to.
    """

    email: str
    name: str
    publisher: str


def describe_image(
    endorser: Endorser, checksums: dict[str, str], size: int, endorsed: str, **fields: Any
) -> Entry:
    """
    Describe a machine image for x86_64 with an SSH server; nobody has signed it yet.

    :param checksums: hexadecimal, by the names that entries use; ``SHA-1`` makes the identifier.
    :param size: in bytes, uncompressed.
    :param endorsed: the date of the endorsement, as entries write it.
    :param fields: further fields of the :class:`.metadata.Entry`; they take precedence.
    """
    entry = Entry(
        identifier=identifier(checksums["SHA-1"]),
        size=size,
        checksums=checksums,
        endorser=endorser.email,
        endorsed=endorsed,
        created=endorsed,
        valid=VALID_UNTIL,
        creator=endorser.name,
        publisher=endorser.publisher,
        type="base",
        kind="machine",
        version="1.0",
        os_arch="x86_64",
        hypervisor="kvm",
        inbound_ports=(22,),
    )
    return replace(entry, **fields)
