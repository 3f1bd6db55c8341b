"""The QMP connection to one machine's QEMU, and the process behind it."""

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError, Runstate

from stratuslab_libcloud.sandbox.errors import MachineError, UnsettledError
from stratuslab_libcloud.sandbox.machines.processes import running_process

__all__ = ["LOG", "Events", "Monitor", "end_process", "listening"]

_SOCKET = "monitor"
LOG = "qemu.log"
_CONNECT_SECONDS = 30
_COMMAND_SECONDS = 30
_QUIT_SECONDS = 5
_POLL_SECONDS = 0.02


class Monitor:
    """A connection to the monitor of a QEMU; :meth:`connect` makes it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._qmp = QMPClient()

    @classmethod
    async def connect(cls, folder: pathlib.Path) -> "Monitor":
        """
        Connect to the QEMU that runs in this directory.

        :raises MachineError: none answers; the text says why, if QEMU has ended.
        """
        monitor = cls(folder)
        try:
            with _short_path(folder) as path:
                sock = socket.socket(socket.AF_UNIX)
                try:
                    sock.connect(path)
                except BaseException:
                    sock.close()
                    raise
            await asyncio.wait_for(monitor._qmp.connect(sock), _CONNECT_SECONDS)
        except asyncio.TimeoutError:
            raise UnsettledError("QEMU does not answer") from None
        except (OSError, QMPError) as error:
            raise await monitor.lost() from error
        return monitor

    async def execute(self, command: str, **arguments: object) -> Any:
        """
        Execute a command, and return what QEMU answers.

        :raises UnsettledError: QEMU does not answer, but may execute it all the same.
        :raises MachineError: QEMU refuses, or has ended.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            return await asyncio.wait_for(
                self._qmp.execute(command, named or None), _COMMAND_SECONDS
            )
        except asyncio.TimeoutError:
            raise UnsettledError("QEMU does not answer") from None
        except ExecuteError as error:
            raise MachineError(str(error)) from error
        except (OSError, EOFError, QMPError) as error:
            raise await self.lost() from error

    async def lost(self) -> MachineError:
        """
        Return the error for a broken connection to QEMU.

        A process that ends closes its connections first, and is gone a moment later.
        """
        if not await _has_gone(self._folder):
            return UnsettledError("QEMU has hung up, but its process still runs")
        with contextlib.suppress(OSError):
            lines = (self._folder / LOG).read_text(errors="replace").splitlines()
            if lines:
                return MachineError(f"the QEMU process has ended: {lines[-1].strip()}")
        return MachineError("the QEMU process has ended")

    @contextlib.asynccontextmanager
    async def events(self, *names: str) -> AsyncIterator["Events"]:
        """Receive the events with these names that come within the block."""
        with self._qmp.listener(names) as listener:
            yield Events(self._qmp, listener)

    async def close(self) -> None:
        """Hang up; the machine lives on."""
        with contextlib.suppress(QMPError, EOFError, OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._qmp.disconnect(), _QUIT_SECONDS)


class Events:
    """Events, in the order in which they come."""

    def __init__(self, qmp: QMPClient, listener: EventListener) -> None:
        self._qmp = qmp
        self._listener = listener

    async def next(self) -> dict[str, Any] | None:
        """Wait for the next event; None when QEMU has gone."""
        while self._listener.empty() and self._qmp.runstate is Runstate.RUNNING:
            event = asyncio.ensure_future(self._listener.get())
            gone = asyncio.ensure_future(self._qmp.runstate_changed())
            try:
                await asyncio.wait({event, gone}, return_when=asyncio.FIRST_COMPLETED)
                if event.done():
                    return dict(event.result())
            finally:
                event.cancel()
                gone.cancel()
        return None if self._listener.empty() else dict(await self._listener.get())


@contextlib.contextmanager
def listening(folder: pathlib.Path) -> Iterator[socket.socket]:
    """Open the socket for the monitor of a QEMU that is started in the block."""
    with _short_path(folder) as path, socket.socket(socket.AF_UNIX) as listener:
        pathlib.Path(path).unlink(missing_ok=True)  # of the run before
        listener.bind(path)
        listener.listen(1)
        yield listener


@contextlib.contextmanager
def _short_path(folder: pathlib.Path) -> Iterator[str]:
    """Return a path to the socket below the limit of 107 characters, however deep the folder is."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_SOCKET}"
    finally:
        os.close(descriptor)


async def end_process(folder: pathlib.Path, monitor: Monitor | None) -> None:
    """
    End the QEMU process of this directory, by force if it takes long.

    :raises MachineError: it is still there.
    """
    if monitor and running_process(folder):
        with contextlib.suppress(MachineError, asyncio.TimeoutError):
            await asyncio.wait_for(monitor.execute("quit"), _QUIT_SECONDS)
            if await _has_gone(folder):
                return
    pid = running_process(folder)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not await _has_gone(folder):
        raise MachineError(f"process {pid} does not end")


async def _has_gone(folder: pathlib.Path) -> bool:
    for _ in range(int(_QUIT_SECONDS / _POLL_SECONDS)):
        if running_process(folder) is None:
            return True
        await asyncio.sleep(_POLL_SECONDS)
    return False
