"""The pages about one's machines."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from werkzeug import Response

from stratuslab_libcloud.sandbox.machines import Phase
from stratuslab_libcloud.sandbox.pages.visit import Visit
from stratuslab_libcloud.untrusted import xml

__all__ = ["ROWS", "Shown", "running"]

_ALL_BUT_DONE = -1  # the states that a pool is asked for (compute-xmlrpc 2.5)
_ACTIVE = 3


@dataclass(frozen=True)
class Shown:
    """
    A machine, as its document describes it (compute-xmlrpc 5.1).

    :ivar addresses: with the names of their networks.
    :ivar memory: in MiB, as the template has it.
    :ivar since: when it was started.
    :ivar error: why it failed; empty if it did not.
    """

    id: str
    name: str
    phase: Phase
    addresses: Sequence[tuple[str, str]]
    cpus: str
    memory: str
    since: str
    error: str

    @classmethod
    def read(cls, document: Element) -> "Shown":
        """Read a ``VM`` element."""
        number = document.findtext("ID", "")
        state = int(document.findtext("STATE", "")), int(document.findtext("LCM_STATE", ""))
        nics = document.findall("TEMPLATE/NIC")
        begun = time.gmtime(int(document.findtext("STIME", "")))
        return cls(
            number,
            document.findtext("NAME", ""),
            Phase(state),
            [(nic.findtext("IP", ""), nic.findtext("NETWORK", "")) for nic in nics],
            document.findtext("TEMPLATE/VCPU", "1"),
            document.findtext("TEMPLATE/MEMORY", ""),
            time.strftime("%Y-%m-%d %H:%M:%S UTC", begun),
            document.findtext("TEMPLATE/ERROR/MESSAGE", ""),
        )


def running(visit: Visit) -> list[Shown]:
    """List the visitor's machines that disks can be attached to."""
    return [machine for machine in _listed(visit, _ACTIVE) if machine.phase is Phase.RUNNING]


def _listed(visit: Visit, state: int) -> list[Shown]:
    """List the visitor's machines, newest first."""
    pool = visit.services.compute.pool(visit.account, -3, -1, -1, state)
    machines = map(Shown.read, xml.stream((pool.encode(),), "VM", ("VM_POOL",)))
    return list(machines)[::-1]


def _find(visit: Visit, machine: str) -> Shown:
    document = visit.services.compute.info(visit.account, _number(machine))
    return Shown.read(xml.parse(document.encode()))


def _number(machine: str) -> int:
    """Read the id of a machine; -1, which no machine has, if it is no id."""
    return int(machine) if machine.isascii() and machine.isdigit() and len(machine) < 10 else -1


def _list_machines(visit: Visit) -> Response:
    return visit.show("machines.html", machines=_listed(visit, _ALL_BUT_DONE))


def _show_machine(visit: Visit, machine: str) -> Response:
    shown = _find(visit, machine)
    mounts = visit.services.storage.all_mounts(visit.account)
    disks = [
        (disk, mount["device"])
        for disk in visit.services.storage.disks(visit.account)
        for mount in mounts.get(disk["uuid"], ())
        if mount["vmId"] == shown.id
    ]
    console = visit.services.compute.console(visit.account, int(shown.id))
    return visit.show("machine.html", machine=shown, disks=disks, console=console)


def _ask_kill(visit: Visit, machine: str) -> Response:
    shown = _find(visit, machine)
    return visit.show(
        "confirm.html",
        place="machines",
        question=f"Kill machine {shown.id} ({shown.name})?",
        consequence="It ends at once, as if its power were cut. This cannot be undone.",
        verb="Kill this machine",
        action=visit.path("machines", shown.id, "kill"),
        back=visit.path("machines", shown.id),
    )


def _kill(visit: Visit, machine: str) -> Response:
    visit.services.compute.action(visit.account, "finalize", _number(machine))
    return visit.go("machines", done="killed")


ROWS = (
    ("GET", "/machines", _list_machines),
    ("GET", "/machines/<machine>", _show_machine),
    ("GET", "/machines/<machine>/kill", _ask_kill),
    ("POST", "/machines/<machine>/kill", _kill),
)
