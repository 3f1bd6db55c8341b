"""Read VM documents of any generation (compute-xmlrpc 5); every element is optional."""

import math
import xml.etree.ElementTree as ET

from stratuslab_libcloud.client.data import Machine, MachineDisk, Nic
from stratuslab_libcloud.client.engine.elements import NONE, children, decimal, integer, text
from stratuslab_libcloud.client.engine.ids import is_id
from stratuslab_libcloud.client.engine.sources import image_id
from stratuslab_libcloud.client.http.listing import weight_of

__all__ = ["attributes", "to_machine", "weight"]

# IP6_LINK, which a card may have besides, cannot be reached from elsewhere.
_ADDRESSES = ("IP", "IP6_GLOBAL", "IP6", "IP6_ULA")

# The elements that OpenNebula 3.2 writes between the name and HISTORY_RECORDS, each once.
_ONCE = ("STATE", "LCM_STATE", "STIME", "MEMORY", "CPU", "TEMPLATE")

# Bytes of memory without the characters of texts; a part is a disk or a network card.
_MACHINE, _PART = 700, 300


def to_machine(vm: ET.Element) -> Machine | None:
    """Read a machine; ``None`` if it has no valid ID."""
    identifier = text(vm, "ID") or ""
    if not is_id(identifier):
        return None
    parts = children(vm)
    if len(parts) < len(vm):
        _remove_forged(vm)
        parts = children(vm)
    template = parts.get("TEMPLATE", NONE)
    monitoring, own = parts.get("MONITORING", NONE), parts.get("USER_TEMPLATE", NONE)
    disks = list(map(_to_disk, template.findall("DISK")))
    return Machine(
        id=identifier,
        name=vm.findtext("NAME") or "",  # exactly as given, with its blanks
        owner=text(vm, "UNAME"),
        state=_state(text(vm, "STATE")),
        lcm_state=_state(text(vm, "LCM_STATE")),
        nics=_nics(template),
        disks=disks,
        host=_host(parts.get("HISTORY_RECORDS", vm)),
        cpus=_cpus(template),
        memory=integer(text(template, "MEMORY")),
        memory_kib=integer(text(monitoring, "MEMORY") or text(vm, "MEMORY")),
        cpu_percent=decimal(text(monitoring, "CPU") or text(vm, "CPU")),
        started=integer(text(vm, "STIME")) or None,
        error=_error(template, own),
        image=_image(disks),
        scheduler=text(own, "SCHED_MESSAGE"),
        labels=text(own, "LABELS"),
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
    parts = (*machine.nics, *machine.disks)
    texts = weight_of(machine, *[part.values() for part in parts])
    return _MACHINE + _PART * len(parts) + texts


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
    number = integer(text)
    return -1 if number is None else number


def _cpus(template: ET.Element) -> int | None:
    """Read the number of cores; a modern engine's machine may have a share of one only."""
    if cores := integer(text(template, "VCPU")):
        return cores
    amount = decimal(text(template, "CPU"))
    return math.ceil(amount) if amount else None


def _nics(template: ET.Element) -> list[Nic]:
    """Read the network cards; one with several addresses is there once for each (modern 6)."""
    found: list[Nic] = []
    for nic in (*template.findall("NIC"), *template.findall("NIC_ALIAS")):
        network = text(nic, "NETWORK")
        known: list[str | None] = [ip for tag in _ADDRESSES if (ip := text(nic, tag))]
        found += [{"ip": ip, "network": network} for ip in known or [None]]
    return found


def _to_disk(disk: ET.Element) -> MachineDisk:
    source = text(disk, "SOURCE")
    # Modern engines name the image of a disk, whose source is a path of theirs.
    image = text(disk, "IMAGE_ID") or (source and image_id(source))
    return {
        "id": text(disk, "DISK_ID"),
        "target": text(disk, "TARGET"),
        "source": source,
        "size": integer(text(disk, "SIZE")),
        "type": text(disk, "TYPE"),
        "image": image or None,
    }


def _image(disks: list[MachineDisk]) -> str | None:
    """Find the image of the first disk."""
    for disk in disks:
        if disk["id"] == "0":
            return disk["image"]
    return None


def _host(history: ET.Element) -> str | None:
    """Find the latest host in the last HISTORY_RECORDS or, in the oldest generation, in the VM."""
    records = history.findall("HISTORY")
    if not records:
        return None
    latest = records[0]
    if len(records) > 1:
        latest = max(records, key=lambda record: integer(text(record, "SEQ")) or 0)
    return text(latest, "HOSTNAME")


def _error(template: ET.Element, own: ET.Element) -> str | None:
    """Find the last error text, wherever an engine puts it (compute-xmlrpc 5.1, 5.5)."""
    for error in reversed(template.findall("ERROR")):
        if found := text(error, "MESSAGE") or (error.text or "").strip():
            return found
    return text(own, "ERROR") or text(template, "ERROR_MESSAGE")
