"""A consumer of CIMI that knows of the provider only what the standard says."""

import base64
import json
from typing import Any

import requests
from lxml import etree
from machines import wait_for

__all__ = ["ACTION", "JSON", "NS", "SCHEMA", "XML", "Consumer", "of_xml", "to_xml"]

NS = "http://schemas.dmtf.org/cimi/1"
ACTION = f"{NS}/action/"
JSON, XML = "application/json", "application/xml"
COMMON = "id name description created updated property*"

# The attributes of the XML schema, in its order. A capital letter begins a type; * is a list.
ATTRIBUTES = {
    "CloudEntryPoint": f"{COMMON} baseURI resourceMetadata systems systemTemplates"
    " machines:Collection machineTemplates:Collection machineConfigs:Collection"
    " machineImages:Collection credentials:Collection credentialTemplates volumes:Collection"
    " volumeTemplates:Collection volumeConfigs:Collection volumeImages",
    "Machine": f"{COMMON} state cpu memory disks:Collection cpuArch volumes:Collection"
    " networkInterfaces:Collection latestSnapshot snapshots meters eventLog",
    "MachineTemplate": f"{COMMON} initialState machineConfig:MachineConfiguration"
    " machineImage:MachineImage credential:Credential volume*:MachineVolume"
    " volumeTemplate*:VolumeTemplate networkInterface*:MachineNetworkInterface"
    " meterTemplates:Reference eventLogTemplate:Reference userData",
    "MachineConfiguration": f"{COMMON} cpu memory disk*:DiskConfiguration cpuArch",
    "DiskConfiguration": "capacity format initialLocation",
    "MachineImage": f"{COMMON} state type imageLocation relatedImage:Reference",
    "MachineVolume": f"{COMMON} initialLocation volume:Volume",
    "Disk": f"{COMMON} capacity initialLocation",
    "MachineNetworkInterface": f"{COMMON} address*:Address network:Reference networkPort state mtu",
    "Address": "ip hostname allocation defaultGateway dns protocol mask network resource",
    "Volume": f"{COMMON} state type capacity bootable images meters eventLog",
    "VolumeConfiguration": f"{COMMON} type format capacity",
    "VolumeTemplate": f"{COMMON} volumeConfig:VolumeConfiguration volumeImage:Reference"
    " meterTemplates:Reference eventLogTemplate:Reference",
    "Credential": f"{COMMON} userName password key",
    "Job": f"{COMMON} state targetResource:Reference affectedResource*:Reference action status"
    " returnCode progress statusMessage timeOfStatusChange isCancellable parentJob nestedJob*",
    "Reference": "",
    "Action": "action force property*",
    "MachineCreate": f"{COMMON} machineTemplate:MachineTemplate",
    "VolumeCreate": f"{COMMON} volumeTemplate:VolumeTemplate",
    "CredentialCreate": f"{COMMON} credentialTemplate:Credential",
}
MEMBERS = (
    *("Machine", "MachineTemplate", "MachineConfiguration", "MachineImage", "MachineVolume"),
    *("Disk", "MachineNetworkInterface", "Volume", "VolumeConfiguration", "VolumeTemplate"),
    "Credential",
)
KINDS = {
    **dict.fromkeys(("cpu", "memory", "capacity", "returnCode", "count"), "xs:nonNegativeInteger"),
    **dict.fromkeys(("bootable", "force"), "xs:boolean"),
    **dict.fromkeys(("created", "updated"), "xs:dateTime"),
    **dict.fromkeys(("id", "baseURI"), "xs:anyURI"),
}


def _schema() -> etree.XMLSchema:
    end = '<xs:attribute name="href"/><xs:attribute name="resourceURI"/></xs:complexType>'
    operations = (
        '<xs:element name="operation" minOccurs="0" maxOccurs="unbounded" type="Operation"/>'
    )
    parts = [
        f'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns="{NS}"'
        f' targetNamespace="{NS}" elementFormDefault="qualified">'
        '<xs:complexType name="Operation"><xs:attribute name="rel" use="required"/>'
        '<xs:attribute name="href" use="required"/></xs:complexType>'
        '<xs:complexType name="Property"><xs:simpleContent><xs:extension base="xs:string">'
        '<xs:attribute name="name" use="required"/></xs:extension></xs:simpleContent>'
        "</xs:complexType>"
    ]
    for name, attributes in ATTRIBUTES.items():
        parts.append(f'<xs:element name="{name}" type="{name}"/>')
        parts.append(f'<xs:complexType name="{name}"><xs:sequence>')
        for attribute in attributes.split():
            plain, _, kind = attribute.partition(":")
            tag = plain.rstrip("*")
            kind = "Property" if tag == "property" else kind or KINDS.get(tag, "xs:string")
            most = "unbounded" if plain != tag else "1"
            parts.append(
                f'<xs:element name="{tag}" type="{kind}" minOccurs="0" maxOccurs="{most}"/>'
            )
        parts.append(f"{operations}</xs:sequence>{end}")
    parts.append('<xs:element name="Collection" type="Collection"/>')
    parts.append('<xs:complexType name="Collection"><xs:sequence>')
    parts.append('<xs:element name="id" type="xs:anyURI" minOccurs="0"/>')
    parts.append('<xs:element name="count" type="xs:nonNegativeInteger" minOccurs="0"/>')
    parts.append('<xs:choice><xs:element name="none" minOccurs="0" maxOccurs="0"/>')
    parts += [
        f'<xs:element name="{name}" type="{name}" minOccurs="0" maxOccurs="unbounded"/>'
        for name in MEMBERS
    ]
    parts.append(f"</xs:choice>{operations}</xs:sequence>{end}</xs:schema>")
    return etree.XMLSchema(etree.fromstring("".join(parts)))


SCHEMA = _schema()
LISTS = {
    "disk": "disks",
    "volume": "volumes",
    "networkInterface": "networkInterfaces",
    "address": "addresses",
    "operation": "operations",
    "volumeTemplate": "volumeTemplates",
    **{name: name[0].lower() + name[1:] + "s" for name in MEMBERS},
}
SINGLE = {("MachineVolume", "volume"), ("volume", "volume"), ("VolumeCreate", "volumeTemplate")}


def to_xml(document: dict[str, Any]) -> bytes:
    """A document as a consumer sends it: the names of lists are cut to those of their items."""
    names = {plural: one for one, plural in reversed(LISTS.items())}

    def fill(element: Any, value: Any) -> None:
        if not isinstance(value, dict):
            element.text = str(value).lower() if isinstance(value, bool) else str(value)
            return
        for name, item in value.items():
            if name in ("href", "resourceURI"):
                element.set(name, item)
            elif name == "properties":
                for key, text in item.items():
                    etree.SubElement(element, f"{{{NS}}}property", name=key).text = text
            else:
                for one in item if isinstance(item, list) else [item]:
                    tag = names[name] if isinstance(item, list) else name
                    fill(etree.SubElement(element, f"{{{NS}}}{tag}"), one)

    kind = document["resourceURI"].rpartition("/")[2]
    root = etree.fromstring(f'<{kind} xmlns="{NS}"/>')
    fill(root, document)
    order = [
        one.split(":")[0].rstrip("*") for one in ATTRIBUTES[etree.QName(root).localname].split()
    ]
    order.append("operation")
    root[:] = sorted(root, key=lambda child: order.index(etree.QName(child).localname))
    return bytes(etree.tostring(root))


def of_xml(element: Any) -> dict[str, Any]:
    """A document as a consumer reads it: numbers and truths are text."""
    owner = etree.QName(element).localname
    found: dict[str, Any] = dict(element.attrib)
    for child in element:
        tag = etree.QName(child).localname
        if tag == "property":
            found.setdefault("properties", {})[child.get("name")] = child.text or ""
            continue
        value = of_xml(child) if len(child) or child.attrib else child.text or ""
        if tag in MEMBERS and isinstance(value, dict):
            value["resourceURI"] = f"{NS}/{tag}"
        if tag in LISTS and (owner, tag) not in SINGLE:
            found.setdefault(LISTS[tag], []).append(value)
        else:
            found[tag] = value
    return found


class Consumer:
    """
    It takes only what the documents offer; every XML document that it gets must be valid.

    :ivar status: of the last answer.
    :ivar answer: the last answer.
    """

    def __init__(self, url: str, login: tuple[str, str] | None, media_type: str = JSON) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        if login:  # in UTF-8, which requests leaves to its users
            coded = base64.b64encode(":".join(login).encode()).decode()
            self.session.headers["Authorization"] = f"Basic {coded}"
        self.session.headers["Accept"] = media_type
        self.media_type = media_type
        self.entry = self.ask("GET", url)

    def ask(self, method: str, url: str, body: Any = None, **more: Any) -> dict[str, Any]:
        """The document in the answer; without one, an empty one."""
        headers = more.pop("headers", {})
        if body is not None:
            headers = {"Content-Type": self.media_type, **headers}
            body = to_xml(body) if self.media_type == XML else json.dumps(body).encode()
        self.answer = self.session.request(
            method, url, data=body, headers=headers, timeout=60, **more
        )
        self.status = self.answer.status_code
        assert self.answer.headers["CIMI-Specification-Version"] == "1.0.1"
        if not self.answer.content:
            return {}
        if self.answer.headers["Content-Type"] != XML:
            found: dict[str, Any] = self.answer.json()
            return found
        root = etree.fromstring(self.answer.content)
        SCHEMA.assertValid(root)
        return of_xml(root)

    def members(self, link: str | dict[str, Any], query: str = "") -> list[dict[str, Any]]:
        """The members of a collection, which are found by what they are."""
        href = self.entry[link]["href"] if isinstance(link, str) else link["href"]
        found = self.ask("GET", href + query)
        assert self.status == 200
        lists = (value for name, value in found.items() if isinstance(value, list))
        return [one for items in lists for one in items if "resourceURI" in one]

    def do(self, document: dict[str, Any], verb: str, body: Any = None) -> dict[str, Any]:
        """What an operation gives that a document offers."""
        (href,) = [one["href"] for one in document.get("operations", []) if one["rel"] == verb]
        method = {"edit": "PUT", "delete": "DELETE"}.get(verb, "POST")
        return self.ask(method, href, body)

    def add(self, link: str | dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        """What has been added, from where the answer says that it is."""
        href = self.entry[link]["href"] if isinstance(link, str) else link["href"]
        made = self.do(self.ask("GET", href), "add", body)
        expected = 202 if made.get("state") == "CREATING" else 201
        assert self.status == expected, made
        assert self.answer.headers["Location"] == made["id"]
        return self.ask("GET", made["id"])

    def verbs(self, document: dict[str, Any]) -> set[str]:
        return {one["rel"].removeprefix(ACTION) for one in document.get("operations", [])}

    def wait(self, machine: dict[str, Any], state: str) -> dict[str, Any]:
        """The machine, once it is in a state."""
        wait_for(lambda: self.ask("GET", machine["id"]).get("state") == state, f"it is not {state}")
        return self.ask("GET", machine["id"])

    def end(self, machine: dict[str, Any]) -> None:
        """Delete a machine, and wait until it is nowhere to be seen."""
        self.do(self.ask("GET", machine["id"]), "delete")
        assert self.status in (202, 204)
        self.wait_until_gone(machine)

    def wait_until_gone(self, machine: dict[str, Any]) -> None:
        def gone() -> bool:
            self.ask("GET", machine["id"])
            return self.status == 404

        wait_for(gone, "it does not end")
        assert machine["id"] not in [one["id"] for one in self.members("machines")]

    def close(self) -> None:
        self.session.close()
