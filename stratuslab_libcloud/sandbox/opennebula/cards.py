"""Network cards that come to machines and go (modern 2). Those of real ones that run stay."""

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.opennebula import networks, quotas
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.hot import change
from stratuslab_libcloud.sandbox.opennebula.records import Book, Machine
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    AUTHORIZATION,
    INTERNAL,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.rights import obtain
from stratuslab_libcloud.sandbox.opennebula.states import RUNNING, state_name
from stratuslab_libcloud.sandbox.opennebula.templates import parse, restricted
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import TemplateError, Vector

__all__ = ["attach", "detach"]


def attach(core: Core, account: Account, number: int, text: str) -> int:
    """Attach the first NIC of a text."""
    try:
        template = parse(text, strip=core.is_new)
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None
    if name := restricted(template):
        wrong = f"VM Template includes a restricted attribute {name}."
        raise RefusedError(wrong, AUTHORIZATION)
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        if not (nics := template.vectors("NIC")):
            raise RefusedError("Internal error parsing NIC attribute", ACTION)
        nic, running, state = nics[0], machine.now == RUNNING, state_name(machine.now)
        _lease(book, account, machine, nic)
        if network := nic.get("NETWORK_ID"):
            quotas.check(book, account, {f"LEASES {network}": 1})
        nic["ATTACH"] = "YES"
        machine.template.attributes.append(("NIC", nic))

        def done(book: Book, machine: Machine, reason: str) -> None:
            added = _find(machine, nic["NIC_ID"])
            if added and reason:
                _remove(book, machine, added)
            elif added:
                del added["ATTACH"]

        wrong = f"Could not attach a new NIC to VM {number}, wrong state {state}."
        change(core, book, machine, "attach nic", wrong, lambda: _only(core, running), done)
    return number


def _lease(book: Book, account: Account, machine: Machine, nic: Vector) -> None:
    try:
        networks.lease(book, account, machine, [nic])
    except RefusedError as refused:
        if refused.code != INTERNAL:
            raise
        raise RefusedError(str(refused), ACTION) from None  # allocate has another code for it


def detach(core: Core, account: Account, number: int, nic_id: int) -> int:
    """Detach a NIC, and free its address."""
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        running, state = machine.now == RUNNING, state_name(machine.now)
        nic = _find(machine, str(nic_id))
        if nic is None:
            text = f"Could not detach NIC with NIC_ID {nic_id}, it does not exist."
            raise RefusedError(text, ACTION)
        nic["ATTACH"] = "YES"

        def done(book: Book, machine: Machine, reason: str) -> None:
            found = _find(machine, str(nic_id))
            if found and reason:
                found.pop("ATTACH", None)
            elif found:
                _remove(book, machine, found)

        wrong = f"Could not detach NIC from VM {number}, wrong state {state}."
        change(core, book, machine, "detach nic", wrong, lambda: _only(core, running), done)
    return number


def _only(core: Core, running: bool) -> None:
    if core.real and running:
        raise MachineError("the sandbox changes the network cards of real machines at rest only")


def _find(machine: Machine, nic_id: str) -> Vector | None:
    nics = machine.template.vectors("NIC")
    return next((nic for nic in nics if nic["NIC_ID"] == nic_id), None)


def _remove(book: Book, machine: Machine, nic: Vector) -> None:
    networks.release_one(book, nic)
    machine.template.attributes = [
        (name, value) for name, value in machine.template.attributes if value is not nic
    ]
