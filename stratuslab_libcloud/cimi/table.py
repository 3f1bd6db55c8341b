"""
The types of documents and their attributes: one table, in the order of DMTF's XML schema.

``name:kind`` is an attribute, or ``name`` if it is text; ``names[name]:kind`` is a list, with what
an item is called in XML. A kind that is a type stands for an object, or a reference to one.
``name=VALUE`` can only have that value, and ``name=`` none: others would change what is made, so
they are not ignored. ``*`` stands for what all resources have, ``@machines/*/disks`` for the place
of a collection of them, with ``*`` for any key; the entry point has those without.
"""

import re
from typing import NamedTuple

__all__ = ["ACTION", "MAPPED", "NS", "PLACES", "TYPES", "Attribute"]

NS = "http://schemas.dmtf.org/cimi/1"
ACTION, MAPPED = f"{NS}/action/", f"{NS}/mapped"
_ALL = "id name description created:date updated:date properties[property]:map"
_END = " operations[operation]:Operation"
_TABLE = f"""
CloudEntryPoint {_ALL} baseURI
Machine @machines * state cpu:number memory:number disks:DiskCollection cpuArch
    volumes:MachineVolumeCollection networkInterfaces:MachineNetworkInterfaceCollection
MachineTemplate @machineTemplates * initialState=STARTED machineConfig:MachineConfiguration
    machineImage:MachineImage credential:Credential volumes[volume]:MachineVolume
    volumeTemplates[volumeTemplate]= networkInterfaces[networkInterface]:MachineNetworkInterface
    meterTemplates= eventLogTemplate= userData:base64
MachineConfiguration @machineConfigs * cpu:number memory:number disks[disk]:DiskConfiguration
    cpuArch=x86_64
MachineImage @machineImages * state type imageLocation
MachineVolume @machines/*/volumes * initialLocation volume:Volume
MachineNetworkInterface @machines/*/networkInterfaces * addresses[address]:Address
    network:Reference state
Disk @machines/*/disks * capacity:number initialLocation
Credential @credentials * userName= password= key:publicKey
Volume @volumes * state type capacity:number bootable:boolean
VolumeTemplate @volumeTemplates * volumeConfig:VolumeConfiguration volumeImage=
    meterTemplates= eventLogTemplate=
VolumeConfiguration @volumeConfigs * type={MAPPED} format=raw capacity:number
Job * state targetResource:Reference returnCode:number statusMessage
MachineCreate * machineTemplate:MachineTemplate
VolumeCreate * volumeTemplate:VolumeTemplate
CredentialCreate * credentialTemplate:Credential
Action action force:boolean=false
Address ip
DiskConfiguration capacity:number format
Operation rel:tag
Reference
"""


class Attribute(NamedTuple):
    """
    An attribute, of which there can be ``many``; ``tag`` is what XML calls each of them.

    Its kind is ``text``, ``number``, ``boolean``, ``date``, ``base64``, ``publicKey``, ``map``,
    ``tag`` (text that XML has in the start tag) or a type. ``only`` is the value that it can have,
    if not any.
    """

    name: str
    kind: str = "text"
    tag: str = ""
    many: bool = False
    only: str | None = None


def _attributes(row: str) -> dict[str, Attribute]:
    row = f"href:tag resourceURI:tag {row}"
    found = {}
    for name, tag, kind, only in re.findall(r"(\w+)(?:\[(\w+)\])?(?::(\w+))?(=\S*)?", row):
        many = bool(tag) and kind != "map"
        found[name] = Attribute(name, kind or "text", tag or name, many, only[1:] if only else None)
    return found


TYPES = {
    name: _attributes(row.replace("*", _ALL) + _END * ("*" in row))
    for name, row in re.findall(r"^(\w+)(?: @\S*)? ?((?:.|\n )*)", _TABLE, re.M)
}
PLACES = {"": "CloudEntryPoint"}
for _type, _place in re.findall(r"^(\w+) @(\S+)", _TABLE, re.M):
    PLACES |= {_place: f"{_type}Collection", f"{_place}/*": _type}
    _members = f"{_type[0].lower()}{_type[1:]}s[{_type}]:{_type}"
    TYPES[f"{_type}Collection"] = _attributes(f"id count:number {_members}{_END}")
    if "*" not in _place:
        TYPES["CloudEntryPoint"] |= _attributes(f"{_place}:{_type}Collection")
