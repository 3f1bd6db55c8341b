"""The life of a QEMU machine: its process, from its start to that of the operating system."""

import asyncio
import pathlib
import shutil
import subprocess
import threading
from dataclasses import dataclass, field

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.machines import Machine, Phase, command, console
from stratuslab_libcloud.sandbox.machines.command import Host
from stratuslab_libcloud.sandbox.machines.drives import Drive
from stratuslab_libcloud.sandbox.machines.monitor import LOG, Monitor, listening
from stratuslab_libcloud.sandbox.machines.processes import running_process

__all__ = ["Life", "launch", "remove"]

_BIOS_LOG = "bios.log"
_BIOS_SECONDS = 120.0
_POLL_SECONDS = 0.05
_STOPPED = ("guest-panicked", "internal-error", "io-error", "paused", "watchdog")


@dataclass
class Life:
    """A machine, its QEMU process, and the task that leads it."""

    machine: Machine
    folder: pathlib.Path
    stop: threading.Event = field(default_factory=threading.Event)  # for what runs in threads
    ending: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None
    process: subprocess.Popen[bytes] | None = None  # unless an earlier sandbox started it
    recorder: subprocess.Popen[bytes] | None = None  # of its console; likewise
    monitor: Monitor | None = None
    power_button: asyncio.Task[None] | None = None
    paused: bool = False
    saving: bool = False  # its files are still needed

    @property
    def id(self) -> int:
        return self.machine.id

    def connected(self) -> Monitor:
        """
        Return the monitor of a running machine.

        :raises MachineError: it does not run.
        """
        if self.monitor is None:
            raise MachineError("the machine does not run, or its QEMU does not answer")
        return self.monitor

    async def pause(self, *, paused: bool) -> None:
        """
        Stop the processors, or let them go on; the memory stays.

        :raises MachineError: it does not run.
        """
        self.paused = True  # until they go on: a look at QEMU meanwhile must find nothing wrong
        await self.connected().execute("stop" if paused else "cont")
        self.paused = paused

    async def restore_pause(self) -> None:
        """
        Pause a machine, or let it go on, where an earlier sandbox ended before it could do so.

        :raises MachineError: it does not run.
        """
        status = (await self.connected().execute("query-status"))["status"]
        if status == ("running" if self.paused else "paused"):
            await self.pause(paused=self.paused)

    async def check_goes_on(self) -> None:
        """
        Check that QEMU has not stopped the machine. Events report how a machine ended.

        :raises MachineError: QEMU has stopped it, for example after an internal error.
        """
        try:
            status = (await self.connected().execute("query-status"))["status"]
        except MachineError:
            if running_process(self.folder):
                raise
            return
        if status in _STOPPED and not (self.paused and status == "paused"):
            raise MachineError(f"QEMU has stopped the machine: {status}")

    async def await_boot(self) -> Phase | None:
        """
        Wait until the BIOS has handed over to what is on the disk.

        :return: the phase that follows: UNKNOWN if an earlier sandbox may have read the message of
            the BIOS; None if the process has ended already.
        :raises MachineError: the machine does not boot.
        """
        for _ in range(int(_BIOS_SECONDS / _POLL_SECONDS)):
            hearing = asyncio.ensure_future(self._hear_bios())
            try:
                said = await asyncio.shield(hearing)
            except asyncio.CancelledError:
                await asyncio.gather(hearing, return_exceptions=True)  # or it would be lost
                raise
            except MachineError:
                if running_process(self.folder):
                    raise
                return None
            if "Booting from 0000:7c00" in said:
                return Phase.RUNNING
            if "No bootable device" in said:
                break
            await asyncio.sleep(_POLL_SECONDS)
        else:
            if self.process is None:
                return Phase.UNKNOWN
        raise MachineError("the disk image does not boot: the BIOS finds no boot sector on it")

    async def _hear_bios(self) -> str:
        """Return all output of the BIOS. It is saved, since QEMU hands it out only once."""
        kept = self.folder / _BIOS_LOG
        heard: str = await self.connected().execute("ringbuf-read", device="bios", size=65536)
        try:
            with kept.open("a") as file:
                file.write(heard)
            return kept.read_text()
        except OSError as error:
            raise MachineError(error.strerror or str(error)) from error


def launch(host: Host, life: Life, machine: Machine, laid_out: list[Drive]) -> None:
    """Start a process. With ``throwaway`` it ends with the thread that calls this."""
    folder = life.folder
    with (
        listening(folder) as listener,
        console.recording(folder) as (life.recorder, pipe),
        (folder / LOG).open("wb") as output,
    ):
        descriptor = listener.fileno()
        life.process = subprocess.Popen(
            command.qemu(host, machine.id, machine.template, laid_out, descriptor, pipe),
            cwd=folder,
            pass_fds=[descriptor, pipe],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the sandbox
        )


def remove(folder: pathlib.Path, *, keep_console: bool = False) -> None:
    """
    Remove the files of a machine that has ended.

    :param keep_console: but not what says why it failed.
    """
    kept = console.read(folder) if keep_console else b""
    shutil.rmtree(folder, ignore_errors=True)
    if kept:
        folder.mkdir(mode=0o700)
        (folder / console.FILES[-1]).write_bytes(kept)


def is_at_rest(folder: pathlib.Path) -> bool:
    """Return whether these are the files of a machine that may start again."""
    return any(path.name not in console.FILES for path in folder.iterdir())
