"""Waiting until a machine runs, and until its SSH server answers."""

import socket
import time
from contextlib import suppress

from stratuslab_libcloud import Cloud, Machine, errors
from stratuslab_libcloud.cli.output import Progress
from stratuslab_libcloud.client.waiting import until

__all__ = ["until_running", "until_ssh_answers", "until_stopped"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0  # seconds between two looks
_SHORTEST_LOOK = 1.0  # seconds that a look may take once the time is over
_GREETING = b"SSH-"
_LONGEST_GREETING = 8192  # bytes; other lines may come before it (RFC 4253, 4.2)


def until_running(cloud: Cloud, machine_id: str, end: float, progress: Progress) -> Machine:
    """
    Wait until a machine runs; faults that may pass do not end the waiting.

    :param end: by the monotonic clock.
    :raises NodeFailedError: it will not run.
    :raises NodeNotReadyError: time ran out.
    """

    def runs(machine: Machine) -> bool:
        progress.show(f"machine {machine_id} is {machine.summary}")
        if machine.failed or machine.ending or machine.resting:
            reason = machine.error or "the cloud gives no reason"
            raise errors.NodeFailedError(f"machine {machine_id} is {machine.summary}: {reason}")
        return machine.running

    return until(
        runs,
        lambda seconds: cloud.machine(machine_id, seconds),
        end,
        f"machine {machine_id} does not run yet, and the time is over",
        longest_pause=_LONGEST_PAUSE,
        unseen=lambda: progress.show(f"machine {machine_id} cannot be looked at"),
    )


def until_stopped(cloud: Cloud, machine_id: str, end: float, progress: Progress) -> None:
    """
    Wait until a machine that was asked to stop has done so.

    :param end: by the monotonic clock.
    :raises NodeNotReadyError: time ran out: its guest does not listen.
    """

    def rests(machine: Machine) -> bool:
        progress.show(f"machine {machine_id} is {machine.summary}")
        return machine.resting

    until(
        rests,
        lambda seconds: cloud.machine(machine_id, seconds),
        end,
        f"machine {machine_id} has not stopped, and the time is over",
        longest_pause=_LONGEST_PAUSE,
    )


def until_ssh_answers(
    machine_id: str, address: str, port: int, end: float, progress: Progress
) -> None:
    """
    Wait until an SSH server greets.

    :param end: by the monotonic clock.
    :raises NodeNotReadyError: time ran out.
    """
    pause = _FIRST_PAUSE
    while not _greets(address, port, max(_SHORTEST_LOOK, min(5.0, end - time.monotonic()))):
        progress.show(f"machine {machine_id} runs, SSH does not answer yet")
        if time.monotonic() >= end:
            raise errors.NodeNotReadyError(
                f"machine {machine_id} runs, but there is no SSH server at {address} port {port} "
                "yet, and the time is over"
            )
        pause = _sleep(pause, end)


def _sleep(pause: float, end: float) -> float:
    """Wait a little; :return: how long to wait the next time."""
    time.sleep(max(0.0, min(pause, end - time.monotonic())))
    return min(1.5 * pause, _LONGEST_PAUSE)


def _greets(address: str, port: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    with suppress(OSError), socket.create_connection((address, port), seconds) as connection:
        heard = b"\n"
        while len(heard) < _LONGEST_GREETING and time.monotonic() < end:
            piece = connection.recv(256)
            heard += piece
            if b"\n" + _GREETING in heard:
                return True
            if not piece:
                break
    return False
