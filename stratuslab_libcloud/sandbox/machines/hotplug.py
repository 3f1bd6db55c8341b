"""Plug disks into running machines, and unplug them, as PCI devices."""

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
    Give a machine a disk, and wait until its guest uses it.

    If the guest does not, the disk stays in the machine: QEMU cannot take it back by itself, and
    the guest may still be booting and find it later.

    :param device: ``vdX``.
    :param disk: its file, raw.
    :raises UnsettledError: the guest does not use it yet, or QEMU does not answer.
    :raises MachineError: QEMU refuses the disk; nothing has changed.
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
    Take a disk away. Repeating this is harmless.

    :raises MachineError: the guest does not release it.
    """
    async with monitor.events("DEVICE_DELETED", "DEVICE_UNPLUG_GUEST_ERROR") as events:
        if await _has_device(monitor, device):
            with contextlib.suppress(MachineError):  # it is being unplugged already
                await monitor.execute("device_del", id=device)
            try:
                await asyncio.wait_for(_await_release(events, device), _UNPLUG_SECONDS)
            except asyncio.TimeoutError:
                raise MachineError(
                    f"the guest did not release {device} within {_UNPLUG_SECONDS:.0f} seconds"
                ) from None
    nodes = await monitor.execute("query-named-block-nodes", flat=True)
    if any(node["node-name"] == device for node in nodes):  # an earlier attempt came this far
        await monitor.execute("blockdev-del", node_name=device)


async def _await_guest(monitor: Monitor, device: str) -> None:
    """
    Wait until the guest has read from a new disk, as it does to find partitions.

    An address for the device does not suffice: its driver may not have been loaded yet.

    :raises UnsettledError: it did not in time.
    """
    path = f"/machine/peripheral/{device}/"
    for _ in range(int(_PLUG_SECONDS / _POLL_SECONDS)):
        for found in await monitor.execute("query-blockstats"):
            if found.get("qdev", "").startswith(path) and found["stats"]["rd_operations"]:
                return
        await asyncio.sleep(_POLL_SECONDS)
    raise UnsettledError(f"the guest did not use it within {_PLUG_SECONDS:.0f} seconds")


async def _has_device(monitor: Monitor, device: str) -> bool:
    plugged = await monitor.execute("qom-list", path="/machine/peripheral")
    return any(item["name"] == device for item in plugged)


async def _await_release(events: Events, device: str) -> None:
    """
    Wait until the guest has released a device.

    :raises UnsettledError: QEMU hung up first.
    :raises MachineError: the guest refuses.
    """
    while event := await events.next():
        if event["data"].get("device") == device:
            if event["event"] == "DEVICE_DELETED":
                return
            raise MachineError(f"the guest refuses to release {device}")
    raise UnsettledError(f"it is not known whether the guest released {device}")
