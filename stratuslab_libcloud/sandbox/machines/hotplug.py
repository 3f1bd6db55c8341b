"""Disks that come and go while a machine runs, as PCI devices."""

import asyncio
import contextlib
import pathlib

from stratuslab_libcloud.sandbox.machines import MachineError
from stratuslab_libcloud.sandbox.machines.command import hot_plugged
from stratuslab_libcloud.sandbox.machines.drives import SERIAL_LENGTH
from stratuslab_libcloud.sandbox.machines.monitor import Events, Monitor

__all__ = ["plug", "unplug"]

POLL_SECONDS = 0.05
PLUG_SECONDS = 5.0
UNPLUG_SECONDS = 15.0


async def plug(monitor: Monitor, device: str, disk: pathlib.Path) -> None:
    """
    Give a machine a disk, and the guest a moment to find it.

    :param device: ``vdX``.
    :param disk: its file, raw.
    :raises MachineError: QEMU refuses; nothing has changed.
    """
    file = {"driver": "file", "filename": str(disk)}
    await monitor.execute("blockdev-add", driver="raw", node_name=device, file=file)
    try:
        await monitor.execute("device_add", **hot_plugged(device, disk.name[:SERIAL_LENGTH]))
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
                await asyncio.wait_for(_await_release(events, device), UNPLUG_SECONDS)
            except asyncio.TimeoutError:
                raise MachineError(
                    f"the guest did not let go of {device} within {UNPLUG_SECONDS:.0f} seconds"
                ) from None
    with contextlib.suppress(MachineError):  # an earlier attempt may have come this far
        await monitor.execute("blockdev-del", node_name=device)


async def _await_guest(monitor: Monitor, device: str) -> None:
    """Wait until the guest has given a new PCI device its address; not for ever."""
    for _ in range(int(PLUG_SECONDS / POLL_SECONDS)):
        for bus in await monitor.execute("query-pci"):
            for found in bus["devices"]:
                addresses = [region["address"] for region in found["regions"]]
                if found["qdev_id"] == device and any(address > 0 for address in addresses):
                    return
        await asyncio.sleep(POLL_SECONDS)


async def _has_device(monitor: Monitor, device: str) -> bool:
    plugged = await monitor.execute("qom-list", path="/machine/peripheral")
    return any(item["name"] == device for item in plugged)


async def _await_release(events: Events, device: str) -> None:
    """
    Wait for the guest's answer about a device.

    :raises MachineError: it refuses, or nobody will tell.
    """
    while event := await events.next():
        if event["data"].get("device") == device:
            if event["event"] == "DEVICE_DELETED":
                return
            raise MachineError(f"the guest refuses to let go of {device}")
    raise MachineError(f"it is not known whether the guest let go of {device}")
