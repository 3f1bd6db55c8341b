"""QEMU's arguments."""

import itertools
import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.machines.command import Host, hot_plugged, qemu
from stratuslab_libcloud.sandbox.machines.drives import Drive
from stratuslab_libcloud.sandbox.template import parse

HOST = Host("tcg", 22, outbound=False, throwaway=False)
ROOT = Drive("vda", "vda", "qcow2")
NIC = {"NETWORK": "public", "IP": "127.4.0.9", "MAC": "02:00:7f:04:00:09"}


def options(
    text: str = "MEMORY=512",
    drives: Sequence[Drive] = (ROOT,),
    host: Host = HOST,
    nics: Sequence[dict[str, str]] = (NIC,),
) -> dict[str, list[Any]]:
    """Option to its values, those in JSON read."""
    template = parse(text)
    template.attributes += [("NIC", dict(nic)) for nic in nics]
    command = qemu(host, 7, template, list(drives), 9, 10)
    found: dict[str, list[Any]] = {}
    for name, value in itertools.pairwise(command):
        if name.startswith("-"):
            found.setdefault(name, []).append(json.loads(value) if value.startswith("{") else value)
    return found


def devices(**given: Any) -> dict[str, Any]:
    return {
        value["drive"]: value
        for value in options(**given)["-device"]
        if isinstance(value, dict) and "drive" in value
    }


def test_processors_and_memory_are_the_templates() -> None:
    found = options("VCPU=4\nMEMORY=1536")
    assert found["-smp"] == ["4"]
    assert found["-m"] == ["1536M"]


@pytest.mark.parametrize("text", ["A=1", "MEMORY=0", "MEMORY=lots", "MEMORY=9999999", "MEMORY=-1"])
def test_a_memory_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MachineError, match=r"^MEMORY must be a number from 1 to 1048576, not .*$"):
        options(text)


def test_a_number_of_processors_that_is_none_is_refused() -> None:
    with pytest.raises(MachineError, match=r"^VCPU must be a number from 1 to 64, not many$"):
        options("MEMORY=1\nVCPU=many")


def test_nothing_is_reached_from_inside_unless_it_is_asked_for() -> None:
    assert options()["-netdev"][0]["restrict"] is True
    open_host = Host("tcg", 22, outbound=True, throwaway=False)
    assert options(host=open_host)["-netdev"][0]["restrict"] is False


def test_ssh_and_the_inbound_ports_lead_into_the_machine() -> None:
    (network,) = options('MEMORY=1\nINBOUND_PORTS="22,8080,8081"')["-netdev"]
    assert [rule["str"] for rule in network["hostfwd"]] == [
        "tcp:127.4.0.9:22-:22",
        "tcp:127.4.0.9:8080-:8080",
        "tcp:127.4.0.9:8081-:8081",
    ]


def test_ssh_may_be_on_another_port() -> None:
    host = Host("tcg", 2222, outbound=False, throwaway=False)
    (network,) = options('MEMORY=1\nINBOUND_PORTS="22"', host=host)["-netdev"]
    assert [rule["str"] for rule in network["hostfwd"]] == ["tcp:127.4.0.9:2222-:22"]


def test_a_port_that_somebody_has_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((NIC["IP"], 0)) as taken:
        port = taken.getsockname()[1]
        (network,) = options(f'MEMORY=1\nINBOUND_PORTS="{port}"')["-netdev"]
    assert len(network["hostfwd"]) == 1
    assert f"port {port} of 127.4.0.9 is not forwarded: Address already in use" in caplog.text


@pytest.mark.parametrize("ports", ["0", "65536", "ssh", "-1", "99999999", "22,,22"])
def test_what_is_no_inbound_port_is_ignored(ports: str) -> None:
    (network,) = options(f'MEMORY=1\nINBOUND_PORTS="{ports}"')["-netdev"]
    assert len(network["hostfwd"]) == 1


def test_more_ports_than_anybody_needs_are_refused() -> None:
    ports = ",".join(map(str, range(20000, 20065)))
    with pytest.raises(MachineError, match="more than 64 inbound ports"):
        options(f'MEMORY=1\nINBOUND_PORTS="{ports}"')


def test_each_nic_is_a_network_of_its_own() -> None:
    second = {**NIC, "IP": "127.4.16.9", "MAC": "02:00:7f:04:10:09", "MODEL": "e1000"}
    found = options(nics=(NIC, second))
    assert [network["id"] for network in found["-netdev"]] == ["net0", "net1"]
    cards = [value for value in found["-device"] if "netdev" in value and "mac" in value]
    assert [card["driver"] for card in cards] == ["virtio-net-pci", "e1000"]
    assert [card["mac"] for card in cards] == [NIC["MAC"], second["MAC"]]


def test_a_nic_without_a_network_is_plugged_in_and_leads_nowhere() -> None:
    """Whatever address its owner gave it: nothing is to listen there."""
    for nic in ({}, {"IP": "0.0.0.0", "MAC": "no mac", "BRIDGE": "br0"}):
        found = options(nics=(nic,))
        (network,) = found["-netdev"]
        (card,) = [value for value in found["-device"] if "netdev" in value and "romfile" in value]
        assert network["hostfwd"] == []
        assert "mac" not in card


def test_more_nics_than_there_is_place_for_are_refused() -> None:
    with pytest.raises(MachineError, match="more than 4 NICs"):
        options(nics=[NIC] * 5)


def test_letters_that_are_left_out_leave_no_slot() -> None:
    found = devices(drives=[ROOT, Drive("vdc", "c")])
    assert hot_plugged("vdb", "x")["addr"] == found["drive1"]["addr"]
    assert hot_plugged("vdc", "x")["addr"] not in (d.get("addr") for d in found.values())


def test_virtio_drives_have_their_slot_by_letter_so_that_linux_names_them_so() -> None:
    drives = [ROOT, Drive("vdc", "c"), Drive("vdb", "b")]
    slots = {
        d.target: int(devices(drives=drives)[f"drive{n}"]["addr"], 16) for n, d in enumerate(drives)
    }
    assert slots["vda"] < slots["vdb"] < slots["vdc"]
    assert int(str(hot_plugged("vdd", "x")["addr"]), 16) > slots["vdc"]
    assert int(str(hot_plugged("vdz", "x")["addr"]), 16) <= 31


def test_the_first_disk_is_booted() -> None:
    found = devices(drives=[Drive("hda", "a"), Drive("hdb", "b")])
    assert found["drive0"]["bootindex"] == 1
    assert "bootindex" not in found["drive1"]


def test_each_bus_has_its_devices() -> None:
    found = devices(drives=[Drive("hda", "a"), Drive("sdb", "b"), Drive("vdc", "c")])
    assert found["drive0"]["driver"] == "ide-hd"
    assert found["drive1"]["driver"] == "scsi-hd"
    assert found["drive2"]["driver"] == "virtio-blk-pci"


def test_the_context_cd_takes_the_last_free_place_on_the_ide_bus() -> None:
    assert devices()["context"] == {
        "driver": "ide-cd",
        "drive": "context",
        "bus": "ide.1",
        "unit": 1,
    }
    found = devices(drives=[Drive("hda", "a"), Drive("hdd", "d")])
    assert (found["context"]["bus"], found["context"]["unit"]) == ("ide.1", 0)


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ([], "a machine cannot start without a disk"),
        (["hda", "hde"], "there is no place for hde: IDE ends with hdd"),
        (["hda", "hdb", "hdc", "hdd"], "there is no place for the context's CD"),
    ],
)
def test_disks_that_have_no_place_are_refused(targets: list[str], reason: str) -> None:
    with pytest.raises(MachineError, match=f"^{reason}"):
        options(drives=[Drive(target, "x") for target in targets])


def test_commas_in_paths_are_no_options() -> None:
    drive = Drive("vdb", "/odd,dir=x/disk", serial="a,b")
    nodes = {node["node-name"]: node for node in options(drives=[ROOT, drive])["-blockdev"]}
    assert nodes["drive1"]["file"] == {"driver": "file", "filename": "/odd,dir=x/disk"}


def test_what_must_not_outlive_the_sandbox_is_told_so() -> None:
    throwaway = Host("tcg", 22, outbound=False, throwaway=True)
    assert qemu(throwaway, 1, parse("MEMORY=1"), [ROOT], 3, 4)[:3] == [
        "setpriv",
        "--pdeathsig",
        "TERM",
    ]
