"""
The types of documents and their attributes: one table, in the order of DMTF's XML schema.

``name`` is an attribute that is text, ``name:kind`` one of another kind, and ``names[name]:kind`` a
list, with the name that its items have in XML. A kind that is a type is an object of its own, or a
reference to one: it may have an ``href``.
"""

import re
from typing import NamedTuple

__all__ = ["ACTION", "CREATED_BY", "DATE", "FLAG", "NS", "PAIRS", "TEXT", "TYPES", "WHOLE"]

NS = "http://schemas.dmtf.org/cimi/1"
ACTION = f"{NS}/action/"  # and a verb
TEXT, WHOLE, FLAG, DATE, PAIRS = "text", "whole", "flag", "date", "pairs"
_COMMON = "id name description created:date updated:date properties:pairs"

_RESOURCES = {
    "CloudEntryPoint": "baseURI machines:MachineCollection"
    " machineTemplates:MachineTemplateCollection machineConfigs:MachineConfigurationCollection"
    " machineImages:MachineImageCollection credentials:CredentialCollection"
    " volumes:VolumeCollection volumeTemplates:VolumeTemplateCollection"
    " volumeConfigs:VolumeConfigurationCollection",
    "Machine": "state cpu:whole memory:whole disks:DiskCollection cpuArch"
    " volumes:MachineVolumeCollection networkInterfaces:MachineNetworkInterfaceCollection",
    "MachineTemplate": "initialState machineConfig:MachineConfiguration machineImage:MachineImage"
    " credential:Credential volumes[volume]:MachineVolume"
    " volumeTemplates[volumeTemplate]:VolumeTemplate"
    " networkInterfaces[networkInterface]:MachineNetworkInterface meterTemplates:Reference"
    " eventLogTemplate:Reference userData",
    "MachineConfiguration": "cpu:whole memory:whole disks[disk]:DiskConfiguration cpuArch",
    "MachineImage": "state type imageLocation relatedImage:Reference",
    "MachineVolume": "initialLocation volume:Volume",
    "Disk": "capacity:whole initialLocation",
    "MachineNetworkInterface": "addresses[address]:Address network:Reference state",
    "Volume": "state type capacity:whole bootable:flag",
    "VolumeConfiguration": "type format capacity:whole",
    "VolumeTemplate": "volumeConfig:VolumeConfiguration volumeImage:Reference"
    " meterTemplates:Reference eventLogTemplate:Reference",
    "Credential": "userName password key",
    "Job": "state targetResource:Reference action returnCode:whole statusMessage",
    "MachineCreate": "machineTemplate:MachineTemplate",
    "VolumeCreate": "volumeTemplate:VolumeTemplate",
    "CredentialCreate": "credentialTemplate:Credential",
}
_PARTS = {
    "Action": "action force:flag",
    "Address": "ip hostname",
    "DiskConfiguration": "capacity:whole format initialLocation",
    "Operation": "rel href",
    "Reference": "",
}
# Types, with the name of an array of them.
_COLLECTED = {
    "Machine": "machines",
    "MachineTemplate": "machineTemplates",
    "MachineConfiguration": "machineConfigurations",
    "MachineImage": "machineImages",
    "MachineVolume": "machineVolumes",
    "MachineNetworkInterface": "machineNetworkInterfaces",
    "Disk": "disks",
    "Volume": "volumes",
    "VolumeConfiguration": "volumeConfigurations",
    "VolumeTemplate": "volumeTemplates",
    "Credential": "credentials",
}
CREATED_BY = {
    "Machine": ("MachineCreate", "machineTemplate"),
    "Volume": ("VolumeCreate", "volumeTemplate"),
    "Credential": ("CredentialCreate", "credentialTemplate"),
}
"""The document that creates one, and its attribute that says what; others are sent as they are."""


class Attribute(NamedTuple):
    """
    An attribute.

    :ivar name: in JSON, and in XML unless it is a list.
    :ivar each: for lists, the name of each item in XML; ``""``: it is no list.
    :ivar kind: a kind of value, or a type.
    """

    name: str
    each: str = ""
    kind: str = TEXT


def _attributes(text: str) -> tuple[Attribute, ...]:
    found = re.finditer(r"(\w+)(?:\[(\w+)\])?(?::(\w+))?", text)
    return tuple(Attribute(one[1], one[2] or "", one[3] or TEXT) for one in found)


_OPERATIONS = "operations[operation]:Operation"
TYPES = {
    **{name: _attributes(f"{_COMMON} {text} {_OPERATIONS}") for name, text in _RESOURCES.items()},
    **{name: _attributes(text) for name, text in _PARTS.items()},
    **{
        f"{name}Collection": _attributes(f"id count:whole {plural}[{name}]:{name} {_OPERATIONS}")
        for name, plural in _COLLECTED.items()
    },
}
