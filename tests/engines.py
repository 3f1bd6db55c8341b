"""A modern OpenNebula engine that answers what a test tells it to, in the recorded words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from xmlrpc.client import loads

from canned import Canned, Handler, Reply, Request, rpc

from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.opennebula.cloud import OpenNebulaCloud
from stratuslab_libcloud.client.opennebula.engine import Engine
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.configuration.location import direct
from stratuslab_libcloud.configuration.settings import Password

__all__ = ["Scripted", "done", "image", "machine", "network", "pool_of", "refused"]

Answers: TypeAlias = "Reply | Sequence[Reply]"


@dataclass
class Scripted:
    """
    ``answers`` has those of each method, one after the other; the last is given again and again.

    A method without any is one that the engine does not know.
    """

    answers: Mapping[str, Answers]
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = {
            name: list(given) if isinstance(given, list) else [given]
            for name, given in self.answers.items()
        }
        self._server = Canned([self._answer])

    def __enter__(self) -> Scripted:
        self._server.__enter__()
        self.url = f"{self._server.url}/RPC2"
        return self

    def __exit__(self, *error: Any) -> None:
        self._server.__exit__(*error)

    def _answer(self, handler: Handler, request: Request) -> None:
        (_, *arguments), method = loads(request.body.decode())
        name = str(method).removeprefix("one.")
        self.calls.append((name, *arguments))
        given = self._left.get(name)
        if not given:
            handler.send(200, "text/xml", FAULT)
            return
        answer = given.pop(0) if len(given) > 1 else given[0]
        if callable(answer):
            answer(handler, request)
        else:
            handler.send(*answer)

    @property
    def methods(self) -> list[str]:
        """The methods that were called, in their order."""
        return [str(call[0]) for call in self.calls]

    def cloud(self, timeout: float = 5.0) -> OpenNebulaCloud:
        return OpenNebulaCloud(direct("alice", "secret", self.url), timeout=timeout)

    def engine(self) -> Engine:
        return Engine(self.url, Password("alice", "secret"), HTTPOptions(timeout=5))

    def driver(self, **options: Any) -> StratusLabNodeDriver:
        return StratusLabNodeDriver("alice", "secret", host=self.url, **options)


FAULT = (
    b"<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultCode</name>"
    b"<value><i4>-506</i4></value></member><member><name>faultString</name><value><string>Method "
    b"'x' not defined</string></value></member></struct></value></fault></methodResponse>"
)


def done(value: object) -> Reply:
    """The answer of a modern engine that has done it."""
    return rpc(True, value, 0)


def refused(text: str, code: int) -> Reply:
    """The answer of a modern engine that refuses; its fifth element has a type of its own."""
    status, kind, body = rpc(False, text, code, -1)
    return status, kind, body.replace(b"</data>", b"<value><i8>-1</i8></value></data>")


def pool_of(tag: str, *documents: str) -> Reply:
    """The answer to a listing."""
    return done(f"<{tag}_POOL>{''.join(documents)}</{tag}_POOL>")


def image(number: int = 5, state: int = 1, **more: Any) -> str:
    """The document of an image: a volume, unless it says otherwise."""
    told: dict[str, Any] = {
        "name": f"image {number}",
        "type": 2,
        "persistent": 1,
        "size": 1024,
        "public": 0,
    }
    told |= {"machines": (), "template": "", **more}
    machines = "".join(f"<ID>{one}</ID>" for one in told["machines"])
    return (
        f"<IMAGE><ID>{number}</ID><UID>2</UID><GID>1</GID><UNAME>alice</UNAME><GNAME>users</GNAME>"
        f"<NAME>{told['name']}</NAME><PERMISSIONS><OWNER_U>1</OWNER_U><OTHER_U>{told['public']}"
        f"</OTHER_U></PERMISSIONS><TYPE>{told['type']}</TYPE><PERSISTENT>{told['persistent']}"
        f"</PERSISTENT><REGTIME>1795724590</REGTIME><FORMAT>raw</FORMAT><SIZE>{told['size']}</SIZE>"
        f"<STATE>{state}</STATE><RUNNING_VMS>{len(told['machines'])}</RUNNING_VMS>"
        f"<DATASTORE_ID>1</DATASTORE_ID><DATASTORE>default</DATASTORE><VMS>{machines}</VMS>"
        f"<TEMPLATE>{told['template']}</TEMPLATE></IMAGE>"
    )


def machine(state: str = "3/3", *disks: int, number: int = 81, own: str = "", nic: str = "") -> str:
    """The document of a machine with these images as its disks."""
    major, _, minor = state.partition("/")
    told = "".join(
        f"<DISK><DISK_ID>{at}</DISK_ID><IMAGE_ID>{one}</IMAGE_ID><SIZE>1024</SIZE>"
        f"<TARGET>vd{'abcdef'[at]}</TARGET><SOURCE>/one/{one}</SOURCE><TYPE>FILE</TYPE></DISK>"
        for at, one in enumerate(disks or (0,))
    )
    return (
        f"<VM><ID>{number}</ID><UNAME>alice</UNAME><NAME>web</NAME><STATE>{major}</STATE>"
        f"<LCM_STATE>{minor or 0}</LCM_STATE><STIME>{int(time.time())}</STIME><TEMPLATE>"
        f"<CPU>1</CPU><VCPU>1</VCPU><MEMORY>512</MEMORY>{told}{nic}</TEMPLATE>"
        f"<USER_TEMPLATE>{own}</USER_TEMPLATE><HISTORY_RECORDS></HISTORY_RECORDS></VM>"
    )


def network(number: int, name: str) -> str:
    """The document of a network."""
    return (
        f"<VNET><ID>{number}</ID><UNAME>oneadmin</UNAME><NAME>{name}</NAME><USED_LEASES>3"
        "</USED_LEASES><TEMPLATE><GATEWAY>10.0.0.1</GATEWAY></TEMPLATE><AR_POOL><AR><SIZE>100"
        "</SIZE></AR></AR_POOL></VNET>"
    )
