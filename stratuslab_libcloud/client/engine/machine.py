"""Read VM documents of any generation (compute-xmlrpc 5); every element is optional."""

import re
import xml.etree.ElementTree as ET
from sys import getsizeof

from stratuslab_libcloud.client.data import Machine, MachineDisk, Nic
from stratuslab_libcloud.client.engine.ids import is_id
from stratuslab_libcloud.client.engine.sources import image_id

__all__ = ["attributes", "to_machine", "weight"]

_INTEGER = re.compile("-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")
_NONE = ET.Element("none")
# The elements that OpenNebula 3.2 writes between the name and HISTORY_RECORDS, each once.
_ONCE = ("STATE", "LCM_STATE", "STIME", "MEMORY", "CPU", "TEMPLATE")

_MACHINE, _PART = 500, 200  # bytes of memory without the texts; a part is a disk or a network card


def to_machine(vm: ET.Element) -> Machine | None:
    """Read a machine; ``None`` if it has no valid ID."""
    identifier = _text(vm, "ID") or ""
    if not is_id(identifier):
        return None
    if len({child.tag for child in vm}) < len(vm):
        _remove_forged(vm)
    template = _part(vm, "TEMPLATE")
    disks = list(map(_to_disk, template.findall("DISK")))
    monitoring = _part(vm, "MONITORING")
    return Machine(
        id=identifier,
        name=vm.findtext("NAME") or "",  # exactly as given, with its blanks
        owner=_text(vm, "UNAME"),
        state=_state(_text(vm, "STATE")),
        lcm_state=_state(_text(vm, "LCM_STATE")),
        nics=list(map(_to_nic, template.findall("NIC"))),
        disks=disks,
        host=_host(vm),
        cpus=_integer(_text(template, "VCPU")) or _integer(_text(template, "CPU")),
        memory=_integer(_text(template, "MEMORY")),
        memory_kib=_integer(_text(monitoring, "MEMORY") or _text(vm, "MEMORY")),
        cpu_percent=_decimal(_text(monitoring, "CPU") or _text(vm, "CPU")),
        started=_integer(_text(vm, "STIME")) or None,
        error=_error(template, _part(vm, "USER_TEMPLATE")),
        image=_image(disks),
    )


def attributes(element: ET.Element, path: str = "") -> list[tuple[str, str]]:
    """Every value of a document, by the path to it (compute-xmlrpc 5.3)."""
    found: list[tuple[str, str]] = []
    for child in element:
        name = f"{path}{child.tag.lower()}"
        deeper = attributes(child, f"{name}_") if len(child) else [(name, child.text or "")]
        found += deeper
    return found


def weight(machine: Machine) -> int:
    """Estimate the memory that a machine takes, in bytes."""
    values: list[object] = [machine.name, machine.owner, machine.host, machine.error]
    values.append(machine.image)
    for part in (*machine.nics, *machine.disks):
        values += part.values()
    parts = len(machine.nics) + len(machine.disks)
    return _MACHINE + _PART * parts + sum(getsizeof(v) for v in values if isinstance(v, str))


def _text(element: ET.Element, tag: str) -> str | None:
    """Read a value, without the blanks and line breaks that an indented document adds."""
    # Plain names only: paths take ten times as long, and pools are large.
    text = element.findtext(tag)
    return text.strip() or None if text else None


def _part(vm: ET.Element, tag: str) -> ET.Element:
    found = vm.find(tag)
    return _NONE if found is None else found


def _remove_forged(vm: ET.Element) -> None:
    """
    Remove elements that a hostile name or context value may have forged (engines 5).

    OpenNebula 3.2 writes names unescaped. Elements in a name come before the real ones, so the last
    of each is real. A context value can close its TEMPLATE, which leaves a second one; then none of
    the elements can be trusted.
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


def _to_disk(disk: ET.Element) -> MachineDisk:
    return {
        "id": _text(disk, "DISK_ID"),
        "target": _text(disk, "TARGET"),
        "source": _text(disk, "SOURCE"),
        "size": _integer(_text(disk, "SIZE")),
        "type": _text(disk, "TYPE"),
    }


def _image(disks: list[MachineDisk]) -> str | None:
    """Find the image of the first disk."""
    for disk in disks:
        if disk["id"] == "0" and disk["source"]:
            return image_id(disk["source"]) or None
    return None


def _host(vm: ET.Element) -> str | None:
    # The oldest generation has them directly in the VM. Nobody can forge one after the last.
    records = (vm.findall("HISTORY_RECORDS") or [vm])[-1].findall("HISTORY")
    if not records:
        return None
    latest = max(records, key=lambda record: _integer(_text(record, "SEQ")) or 0)
    return _text(latest, "HOSTNAME")


def _error(template: ET.Element, user_template: ET.Element) -> str | None:
    """Find the last error text, wherever an engine puts it (compute-xmlrpc 5.1, 5.5)."""
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
