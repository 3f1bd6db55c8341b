"""The QEMU command of a machine. Text from users is in JSON, where no commas need escaping."""

import json
import logging
import re
import string
from dataclasses import dataclass

from stratuslab_libcloud.sandbox import addresses
from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.machines.drives import Drive
from stratuslab_libcloud.sandbox.template import Template, Vector

__all__ = ["CONTEXT_CD", "KVM", "PROGRAM", "Host", "hot_plugged", "qemu"]

PROGRAM = "qemu-system-x86_64"
CONTEXT_CD = "context.iso"
KVM = ["-accel", "kvm", "-cpu", "host"]
# Nehalem is x86-64-v2, which current distributions require.
_TCG = ["-accel", "tcg,thread=multi,tb-size=128", "-cpu", "Nehalem"]
_SSH = 22
# On the one PCI bus the chip set takes the first two slots. Each drive has a slot, in the order of
# the letters, so that Linux names the drives in that order and without gaps.
_VGA_SLOT, _RNG_SLOT, _SCSI_SLOT = "2", "3.0", "3.1"
_NETWORK_SLOTS = ("3.2", "3.3", "3.4", "3.5")
_FIRST_DRIVE_SLOT = 4
_IDE_PLACES = 4
_NIC_MODELS = {"e1000": "e1000", "rtl8139": "rtl8139"}
_MAX_VCPUS, _MAX_MIB, _MAX_PORTS = 64, 1 << 20, 64

Options = list[tuple[str, dict[str, object]]]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """How this host runs machines."""

    accelerator: str  #: ``kvm`` or ``tcg``
    ssh_port: int  #: the port on machines' addresses that leads to their port 22
    outbound: bool  #: whether they reach the network and the services on this host
    throwaway: bool  #: whether they must end with the sandbox, whatever ends it


def qemu(
    host: Host, machine_id: int, template: Template, drives: list[Drive], monitor: int, console: int
) -> list[str]:
    """
    Return the command that starts a machine, stopped, in its directory.

    :param monitor: the file descriptor of the listening QMP socket.
    :param console: the one to write to what the machine writes to its serial line.
    :raises MachineError: QEMU cannot provide what the template asks for.
    """
    command = [PROGRAM, "-nodefaults", "-no-user-config", "-S", "-display", "none"]
    if host.throwaway:
        command = ["setpriv", "--pdeathsig", "TERM", *command]
    command += ["-name", f"one-{machine_id}", "-machine", "pc", *_processor(host, template)]
    command += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"]
    command += ["-chardev", f"socket,id=monitor,fd={monitor},server=on,wait=off"]
    command += ["-mon", "chardev=monitor,mode=control"]
    # In memory or to a pipe: the output of a machine must not fill the host's disk.
    command += ["-chardev", "ringbuf,id=bios,size=65536"]
    command += ["-device", "isa-debugcon,iobase=0x402,chardev=bios"]
    command += ["-add-fd", f"set=1,fd={console}"]
    command += ["-chardev", "file,id=console,path=/dev/fdset/1,append=on"]
    command += ["-serial", "chardev:console"]
    command += ["-device", f"VGA,addr={_VGA_SLOT}", "-object", "rng-builtin,id=rng"]
    command += ["-device", f"virtio-rng-pci,rng=rng,addr={_RNG_SLOT},multifunction=on"]
    for option, values in _networks(host, template) + _drives(drives):
        command += [option, json.dumps(values)]
    return command


def hot_plugged(device: str, serial: str) -> dict[str, object]:
    """Return the arguments of ``device_add`` for a drive whose block node is named like it."""
    return {
        "driver": "virtio-blk-pci",
        "id": device,
        "drive": device,
        "serial": serial,
        "addr": f"{_FIRST_DRIVE_SLOT + string.ascii_lowercase.index(device[2]):#x}",
    }


def _processor(host: Host, template: Template) -> list[str]:
    vcpus = _number(template, "VCPU", 1, _MAX_VCPUS)
    memory = _number(template, "MEMORY", 0, _MAX_MIB)
    accelerator = KVM if host.accelerator == "kvm" else _TCG
    return [*accelerator, "-smp", str(vcpus), "-m", f"{memory}M"]


def _number(template: Template, name: str, default: int, largest: int) -> int:
    text = template.text(name) or str(default)
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= largest:
        raise MachineError(f"{name} must be a number from 1 to {largest}, not {text}")
    return int(text)


def _networks(host: Host, template: Template) -> Options:
    """Make a network for each NIC; without ``outbound`` it only leads into the machine."""
    nics = template.vectors("NIC")
    if len(nics) > len(_NETWORK_SLOTS):
        raise MachineError(f"a machine cannot have more than {len(_NETWORK_SLOTS)} NICs here")
    options: Options = []
    for number, (nic, slot) in enumerate(zip(nics, _NETWORK_SLOTS, strict=False)):
        name = f"net{number}"
        network: dict[str, object] = {
            "type": "user",
            "id": name,
            "restrict": not host.outbound,
            "ipv6": False,
            "hostfwd": [{"str": rule} for rule in _forwarded(host, template, nic)],
        }
        device: dict[str, object] = {
            "driver": _NIC_MODELS.get(nic.get("MODEL", "").lower(), "virtio-net-pci"),
            "netdev": name,
            "addr": slot,
            "romfile": "",  # no booting from the network
        }
        if nic.get("NETWORK"):
            device["mac"] = nic["MAC"]
        options += [("-netdev", network), ("-device", device)]
    return options


def _forwarded(host: Host, template: Template, nic: Vector) -> list[str]:
    """Forward SSH, and those inbound ports (compute-xmlrpc 4.5) that can be listened on."""
    if not nic.get("NETWORK"):
        return []  # an address without a network is made up by its owner
    address = nic["IP"]
    ports = {host.ssh_port: _SSH}
    ports_given = template.text("INBOUND_PORTS").replace(",", " ").split()
    if len(ports_given) > _MAX_PORTS:
        raise MachineError(f"a machine cannot have more than {_MAX_PORTS} inbound ports here")
    for text in ports_given:
        if re.fullmatch("[0-9]{1,5}", text) and 1 <= int(text) <= 65535 and int(text) != _SSH:
            ports.setdefault(int(text), int(text))
    rules = []
    for outside, inside in ports.items():
        reason = addresses.cannot_listen(address, outside) if inside != _SSH else None
        if reason:
            _LOG.warning("port %d of %s is not forwarded: %s", outside, address, reason)
        else:
            rules.append(f"tcp:{address}:{outside}-:{inside}")
    return rules


def _drives(drives: list[Drive]) -> Options:
    if not drives:
        raise MachineError("a machine cannot start without a disk")
    options: Options = []
    if any(drive.target.startswith("sd") for drive in drives):
        options.append(("-device", {"driver": "virtio-scsi-pci", "id": "scsi", "addr": _SCSI_SLOT}))
    virtio = sorted(drive.target for drive in drives if drive.target.startswith("vd"))
    for number, drive in enumerate(drives):
        options.append(("-blockdev", _node(f"drive{number}", drive)))
        rank = virtio.index(drive.target) if drive.target in virtio else 0
        options.append(("-device", _device(number, drive, rank)))
    taken = {drive.target for drive in drives}
    place = next((place for place in ("hdd", "hdc", "hdb", "hda") if place not in taken), None)
    if place is None:
        raise MachineError("there is no place for the context's CD: hda to hdd are all disks")
    options.append(("-blockdev", _node("context", Drive(place, CONTEXT_CD, read_only=True))))
    options.append(("-device", {"driver": "ide-cd", "drive": "context", **_ide(place)}))
    return options


def _node(name: str, drive: Drive) -> dict[str, object]:
    return {
        "driver": drive.format,
        "node-name": name,
        "read-only": drive.read_only,
        "file": {"driver": "file", "filename": drive.file},
    }


def _device(number: int, drive: Drive, rank: int) -> dict[str, object]:
    name = f"drive{number}"
    device: dict[str, object] = {"drive": name, "id": name, "serial": drive.serial}
    if number == 0:
        device["bootindex"] = 1
    bus, letter = drive.target[:2], drive.target[2]
    if bus == "hd":
        return {"driver": "ide-hd", **device, **_ide(drive.target)}
    if bus == "sd":
        lun = string.ascii_lowercase.index(letter)
        return {"driver": "scsi-hd", **device, "bus": "scsi.0", "scsi-id": 0, "lun": lun}
    return {"driver": "virtio-blk-pci", **device, "addr": f"{_FIRST_DRIVE_SLOT + rank:#x}"}


def _ide(target: str) -> dict[str, object]:
    """Return the place of ``hdX``: one of two buses, with two units each."""
    place = string.ascii_lowercase.index(target[2])
    if place >= _IDE_PLACES:
        raise MachineError(f"there is no place for {target}: IDE ends with hdd")
    return {"bus": f"ide.{place // 2}", "unit": place % 2}
