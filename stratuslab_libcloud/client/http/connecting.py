"""Connect to a host within a fixed time, however many of its addresses do not answer."""

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
    Connect to the first address of a host that accepts a connection.

    The remaining time is shared among the addresses, so that a dead one leaves time for the next.

    :param end: when to give up, by the monotonic clock.
    :param options: socket options.
    :return: a socket whose time-out is the remaining time.
    :raises OSError: the failure of the last address, or ``TimeoutError``.
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
        del trouble  # its traceback refers to this frame


def _addresses(host: str, port: int, end: float) -> list[Any]:
    """
    Look up the addresses of a host.

    The system may wait half a minute for name servers that do not answer, and takes no time-out; so
    a thread asks, which can be left behind.
    """
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    with contextlib.suppress(socket.gaierror):
        return ask(flags=socket.AI_NUMERICHOST)
    return ask_within(end - time.monotonic(), ask)
