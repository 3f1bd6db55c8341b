"""Calls that show machines, and that change what they are called and how large they are."""

import re

from stratuslab_libcloud.sandbox.opennebula import quotas, rights
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.documents import machine_document
from stratuslab_libcloud.sandbox.opennebula.hot import change
from stratuslab_libcloud.sandbox.opennebula.records import Book, Machine
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    API,
    INTERNAL,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.rights import in_range, may, obtain, pool
from stratuslab_libcloud.sandbox.opennebula.states import DONE, state_name
from stratuslab_libcloud.sandbox.opennebula.templates import merge, parse, restricted
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Template, TemplateError

__all__ = ["info", "listing", "listing_extended", "rename", "resize", "update"]

_HOST_KIB = 268_304_384  # the memory of the host, in the unit of the engine's text
_MAX_STATE = 11


def info(core: Core, account: Account, number: int, decrypt: bool = False) -> str:
    """Return the document of a machine, whole."""
    with core.reading() as book:
        return machine_document(
            obtain(book, account, Machine, number, "USE"), core.is_new, full=True
        )


def listing(core: Core, account: Account, flag: int, start: int, end: int, state: int) -> str:
    """Return the short documents of a part of the pool."""
    return _listed(core, account, (flag, start, end, state), full=False)


def listing_extended(
    core: Core, account: Account, flag: int, start: int, end: int, state: int
) -> str:
    """Return the whole documents of a part of the pool."""
    return _listed(core, account, (flag, start, end, state), full=True)


def _listed(core: Core, account: Account, which: tuple[int, int, int, int], *, full: bool) -> str:
    flag, start, end, state = which
    if not -2 <= state <= _MAX_STATE:
        text = f"Incorrect state filter {state}" if core.is_new else "Incorrect filter_flag, state"
        raise RefusedError(text, API)
    with core.reading() as book:
        found = pool(book, account, Machine, flag)
        machines = [one for one in found if _is_shown(one, state)]
    if end < -1:
        first = max(start, 0)
        machines = machines[first : first - end]
    else:
        machines = [one for one in machines if in_range(one, start, end)]
    documents = "".join(machine_document(one, core.is_new, full=full) for one in machines)
    return f"<VM_POOL>{documents}</VM_POOL>"


def _is_shown(machine: Machine, state: int) -> bool:
    if state == -1:
        return machine.now != DONE
    return state == -2 or machine.state == state


def listing_set(core: Core, account: Account, numbers: str, extended: bool) -> str:
    """Return the documents of those machines that exist."""
    documents = ""
    with core.reading() as book:
        for text in re.findall("[0-9]{1,9}", numbers):
            machine = book.find(Machine, int(text))
            if machine and may(account, machine, "USE"):
                documents += machine_document(machine, core.is_new, full=extended)
    return f"<VM_POOL>{documents}</VM_POOL>"


def rename(core: Core, account: Account, number: int, name: str) -> int:
    """Rename a machine."""
    with core.changing() as book:
        rights.rename(book, account, Machine, number, name)
    return number


def update(core: Core, account: Account, number: int, text: str, mode: int = 0) -> int:
    """Replace (0) or add to (1) what the user says about a machine."""
    if mode not in (0, 1):
        raise RefusedError("Wrong update type", API)
    try:
        extra = parse(text, strip=core.is_new) if text.strip() else Template([])
    except TemplateError as error:
        raise RefusedError(str(error), ACTION) from None
    if name := restricted(extra):
        wrong = f"Cannot update template. User Template includes a restricted attribute {name}"
        raise RefusedError(wrong, INTERNAL)
    real = ("CPU", "MEMORY", "VCPU", "DISK", "NIC", "NIC_ALIAS", "CONTEXT")
    extra = Template([(name, value) for name, value in extra.attributes if name not in real])
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        machine.user_template = merge(machine.user_template, extra) if mode else extra
        book.put(machine)
    return number


def update_context(core: Core, account: Account, number: int, text: str, mode: int = 0) -> int:
    """Replace (0) or add to (1) the context of a machine."""
    try:
        contexts = parse(text, strip=core.is_new).vectors("CONTEXT")
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        present = machine.template.vectors("CONTEXT")
        if not present:
            wrong = "Virtual machine does not have context, cannot add a new one."
            raise RefusedError(wrong, INTERNAL)
        for context in contexts[:1]:
            if mode == 0:
                kept = {key: present[0][key] for key in ("DISK_ID", "TARGET")}
                present[0].clear()
                present[0].update(kept)
            own = ("DISK_ID", "TARGET")
            present[0].update({key: one for key, one in context.items() if key not in own})
        book.put(machine)
    return number


def permit(core: Core, account: Account, number: int, *bits: int) -> int:
    """Change permissions."""
    with core.changing() as book:
        rights.permit(book, account, Machine, number, bits)
    return number


def lock(core: Core, account: Account, number: int, level: int, test: bool = False) -> int:
    """Keep everybody from changing a machine."""
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        machine.locked = level
        book.put(machine)
    return number


def unlock(core: Core, account: Account, number: int) -> int:
    """Let a machine be changed again."""
    with core.changing() as book:
        rights.unlock(book, account, Machine, number)
    return number


def resize(core: Core, account: Account, number: int, text: str, enforce: bool = True) -> int:
    """Change CPU, VCPU and memory: at once unless the machine runs."""
    try:
        wanted = parse(text, strip=core.is_new) if text.strip() else Template([])
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None
    with core.changing() as book:
        machine = obtain(book, account, Machine, number, "MANAGE")
        state = state_name(machine.now)
        if state not in ("RUNNING", "POWEROFF", "PENDING", "HOLD", "UNDEPLOYED"):
            raise RefusedError(f"Cannot resize a VM in state {state}", ACTION)
        old = {name: machine.template.text(name) for name in ("CPU", "VCPU", "MEMORY")}
        new = {name: _amount(name, wanted.text(name), was) for name, was in old.items()}
        memory = int(new["MEMORY"])
        if memory * 1024 > _HOST_KIB and state != "PENDING":
            raise RefusedError(f"Not enough memory: {memory * 1024}/{_HOST_KIB}", ACTION)
        added = {name: float(new[name]) - float(old[name]) for name in ("CPU", "MEMORY")}
        running = {f"RUNNING_{name}": more for name, more in added.items() if state == "RUNNING"}
        quotas.check(book, account, {k: v for k, v in {**added, **running}.items() if v > 0})
        for name, value in new.items():
            if value:
                machine.template.set(name, value)
        book.put(machine)
        if state == "RUNNING":

            def done(book: Book, machine: Machine, reason: str) -> None:
                for name, was in old.items():
                    if reason and was:
                        machine.template.set(name, was)

            change(core, book, machine, "resize", "", lambda: None, done)
    return number


def _amount(name: str, text: str, old: str) -> str:
    """Return the new amount; what is no amount changes nothing (modern 7)."""
    number = re.fullmatch(r"(-?)([0-9]{1,18}(?:\.[0-9]{1,18})?)", text.strip())
    if number and number[1]:
        kind = "float or integer" if name == "CPU" else "integer"
        raise RefusedError(f"{name} must be a positive {kind} value.", INTERNAL)
    if number is None or float(number[2]) == 0 or (name != "CPU" and "." in number[2]):
        return old
    return number[2]
