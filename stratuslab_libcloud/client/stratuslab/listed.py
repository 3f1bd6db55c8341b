"""Images as a Marketplace lists them, and as its entries describe them (marketplace-rest 2, 4)."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

from stratuslab_libcloud.client.data import Endorsement
from stratuslab_libcloud.metadata.entry import ABSENT, Entry, name_of

__all__ = ["EndorsedImage", "JudgedImage", "ListedEntry"]


class ListedEntry(NamedTuple):
    """An entry as a JSON listing has it (marketplace-rest 2.1), with the names of its fields."""

    os: str | None
    os_version: str | None
    os_arch: str | None
    endorser: str | None
    kind: str | None
    endorsed: str | None
    identifier: str
    location: str | None
    description: str | None
    title: str | None

    def values(self) -> dict[str, Any]:
        """Return the fields of :class:`Entry`; those that a listing lacks are None."""
        values = self._asdict()
        location = values.pop("location")
        locations = (location,) if location else ()
        return {**ABSENT, "checksums": {}, **values, "locations": locations}


class EndorsedImage(list[ListedEntry | Entry]):
    """
    An image as the list of its endorsements, the newest first.

    Only the first describes the image; the data of the others is not mixed in.
    """

    __slots__ = ()

    @property
    def id(self) -> str:
        """Its identifier."""
        return self[0].identifier

    @property
    def name(self) -> str:
        """Its title or description, if it has one."""
        return name_of(self[0].identifier, self[0].title, self[0].description)

    def details(self) -> dict[str, Any]:
        """Return the fields of the first endorsement; ``endorsers`` lists all addresses."""
        newest = self[0]
        values = newest.values() if isinstance(newest, ListedEntry) else asdict(newest)
        del values["identifier"]
        values["locations"] = list(values["locations"])
        values["inbound_ports"] = list(values["inbound_ports"] or ())
        values["endorsers"] = [e.endorser for e in self if e.endorser]
        values["verdict"] = None
        return values


class JudgedImage(EndorsedImage):
    """
    An image with whole entries, of which the first is the one that counts.

    :ivar endorsement: the verdict on that one; ``None`` where nothing is verified.
    """

    def __init__(self, entries: Iterable[Entry], endorsement: Endorsement | None) -> None:
        super().__init__(entries)
        self.endorsement = endorsement

    def details(self) -> dict[str, Any]:
        """Return the fields of that endorsement, and the verdict on it as a dictionary."""
        verdict = self.endorsement
        return {**super().details(), "verdict": verdict and verdict._asdict()}
