"""
The types of documents and their attributes: one table, in the order of DMTF's XML schema.

An attribute is written ``name:kind``, or ``name`` if it is text; a list ``names[name]:kind``, with
what each item is called in XML. A kind that is a type of this table stands for an object, which may
be a reference. ``name=VALUE`` can have that value only, and ``name=`` none: those would change what
is made, so they are not ignored.
"""

import re
from typing import NamedTuple

__all__ = ["ACTION", "MAPPED", "NS", "TYPES", "Attribute"]

NS = "http://schemas.dmtf.org/cimi/1"
ACTION, MAPPED = f"{NS}/action/", f"{NS}/mapped"
_COMMON = "id name description created:date updated:date properties:map"
_END = "operations[operation]:Operation"
_RESOURCES = {
    "CloudEntryPoint": "baseURI machines:MachineCollection"
    " machineTemplates:MachineTemplateCollection machineConfigs:MachineConfigurationCollection"
    " machineImages:MachineImageCollection credentials:CredentialCollection"
    " volumes:VolumeCollection volumeTemplates:VolumeTemplateCollection"
    " volumeConfigs:VolumeConfigurationCollection",
    "Machine": "state cpu:number memory:number disks:DiskCollection cpuArch"
    " volumes:MachineVolumeCollection networkInterfaces:MachineNetworkInterfaceCollection",
    "MachineTemplate": "initialState=STARTED machineConfig:MachineConfiguration"
    " machineImage:MachineImage credential:Credential volumes[volume]:MachineVolume"
    " volumeTemplates[volumeTemplate]= networkInterfaces[networkInterface]:MachineNetworkInterface"
    " meterTemplates= eventLogTemplate= userData:base64",
    "MachineConfiguration": "cpu:number memory:number disks[disk]:DiskConfiguration cpuArch=x86_64",
    "MachineImage": "state type imageLocation",
    "MachineVolume": "initialLocation volume:Volume",
    "MachineNetworkInterface": "addresses[address]:Address network:Reference state",
    "Disk": "capacity:number initialLocation",
    "Volume": "state type capacity:number bootable:boolean",
    "VolumeConfiguration": f"type={MAPPED} format=raw capacity:number",
    "VolumeTemplate": "volumeConfig:VolumeConfiguration volumeImage= meterTemplates="
    " eventLogTemplate=",
    "Credential": "userName= password= key",
    "Job": "state targetResource:Reference returnCode:number statusMessage",
    "MachineCreate": "machineTemplate:MachineTemplate",
    "VolumeCreate": "volumeTemplate:VolumeTemplate",
    "CredentialCreate": "credentialTemplate:Credential",
}
_PARTS = {
    "Action": "action force=false",
    "Address": "ip",
    "DiskConfiguration": "capacity:number format",
    "Operation": "rel:tag",
    "Reference": "",
}


class Attribute(NamedTuple):
    """
    An attribute.

    :ivar each: for lists, the name of an item in XML; ``""``: it is no list.
    :ivar kind: ``text``, ``number``, ``boolean``, ``date``, ``base64``, ``map``, ``tag`` (text that
        XML has in the start tag) or a type.
    :ivar only: the only value that it can have; ``""``: none; ``None``: any.
    """

    name: str
    each: str = ""
    kind: str = "text"
    only: str | None = None


def _attributes(text: str) -> tuple[Attribute, ...]:
    found = re.findall(r"(\w+)(?:\[(\w+)\])?(?::(\w+))?(=\S*)?", f"href:tag {text}")
    return tuple(
        Attribute(name, each, kind or "text", only[1:] if only else None)
        for name, each, kind, only in found
    )


TYPES = {name: _attributes(f"{_COMMON} {text} {_END}") for name, text in _RESOURCES.items()}
TYPES |= {name: _attributes(text) for name, text in _PARTS.items()}
for _type in re.findall(r"(\w+)Collection", " ".join(_RESOURCES.values())):
    _members = f"{_type[0].lower()}{_type[1:]}s[{_type}]:{_type}"
    TYPES[f"{_type}Collection"] = _attributes(f"id count:number {_members} {_END}")
