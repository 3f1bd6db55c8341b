"""Read the engine's documents: images, networks, datastores, templates (modern 3, 4)."""

import xml.etree.ElementTree as ET
from datetime import datetime, timezone
from typing import Any, NamedTuple

from stratuslab_libcloud.client.data import MachineTemplate, Network, Volume
from stratuslab_libcloud.client.engine.elements import decimal, integer, part, text
from stratuslab_libcloud.client.engine.ids import is_id
from stratuslab_libcloud.client.http.listing import weight_of
from stratuslab_libcloud.client.opennebula.states import ERROR, IMAGE_STATES, LOCKED, VOLUME_STATES
from stratuslab_libcloud.untrusted.text import one_line

__all__ = [
    "SNAPSHOT_OF",
    "Datastore",
    "EngineImage",
    "datastore",
    "image",
    "network",
    "template",
    "weight",
]

_MIB, _MIB_IN_GIB = 2**20, 1024
_OS, _DATABLOCK = 0, 2
_TYPES = ("OS", "CDROM", "DATABLOCK", "KERNEL", "RAMDISK", "CONTEXT")
_IMAGE = 750  # bytes of memory without the characters of texts
SNAPSHOT_OF = "STRATUSLAB_SNAPSHOT_OF"
"""The attribute by which the copy of a volume is known as its snapshot."""


class EngineImage(NamedTuple):
    """
    An image of the engine: a system image, a volume or a snapshot of one.

    :ivar size: MiB.
    :ivar machines: ids of the machines that have it, other users' among them.
    :ivar registered: UNIX seconds, as the engine writes them.
    :ivar error: the engine's text about a failure that nobody was told of.
    """

    id: str
    name: str
    owner: str | None
    kind: int
    state: int
    persistent: bool
    public: bool
    size: int | None
    machines: list[str]
    users: int
    datastore: str | None
    format: str | None
    registered: str | None
    error: str | None
    description: str | None
    origin: str | None

    @property
    def bootable(self) -> bool:
        """Whether machines can start from it."""
        return self.kind == _OS

    @property
    def ready(self) -> bool:
        """Whether it has been made."""
        return self.state not in (0, LOCKED, ERROR)

    @property
    def is_volume(self) -> bool:
        """Whether it keeps what machines write to it, and is no system."""
        return self.kind == _DATABLOCK and self.persistent

    def details(self) -> dict[str, Any]:
        """All fields, by the names that other clouds have for them."""
        return {
            "size": None if self.size is None else self.size * _MIB,
            "state": IMAGE_STATES.get(self.state, str(self.state)),
            "owner": self.owner,
            "persistent": self.persistent,
            "visibility": "public" if self.public else "private",
            "datastore": self.datastore,
            "format": self.format,
            "type": _TYPES[self.kind] if 0 <= self.kind < len(_TYPES) else None,
            "created": _moment(self.registered, "%Y-%m-%dT%H:%M:%SZ"),
            "description": self.description,
            "users": self.users,
            "error": self.error,
        }

    def volume(self) -> Volume:
        """The same as a volume; its size is rounded up to GiB."""
        return Volume(
            self.id,
            self.name,
            None if self.size is None else -(-self.size // _MIB_IN_GIB),
            owner=self.owner,
            users=self.users,
            visibility="public" if self.public else "private",
            type="DATABLOCK",
            created=_moment(self.registered, "%Y/%m/%d %H:%M:%S"),
            state=VOLUME_STATES.get(self.state),
        )


class Datastore(NamedTuple):
    """
    Where images are kept.

    :ivar kind: 0 for images, 1 for machines, 2 for files.
    """

    id: str
    name: str
    kind: int | None


def image(found: ET.Element) -> EngineImage | None:
    """Read an image; ``None`` if it has no valid ID."""
    identifier = text(found, "ID") or ""
    if not is_id(identifier):
        return None
    template = part(found, "TEMPLATE")
    kind, state = integer(text(found, "TYPE")), integer(text(found, "STATE"))
    # By position, as names would take a tenth of the time, and there may be thousands.
    return EngineImage(
        identifier,
        one_line(found.findtext("NAME") or ""),
        text(found, "UNAME"),
        -1 if kind is None else kind,
        -1 if state is None else state,
        text(found, "PERSISTENT") == "1",
        text(part(found, "PERMISSIONS"), "OTHER_U") == "1",
        integer(text(found, "SIZE")),
        [one.text.strip() for one in part(found, "VMS") if one.text],
        integer(text(found, "RUNNING_VMS")) or 0,
        text(found, "DATASTORE"),
        text(found, "FORMAT"),
        text(found, "REGTIME"),
        text(template, "ERROR"),
        text(template, "DESCRIPTION"),
        text(template, SNAPSHOT_OF),
    )


def weight(found: EngineImage) -> int:
    """Estimate the memory that an image takes, in bytes."""
    return _IMAGE + weight_of(found, found.machines)


def network(found: ET.Element) -> Network | None:
    """Read a network; ``None`` if it has no valid ID."""
    identifier = text(found, "ID") or ""
    if not is_id(identifier):
        return None
    ranges = part(found, "AR_POOL").findall("AR")
    return Network(
        identifier,
        found.findtext("NAME") or "",
        owner=text(found, "UNAME"),
        size=sum(integer(text(one, "SIZE")) or 0 for one in ranges),
        used=integer(text(found, "USED_LEASES")),
        gateway=text(part(found, "TEMPLATE"), "GATEWAY"),
    )


def datastore(found: ET.Element) -> Datastore | None:
    """Read a datastore; ``None`` if it has no valid ID."""
    identifier = text(found, "ID") or ""
    if not is_id(identifier):
        return None
    return Datastore(identifier, found.findtext("NAME") or "", integer(text(found, "TYPE")))


def template(found: ET.Element) -> MachineTemplate | None:
    """Read a template of machines; ``None`` if it has no valid ID."""
    identifier = text(found, "ID") or ""
    if not is_id(identifier):
        return None
    told = part(found, "TEMPLATE")
    amount = decimal(text(told, "CPU"))
    named = {
        tag: [text(one, f"{key}_ID") or text(one, key) for one in told.findall(tag)]
        for tag, key in (("DISK", "IMAGE"), ("NIC", "NETWORK"))
    }
    return MachineTemplate(
        identifier,
        found.findtext("NAME") or "",
        owner=text(found, "UNAME"),
        cpus=integer(text(told, "VCPU")) or (max(1, round(amount)) if amount else None),
        ram=integer(text(told, "MEMORY")),
        images=[one for one in named["DISK"] if one],
        networks=[one for one in named["NIC"] if one],
        attributes=_attributes(told),
    )


def _attributes(told: ET.Element) -> list[tuple[str, str | list[tuple[str, str]]]]:
    """All that a template says, in its order: texts, and lists of pairs."""
    return [
        (one.tag, [(pair.tag, pair.text or "") for pair in one] if len(one) else one.text or "")
        for one in told
    ]


def _moment(written: str | None, form: str) -> str | None:
    seconds = integer(written)
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime(form) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None
