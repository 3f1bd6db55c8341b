"""VM documents, of any generation (compute-xmlrpc 5): every element is optional when read."""

import re
import xml.etree.ElementTree as ET
from sys import getsizeof
from typing import NamedTuple, TypedDict

from stratuslab_libcloud.errors import InvalidValueError

__all__ = ["Disk", "Machine", "Nic", "checked_id", "image_id", "is_id", "to_machine", "weight"]

_ID = re.compile("[0-9]{1,9}")
_INTEGER = re.compile("-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_NONE = ET.Element("none")
# A Marketplace entry's URL, which may go on with /ENDORSER/DATE, or a disk in any of its forms.
_SOURCES = (
    re.compile(r"/metadata/(?:[^/?#]*/)*?([A-Za-z0-9_-]{27})(?=$|[/?#])"),
    re.compile(r"[/:]([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?$"),
)
# What a document of OpenNebula 3.2 has between the name and HISTORY_RECORDS, and once only.
_ONCE = ("STATE", "LCM_STATE", "STIME", "MEMORY", "CPU", "TEMPLATE")

_MACHINE, _PART = 500, 200  # bytes of memory beside the texts; a part is a disk or a network card

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


def is_id(text: str) -> bool:
    """Whether a text has the form of a machine's id."""
    return _ID.fullmatch(text) is not None


def checked_id(machine_id: object) -> str:
    """
    A machine's id, before it is sent.

    :raises InvalidValueError: it is none.
    """
    if not is_id(str(machine_id)):
        raise InvalidValueError(f"{machine_id!r} is not the id of a node")
    return str(machine_id)


def image_id(source: str) -> str:
    """
    The image or disk that a disk's source means (compute-xmlrpc 4.4, pdisk-rest 6).

    :return: an identifier or a UUID; of other sources, the last part.
    """
    for form in _SOURCES:
        if found := form.search(source):
            return found[1]
    return source.rstrip("/").rpartition("/")[2]


def to_machine(vm: ET.Element) -> Machine | None:
    """A machine; ``None`` where there is no ID to name it by."""
    identifier = _text(vm, "ID") or ""
    if not is_id(identifier):
        return None
    if len({child.tag for child in vm}) < len(vm):
        _disbelieve(vm)
    template = _part(vm, "TEMPLATE")
    monitoring = _part(vm, "MONITORING")
    return Machine(
        id=identifier,
        name=vm.findtext("NAME") or "",  # as it was given, blanks and all
        owner=_text(vm, "UNAME"),
        state=_state(_text(vm, "STATE")),
        lcm_state=_state(_text(vm, "LCM_STATE")),
        nics=list(map(_to_nic, template.findall("NIC"))),
        disks=list(map(_to_disk, template.findall("DISK"))),
        host=_host(vm),
        cpus=_integer(_text(template, "VCPU")) or _integer(_text(template, "CPU")),
        memory=_integer(_text(template, "MEMORY")),
        memory_kib=_integer(_text(monitoring, "MEMORY") or _text(vm, "MEMORY")),
        cpu_percent=_decimal(_text(monitoring, "CPU") or _text(vm, "CPU")),
        started=_integer(_text(vm, "STIME")) or None,
        error=_error(template, _part(vm, "USER_TEMPLATE")),
    )


def weight(machine: Machine) -> int:
    """Bytes of memory that a machine takes, more or less."""
    values: list[object] = [machine.name, machine.owner, machine.host, machine.error]
    for part in (*machine.nics, *machine.disks):
        values += part.values()
    parts = len(machine.nics) + len(machine.disks)
    return _MACHINE + _PART * parts + sum(getsizeof(v) for v in values if isinstance(v, str))


def _text(element: ET.Element, tag: str) -> str | None:
    """A value, without the line breaks and blanks around it where a document was indented."""
    # Only plain names are looked for: paths take ten times as long, and pools are large.
    text = element.findtext(tag)
    return text.strip() or None if text else None


def _part(vm: ET.Element, tag: str) -> ET.Element:
    found = vm.find(tag)
    return _NONE if found is None else found


def _disbelieve(vm: ET.Element) -> None:
    """
    Take out what a hostile name or context value brought into a document (engines 5).

    OpenNebula 3.2 writes names as they are. What one carries comes before the real elements, so
    that the last of each is real. A context value can get out of its TEMPLATE, and leaves a second
    one: then there is no telling what is real.
    """
    forged = len(vm.findall("TEMPLATE")) > 1
    for tag in _ONCE:
        elements = vm.findall(tag)
        for element in elements if forged else elements[:-1]:
            vm.remove(element)


def _state(text: str | None) -> int:
    number = _integer(text)
    return -1 if number is None else number


def _to_nic(nic: ET.Element) -> Nic:
    ip = _text(nic, "IP") or _text(nic, "IP6_GLOBAL") or _text(nic, "IP6")
    return {"ip": ip, "network": _text(nic, "NETWORK")}


def _to_disk(disk: ET.Element) -> Disk:
    return {
        "id": _text(disk, "DISK_ID"),
        "target": _text(disk, "TARGET"),
        "source": _text(disk, "SOURCE"),
        "size": _integer(_text(disk, "SIZE")),
        "type": _text(disk, "TYPE"),
    }


def _host(vm: ET.Element) -> str | None:
    # The oldest generation has them directly in the VM. Nobody can write behind the last.
    records = (vm.findall("HISTORY_RECORDS") or [vm])[-1].findall("HISTORY")
    if not records:
        return None
    latest = max(records, key=lambda record: _integer(_text(record, "SEQ")) or 0)
    return _text(latest, "HOSTNAME")


def _error(template: ET.Element, user_template: ET.Element) -> str | None:
    """Wherever the generations put it; the last of several (compute-xmlrpc 5.1, 5.5)."""
    errors = template.findall("ERROR")
    elements = [
        *template.findall("ERROR_MESSAGE"),
        *user_template.findall("ERROR"),
        *errors,
        *[message for error in errors for message in error.findall("MESSAGE")],
    ]
    texts = [text for element in elements if (text := (element.text or "").strip())]
    return texts[-1] if texts else None


def _integer(text: str | None) -> int | None:
    return int(text) if text and _INTEGER.fullmatch(text) else None


def _decimal(text: str | None) -> float | None:
    return float(text) if text and _DECIMAL.fullmatch(text) else None
