"""Machines that run, by CIMI: in JSON over a StratusLab location, in XML over an OpenNebula."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from consumers import ACTION, JSON, NS, XML, Consumer
from dialects import DIALECTS, config_path
from libcloud.compute.base import Node
from libcloud.compute.drivers.dummy import DummyNodeDriver
from libcloud.compute.types import NodeState
from machines import real_sandbox, ssh

from stratuslab_libcloud.cli.cimi import serving
from stratuslab_libcloud.sandbox.site import Sandbox

WRITE = "for i in $(seq 50); do [ -b {0} ] && break; sleep 0.2; done; echo kept | dd of={0}"


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with real_sandbox() as site:
        yield site


@pytest.mark.parametrize(
    ("location", "media_type"), [("stratuslab", JSON), ("opennebula", XML)], ids=DIALECTS
)
def test_a_life(site: Sandbox, tmp_path: Path, location: str, media_type: str) -> None:
    (login,) = site.users.items()
    with serving(tmp_path / "kept", config_path(site, location)) as url:
        consumer = Consumer(url, login, media_type)
        try:
            live(site, consumer, location)
        finally:
            consumer.close()


def live(site: Sandbox, consumer: Consumer, location: str) -> None:
    public_key = (site.dir / "id_ed25519.pub").read_bytes()
    key = consumer.add("credentials", create("Credential", {"key": public_key.hex()}))
    images = consumer.members("machineImages")
    sizes = consumer.members("machineConfigs", "?$filter=memory<=524288")
    template: dict[str, Any] = {
        "machineConfig": {name: sizes[0][name] for name in ("cpu", "memory", "disks")},
        "machineImage": next({"href": i["id"]} for i in images if i["name"].startswith("standard")),
        "credential": {"href": key["id"]},
    }
    if location == "opennebula":
        kind = {"resourceURI": f"{NS}/MachineTemplate"}
        template = {"href": consumer.add("machineTemplates", {**template, **kind})["id"]}
    machine = consumer.wait(consumer.add("machines", create("Machine", template)), "STARTED")
    (interface,) = consumer.members(machine["networkInterfaces"])
    node = as_node(interface["addresses"][0]["ip"])
    assert ssh(site, node, "id -un") == "root\n"

    volume = consumer.add("volumes", create("Volume", {"volumeConfig": {"capacity": 1_000_000}}))
    mounted = {"resourceURI": f"{NS}/MachineVolume", "volume": {"href": volume["id"]}}
    attached = consumer.add(machine["volumes"], mounted)
    ssh(site, node, WRITE.format(attached["initialLocation"]))
    consumer.do(attached, "delete")
    assert consumer.status == 204

    act(consumer, machine, "stop")
    if location == "opennebula":
        act(consumer, consumer.wait(machine, "STOPPED"), "start")
        machine = consumer.wait(machine, "STARTED")
        attached = consumer.add(machine["volumes"], mounted)
        assert ssh(site, node, f"head -c 5 {attached['initialLocation']}") == "kept\n"
        consumer.end(machine)
    consumer.wait_until_gone(machine)
    consumer.do(consumer.ask("GET", volume["id"]), "delete")
    assert consumer.members("volumes") == []


def create(kind: str, template: dict[str, Any]) -> dict[str, Any]:
    attribute = f"{kind[0].lower()}{kind[1:]}Template"
    return {"resourceURI": f"{NS}/{kind}Create", "name": "mine", attribute: template}


def act(consumer: Consumer, machine: dict[str, Any], verb: str) -> None:
    body = {"resourceURI": f"{NS}/Action", "action": ACTION + verb}
    consumer.do(consumer.ask("GET", machine["id"]), ACTION + verb, body)
    assert consumer.status in (202, 204)


def as_node(address: str) -> Node:
    return Node("0", "mine", NodeState.RUNNING, [address], [], DummyNodeDriver("unused"))
