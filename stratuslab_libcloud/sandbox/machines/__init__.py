"""
The interface between the rules about machines and the machinery that runs them.

The rules (``compute/rules.py``) decide what may happen to a machine and record it. The machinery
makes it happen, at its own pace and on its own threads, and reports each step.
"""

import enum
import pathlib
from dataclasses import dataclass
from typing import Protocol

from stratuslab_libcloud.sandbox.template import Template

__all__ = ["DEPLOYING", "HOST", "TRANSFER", "Machine", "Machinery", "Phase", "Report"]

HOST = "sandbox"  # the only host: the HOSTNAME of machines, and the node of hot-plug requests
# How the engine begins the reason of a failure (in its spelling).
TRANSFER = "Error excuting image transfer script"
DEPLOYING = "Error deploying virtual machine"


class Phase(enum.Enum):
    """A phase in the life of a machine: STATE and LCM_STATE (compute-xmlrpc 3.1, 3.2)."""

    PENDING = (1, 0)
    PROLOG = (3, 1)
    BOOT = (3, 2)
    RUNNING = (3, 3)
    SHUTDOWN = (3, 12)
    UNKNOWN = (3, 16)
    EPILOG = (3, 11)
    CLEANUP = (3, 15)
    FAILURE = (3, 14)
    FAILED = (7, 0)
    DONE = (6, 0)


@dataclass(frozen=True)
class Machine:
    """
    A machine as the machinery sees it.

    :ivar obstacle: why the transfer of its disks must fail; empty if it need not.
    """

    id: int
    phase: Phase
    template: Template
    obstacle: str = ""


class Report(Protocol):
    """How the machinery reports the phases of machines; it does not record them itself."""

    def __call__(self, machine_id: int, *phases: Phase, error: str = "") -> bool:
        """
        Record that a machine has gone through these phases and is in the last one now.

        :param error: why it failed, for its owner.
        :return: False if the report came too late and changed nothing: the machine was killed, say.
        """


class Machinery(Protocol):
    """What machines run on."""

    def enter(self, machine: Machine) -> None:
        """
        Carry on from the phase that the machine has just entered.

        PENDING is a new machine; its owner asked for SHUTDOWN and CLEANUP, and for DONE of one that
        had failed or was still pending; FAILURE stands for its host's; any other phase was left by
        an earlier process. Returns at once, but real machines wait for the end of a CLEANUP.
        """

    def plug(self, machine_id: int, device: str, disk: pathlib.Path) -> None:
        """
        Give a running machine a disk, and wait until its guest has taken it up.

        :param device: its name in the guest, ``vdX``.
        :param disk: its file, raw; the file's name, a UUID, becomes the drive's serial.
        :raises UnsettledError: the machine may have the disk, but its guest does not use it yet.
        :raises MachineError: the disk cannot be plugged; nothing has changed.
        """

    def unplug(self, machine_id: int, device: str) -> None:
        """
        Take a disk away from a running machine, and wait until its guest has released it.

        :raises UnsettledError: it is not known whether the guest keeps it.
        :raises MachineError: the guest keeps it.
        """

    def console(self, machine_id: int) -> bytes:
        """
        Return the end of what a machine has written to its console since its last boot.

        It is kept until the machine is DONE.
        """

    def close(self, keep: bool) -> set[int]:
        """
        End all machines, or let them live on (``keep``), and wait for the threads.

        :return: the ids of those that could not be ended.
        """
