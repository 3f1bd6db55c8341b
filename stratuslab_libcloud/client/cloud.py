"""TODO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

__all__ = ["BootDisk", "Disk", "Machine", "NewMachine", "Nic"]


_ACTIVE, _DONE = 3, 6


_ENDING = (11, 12, 13, 15, 23)


_STATES = ("Init", "Pending", "Hold", "Active", "Stopped", "Suspended", "Done", "Failed")


_ACTIVE_STATES = (
    "Init",
    "Prolog",
    "Boot",
    "Running",
    "Migrate",
    "Save_Stop",
    "Save_Suspend",
    "Save_Migrate",
    "Prolog_Migrate",
    "Prolog_Resume",
    "Epilog_Stop",
    "Epilog",
    "Shutdown",
    "Cancel",
    "Failure",
    "Delete",
    "Unknown",
)


class Nic(TypedDict):
    """A network card; ``network`` is the name of the network that it is in."""

    ip: str | None
    network: str | None


class Disk(TypedDict):
    """
    A disk in a machine's document.

    ``source`` is the URL of a Marketplace entry or a ``pdisk:`` URI; ``size`` is in MiB.
    """

    id: str | None
    target: str | None
    source: str | None
    size: int | None
    type: str | None


class Machine(NamedTuple):
    """
    What a VM document says.

    :ivar state: ``STATE``; -1 where it is missing.
    :ivar lcm_state: ``LCM_STATE``, which matters while the state is 3.
    :ivar host: where it runs (the latest record).
    :ivar cpus: cores.
    :ivar memory: MiB, as asked for.
    :ivar memory_kib: in use, as measured.
    :ivar cpu_percent: of one core, as measured.
    :ivar started: UNIX seconds.
    """

    id: str
    name: str
    owner: str | None
    state: int
    lcm_state: int
    nics: list[Nic]
    disks: list[Disk]
    host: str | None
    cpus: int | None
    memory: int | None
    memory_kib: int | None
    cpu_percent: float | None
    started: int | None
    error: str | None

    @property
    def summary(self) -> str:
        """The state in a word, as the commands show it (compute-xmlrpc 3.4)."""
        labels, number = (
            (_ACTIVE_STATES, self.lcm_state) if self.state == _ACTIVE else (_STATES, self.state)
        )
        return labels[number] if 0 <= number < len(labels) else f"{self.state}/{self.lcm_state}"

    @property
    def running(self) -> bool:
        return (self.state, self.lcm_state) == (_ACTIVE, 3)

    @property
    def ending(self) -> bool:
        """Whether its end has come, or is under way (compute-xmlrpc 3.2, 3.3)."""
        return self.state == _DONE or (self.state == _ACTIVE and self.lcm_state in _ENDING)


@dataclass(frozen=True)
class BootDisk:
    """
    What a machine starts from.

    :ivar source: URL of the Marketplace entry, or ``pdisk:`` URI.
    :ivar driver: disk format, such as ``qcow2``.
    :ivar bus: ``ide``, ``scsi`` or ``virtio``, for all disks of the machine.
    """

    source: str
    driver: str = "raw"
    bus: str = "ide"
    inbound_ports: Sequence[int] = ()


@dataclass(frozen=True)
class NewMachine:
    """
    A machine to be started.

    :ivar ram: MiB.
    :ivar swap: MiB; 0 for none.
    :ivar volumes: ``pdisk:`` URIs, attached from the start.
    :ivar readonly_images: URLs of Marketplace entries, attached for reading.
    :ivar public_keys: lines of an ``authorized_keys`` file.
    :ivar context: further values for the guest.
    :ivar context_method: ``one`` or ``cloud-init``.
    """

    boot: BootDisk
    cpus: int
    ram: int
    swap: int
    name: str = ""
    network: str = "public"
    volumes: Sequence[str] = ()
    readonly_images: Sequence[str] = ()
    public_keys: Sequence[str] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    context_method: str = "one"
    user_data: bytes = b""
