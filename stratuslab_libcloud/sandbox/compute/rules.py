"""
The compute service's rules: those of OpenNebula 3.2.1 with StratusLab's patches (compute-xmlrpc,
opennebula-engines).
"""

import json
import re
import sqlite3
import time
from collections.abc import Callable

from stratuslab_libcloud.sandbox import addresses
from stratuslab_libcloud.sandbox.compute.documents import phase_of, vm_document
from stratuslab_libcloud.sandbox.machines import (
    DEPLOYING,
    TRANSFER,
    Machine,
    Machinery,
    Phase,
    Report,
)
from stratuslab_libcloud.sandbox.storage.records import claim
from stratuslab_libcloud.sandbox.store import Account, Store
from stratuslab_libcloud.sandbox.template import NOT_XML, Template, TemplateError, parse
from stratuslab_libcloud.untrusted import xml
from stratuslab_libcloud.untrusted.text import printable_lines

__all__ = ["CallRefusedError", "Compute"]

_MAX_NAME_BYTES = 128
_AUTHORIZATION, _NO_EXISTS, _ACTION, _API, _INTERNAL = 512, 1024, 2048, 4096, 8192

_ACTIVE = {phase for phase in Phase if int(phase.value[0]) == 3}
_ENDED = {Phase.FAILED, Phase.DONE}

# The phases that each phase may follow. A report that comes too late does not fit.
_BEFORE = {
    Phase.PROLOG: {Phase.PENDING},
    Phase.BOOT: {Phase.PROLOG},
    Phase.RUNNING: {Phase.BOOT, Phase.SHUTDOWN, Phase.UNKNOWN},
    Phase.SHUTDOWN: {Phase.RUNNING},
    Phase.UNKNOWN: {Phase.BOOT, Phase.RUNNING, Phase.SHUTDOWN, Phase.UNKNOWN},
    Phase.EPILOG: {Phase.SHUTDOWN},
    Phase.CLEANUP: _ACTIVE,
    Phase.FAILURE: _ACTIVE - {Phase.CLEANUP, Phase.FAILURE},
    Phase.FAILED: {Phase.FAILURE},
    Phase.DONE: {Phase.PENDING, Phase.EPILOG, Phase.CLEANUP, Phase.FAILED},
}

# The engine's actions, and the phases in which it accepts them (compute-xmlrpc 2.6).
_ACTIONS = {
    "finalize": set(Phase),
    "shutdown": {Phase.RUNNING},
    "cancel": {Phase.RUNNING},
    "stop": {Phase.RUNNING},
    "suspend": {Phase.RUNNING},
    "reboot": {Phase.RUNNING},
    "hold": {Phase.PENDING},
    "restart": {Phase.BOOT, Phase.UNKNOWN},
    "resubmit": set(Phase) - {Phase.DONE},
    "release": set[Phase](),  # it needs HOLD
    "resume": set[Phase](),  # it needs STOPPED or SUSPENDED
}


class CallRefusedError(Exception):
    """The call is refused: its answer is ``[false, text, code]``."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Compute:
    """
    The rules about machines.

    :param start_machinery: starts the machinery, given the function that it reports to.
    :ivar machinery: what the machines run on.
    """

    def __init__(self, store: Store, start_machinery: Callable[[Report], Machinery]) -> None:
        self._store = store
        self.machinery = start_machinery(self.report)

    # Requests of users.

    def allocate(self, account: Account, text: str) -> int:
        """
        Register a machine with its addresses and disks, and start it (2.3).

        :return: its id.
        :raises CallRefusedError: the template is invalid, or asks for what is not available.
        """
        try:
            template = parse(text)
            with self._store.transaction() as db:
                vm_id = _register(db, account, template)
                obstacle = claim(db, account, vm_id, template.vectors("DISK"))
        except TemplateError as error:
            reason = f"Error allocating a new virtual machine. {error}"
            raise CallRefusedError(reason, _INTERNAL) from None
        self.machinery.enter(Machine(vm_id, Phase.PENDING, template, obstacle))
        return vm_id

    def info(self, account: Account, vm_id: int) -> str:
        """Return the document of a machine (2.4, 5.1)."""
        with self._store.reading() as db:
            row = _find_machine(db, account, vm_id, "USE")
        return vm_document(row, account)

    def pool(self, account: Account, flag: int, start: int, end: int, state: int) -> str:
        """Return the documents of the caller's machines, never those of other users (2.5)."""
        if flag < -3:
            raise CallRefusedError("Incorrect filter_flag", _API)
        if not -2 <= state <= Phase.FAILED.value[0]:
            raise CallRefusedError("Incorrect filter_flag, state", _API)
        query = "SELECT * FROM machines WHERE owner = ? AND id BETWEEN ? AND ?"
        last = end if start >= 0 and end != -1 else 2**31
        values: list[str | int] = [account.name, start, last]
        if state != -2:
            query += " AND state <> ?" if state == -1 else " AND state = ?"
            values.append(Phase.DONE.value[0] if state == -1 else state)
        machines: list[str] = []
        if flag < 0 or flag == account.uid:
            with self._store.reading() as db:
                rows = db.execute(f"{query} ORDER BY id", values).fetchall()
            # One tree of all machines would take five times the memory, and release little of it.
            machines = [vm_document(row, account) for row in rows]
        return f"<VM_POOL>{''.join(machines)}</VM_POOL>"

    def action(self, account: Account, action: str, vm_id: int) -> int:
        """
        Shut a machine down (``shutdown``, only when RUNNING) or end it (``finalize``) (2.6).

        The engine's other actions are not supported, and refused in its words.
        """
        with self._store.transaction() as db:
            row = _find_machine(db, account, vm_id, "MANAGE")
            phase = phase_of(row)
            if action not in _ACTIONS:
                raise CallRefusedError("Internal error. Action result not defined", _INTERNAL)
            if phase not in _ACTIONS[action]:
                raise CallRefusedError("Wrong state to perform action", _ACTION)
            if action == "shutdown":
                phase = Phase.SHUTDOWN
            elif action == "finalize":
                phase = Phase.CLEANUP if phase in _ACTIVE else Phase.DONE
            else:
                raise CallRefusedError("Virtual machine action not supported", _ACTION)
            _move(db, row, phase)
        if phase_of(row) is not Phase.DONE:
            self.machinery.enter(Machine(vm_id, phase, Template.loads(row["template"])))
        return vm_id

    def console(self, account: Account, vm_id: int) -> str:
        """
        Return the end of what a machine has written to its console since its last boot.

        :return: printable lines; empty if there are none.
        :raises CallRefusedError: it is not a machine of the caller.
        """
        with self._store.reading() as db:
            _find_machine(db, account, vm_id, "USE")
        return printable_lines(self.machinery.console(vm_id).decode("utf-8", "replace"))

    # Reports and failures.

    def report(self, machine_id: int, *phases: Phase, error: str = "") -> bool:
        """Record the phase of a machine: see :class:`.machines.Report`."""
        with self._store.transaction() as db:
            row = db.execute("SELECT * FROM machines WHERE id = ?", (machine_id,)).fetchone()
            return bool(row) and _move(db, row, *phases, error=error)

    def fail(self, vm_id: int, message: str) -> bool:
        """Make a machine fail, as if its host had broken down; False if it cannot fail."""
        with self._store.transaction() as db:
            row = db.execute("SELECT * FROM machines WHERE id = ?", (vm_id,)).fetchone()
            phase = phase_of(row) if row else Phase.DONE
            phases = (
                (Phase.PROLOG,) if phase is Phase.PENDING else ()
            )  # the engine lets none fail earlier
            transferring = phase in (Phase.PENDING, Phase.PROLOG, Phase.EPILOG)
            error = f"{TRANSFER if transferring else DEPLOYING}: {message}"
            if not row or not _move(db, row, *phases, Phase.FAILURE, error=error):
                return False
        self.machinery.enter(Machine(vm_id, Phase.FAILURE, Template([])))
        return True

    def adopt(self) -> None:
        """Adopt the machines that an earlier process left."""
        machines = []
        with self._store.transaction() as db:
            query = (
                "SELECT machines.*, uid FROM machines JOIN accounts ON owner = accounts.name "
                "WHERE state NOT IN (6, 7)"
            )
            for row in db.execute(query).fetchall():
                phase, template, obstacle = phase_of(row), Template.loads(row["template"]), ""
                if phase in (Phase.PENDING, Phase.PROLOG):
                    account = Account(row["uid"], row["owner"])
                    obstacle = claim(db, account, row["id"], template.vectors("DISK"))
                machines.append(Machine(row["id"], phase, template, obstacle))
        for machine in machines:
            self.machinery.enter(machine)

    def stop(self, keep: bool) -> None:
        """Release the machines, or end them; one that cannot be ended keeps its phase."""
        alive = self.machinery.close(keep)
        if not keep:
            with self._store.transaction() as db:
                for row in db.execute("SELECT * FROM machines WHERE state <> 6").fetchall():
                    if row["id"] in alive:
                        continue
                    ending = (Phase.CLEANUP,) if phase_of(row) in _ACTIVE else ()
                    _move(db, row, *ending, Phase.DONE)


def _find_machine(db: sqlite3.Connection, account: Account, vm_id: int, right: str) -> sqlite3.Row:
    """Find a machine of the caller. That others' machines exist is no secret (engines 7)."""
    row: sqlite3.Row | None
    row = db.execute("SELECT * FROM machines WHERE id = ?", (vm_id,)).fetchone()
    if row is None and vm_id >= 0:
        raise CallRefusedError(f"Error getting virtual machine [{vm_id}].", _NO_EXISTS)
    if row is None or row["owner"] != account.name:
        which = f"{right} VM" if row is None else f"{right} VM [{vm_id}]"
        raise CallRefusedError(
            f"User [{account.uid}] : Not authorized to perform {which}.", _AUTHORIZATION
        )
    return row


def _move(db: sqlite3.Connection, row: sqlite3.Row, *phases: Phase, error: str = "") -> bool:
    """Move a machine through phases; when it ends, free its addresses and disks."""
    phase, times, template = phase_of(row), json.loads(row["times"]), row["template"]
    for following in phases:
        if phase not in _BEFORE[following]:
            return False
        phase = following
        times.setdefault(phase.name, int(time.time()))
    if error:
        failed = Template.loads(template)
        stamp = time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime())
        message = xml.NOT_XML.sub("\ufffd", error)
        failed.attributes.append(("ERROR", {"MESSAGE": message, "TIMESTAMP": stamp}))
        template = failed.dumps()
    db.execute(
        "UPDATE machines SET state = ?, lcm_state = ?, times = ?, template = ? WHERE id = ?",
        (*phase.value, json.dumps(times), template, row["id"]),
    )
    if phase in _ENDED:
        db.execute("DELETE FROM addresses WHERE machine = ?", (row["id"],))
        db.execute("DELETE FROM mounts WHERE machine = ?", (row["id"],))
    return True


def _register(db: sqlite3.Connection, account: Account, template: Template) -> int:
    """Insert the record of a new machine, and complete its template."""
    (vm_id,) = db.execute("SELECT COALESCE(MAX(id), -1) + 1 FROM machines").fetchone()
    if any("VLAN_ID" in nic for nic in template.vectors("NIC")):
        raise TemplateError("VM Template includes a restricted attribute NIC/VLAN_ID.")
    if sum(attribute == "CONTEXT" for attribute, _ in template.attributes) > 1:
        raise TemplateError("Only one CONTEXT attribute can be defined.")
    name = template.text("NAME") or f"one-{vm_id}"
    if len(name.encode()) > _MAX_NAME_BYTES:
        # The engine really writes the id in front (engines 4).
        raise TemplateError(f"{vm_id}NAME is too long; max length is {_MAX_NAME_BYTES} chars.")
    if not template.text("NAME"):
        template.set("NAME", name)
    template.set("VMID", str(vm_id))
    times = json.dumps({Phase.PENDING.name: int(time.time())})
    row = (vm_id, account.name, name, "", *Phase.PENDING.value, times)
    db.execute("INSERT INTO machines VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    addresses.lease(db, vm_id, template.vectors("NIC"))
    for number, disk in enumerate(template.vectors("DISK")):
        disk["DISK_ID"] = str(number)
        if disk.keys() & {
            "IMAGE",
            "IMAGE_ID",
        }:  # in an image repository, which StratusLab does not use
            raise TemplateError("Could not get disk image for VM.")
    template.substitute()
    if re.search("[<&]", name):
        # The engine does not escape names. (It does accept balanced markup.)
        raise TemplateError(NOT_XML)
    db.execute("UPDATE machines SET template = ? WHERE id = ?", (template.dumps(), vm_id))
    return int(vm_id)
