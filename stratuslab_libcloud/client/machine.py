"""VM documents, of any generation (compute-xmlrpc 5): every element is optional when read."""

import re
from dataclasses import dataclass

from lxml import etree

__all__ = ["Disk", "Machine", "Nic", "to_machine"]

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


@dataclass(frozen=True)
class Nic:
    """A network card; ``network`` is the name of the network that it is in."""

    ip: str | None
    network: str | None


@dataclass(frozen=True)
class Disk:
    """
    A disk in a machine's document.

    :ivar source: URL of a Marketplace entry or ``pdisk:`` URI.
    :ivar size: MiB.
    """

    id: str | None
    target: str | None
    source: str | None
    size: int | None
    type: str | None


@dataclass(frozen=True)
class Machine:
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
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
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


def to_machine(vm: etree._Element) -> Machine | None:
    """A machine; ``None`` where there is no ID to name it by."""
    identifier = (vm.findtext("ID") or "").strip()
    if not re.fullmatch("[0-9]{1,9}", identifier):
        return None
    template = vm.find("TEMPLATE")
    template = template if template is not None else etree.Element("TEMPLATE")
    return Machine(
        id=identifier,
        name=vm.findtext("NAME") or "",
        owner=vm.findtext("UNAME"),
        state=_state(vm, "STATE"),
        lcm_state=_state(vm, "LCM_STATE"),
        nics=tuple(map(_to_nic, template.iterfind("NIC"))),
        disks=tuple(map(_to_disk, template.iterfind("DISK"))),
        host=_host(vm),
        cpus=_integer(template.findtext("VCPU")) or _integer(template.findtext("CPU")),
        memory=_integer(template.findtext("MEMORY")),
        memory_kib=_integer(vm.findtext("MONITORING/MEMORY") or vm.findtext("MEMORY")),
        cpu_percent=_decimal(vm.findtext("MONITORING/CPU") or vm.findtext("CPU")),
        started=_integer(vm.findtext("STIME")) or None,
        error=_error(vm),
    )


def _state(vm: etree._Element, tag: str) -> int:
    # A name can carry a false STATE into a document of OpenNebula 3.2, but only before the real.
    texts = [element.text for element in vm.iterfind(tag)]
    number = _integer(texts[-1]) if texts else None
    return -1 if number is None else number


def _to_nic(nic: etree._Element) -> Nic:
    ip = nic.findtext("IP") or nic.findtext("IP6_GLOBAL") or nic.findtext("IP6")
    return Nic(ip.strip() if ip else None, nic.findtext("NETWORK"))


def _to_disk(disk: etree._Element) -> Disk:
    return Disk(
        id=disk.findtext("DISK_ID"),
        target=disk.findtext("TARGET"),
        source=disk.findtext("SOURCE"),
        size=_integer(disk.findtext("SIZE")),
        type=disk.findtext("TYPE"),
    )


def _host(vm: etree._Element) -> str | None:
    records = [*vm.iterfind("HISTORY_RECORDS/HISTORY"), *vm.iterfind("HISTORY")]
    if not records:
        return None
    latest = max(records, key=lambda record: _integer(record.findtext("SEQ")) or 0)
    return latest.findtext("HOSTNAME") or None


def _error(vm: etree._Element) -> str | None:
    """Wherever the generations put it; the last of several (compute-xmlrpc 5.1, 5.5)."""
    paths = ("TEMPLATE/ERROR/MESSAGE", "TEMPLATE/ERROR", "USER_TEMPLATE/ERROR")
    for path in (*paths, "TEMPLATE/ERROR_MESSAGE"):
        texts = [element.text for element in vm.iterfind(path) if (element.text or "").strip()]
        if texts:
            return str(texts[-1]).strip()
    return None


def _integer(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else None


def _decimal(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text) else None
