"""
Machines that are QEMU processes.

Each has a directory with its layer over the image, its swap, its context CD, the log of its console
and the socket of its monitor. One event loop leads all of them from phase to phase, with a task for
each. A QEMU process may outlive the sandbox; the next one adopts it.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import pathlib
import shutil
import subprocess
from dataclasses import replace
from functools import partial

from stratuslab_libcloud.sandbox.errors import MachineError, failing
from stratuslab_libcloud.sandbox.images.fetched import FetchedImages
from stratuslab_libcloud.sandbox.machines import (
    DEPLOYING,
    TRANSFER,
    Images,
    Machine,
    Phase,
    Report,
    command,
    console,
    context,
    drives,
    hotplug,
)
from stratuslab_libcloud.sandbox.machines.command import Host
from stratuslab_libcloud.sandbox.machines.life import Life, is_at_rest, launch, remove
from stratuslab_libcloud.sandbox.machines.loop import Loop
from stratuslab_libcloud.sandbox.machines.monitor import Monitor, end_process
from stratuslab_libcloud.sandbox.machines.processes import PID_FILE, running_process

__all__ = ["Qemu"]

_END_SECONDS = 20.0
# The power button is pressed repeatedly, since a guest may not be listening yet.
_PRESSES, _PRESS_SECONDS = 36, 5.0
_ENDING = {Phase.CLEANUP: Phase.DONE, Phase.EPILOG: Phase.DONE, Phase.FAILURE: Phase.FAILED}

# Keeps each Popen, which would otherwise warn that its process still runs.
_OUTLIVING: list[subprocess.Popen[bytes]] = []

_LOG = logging.getLogger(__name__)


class _TooLateError(Exception):
    """Somebody else has moved the machine to another phase meanwhile."""


class Qemu:
    """
    The machinery of real machines.

    :param directory: holds the machines' directories.
    :param disks: the directory of the persistent disks.
    :param saved: the images on them.
    """

    def __init__(
        self,
        report: Report,
        host: Host,
        directory: pathlib.Path,
        disks: pathlib.Path,
        images: FetchedImages,
        saved: Images,
    ) -> None:
        self._reporter = report
        self._host = host
        self._directory = directory
        self._disks = disks
        self._images = images
        self._saved = saved
        self._lives: dict[int, Life] = {}
        directory.mkdir(mode=0o700, exist_ok=True)
        self._loop = Loop()

    def enter(self, machine: Machine) -> None:
        entered = self._loop.submit(self._enter(machine))
        if machine.phase in (Phase.CLEANUP, Phase.DONE):
            # Its owner may use or delete its disks next.
            concurrent.futures.wait([entered], _END_SECONDS)

    def plug(self, machine_id: int, device: str, disk: pathlib.Path) -> None:
        self._loop.wait_for(self._plug(machine_id, device, disk))

    def unplug(self, machine_id: int, device: str) -> None:
        self._loop.wait_for(self._unplug(machine_id, device))

    def pause(self, machine_id: int) -> None:
        self._loop.wait_for(self._running(machine_id).pause(paused=True))

    def go_on(self, machine_id: int) -> None:
        self._loop.wait_for(self._running(machine_id).pause(paused=False))

    def grow(self, machine_id: int, device: str, size: int) -> None:
        self._loop.wait_for(self._grow(machine_id, device, size))

    def folder(self, machine_id: int) -> pathlib.Path | None:
        return self._directory / str(machine_id)

    def console(self, machine_id: int) -> bytes:
        return console.read(self._directory / str(machine_id))

    def close(self, keep: bool) -> set[int]:
        alive = self._loop.wait_for(self._close(keep))
        self._loop.close()
        return alive

    # The event loop.

    async def _report(self, life: Life, *phases: Phase, error: str = "") -> bool:
        return await self._loop.soon(lambda: self._reporter(life.id, *phases, error=error))

    async def _enter(self, machine: Machine) -> None:
        life = self._lives.get(machine.id)
        if life:
            life.machine = replace(life.machine, keeps_files=machine.keeps_files)
        if machine.phase is Phase.DONE:
            if life is None:  # otherwise it notices by itself
                folder = self._directory / str(machine.id)
                await self._loop.soon(lambda: remove(folder))
        elif life is None:
            life = Life(machine, self._directory / str(machine.id), paused=machine.paused)
            self._lives[machine.id] = life
            life.task = asyncio.create_task(self._lead(life, machine))
            if machine.phase in _ENDING:
                await life.task
        elif machine.phase in _ENDING:
            await self._end(life, _ENDING[machine.phase])
        elif machine.phase is Phase.SHUTDOWN:
            self._press(life)

    async def _close(self, keep: bool) -> set[int]:
        lives = list(self._lives.values())
        ended = await asyncio.gather(
            *(self._let_go(life, keep) for life in lives), return_exceptions=True
        )
        alive = set()
        for life, error in zip(lives, ended, strict=True):
            if error:
                _LOG.error("machine %d is not gone", life.id, exc_info=error)
            if error or life.saving:  # the next sandbox saves it
                alive.add(life.id)
                _OUTLIVING.extend(filter(None, (life.process, life.recorder)))
        if not keep:
            await self._loop.soon(lambda: self._sweep(alive))
        return alive

    def _sweep(self, alive: set[int]) -> None:
        """Remove what is left of machines that failed."""
        for folder in self._directory.iterdir():
            if folder.name not in map(str, alive) and not is_at_rest(folder):
                remove(folder)

    async def _let_go(self, life: Life, keep: bool) -> None:
        await self._stop_leading(life)
        if life.id not in self._lives:
            return  # it has come to its end just now
        if not keep and not life.saving:
            life.machine = replace(life.machine, keeps_files=False)  # it has ended for good
            await self._destroy(life)
            return
        _OUTLIVING.extend(filter(None, (life.process, life.recorder)))
        if life.monitor:
            await life.monitor.close()

    # The life of a machine.

    async def _lead(self, life: Life, machine: Machine) -> None:
        """Lead a machine from its present phase until it ends or is ended."""
        try:
            if machine.phase is Phase.EPILOG:
                await self._save(life)
            if machine.phase in _ENDING:
                await self._finish(life, _ENDING[machine.phase])
            elif await self._take_on(life, machine.phase):
                await self._watch(life, machine.phase)
            elif machine.phase in (Phase.RUNNING, Phase.SHUTDOWN, Phase.UNKNOWN):
                await self._halted(life)  # while no sandbox was running
            else:
                await self._start(life, machine)
                await self._watch(life, Phase.BOOT)
        except _TooLateError:
            # Whoever moved it leads it from here, except when it was PENDING.
            if not life.folder.exists():
                self._lives.pop(life.id, None)
        except MachineError as error:
            await self._fail(life, str(error))
        except Exception:
            _LOG.exception("machine %d", life.id)
            await self._fail(life, "an error of the sandbox itself; its log has the details")

    async def _take_on(self, life: Life, phase: Phase) -> bool:
        """Connect to the process that an earlier sandbox left; return whether there is one."""
        if phase in (Phase.PENDING, Phase.PROLOG) or running_process(life.folder) is None:
            return False
        try:
            life.monitor = await Monitor.connect(life.folder)
            await life.restore_pause()
        except MachineError as error:
            _LOG.warning("machine %d: %s", life.id, error)  # but it may be busy, not broken
            await self._move(life, Phase.UNKNOWN)
            raise _TooLateError from error
        return True

    async def _start(self, life: Life, machine: Machine) -> None:
        """Make the machine's files and start its process, which waits for ``cont``."""
        if machine.phase is Phase.PENDING:
            await self._move(life, Phase.PROLOG)
        with failing(TRANSFER):
            laid_out = await self._loop.at_length(lambda: self._lay_out(life, machine))
        if machine.phase is not Phase.BOOT:
            await self._move(life, Phase.BOOT)
        with failing(DEPLOYING):
            try:
                launch(self._host, life, machine, laid_out)
                if life.process:
                    (life.folder / PID_FILE).write_text(str(life.process.pid))
            except OSError as error:
                raise MachineError(error.strerror or str(error)) from error
            life.monitor = await Monitor.connect(life.folder)

    def _lay_out(self, life: Life, machine: Machine) -> list[drives.Drive]:
        if machine.obstacle:
            raise MachineError(machine.obstacle)
        try:
            if not life.machine.keeps_files:
                shutil.rmtree(life.folder, ignore_errors=True)
            life.folder.mkdir(mode=0o700, exist_ok=True)
            vectors = machine.template.vectors("CONTEXT")
            context.burn(vectors[0] if vectors else {}, life.folder / command.CONTEXT_CD)
            fetch = partial(self._images.fetch, find=partial(self._saved.find, life.id))
            return drives.lay_out(machine.template, life.folder, self._disks, fetch, life.stop)
        except OSError as error:
            raise MachineError(error.strerror or str(error)) from error

    async def _watch(self, life: Life, phase: Phase) -> None:
        """Watch a process until it ends."""
        monitor = life.connected()
        async with monitor.events("SHUTDOWN", "BLOCK_IO_ERROR", "STOP") as events:
            now = Phase.RUNNING if phase is Phase.UNKNOWN else None
            if phase is Phase.BOOT:
                with failing(DEPLOYING):
                    await monitor.execute("cont")
                    now = await life.await_boot()
            await life.check_goes_on()
            if now and running_process(life.folder):
                await self._move(life, now)
            elif phase is Phase.SHUTDOWN:
                self._press(life)
            while event := await events.next():
                details = event.get("data", {})
                if event["event"] == "SHUTDOWN" and details["guest"]:
                    await self._halted(life)
                    return
                if details.get("nospace"):
                    raise MachineError("no space is left for what the machine writes")
                if event["event"] == "STOP":
                    await life.check_goes_on()
        raise await monitor.lost()

    async def _halted(self, life: Life) -> None:
        """Finish a machine whose guest has switched itself off."""
        if await self._report(life, Phase.EPILOG):
            await self._save(life)
            await self._finish(life, Phase.DONE)
        else:
            await self._report(life, Phase.UNKNOWN)

    async def _save(self, life: Life) -> None:
        """Make an image of a machine that has ended, if its template says so."""
        if not life.machine.is_saved:
            return
        life.saving = True
        if life.power_button:
            life.power_button.cancel()
        await end_process(life.folder, life.monitor)
        flatten = partial(drives.flatten, life.machine.template, life.folder, stop=life.stop)
        read_entry = partial(self._images.read_entry, stop=life.stop)
        with failing(TRANSFER):
            await self._loop.at_length(
                lambda: self._saved.save(life.id, flatten, life.stop, read_entry)
            )
        life.saving = False

    async def _move(self, life: Life, phase: Phase) -> None:
        if not await self._report(life, phase):
            raise _TooLateError

    def _press(self, life: Life) -> None:
        life.power_button = asyncio.create_task(self._power_down(life))

    async def _power_down(self, life: Life) -> None:
        """Press the power button until the guest obeys; if it never does, it stays RUNNING."""
        for _ in range(_PRESSES):
            with contextlib.suppress(MachineError):
                await life.connected().execute("system_powerdown")
            await asyncio.sleep(_PRESS_SECONDS)
        await self._report(life, Phase.RUNNING)

    async def _fail(self, life: Life, reason: str) -> None:
        if await self._report(life, Phase.FAILURE, error=reason):
            await self._finish(life, Phase.FAILED)

    async def _end(self, life: Life, last: Phase) -> None:
        """End a machine because its owner asked for it, or because its host failed."""
        async with life.ending:
            if life.id in self._lives:
                await self._stop_leading(life)
                await self._finish(life, last)

    async def _finish(self, life: Life, last: Phase) -> None:
        try:
            await self._destroy(life, keep_console=last is Phase.FAILED)
        except MachineError:
            _LOG.exception("machine %d is not gone", life.id)  # nor its disks free
            return
        self._lives.pop(life.id, None)
        await self._report(life, last)

    async def _stop_leading(self, life: Life) -> None:
        life.stop.set()
        tasks = [task for task in (life.power_button, life.task) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _destroy(self, life: Life, keep_console: bool = False) -> None:
        if life.power_button:
            life.power_button.cancel()
        pid = running_process(life.folder)
        await end_process(life.folder, life.monitor)
        if life.process:
            life.process.kill()  # if there was no file that names it
            life.process.wait()
        if life.recorder:
            life.recorder.wait()  # which has read all once QEMU has ended
        for process in _OUTLIVING:
            if process.pid == pid:
                process.wait()  # an earlier sandbox of this very Python process started it
        _OUTLIVING[:] = [process for process in _OUTLIVING if process.poll() is None]
        if life.monitor:
            await life.monitor.close()
        if not life.machine.keeps_files:
            await self._loop.soon(lambda: remove(life.folder, keep_console=keep_console))

    # Disks.

    async def _plug(self, machine_id: int, device: str, disk: pathlib.Path) -> None:
        await hotplug.plug(self._running(machine_id).connected(), device, disk)

    async def _grow(self, machine_id: int, device: str, size: int) -> None:
        monitor = self._running(machine_id).connected()
        await monitor.execute("block_resize", node_name=device, size=size)

    def _running(self, machine_id: int) -> Life:
        life = self._lives.get(machine_id)
        if life is None:
            raise MachineError("the machine does not run")
        return life

    async def _unplug(self, machine_id: int, device: str) -> None:
        life = self._lives.get(machine_id)
        if life and running_process(life.folder):  # otherwise no guest has it any more
            try:
                await hotplug.unplug(life.connected(), device)
            except MachineError:
                if running_process(life.folder):
                    raise
