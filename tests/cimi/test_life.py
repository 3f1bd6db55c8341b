"""A machine and a volume from the first document to the last, in JSON and in XML."""

import base64
from typing import Any
from urllib.parse import urljoin

import pytest
from consumers import ACTION, JSON, NS, XML, Consumer
from providers import JOE, Provider

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK jane@example.org"


@pytest.fixture(params=[JSON, XML], ids=["json", "xml"])
def consumer(request: pytest.FixtureRequest, provider: Provider) -> Consumer:
    return provider.consumer(media_type=request.param)


def create(kind: str, name: str, template: dict[str, Any]) -> dict[str, Any]:
    attribute = f"{kind[0].lower()}{kind[1:]}Template"
    return {"resourceURI": f"{NS}/{kind}Create", "name": name, attribute: template}


def relative(consumer: Consumer, uri: str) -> str:
    found = uri.removeprefix(consumer.entry["baseURI"])
    assert urljoin(consumer.entry["baseURI"], found) == uri
    return found


def test_a_machine_of_a_template_by_value_with_a_volume(
    consumer: Consumer, provider: Provider
) -> None:
    image = consumer.members("machineImages")[0]
    small = next(one for one in consumer.members("machineConfigs") if one["name"] == "m1.small")
    key = consumer.add(
        "credentials",
        {
            "resourceURI": f"{NS}/CredentialCreate",
            "name": "mine",
            "credentialTemplate": {"key": KEY.encode().hex()},
        },
    )
    template = {
        "machineConfig": {key: small[key] for key in ("cpu", "memory", "disks", "cpuArch")},
        "machineImage": {"href": relative(consumer, image["id"])},
        "credential": {"href": key["id"]},
        "userData": base64.b64encode(b"#!/bin/sh\n").decode(),
    }
    machine = consumer.wait(
        consumer.add("machines", create("Machine", "first", template)), "STARTED"
    )
    assert (machine["name"], str(machine["memory"])) == ("first", str(small["memory"]))
    assert consumer.verbs(machine) >= {"stop", "delete"}
    assert len(consumer.members(machine["disks"])) == 2
    (interface,) = consumer.members(machine["networkInterfaces"])
    assert interface["addresses"][0]["ip"]

    config = {"capacity": 2_000_000, "type": f"{NS}/mapped"}
    volume = consumer.add("volumes", create("Volume", "data", {"volumeConfig": config}))
    assert (volume["name"], str(volume["capacity"])) == ("data", "2000000")
    assert volume["state"] == "AVAILABLE"
    attached = consumer.add(
        machine["volumes"],
        {"resourceURI": f"{NS}/MachineVolume", "volume": {"href": volume["id"]}},
    )
    assert attached["initialLocation"].startswith("/dev/")
    assert attached["volume"]["href"] == volume["id"]
    assert [one["id"] for one in consumer.members(machine["volumes"])] == [attached["id"]]
    volume = consumer.ask("GET", volume["id"])
    assert "delete" not in consumer.verbs(volume)
    consumer.ask("DELETE", volume["id"])
    assert consumer.status == 409

    consumer.do(attached, "delete")
    assert (consumer.status, consumer.members(machine["volumes"])) == (204, [])
    volume = consumer.do(consumer.ask("GET", volume["id"]), "edit", {**volume, "name": "renamed"})
    assert (consumer.status, volume["name"]) == (200, "renamed")
    consumer.do(volume, "delete")
    assert (consumer.status, consumer.members("volumes")) == (204, [])

    stop = {"resourceURI": f"{NS}/Action", "action": f"{ACTION}stop"}
    if provider.location == "stratuslab":
        assert consumer.verbs(machine) == {"delete", "stop"}
        consumer.ask("POST", f"{machine['id']}/restart", {**stop, "action": f"{ACTION}restart"})
        assert consumer.status == 501
    consumer.do(machine, f"{ACTION}stop", stop)
    assert consumer.status in (202, 204)
    if provider.location == "stratuslab":  # where a machine that has stopped is over
        consumer.wait_until_gone(machine)
    else:
        machine = consumer.wait(machine, "STOPPED")
        assert consumer.verbs(machine) == {"delete", "edit", "start"}
        machine = consumer.do(machine, "edit", {**machine, "name": "renamed"})
        consumer.do(machine, f"{ACTION}start", {**stop, "action": f"{ACTION}start"})
        machine = consumer.wait(machine, "STARTED")
        assert consumer.verbs(machine) == {"delete", "edit", "restart", "stop"}
        consumer.do(machine, f"{ACTION}restart", {**stop, "action": f"{ACTION}restart"})
        assert (consumer.status, machine["name"]) == (202, "renamed")
        consumer.end(machine)
    consumer.do(key, "delete")
    assert consumer.members("credentials") == []


def test_a_machine_of_a_template_by_reference(consumer: Consumer) -> None:
    image = consumer.members("machineImages")[0]
    config = consumer.members("machineConfigs")[0]
    volume_config = consumer.add(
        "volumeConfigs", {"resourceURI": f"{NS}/VolumeConfiguration", "capacity": 1_000_000}
    )
    volume_template = consumer.add(
        "volumeTemplates",
        {
            "resourceURI": f"{NS}/VolumeTemplate",
            "volumeConfig": {"href": relative(consumer, volume_config["id"])},
        },
    )
    volume = consumer.add("volumes", create("Volume", "v", {"href": volume_template["id"]}))
    template = consumer.add(
        "machineTemplates",
        {
            "resourceURI": f"{NS}/MachineTemplate",
            "name": "usual",
            "machineConfig": {"href": config["id"]},
            "machineImage": {"href": image["id"]},
            "volumes": [{"href": volume["id"]}],
        },
    )
    whole = consumer.ask("GET", template["id"] + "?$expand=machineImage,volumes")
    assert whole["machineImage"]["name"] == image["name"]
    assert whole["volumes"][0]["name"] == "v"
    overriding = {"href": template["id"], "machineConfig": {"cpu": 3, "memory": 1_000_000}}
    made = consumer.add("machines", create("Machine", "second", overriding))
    machine = consumer.wait(made, "STARTED")
    # Memory is in MiB on the cloud, so that there is at least as much.
    assert (str(machine["cpu"]), str(machine["memory"])) == ("3", str(977 * 1024))
    (attached,) = consumer.members(machine["volumes"])
    assert attached["volume"]["href"] == volume["id"]
    consumer.end(machine)
    template = consumer.do(template, "edit", {**template, "name": "other"})
    assert (template["name"], template["machineImage"]["href"]) == ("other", image["id"])
    named = {"resourceURI": f"{NS}/MachineTemplate", "name": "third", "initialState": "STARTED"}
    consumer.ask("PUT", template["id"] + "?$select=name", named)
    template = consumer.ask("GET", template["id"])
    assert (template["name"], template["machineConfig"]["href"]) == ("third", config["id"])
    assert "initialState" not in template
    consumer.ask("PUT", template["id"], named)
    assert consumer.status == 501
    for one in (template, volume_template, volume_config, consumer.ask("GET", volume["id"])):
        consumer.do(one, "delete")
        assert consumer.status == 204


def test_what_somebody_has_nobody_else_sees(consumer: Consumer, provider: Provider) -> None:
    template = {
        "machineConfig": {"href": consumer.members("machineConfigs")[0]["id"]},
        "machineImage": {"href": consumer.members("machineImages")[0]["id"]},
    }
    machine = consumer.wait(
        consumer.add("machines", create("Machine", "hers", template)), "STARTED"
    )
    config = {"volumeConfig": {"capacity": 1_000_000}}
    volume = consumer.add("volumes", create("Volume", "hers", config))
    secret = {"credentialTemplate": {"key": KEY}, "resourceURI": f"{NS}/CredentialCreate"}
    key = consumer.add("credentials", secret)
    other = provider.consumer(JOE, consumer.media_type)
    for link in ("machines", "volumes", "credentials"):
        assert other.members(link) == []
    for one in (machine, volume, key):
        for method in ("GET", "DELETE"):
            found = other.ask(method, one["id"])
            assert other.status in (403, 404)
            assert KEY not in str(found)
    for part in ("disks", "volumes", "networkInterfaces"):
        other.ask("GET", machine[part]["href"])
        assert other.status in (403, 404)
    for url in (machine["id"] + "/stop", machine["volumes"]["href"]):
        other.ask(
            "POST",
            url,
            {"resourceURI": f"{NS}/Action"}
            if "stop" in url
            else {"resourceURI": f"{NS}/MachineVolume", "volume": {"href": volume["id"]}},
        )
        assert other.status in (403, 404)
    other.ask("PUT", volume["id"], {"resourceURI": f"{NS}/Volume", "name": "stolen"})
    assert other.status in (403, 404)
    assert consumer.ask("GET", machine["id"])["state"] == "STARTED"
    consumer.end(machine)
    for one in (volume, key):
        consumer.do(one, "delete")
