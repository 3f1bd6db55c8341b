"""
The interface between the rules about machines and the machinery that runs them.

The rules (``compute/rules.py``) decide what may happen to a machine and record it. The machinery
makes it happen, at its own pace and on its own threads, and reports each step.
"""

import enum
import pathlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.sandbox.template import Template

__all__ = ["DEPLOYING", "HOST", "TRANSFER", "Images", "Machine", "Machinery", "Phase", "Report"]

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
    :ivar keeps_files: whether its files outlive its process, because it may be started again.
    :ivar paused: whether it was left paused by an earlier process.
    """

    id: int
    phase: Phase
    template: Template
    obstacle: str = ""
    keeps_files: bool = False
    paused: bool = False

    @property
    def is_saved(self) -> bool:
        """Whether it becomes an image when it is shut down (compute-xmlrpc 4.7)."""
        disks = self.template.vectors("DISK")[:1]
        asked = bool(disks) and disks[0].get("SAVE", "").strip("\"' ").lower() == "yes"
        return asked and bool(self.template.vectors("CREATE_IMAGE"))


class Report(Protocol):
    """How the machinery reports the phases of machines; it does not record them itself."""

    def __call__(self, machine_id: int, *phases: Phase, error: str = "") -> bool:
        """
        Record that a machine has gone through these phases and is in the last one now.

        :param error: why it failed, for its owner.
        :return: False if the report came too late and changed nothing: the machine was killed, say.
        """


class Images(Protocol):
    """The images on persistent disks: machines become them, and start from them."""

    def save(
        self,
        machine_id: int,
        write: Callable[[pathlib.Path], object],
        stop: threading.Event,
        look_up: Callable[[str], Entry],
    ) -> None:
        """
        Make an image of a machine in EPILOG. One that was saved before, or killed, is left alone.

        :param write: writes what is on its first disk to this empty file.
        :param stop: set when it is no longer needed.
        :param look_up: looks up the Marketplace entry at this URL of another site.
        :raises MachineError: it cannot be saved, or not be described in the Marketplace.
        """

    def find(self, machine_id: int, image_id: str) -> pathlib.Path:
        """
        Find the disk with an image that the machine's owner may use, and return its file.

        :raises MachineError: there is none.
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

    def pause(self, machine_id: int) -> None:
        """
        Stop a machine's processors; its memory stays.

        :raises MachineError: it does not run.
        """

    def go_on(self, machine_id: int) -> None:
        """
        Let a paused machine go on.

        :raises MachineError: it does not run.
        """

    def grow(self, machine_id: int, device: str, size: int) -> None:
        """
        Enlarge a drive of a running machine.

        :param device: ``driveN`` of those that it started with, or the device of one plugged later.
        :param size: in bytes.
        :raises MachineError: it cannot be enlarged.
        """

    def folder(self, machine_id: int) -> pathlib.Path | None:
        """Return the directory with the files of a machine; None where they have none."""

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
