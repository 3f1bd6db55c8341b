"""
What a sandbox's machines run on: the interface between the rules and the machinery.

The rules (``compute/rules.py``) decide what may happen to a machine and remember it. The
machinery makes it happen, at its own pace and on its own threads, and reports each step.
"""

import enum
import pathlib
from dataclasses import dataclass
from typing import Protocol

from stratuslab_libcloud.sandbox.template import Template

__all__ = ["DEPLOYING", "HOST", "TRANSFER", "Machine", "Machinery", "Phase", "Report"]

HOST = "sandbox"  # the one host: what HOSTNAME says, and what a hot-plug must name
# What the engine begins the reason of a failure with (its own spelling).
TRANSFER = "Error excuting image transfer script"
DEPLOYING = "Error deploying virtual machine"


class Phase(enum.Enum):
    """Where a machine is in its life: STATE and LCM_STATE (compute-xmlrpc 3.1, 3.2)."""

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

    :ivar obstacle: why the transfer of its disks will fail; empty if nothing is in its way.
    """

    id: int
    phase: Phase
    template: Template
    obstacle: str = ""


class Report(Protocol):
    """How the machinery tells that machines have moved on: the only way states are written."""

    def __call__(self, machine_id: int, *phases: Phase, error: str = "") -> bool:
        """
        The machine has gone through these phases and is in the last one now.

        :param error: why, when it failed: for its owner.
        :return: False if that comes too late (say, it was killed meanwhile) and changed nothing.
        """


class Machinery(Protocol):
    """The machinery."""

    def enter(self, machine: Machine) -> None:
        """
        Carry on from the phase that the machine has just entered.

        PENDING is a new life; SHUTDOWN and CLEANUP are its owner's wish, FAILURE is its host's;
        any other phase was left by an earlier process. Nothing is waited for, except for the end
        of a CLEANUP by real machines.
        """

    def plug(self, machine_id: int, device: str, disk: pathlib.Path) -> None:
        """
        Give a running machine a disk, and wait until its guest has taken it up.

        :param device: ``vdX``: what it is called in the guest.
        :param disk: its file, raw; the name, a UUID, is the drive's serial.
        :raises UnsettledError: the machine may have it, but its guest was not seen to use it.
        :raises MachineError: it cannot be; nothing has changed.
        """

    def unplug(self, machine_id: int, device: str) -> None:
        """
        Take a disk away from a running machine, and wait until the guest has let go of it.

        :raises UnsettledError: it is not known whether the guest keeps it.
        :raises MachineError: the guest keeps it.
        """

    def close(self, keep: bool) -> set[int]:
        """
        Let go of all machines, which live on (``keep``) or end. Waits for the threads.

        :return: the ids of those that could not be ended.
        """
