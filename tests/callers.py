"""Somebody who talks to a sandbox and does not know our client."""

import contextlib
import signal
import threading
import time
import xml.etree.ElementTree as ET
import xmlrpc.client
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import requests
from forked import Process, start
from requests.auth import HTTPBasicAuth

T = TypeVar("T", bound=threading.Thread)

TEMPLATE = """\
# as the original client writes them (compute-xmlrpc 4.2)

CPU    = 1
VCPU    = 1
MEMORY = 1536
RANK = "- RUNNING_VMS"


DISK = [
source   = "https://marketplace.example.org/metadata/MMZu9WvwKIro-rtBQfDk4PsKO7_",
target   = "vda",
save     = no,
readonly = "no",
driver = "qcow2"
]
DISK = [
type     = swap,
size     = 1536,
target   = "vdb",
readonly = "no"
]

NIC = [ network_uname=oneadmin,network = "public" ]

GRAPHICS = [
port = "-1",
keymap = "en-us",
type = "vnc"
]

CONTEXT = [
public_key = "ssh-rsa AAAAB3NzaC1yc2E jane@example.org
",

target = "hdd"
]

INBOUND_PORTS = "22,80"
"""


class NotOkError(Exception):
    """The answer ``[false, text, code]``."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Reachable(Protocol):
    """All that a Caller needs of a site."""

    @property
    def url(self) -> str: ...


@dataclass
class Caller:
    """Somebody with an account, or without."""

    site: Reachable
    auth: tuple[str, str] | None

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request on a connection of its own; nothing is followed."""
        with requests.Session() as session:
            session.trust_env = False
            options = {"timeout": 30, "allow_redirects": False, **options}
            auth = HTTPBasicAuth(*(part.encode() for part in self.auth)) if self.auth else None
            return session.request(method, self.site.url + path, auth=auth, **options)

    def disks(self, method: str, path: str = "", **options: Any) -> requests.Response:
        return self.request(method, "/pdisk/pswd/disks" + path, **options)

    def post_call(self, body: bytes) -> Any:
        answer = self.request("POST", "/one-proxy/pswd/xmlrpc", data=body)
        assert answer.status_code == 200
        ((result,), _) = xmlrpc.client.loads(answer.content)
        return result

    def call(self, method: str, *parameters: Any) -> Any:
        """Call with a dummy session."""
        body = xmlrpc.client.dumps(("dummy:pass", *parameters), method).encode()
        answer = self.post_call(body)
        assert isinstance(answer, list)
        assert len(answer) == 3
        if not answer[0]:
            raise NotOkError(answer[1], answer[2])
        assert answer[2] == 0
        return answer[1]

    def start(self, template: str = TEMPLATE) -> int:
        return int(self.call("one.vm.allocate", template))

    def info(self, vm_id: int) -> ET.Element:
        return ET.fromstring(self.call("one.vm.info", vm_id))

    def pool(self, flag: int = -3, start: int = -1, end: int = -1, state: int = -1) -> list[int]:
        pool = ET.fromstring(self.call("one.vmpool.info", flag, start, end, state))
        assert {child.tag for child in pool} <= {"VM"}
        return [int(machine.findtext("ID", "")) for machine in pool]

    def act(self, action: str, vm_id: int) -> int:
        return int(self.call("one.vm.action", action, vm_id))

    def states(self, vm_id: int) -> tuple[int, int]:
        machine = self.info(vm_id)
        return int(machine.findtext("STATE", "")), int(machine.findtext("LCM_STATE", ""))

    def disk(self, **fields: object) -> str:
        answer = self.disks("POST", data={"size": 1, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["uuid"])


USERS = {"jane": "s3cret:with colon", "jörg": "grün"}


JANE = ("jane", "s3cret")
UP = "from stratuslab_libcloud.cli.sandbox import main; main()"


class Elsewhere:
    """A sandbox in a process of its own."""

    def __init__(self, url: str, process: Process) -> None:
        self.url = url
        self.process = process


def kill_at_work(site: Elsewhere, everybody: Sequence[T], rounds: Callable[[T], int]) -> None:
    """
    End a sandbox by ``kill -9`` while all of these work with it.

    :param rounds: how often somebody has done all of their work; twice, before the end.
    """
    for one in everybody:
        one.start()
    end = time.monotonic() + 60
    while min(map(rounds, everybody)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    site.process.send_signal(signal.SIGKILL)
    for one in everybody:
        one.join()
    assert all(map(rounds, everybody))


@contextlib.contextmanager
def elsewhere(
    directory: Path,
    *options: str,
    machines: str = "simulated",
    stderr: IO[str] | None = None,
    forked: bool = False,
) -> Iterator[Elsewhere]:
    """
    A sandbox of Jane's, from the command line.

    :param forked: be up at once; the process then has the memory of much else.
    """
    words = ["up", "--dir", str(directory), "--port", "0", *options]
    words += ["--user", ":".join(JANE), "--machines", machines]
    with start(UP, *words, anew=not forked, stderr=stderr) as process:
        try:
            assert process.stdout
            ready = process.stdout.readline()
            assert ready.startswith("ready")
            assert process.stdout.readline().startswith("pages: ")
            url = next(word.rstrip(",") for word in ready.split() if word.startswith("http"))
            yield Elsewhere(url, process)
        finally:
            process.kill()
