"""Connections to hosts, made before a point in time whatever the addresses of a host are like."""

import contextlib
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from stratuslab_libcloud.parallel import ask_within

__all__ = ["connect"]


def connect(
    host: str, port: int, end: float, options: Sequence[tuple[int, int, int | bytes]]
) -> socket.socket:
    """
    Connect to the first address of a host that can be connect to.

    Each has its share of the time that is left: a dead one leaves some to those after it.

    :param end: by the monotonic clock.
    :param options: of the socket.
    :return: a socket with the rest of the time as its time-out.
    :raises OSError: what the last address said; ``TimeoutError`` where time ran out.
    """
    addresses = _addresses(host.strip("[]"), port, end)
    trouble = OSError("the host has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        share = (end - time.monotonic()) / (len(addresses) - number)
        if share <= 0:
            trouble = TimeoutError("timed out")
            break
        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(socket.socket(family, kind, protocol))
                for option in options:
                    connection.setsockopt(*option)
                connection.settimeout(share)
                connection.connect(address)
            except OSError as error:
                trouble = error
                continue
            connection.settimeout(max(0.01, end - time.monotonic()))
            stack.pop_all()
            return connection
    try:
        raise trouble
    finally:
        del trouble  # whose traceback has this frame


def _addresses(host: str, port: int, end: float) -> list[Any]:
    """
    The addresses of a host.

    Name servers that do not answer are waited for up to half a minute, which no time-out of ours
    could change: a thread does.
    """
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    with contextlib.suppress(socket.gaierror):
        return ask(flags=socket.AI_NUMERICHOST)
    return ask_within(end - time.monotonic(), ask)
