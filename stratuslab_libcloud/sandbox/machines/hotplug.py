"""Disks that come and go while a machine runs, as PCI devices."""

import asyncio
import contextlib
import pathlib

from stratuslab_libcloud.sandbox.errors import MachineError, UnsettledError
from stratuslab_libcloud.sandbox.machines.command import hot_plugged
from stratuslab_libcloud.sandbox.machines.drives import SERIAL_LENGTH
from stratuslab_libcloud.sandbox.machines.monitor import Events, Monitor

__all__ = ["plug", "unplug"]

_POLL_SECONDS = 0.05
_PLUG_SECONDS = 40.0  # a guest may still be booting; clients wait for a minute
_UNPLUG_SECONDS = 15.0


async def plug(monitor: Monitor, device: str, disk: pathlib.Path) -> None:
    """
    Give a machine a disk, and wait until the guest has taken it up.

    One that the guest does not take up stays in the machine: QEMU cannot take it back without the
    guest, which may still be booting and find it later.

    :param device: ``vdX``.
    :param disk: its file, raw.
    :raises UnsettledError: the guest has not taken it up, or QEMU does not answer.
    :raises MachineError: QEMU refuses; nothing has changed.
    """
    file = {"driver": "file", "filename": str(disk)}
    await monitor.execute("blockdev-add", driver="raw", node_name=device, file=file)
    try:
        await monitor.execute("device_add", **hot_plugged(device, disk.name[:SERIAL_LENGTH]))
    except UnsettledError:
        raise
    except MachineError:
        await monitor.execute("blockdev-del", node_name=device)
        raise
    await _await_guest(monitor, device)


async def unplug(monitor: Monitor, device: str) -> None:
    """
    Take a disk away; again is harmless.

    :raises MachineError: the guest does not let go of it.
    """
    async with monitor.events("DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR") as events:
        if await _has_device(monitor, device):
            with contextlib.suppress(MachineError):  # it is being unplugged already
                await monitor.execute("device_del", id=device)
            try:
                await asyncio.wait_for(_await_release(events, device), _UNPLUG_SECONDS)
            except asyncio.TimeoutError:
                raise MachineError(
                    f"the guest did not let go of {device} within {_UNPLUG_SECONDS:.0f} seconds"
                ) from None
    nodes = await monitor.execute("query-named-block-nodes", flat=True)
    if any(node["node-name"] == device for node in nodes):  # an earlier attempt came this far
        await monitor.execute("blockdev-del", node_name=device)


async def _await_guest(monitor: Monitor, device: str) -> None:
    """
    Wait until the guest has read from a new disk, as it does to find partitions.

    That it has given the device an address is too soon: its driver may still be on the way.

    :raises UnsettledError: it has not, in time.
    """
    path = f"/machine/peripheral/{device}/"
    for _ in range(int(_PLUG_SECONDS / _POLL_SECONDS)):
        for found in await monitor.execute("query-blockstats"):
            if found.get("qdev", "").startswith(path) and found["stats"]["rd_operations"]:
                return
        await asyncio.sleep(_POLL_SECONDS)
    raise UnsettledError(f"the guest did not take it up within {_PLUG_SECONDS:.0f} seconds")


async def _has_device(monitor: Monitor, device: str) -> bool:
    plugged = await monitor.execute("qom-list", path="/machine/peripheral")
    return any(item["name"] == device for item in plugged)


async def _await_release(events: Events, device: str) -> None:
    """
    Wait for the guest's answer about a device.

    :raises UnsettledError: QEMU hung up first.
    :raises MachineError: it refuses.
    """
    while event := await events.next():
        if event["data"].get("device") == device:
            if event["event"] == "DEVICE_DELETED":
                return
            raise MachineError(f"the guest refuses to let go of {device}")
    raise UnsettledError(f"it is not known whether the guest let go of {device}")
