"""
The least that any Python client could do for each row.

It sends a request, and makes one pass with the fastest parser available, which puts the texts of
our result into plain tuples. It checks and converts nothing, and any mistake of the server makes it
crash: a client that does so little is of no use.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any
from xml.parsers import expat
from xmlrpc.client import dumps

import orjson
import requests
from libcloud.compute.base import NodeImage

__all__ = [
    "create_and_destroy",
    "engine_images",
    "engine_nodes",
    "images_json",
    "images_xml",
    "made_images_json",
    "nodes",
    "volumes",
]

_PIECE = 65536
_SMALL_PIECE = 8192  # so that its elements are gone before the garbage collector runs

_DESCRIPTION = "http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
_DCTERMS = "http://purl.org/dc/terms/}"
_SLREQ = "http://mp.stratuslab.eu/slreq#}"
_SLTERMS = "http://mp.stratuslab.eu/slterms#}"
_LISTED = {
    *(f"{_DCTERMS}{name}" for name in ("identifier", "type", "compression", "format", "creator")),
    *(f"{_DCTERMS}{name}" for name in ("created", "valid", "title", "alternative", "description")),
    f"{_DCTERMS}publisher",
    *(f"{_SLREQ}{name}" for name in ("bytes", "algorithm", "value", "email", "subject", "issuer")),
    *(f"{_SLTERMS}{name}" for name in ("kind", "os", "os-version", "os-arch", "version")),
    *(f"{_SLTERMS}{name}" for name in ("location", "hypervisor", "disks-bus", "inbound-port")),
}


def images_json(url: str) -> Callable[[], object]:
    """With orjson; the incremental ijson takes longer."""

    def call() -> list[Any]:
        rows = orjson.loads(_whole(f"{url}/metadata"))["aaData"]
        return [
            (identifier, title, os, version, arch, endorser, kind, endorsed, (location,), text)
            for _, os, version, arch, endorser, kind, endorsed, identifier, location, text, title
            in rows
        ]  # fmt: skip

    return call


def made_images_json(url: str) -> Callable[[], object]:
    """The same, made into NodeImages: the limit for a driver that checks nothing."""
    words = "size subject issuer type version compression format creator created valid tag"
    absent = dict.fromkeys([*words.split(), "publisher", "hypervisor", "disks_bus", "deprecated"])

    def call() -> list[Any]:
        rows = orjson.loads(_whole(f"{url}/metadata"))["aaData"]
        return [
            NodeImage(
                identifier,
                title,
                None,
                {
                    **absent,
                    "os": os,
                    "os_version": version,
                    "os_arch": arch,
                    "endorser": endorser,
                    "kind": kind,
                    "endorsed": endorsed,
                    "locations": [location],
                    "description": text,
                    "title": title,
                    "checksums": {},
                    "inbound_ports": [],
                    "endorsers": [endorser],
                },
            )
            for _, os, version, arch, endorser, kind, endorsed, identifier, location, text, title
            in rows
        ]  # fmt: skip

    return call


def images_xml(url: str) -> Callable[[], object]:
    """With expat, without handlers outside the descriptions: signatures are only tokenised."""

    def call() -> list[Any]:
        entries: list[Any] = []
        fields: list[tuple[str, str]] = []
        text: list[str] = []
        parser = expat.ParserCreate(namespace_separator="}")
        parser.buffer_text = True
        parser.buffer_size = _PIECE

        def outside(name: str, _: object) -> None:
            if name == _DESCRIPTION:
                parser.StartElementHandler = inside
                parser.EndElementHandler = end
                parser.CharacterDataHandler = text.append

        def inside(_: str, __: object) -> None:
            text.clear()

        def end(name: str) -> None:
            nonlocal fields
            if name in _LISTED:
                fields.append((name, text[0]))
            elif name == _DESCRIPTION:
                entries.append(tuple(fields))
                fields = []
                parser.StartElementHandler = outside
                parser.EndElementHandler = parser.CharacterDataHandler = None

        parser.StartElementHandler = outside
        for piece in _streamed(requests.get(f"{url}/metadata", stream=True, timeout=60), _PIECE):
            parser.Parse(piece, False)
        return entries

    return call


def nodes(url: str) -> Callable[[], object]:
    """All that is told of a machine."""
    return _pool(f"{url}/pswd/xmlrpc", "one.vmpool.info", _machine, -3, -1, -1, -1)


def engine_nodes(url: str) -> Callable[[], object]:
    """Likewise, of a modern engine."""
    return _pool(f"{url}/RPC2", "one.vmpool.info", _engine_machine, -3, -1, -1, -1)


def engine_images(url: str) -> Callable[[], object]:
    """Likewise."""
    return _pool(f"{url}/RPC2", "one.imagepool.info", _engine_image, -2, -1, -1)


def _pool(
    url: str, method: str, to_tuple: Callable[[ET.Element], tuple[Any, ...]], *arguments: int
) -> Callable[[], object]:
    """Replace escapes in the bytes, and feed ElementTree with small pieces of the result."""
    body = _call(method, *arguments)

    def call() -> list[Any]:
        answer = requests.post(url, body, stream=True, timeout=60)
        builder = ET.TreeBuilder()
        top = builder.start("top", {})
        parser = ET.XMLParser(target=builder)  # noqa: S314 - our own document
        found: list[Any] = []
        for piece in _unescaped(_streamed(answer, _PIECE)):
            parser.feed(piece)
            if len(top):
                pool = top[0]
                complete = pool[:-1]
                del pool[:-1]
                found += map(to_tuple, complete)
        return [*found, *map(to_tuple, top[0])]

    return call


def volumes(url: str) -> Callable[[], object]:
    """With orjson."""

    def call() -> list[Any]:
        return [
            (disk["uuid"], disk["tag"], disk["size"], disk["owner"], disk["count"])
            for disk in orjson.loads(_whole(f"{url}/pswd/disks/"))
        ]

    return call


def create_and_destroy(url: str) -> Callable[[], object]:
    """Send three ready-made requests over one connection, and read the machine as above."""
    session = requests.Session()
    session.trust_env = False
    template = 'NAME = "worker"\nCPU = "1"\n' + "# a template of usual length\n" * 40
    bodies = [
        _call("one.vm.allocate", template),
        _call("one.vm.info", 7),
        _call("one.vm.action", "finalize", 7),
    ]

    def call() -> list[Any]:
        found = []
        for _ in range(100):
            allocated, info, _killed = (
                session.post(f"{url}/pswd/xmlrpc", body, timeout=60).content for body in bodies
            )
            document = b"".join(_unescaped(iter((info,))))
            identifier = allocated.partition(b"<i4>")[2].partition(b"<")[0]
            found.append((identifier, _machine(ET.fromstring(document))))  # noqa: S314
        return found

    return call


def _call(method: str, *arguments: str | int) -> bytes:
    return dumps(("dummy:pass", *arguments), method).encode()


def _whole(url: str) -> bytes:
    """Read the body at once, in half the time of ``content``, which reads 10 KiB at a time."""
    return requests.get(url, stream=True, timeout=60).raw.read()


def _streamed(response: requests.Response, size: int) -> Iterator[bytes]:
    while piece := response.raw.read(size):
        yield piece


def _unescaped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Unescape the string in an XML-RPC answer; an escape cut in two waits for its second half."""
    rest = next(pieces).partition(b"<string>")[2]
    for piece in chain((b"",), pieces):
        text, end, _ = (rest + piece).partition(b"<")
        cut = text.rfind(b"&") if not end and b"&" in text[-5:] else len(text)
        rest = text[cut:]
        text = text[:cut].replace(b"&lt;", b"<").replace(b"&gt;", b">").replace(b"&amp;", b"&")
        for start in range(0, len(text), _SMALL_PIECE):
            yield text[start : start + _SMALL_PIECE]
        if end:
            return


def _machine(vm: ET.Element) -> tuple[Any, ...]:
    text, template = vm.findtext, vm.find("TEMPLATE")
    asked = template.findtext
    return (
        *map(text, ("ID", "NAME", "UNAME", "STATE", "LCM_STATE", "STIME", "MEMORY", "CPU")),
        *map(asked, ("VCPU", "CPU", "MEMORY")),
        text("HISTORY_RECORDS/HISTORY/HOSTNAME"),
        [(nic.findtext("IP"), nic.findtext("NETWORK")) for nic in template.iterfind("NIC")],
        [
            tuple(map(disk.findtext, ("DISK_ID", "TARGET", "SOURCE", "SIZE", "TYPE")))
            for disk in template.iterfind("DISK")
        ],
    )


def _engine_machine(vm: ET.Element) -> tuple[Any, ...]:
    text, template, own = vm.findtext, vm.find("TEMPLATE"), vm.find("USER_TEMPLATE")
    return (
        *map(text, ("ID", "NAME", "UNAME", "STATE", "LCM_STATE", "STIME")),
        *map(vm.find("MONITORING").findtext, ("CPU", "MEMORY")),
        *map(template.findtext, ("VCPU", "CPU", "MEMORY")),
        *map(own.findtext, ("ERROR", "SCHED_MESSAGE", "LABELS")),
        text("HISTORY_RECORDS/HISTORY/HOSTNAME"),
        [(nic.findtext("IP"), nic.findtext("NETWORK")) for nic in template.iterfind("NIC")],
        [
            tuple(map(disk.findtext, ("DISK_ID", "IMAGE_ID", "SIZE", "TYPE")))
            for disk in template.iterfind("DISK")
        ],
    )


def _engine_image(image: ET.Element) -> tuple[Any, ...]:
    text, template = image.findtext, image.find("TEMPLATE")
    return (
        *map(text, ("ID", "NAME", "UNAME", "TYPE", "STATE", "PERSISTENT", "SIZE", "RUNNING_VMS")),
        *map(text, ("DATASTORE", "FORMAT", "REGTIME", "PERMISSIONS/OTHER_U")),
        *map(template.findtext, ("DESCRIPTION", "ERROR")),
    )
