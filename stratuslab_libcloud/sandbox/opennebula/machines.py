"""The rules about machines: how they start, and what may be done to them (modern 6)."""

import re
import time
from functools import partial

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.machines import Machine as Run
from stratuslab_libcloud.sandbox.machines import Phase
from stratuslab_libcloud.sandbox.opennebula import drives, networks, quotas
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image, Machine, User, owned
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    AUTHORIZATION,
    INTERNAL,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.rights import bad_name, obtain
from stratuslab_libcloud.sandbox.opennebula.states import (
    ACTIONS,
    CLONING,
    CLONING_FAILURE,
    DONE,
    HOLD,
    KNOWN,
    PENDING,
    Request,
    state_name,
)
from stratuslab_libcloud.sandbox.opennebula.templates import expand_context, parse, restricted
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Template, TemplateError, Vector

__all__ = ["action", "allocate", "image_settled", "register", "start"]

_CPU = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,2})?", re.IGNORECASE)
_MAX_REFERENCES = 256
# What is a machine's own; everything else is its user's, and in USER_TEMPLATE.
_OWN = {
    *("BACKUP_CONFIG", "CONTEXT", "CPU", "CPU_COST", "CPU_MODEL", "DISK", "DISK_COST", "FEATURES"),
    *("GRAPHICS", "INPUT", "MEMORY", "MEMORY_COST", "NIC", "NIC_ALIAS", "NIC_DEFAULT", "OS", "PCI"),
    *("RAW", "SCHED_ACTION", "TEMPLATE_ID", "TOPOLOGY", "VCPU", "VMGROUP"),
}
_ADMINISTRATORS = (*("delete", "delete-recreate", "migrate", "recover", "resched", "unresched"),)


def allocate(core: Core, account: Account, text: str, hold: bool = False) -> int:
    """Register a machine, with its addresses and disks, and start it."""
    try:
        template = parse(text, strip=core.is_new)
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None
    with core.changing() as book:
        return register(core, book, account, template, hold=hold).id


def register(
    core: Core, book: Book, account: Account, template: Template, *, hold: bool
) -> Machine:
    """
    Register a machine; it is started once that is recorded.

    :raises RefusedError: the template is wrong, or asks for what is not available.
    """
    if name := restricted(template):
        text = f"VM Template includes a restricted attribute {name}."
        raise RefusedError(text, AUTHORIZATION)
    machine = Machine(**owned(account))  # type: ignore[arg-type]
    book.number(machine)
    machine.name = template.text("NAME").strip() or f"one-{machine.id}"
    if wrong := bad_name(machine.name):
        raise RefusedError(wrong, INTERNAL)
    inside, outside = _divided(template)
    machine.template, machine.user_template = Template(inside), Template(outside)
    _check_capacity(machine.template, stripped=core.is_new)
    machine.template.set("VMID", str(machine.id))
    _add_context_place(core, machine)
    _add_disks(core, book, account, machine)
    networks.lease(book, account, machine, machine.template.vectors("NIC"))
    user = book.find(User, account.uid)
    _complete_context(machine, user.template if user else {})
    _check_boot_order(machine)
    quotas.check(book, account, _needs(machine, hold=hold))
    if hold:
        machine.move(HOLD)
    if any("CLONING" in disk for disk in machine.disks):
        machine.move(CLONING)
    book.put(machine)
    if machine.now == PENDING:
        book.then.append(lambda: start(core, machine.id))
    return machine


Attributes = list[tuple[str, str | Vector]]


def _divided(template: Template) -> tuple[Attributes, Attributes]:
    """Divide a template into what is the machine's, and what is its user's."""
    inside: Attributes = []
    outside: Attributes = []
    for name, value in template.attributes:
        if name != "NAME":
            (inside if name in _OWN else outside).append((name, value))
    return inside, outside


def _check_capacity(template: Template, *, stripped: bool) -> None:
    cpu, memory, vcpu = (template.text(name) for name in ("CPU", "MEMORY", "VCPU"))
    if stripped:
        cpu, memory, vcpu = cpu.strip(), memory.strip(), vcpu.strip()
    if not _CPU.fullmatch(cpu) or float(cpu) <= 0:
        raise RefusedError("CPU attribute must be a positive float or integer value.", INTERNAL)
    for name, value in (("MEMORY", memory), ("VCPU", vcpu or "1")):
        if not value.isdecimal() or int(value) == 0:
            raise RefusedError(f"{name} attribute must be a positive integer value.", INTERNAL)
    template.set("CPU", f"{float(cpu):.6g}")
    template.set("MEMORY", str(int(memory)))


def _add_context_place(core: Core, machine: Machine) -> None:
    """Give the context its device: it comes before the disks do (modern 5)."""
    contexts = machine.template.vectors("CONTEXT")
    if len(contexts) > 1:
        raise RefusedError("Only one CONTEXT attribute can be defined.", INTERNAL)
    for context in contexts:
        context["DISK_ID"] = str(len(machine.disks))
        drives.take_target(machine, context, "sd" if core.is_new else "hd")


def _add_disks(core: Core, book: Book, account: Account, machine: Machine) -> None:
    for number, disk in enumerate(machine.disks):
        disk["DISK_ID"] = str(number)
        try:
            drives.complete(core, book, account, machine, disk, starting=True)
        except RefusedError as refused:
            if refused.code == AUTHORIZATION:
                raise
            raise RefusedError(f"DISK {number}: {refused}", INTERNAL) from None


def _complete_context(machine: Machine, user: dict[str, str]) -> None:
    """Add the addresses that ``NETWORK`` asks for, and replace references."""
    for context in machine.template.vectors("CONTEXT"):
        if sum(text.count("$") for text in context.values()) > _MAX_REFERENCES:
            raise RefusedError("There are too many variables in CONTEXT.", INTERNAL)
        known = Template([*machine.template.attributes, ("NAME", machine.name)])
        try:
            context |= expand_context(context, known, user)
        except TemplateError as error:
            raise RefusedError(str(error), INTERNAL) from None
        if context.get("NETWORK", "").upper() != "YES":
            continue
        for nic in machine.template.vectors("NIC"):
            if "IP" in nic:
                eth = f"ETH{nic['NIC_ID']}_"
                context |= {f"{eth}IP": nic["IP"], f"{eth}MAC": nic["MAC"]}
                context |= {f"{eth}MASK": "255.0.0.0", f"{eth}GATEWAY": "", f"{eth}DNS": ""}


def _check_boot_order(machine: Machine) -> None:
    for vector in machine.template.vectors("OS"):
        for device in filter(None, vector.get("BOOT", "").split(",")):
            number = device.removeprefix("disk")
            if device.startswith("disk") and not any(
                disk["DISK_ID"] == number for disk in machine.disks
            ):
                text = f"Wrong OS/BOOT value. Device with DISK_ID {number} not found"
                raise RefusedError(text, INTERNAL)


def _needs(machine: Machine, *, hold: bool) -> dict[str, float]:
    """Return what a new machine adds to what its owner uses."""
    cpu, memory = float(machine.template.text("CPU")), float(machine.template.text("MEMORY"))
    needs: dict[str, float] = {"VMS": 1, "CPU": cpu, "MEMORY": memory}
    if not hold:
        needs |= {f"RUNNING_{name}": amount for name, amount in list(needs.items())}
    needs["SYSTEM_DISK_SIZE"] = sum(quotas.disk_mib(disk) for disk in machine.disks)
    keys = [f"RVMS {disk['IMAGE_ID']}" for disk in machine.disks if disk.get("IMAGE_ID")]
    nics = machine.template.vectors("NIC")
    keys += [f"LEASES {nic['NETWORK_ID']}" for nic in nics if nic.get("NETWORK_ID")]
    return needs | {key: keys.count(key) for key in keys}


def start(core: Core, number: int) -> None:
    """Let the machinery start a machine that is ready for it."""
    with core.changing() as book:
        machine = book.find(Machine, number)
        if machine is None or machine.phase != "PENDING":
            return
        template = drives.run_template(book, machine)
        machine.booted = [disk["DISK_ID"] for disk in machine.disks]
        book.put(machine)
    obstacle = core.failure("prolog")
    core.machinery.enter(Run(number, Phase.PENDING, template, obstacle, keeps_files=True))


def image_settled(core: Core, numbers: list[int]) -> None:
    """Let machines go on that waited for an image, or fail (modern 6)."""
    for number in numbers:
        with core.changing() as book:
            machine = book.find(Machine, number)
            if machine is None or machine.now != CLONING:
                continue
            images = [book.find(Image, int(disk.get("IMAGE_ID") or -1)) for disk in machine.disks]
            states = {image.state for image in images if image}
            if 5 in states:
                machine.move(CLONING_FAILURE)
            elif not states & {4, 9, 10}:
                for disk in machine.disks:
                    disk.pop("CLONING", None)
                machine.move(PENDING)
                book.then.append(partial(start, core, number))
            book.put(machine)


def action(core: Core, account: Account, name: str, number: int) -> int:
    """Do what the table of actions says for the machine's state."""
    with core.changing() as book:
        if name in _ADMINISTRATORS:
            obtain(book, account, Machine, number, "USE")
            text = f"Not authorized to perform ADMIN VM [{number}]."
            raise RefusedError(text, AUTHORIZATION)
        machine = obtain(book, account, Machine, number, "MANAGE")
        if name not in KNOWN:
            raise RefusedError(f'Action "{name}" is not supported', ACTION)
        state = state_name(machine.now)
        request = ACTIONS.get(state, {}).get(name)
        if request is None:
            text = f"This action is not available for state {state}"
            if name.startswith("terminate"):
                text = f"Could not terminate VM {number}, wrong state {state}."
            raise RefusedError(f'Error performing action "{name}": {text}', ACTION)
        if machine.now == DONE:
            return number
        if name == "resume":
            needs = {k: v for k, v in _needs(machine, hold=False).items() if "RUNNING" in k}
            quotas.check(book, account, needs, resuming=True)
        _accept(core, book, machine, request)
    return number


def _accept(core: Core, book: Book, machine: Machine, request: Request) -> None:
    number = machine.id
    machine.move(request.first)
    machine.task = request.task or machine.task
    if request.first == DONE:
        machine.phase = "DONE"
        finish(book, machine, failed=False)
        # It may have files from before, or a process that is paused.
        run = Run(number, Phase.CLEANUP, Template([]))
        book.then.append(lambda: core.machinery.enter(run))
    if request.ask in ("SHUTDOWN", "CLEANUP", "PENDING"):
        machine.phase = request.ask
    book.put(machine)
    ignored = core.failure("shutdown") if request.ask == "SHUTDOWN" else ""
    if ignored:
        book.then.append(
            lambda: core.step(lambda: core.report(number, Phase.RUNNING, error=ignored))
        )
    elif request.ask == "PENDING":
        book.then.append(lambda: start(core, number))
    elif request.ask in ("SHUTDOWN", "CLEANUP"):
        keeps = machine.task != "terminate"
        run = Run(number, Phase[request.ask], Template([]), keeps_files=keeps)
        book.then.append(lambda: core.machinery.enter(run))
    elif request.last:
        book.then.append(lambda: core.step(lambda: _settle(core, number, request)))


def _settle(core: Core, number: int, request: Request) -> None:
    """Finish what the machinery does not report: a pause, or its end."""
    reason = ""
    try:
        if request.ask == "pause":
            core.machinery.pause(number)
        elif request.ask == "go on":
            core.machinery.go_on(number)
    except MachineError as error:
        reason = str(error)
    with core.changing() as book:
        machine = book.find(Machine, number)
        if machine and machine.now == request.first and reason:
            machine.move((machine.prev_state, machine.prev_lcm))
            machine.complain(f"{'SAVE' if request.ask == 'pause' else 'RESTORE'}: {reason}")
            book.put(machine)
        elif machine and machine.now == request.first and request.last:
            machine.move(request.between or request.last)
            machine.move(request.last)
            if request.last == (9, 0):
                machine.task = "undeploy"
            book.put(machine)


def finish(book: Book, machine: Machine, *, failed: bool) -> None:
    """Free the images and addresses of a machine that has ended."""
    machine.ended = int(time.time())
    for disk in machine.disks:
        drives.let_go(book, machine, disk, ends=True, failed=failed)
    networks.release(book, machine)
    close_history(machine)


def open_history(machine: Machine) -> None:
    """Begin a record of the machine's time on its host."""
    now = int(time.time())
    record = {"SEQ": len(machine.history), "STIME": now, "ETIME": 0, "PSTIME": now}
    machine.history.append(record)


def close_history(machine: Machine) -> None:
    """End the last record."""
    if machine.history and not machine.history[-1]["ETIME"]:
        machine.history[-1]["ETIME"] = machine.history[-1]["RETIME"] = int(time.time())
