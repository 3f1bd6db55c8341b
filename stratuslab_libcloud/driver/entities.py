"""Libcloud's entities, made from the client's plain data."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from libcloud.compute.base import (
    Node,
    NodeDriver,
    NodeImage,
    NodeLocation,
    NodeSize,
    StorageVolume,
    VolumeSnapshot,
)
from libcloud.compute.types import NodeState, StorageVolumeState, VolumeSnapshotState

from stratuslab_libcloud.client.data import Image, Machine, Volume
from stratuslab_libcloud.configuration.file import suggestion
from stratuslab_libcloud.configuration.instance_types import InstanceType
from stratuslab_libcloud.configuration.settings import Settings
from stratuslab_libcloud.errors import InvalidValueError
from stratuslab_libcloud.parallel import lazy
from stratuslab_libcloud.portable import Portable

__all__ = [
    "NODE_STATES",
    "Origin",
    "StratusLabImage",
    "StratusLabNode",
    "new_node",
    "origin_of",
    "to_image",
    "to_location",
    "to_node",
    "to_size",
    "to_snapshot",
    "to_volume",
    "whole_size",
]

# STATE or, while that is 3, "3/" and LCM_STATE (compute-xmlrpc 3.5).
_BY_STATE = {
    NodeState.PENDING: "0 1 2 10 3/0 3/1 3/2",
    NodeState.RUNNING: "3/3 3/69",
    NodeState.MIGRATING: "3/4 3/7 3/8 3/35 3/43 3/45 3/60",
    NodeState.STARTING: "3/9 3/19 3/20 3/21 3/22 3/31 3/32",
    NodeState.STOPPING: "3/5 3/6 3/10 3/11 3/12 3/13 3/15 3/18 3/23 3/29 3/30",
    NodeState.ERROR: "7 11 3/14 3/36 3/37 3/38 3/39 3/40 3/41 3/42 3/44 3/46 3/47 3/48 3/49 3/50 "
    "3/61",
    NodeState.STOPPED: "4 8 9 3/70",
    NodeState.SUSPENDED: "5",
    NodeState.TERMINATED: "6",
    NodeState.RECONFIGURING: "3/17 3/24 3/25 3/26 3/27 3/28 3/33 3/34 3/51 3/52 3/53 3/54 3/55 "
    "3/56 3/57 3/58 3/59 3/62 3/63 3/64 3/65 3/66 3/67 3/68 3/71",
}


class StratusLabNode(Portable, Node):
    """
    A node whose ``uuid`` includes its cloud: ids alone are small numbers that clouds share.

    Two locations that are the same cloud give a node the same ``uuid``.
    """

    def get_uuid(self) -> str:
        """
        Compute the ``uuid``.

        :return: A hash of the driver's type, the location's endpoint and the id, in hexadecimal
            digits.
        :rtype: ``str``
        """
        where = self.extra.get("endpoint") or self.extra.get("location")
        name = f"{self.driver.type}:{where}:{self.id}"
        return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


class Origin(NamedTuple):
    """
    What the nodes of one location share; contains no secret, as it goes into their pickles.

    :ivar where: the part of their ``extra`` that says where they are.
    :ivar types: the instance types, to find their sizes.
    """

    where: dict[str, Any]
    types: Sequence[InstanceType]


class _DescribedNode(StratusLabNode):
    """
    A node made from a cloud's description, most of it when it is first read.

    In a listing of thousands, making all of it takes an eighth of the time.
    """

    def __init__(self, machine: Machine, origin: Origin, driver: NodeDriver) -> None:
        number = f"3/{machine.lcm_state}" if machine.state == 3 else str(machine.state)
        self.id, self.name, self.driver = machine.id, machine.name, driver
        self.state = NODE_STATES.get(number, NodeState.UNKNOWN)
        self.public_ips, self.private_ips = [], []
        for nic in machine.nics:
            if ip := nic["ip"]:
                local = nic["network"] in ("local", "private")
                (self.private_ips if local else self.public_ips).append(ip)
        self._uuid = None
        self._machine, self._origin = machine, origin

    @lazy
    def size(self) -> NodeSize | None:
        return _size_of(self._machine, self._origin.types, self.driver)

    @lazy
    def image(self) -> NodeImage | None:
        image = self._machine.image
        return StratusLabImage(image, image, self.driver) if image else None

    @lazy
    def created_at(self) -> datetime | None:
        return _moment(self._machine.started)

    @lazy
    def extra(self) -> dict[str, Any]:
        machine = self._machine
        networks = dict.fromkeys(nic["network"] for nic in machine.nics if nic["network"])
        return {
            "host": machine.host,
            "owner": machine.owner,
            "vm_state": machine.state,
            "lcm_state": machine.lcm_state,
            "cpu_percent": machine.cpu_percent,
            "memory_kib": machine.memory_kib,
            "disks": machine.disks,
            "error": machine.error,
            "networks": list(networks),
            "scheduler": machine.scheduler,
            "labels": machine.labels,
            **self._origin.where,
        }


class StratusLabImage(Portable, NodeImage):
    """
    An image whose ``extra`` is made when it is first read.

    In a listing of thousands, making it would take half of the time and most of the memory.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - Libcloud's word
        name: str,
        driver: NodeDriver,
        extra: dict[str, Any] | None = None,
        described: Image | None = None,
    ) -> None:
        """
        Make an image from ``extra``, or from what the client says about it.

        :param described: the source of ``extra`` (optional).
        """
        if described is None:
            super().__init__(id, name, driver, extra)
            return
        self.id, self.name, self.driver = id, name, driver
        self._uuid = None
        self._described = described

    @lazy
    def extra(self) -> dict[str, Any]:
        return self._described.details()


class StratusLabSize(Portable, NodeSize):
    """A size; ``extra`` has ``cpus`` and ``swap`` (MiB)."""


class StratusLabLocation(Portable, NodeLocation):
    """A location: one section of the configuration file."""


class StratusLabVolume(Portable, StorageVolume):
    """A volume: one persistent disk."""


class StratusLabSnapshot(Portable, VolumeSnapshot):
    """A snapshot: a persistent disk that nothing writes to."""


NODE_STATES = {number: state for state, numbers in _BY_STATE.items() for number in numbers.split()}
"""Libcloud's states by OpenNebula's STATE or, while that is 3, by ``3/`` and LCM_STATE."""


def to_location(location_id: str, name: str, country: str, driver: NodeDriver) -> NodeLocation:
    """Make a location from a section of the configuration file."""
    return StratusLabLocation(id=location_id, name=name, country=country, driver=driver)


def to_size(kind: InstanceType, driver: NodeDriver) -> NodeSize:
    """Make a size from an instance type; it has no disk, as images bring their own."""
    return StratusLabSize(
        id=kind.name,
        name=kind.name,
        ram=kind.ram,
        disk=0,
        bandwidth=None,
        price=0.0,
        driver=driver,
        extra={"cpus": kind.cpus, "swap": kind.swap},
    )


def to_image(image: Image, driver: NodeDriver) -> StratusLabImage:
    """Make an image from what a cloud says about it."""
    return StratusLabImage(image.id, image.name, driver, described=image)


def whole_size(size: NodeSize, types: Sequence[InstanceType], driver: NodeDriver) -> NodeSize:
    """
    Complete a size whose id is known.

    :raises InvalidValueError: it has no RAM and its id is unknown.
    """
    kind = next((kind for kind in types if kind.name == size.id), None)
    if kind is None:
        if size.ram is None:
            known = [kind.name for kind in types]
            raise InvalidValueError(
                f"there is no size {size.id!r}; known: {', '.join(known)}"
                f"{suggestion(str(size.id), known)}"
            )
        return size
    extra = size.extra or {}
    if size.ram is not None and {"cpus", "swap"} <= extra.keys():
        return size
    whole = to_size(kind, driver)
    whole.ram = kind.ram if size.ram is None else size.ram
    whole.extra |= extra
    return whole


def to_node(machine: Machine, origin: Origin, driver: NodeDriver) -> StratusLabNode:
    """Make a node from what a cloud says about it."""
    return _DescribedNode(machine, origin, driver)


def new_node(node_id: str, name: str, settings: Settings, driver: NodeDriver) -> StratusLabNode:
    """Make a placeholder for a machine that was requested but not yet looked up."""
    unknown = (
        *("host", "owner", "vm_state", "lcm_state", "cpu_percent", "memory_kib", "error"),
        *("scheduler", "labels"),
    )
    return StratusLabNode(
        id=node_id,
        name=name,
        state=NodeState.PENDING,
        public_ips=[],
        private_ips=[],
        driver=driver,
        extra={**dict.fromkeys(unknown), "disks": [], "networks": [], **_whereabouts(settings)},
    )


def origin_of(settings: Settings, types: Sequence[InstanceType]) -> Origin:
    """Collect what the nodes of one location share."""
    return Origin(_whereabouts(settings), types)


def _whereabouts(settings: Settings) -> dict[str, Any]:
    where = {"location": settings.location, "endpoint": settings.endpoint}
    port = settings.options.ssh_port
    return where if port == 22 else {**where, "ssh_port": port}


def to_volume(volume: Volume, settings: Settings, driver: NodeDriver) -> StorageVolume:
    """Make a volume from a persistent disk of one location."""
    state = StorageVolumeState.UNKNOWN
    if volume.users is not None:
        state = StorageVolumeState.INUSE if volume.users else StorageVolumeState.AVAILABLE
    if volume.state is not None:
        state = StorageVolumeState(volume.state)
    return StratusLabVolume(
        id=volume.id,
        name=volume.name,
        size=volume.size,  # type: ignore[arg-type] # None if the service does not say
        driver=driver,
        state=state,
        extra={
            "location": settings.location,
            "endpoint": settings.pdisk_endpoint or settings.endpoint,
            "device": None,
            "node": None,
            "owner": volume.owner,
            "visibility": volume.visibility,
            "users": volume.users,
            "type": volume.type,
            "identifier": volume.identifier,
            "created": volume.created,
        },
    )


def to_snapshot(
    copied: Volume, volume_id: str, settings: Settings, driver: NodeDriver
) -> VolumeSnapshot:
    """Make a snapshot from a persistent disk of one location."""
    return StratusLabSnapshot(
        id=copied.id,
        driver=driver,
        size=copied.size,
        name=copied.name,
        created=_written(copied.created),
        state=VolumeSnapshotState.AVAILABLE,  # type: ignore[arg-type] # Libcloud's mistake
        extra={
            "location": settings.location,
            "endpoint": settings.pdisk_endpoint or settings.endpoint,
            "volume_id": volume_id,
            "owner": copied.owner,
        },
    )


def _size_of(
    machine: Machine, types: Sequence[InstanceType], driver: NodeDriver
) -> NodeSize | None:
    """Find the instance type with a machine's numbers, or make one named ``custom``."""
    cpus, memory, swap = machine.cpus, machine.memory, 0
    if cpus is None or memory is None:
        return None
    for disk in machine.disks:
        if (disk["type"] or "").lower() == "swap":
            swap = disk["size"] or 0
            break
    for kind in types:
        if (kind.cpus, kind.ram, kind.swap) == (cpus, memory, swap):
            return to_size(kind, driver)
    return to_size(InstanceType("custom", cpus, memory, swap), driver)


def _written(moment: str | None) -> datetime | None:
    try:
        return datetime.strptime(moment or "", "%Y/%m/%d %H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _moment(seconds: int | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc) if seconds else None
    except (OverflowError, ValueError, OSError):
        return None
