"""Changes of a machine that take time: the states meanwhile and afterwards (modern 5, 7)."""

from collections.abc import Callable

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.records import Book, Machine
from stratuslab_libcloud.sandbox.opennebula.refusals import ACTION, RefusedError
from stratuslab_libcloud.sandbox.opennebula.states import Now, state_name

__all__ = ["CHANGING", "MEANWHILE", "change"]

# What is changed: by the state that the machine is in, the one that it is in meanwhile.
MEANWHILE: dict[str, dict[str, Now]] = {
    "attach": {"RUNNING": (3, 17), "POWEROFF": (3, 33)},
    "detach": {"RUNNING": (3, 17), "POWEROFF": (3, 34)},
    "save as": {"RUNNING": (3, 26), "POWEROFF": (3, 27), "SUSPENDED": (3, 28)},
    "disk snapshot": {"RUNNING": (3, 57), "POWEROFF": (3, 51), "SUSPENDED": (3, 54)},
    "disk snapshot revert": {"POWEROFF": (3, 52)},
    "disk snapshot delete": {"RUNNING": (3, 59), "POWEROFF": (3, 53)},
    "snapshot": {"RUNNING": (3, 24)},
    "resize": {"RUNNING": (3, 66)},
    "disk resize": {"RUNNING": (3, 62), "POWEROFF": (3, 63)},
}
CHANGING = {now for states in MEANWHILE.values() for now in states.values()}
# How the engine begins the text of a failure.
_WORDS = {
    "attach": "ATTACHDISK",
    "detach": "DETACHDISK",
    "save as": "SAVEAS",
    "disk snapshot": "DISKSNAPSHOTCREATE",
    "disk snapshot revert": "DISKSNAPSHOTREVERT",
    "disk snapshot delete": "DISKSNAPSHOTDELETE",
    "snapshot": "SNAPSHOT",
    "resize": "RESIZE",
    "disk resize": "RESIZEDISK",
}


def change(
    core: Core,
    book: Book,
    machine: Machine,
    what: str,
    wrong: str,
    work: Callable[[], None],
    done: Callable[[Book, Machine, str], None],
) -> None:
    """
    Change a machine: it is in another state until the work is done, or has failed.

    :param what: a key of ``MEANWHILE``.
    :param wrong: the refusal in a state where that is not possible.
    :param work: called outside of any transaction; raises a :class:`.MachineError`.
    :param done: called with the machine and the reason of a failure, to record the outcome.
    :raises RefusedError: not in this state.
    """
    number, before = machine.id, machine.now
    meanwhile = MEANWHILE[what].get(state_name(before))
    if meanwhile is None:
        raise RefusedError(wrong, ACTION)
    machine.move(meanwhile)
    book.put(machine)

    def step() -> None:
        reason = core.failure(what)
        try:
            if not reason:
                work()
        except MachineError as error:
            reason = str(error)
        with core.changing() as book:
            machine = book.find(Machine, number)
            if machine is None:
                return
            done(book, machine, reason)
            if machine.now == meanwhile:
                machine.move(before)
            if reason:
                machine.complain(f"{_WORDS[what]}: {reason}")
            book.put(machine)

    book.then.append(lambda: core.step(step))
