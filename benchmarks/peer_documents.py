"""Answers for Libcloud's own drivers: as many items, of about the same size."""

import json
from typing import Any

__all__ = ["occi", "openstack"]


def openstack(path: str, count: int) -> bytes:
    """Make a listing of OpenStack's compute API 1.1."""
    what = path.removesuffix("/detail").removeprefix("os-")
    make = {"images": _image, "servers": _server, "volumes": _volume}[what]
    return json.dumps({what: [make(number) for number in range(count)]}).encode()


def _image(number: int) -> dict[str, Any]:
    return {
        "id": f"image-{number}",
        "name": f"Debian 12 base, no. {number}",
        "status": "ACTIVE",
        "created": "2014-05-12T10:00:46Z",
        "updated": "2014-05-12T10:00:46Z",
        "minDisk": 10,
        "minRam": 512,
        "progress": 100,
        "metadata": {
            "os": "Debian",
            "os_version": "12",
            "os_arch": "x86_64",
            "endorser": f"builder{number % 44}@example.org",
            "location": f"https://images.example.org/Debian/{number}.qcow2.gz",
            "description": "Debian image with tools for users of the grid and Debian tools.",
        },
        "links": [{"rel": "self", "href": f"http://openstack.example.org/images/{number}"}],
    }


def _server(number: int) -> dict[str, Any]:
    return {
        "id": f"server-{number}",
        "name": f"worker-{number}",
        "status": "ACTIVE",
        "created": "2014-05-12T10:00:46Z",
        "updated": "2014-05-12T10:00:46Z",
        "hostId": f"node-{number % 40}",
        "tenant_id": "users",
        "user_id": "jane",
        "accessIPv4": "",
        "addresses": {"public": [{"addr": f"192.0.{number >> 8 & 255}.{number & 255}"}]},
        "flavor": {"id": "m1.small", "vcpus": 1, "ram": 1536, "swap": 1536},
        "image": {"id": f"image-{number}"},
        "metadata": {},
        "links": [{"rel": "self", "href": f"http://openstack.example.org/servers/{number}"}],
        "os-extended-volumes:volumes_attached": [{"id": f"volume-{number}"}],
        "OS-EXT-STS:vm_state": "active",
        "OS-EXT-STS:power_state": 1,
        "progress": 100,
    }


def _volume(number: int) -> dict[str, Any]:
    return {
        "id": f"volume-{number}",
        "displayName": f"data of worker {number}",
        "displayDescription": "",
        "size": 10 + number % 90,
        "status": "available",
        "attachments": [],
        "volumeType": "default",
        "availabilityZone": "nova",
        "createdAt": "2014-05-12T10:00:46Z",
        "metadata": {},
    }


def occi(path: str, count: int) -> bytes:
    """Make an answer of OpenNebula's OCCI interface, whose listings only have links."""
    number = path.partition("/")[2]
    if not number:
        links = "".join(f'<STORAGE href="http://one/storage/{n}"/>' for n in range(count))
        return f"<STORAGE_COLLECTION>{links}</STORAGE_COLLECTION>".encode()
    return (
        f"<STORAGE><ID>{number}</ID><NAME>Debian 12 base, no. {number}</NAME><TYPE>OS</TYPE>"
        "<DESCRIPTION>Debian image with tools for users of the grid.</DESCRIPTION>"
        "<SIZE>10240</SIZE><FSTYPE>ext4</FSTYPE></STORAGE>"
    ).encode()
