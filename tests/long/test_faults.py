"""
Every operation, at each of its requests, with everything that can go wrong with a server.

What is expected is one table of faults and one of operations, and the rules in ``expected()``. A
cell is one fault at one request of one operation. The cells wait most of the time, so all that
were chosen are tried at once, by the fixture; a test tells how one of them went.
"""

import os
import queue
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Container, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import faults
import pytest
from canned import Canned
from clouds import KEY, config
from faults import Certificates, Fault, FaultySite
from libcloud.compute.base import Node, NodeImage, NodeSize, StorageVolume, VolumeSnapshot
from libcloud.compute.types import StorageVolumeState
from looks import wait_for
from pauses import REAL, pauses
from present import present

from stratuslab_libcloud import NewImage
from stratuslab_libcloud.client.stratuslab import pdisk
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConnectionFailedError,
    CredentialsError,
    LostAnswerError,
    MalformedAnswerError,
    NodeNotReadyError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    ServiceError,
    StratusLabError,
    UnavailableError,
)
from stratuslab_libcloud.sandbox.site import Sandbox
from stratuslab_libcloud.sandbox.storage.rules import Storage
from stratuslab_libcloud.sandbox.store import Account as Owner

WAITING, WORKING = 16, 4  # cells that are tried at the same time: such as wait, and others
AMPLE, SHORT = 20.0, 6.0  # time-outs of a driver: seconds, of which a busy machine may take some
WAIT = 12.0  # seconds that a node is waited for; a hanging request is to leave time for another
GUARD = 5  # times the time-out

# -- what there is to ask ----------------------------------------------------------------------

# What a request is: it reads; it may be sent again, as its effect is the same; it must be sent
# once only; its failure is not the operation's; it is sent until it tells what is waited for.
READS, AGAIN, ONCE, SPARED, WAITS = "reads", "again", "once", "spared", "waits"


@dataclass(frozen=True)
class Step:
    """
    One request of an operation.

    :ivar pattern: what tells it from others: method, path and body.
    :ivar about: whether it is about a particular thing, so that 404 means that it is not there.
    :ivar doubt: what an error says of a request that may have had its effect.
    :ivar later: how many such requests come after it, for other steps.
    :ivar patient: whether an answer may take all the time there is, as a whole disk is read for it.
    """

    name: str
    pattern: str
    nature: str
    about: bool = False
    doubt: str = ""
    later: int = 0
    patient: bool = False

    @property
    def changes(self) -> bool:
        """Whether its answer needs no body."""
        return self.pattern.startswith("^PUT") or self.name == "send"


@dataclass
class Things:
    """What an operation works on, in an account that has nothing else."""

    truth: StratusLabNodeDriver
    size: NodeSize
    image: NodeImage
    images: set[str]
    nodes: list[Node] = field(default_factory=list)
    volumes: list[StorageVolume] = field(default_factory=list)
    snapshots: list[VolumeSnapshot] = field(default_factory=list)

    @property
    def node(self) -> Node:
        return self.nodes[0]

    @property
    def volume(self) -> StorageVolume:
        return self.volumes[0]

    @property
    def snapshot(self) -> VolumeSnapshot:
        return self.snapshots[0]

    def kept(self) -> list[VolumeSnapshot]:
        """The snapshots that the volume has now."""
        (volume,) = (one for one in self.truth.list_volumes() if one.id == self.volume.id)
        return self.truth.list_volume_snapshots(volume)

    def is_now(self, nodes: int, volumes: int, state: str = "", name: str = "v") -> bool:
        """Whether the account has that many nodes and volumes, the latter in that state."""
        found = self.truth.list_volumes()
        seen = {(volume.state, volume.name) for volume in found}
        return (len(self.truth.list_nodes()), len(found)) == (nodes, volumes) and (
            not state or seen == {(state, name)}
        )


Call = Callable[[StratusLabNodeDriver, Things], Any]


@dataclass(frozen=True)
class Operation:
    """
    :ivar needs: what there is before: ``n``\\ ode, ``v``\\ olume, ``m``\\ ount, ``s``\\ napshot;
        the volume as an ``i``\\ mage or a ``l``\\ ive machine's; a node that can b``e``
        saved.
    :ivar right: whether the result is, and so what is at the site afterwards.
    :ivar most: how many volumes there are at most afterwards, whatever happened.
    :ivar faults: what is tried of those that there are; empty for all.
    :ivar dialect: that of the site.
    """

    name: str
    needs: str
    call: Call
    right: Callable[[Any, Things], bool]
    steps: tuple[Step, ...]
    most: int = 1
    faults: tuple[str, ...] = ()
    dialect: str = "stratuslab"


def ids(found: list[Any]) -> list[str]:
    return sorted(thing.id for thing in found)


SAVE_AS = NewImage("With a wiki", "And a wiki.", "Jane", "jane@example.org")
FREE, USED = StorageVolumeState.AVAILABLE, StorageVolumeState.INUSE
POOL = Step("pool", "one.vmpool.info", READS)
INFO = Step("info", "one.vm.info", READS)
CONSOLE = Step("console", "^GET /one-proxy/pswd/xmlrpc/machines/", READS, about=True)
ENTRY = Step("entry", "^GET /marketplace/metadata/.", READS, about=True)


def listed(volume: StorageVolume) -> StorageVolume:
    """The volume as a listing has it, which does not say where it is."""
    present(volume.extra)["node"] = None
    return volume


SHOWN = "^GET /pdisk/pswd/disks/[^/\n]+/?\n\nAccept: application/json"
UPDATE = "^PUT /pdisk/pswd/disks/[^/\n]+\n"
COPY = Step(
    "copy",
    "^POST /pdisk/pswd/disks/[^/\n]+\n",
    ONCE,
    about=True,
    doubt="may have been copied",
    patient=True,
)
# A download costs so much processor time that it meets few. Half of one is no fault that can be
# seen if it ends between two members of the gzip: the tests of transfers have other cuts.
SOME = ("reset in the body", "503", "404")
CONTENT = b"measured\0" * 1000


def copied(driver: StratusLabNodeDriver, volume: StorageVolume, *, back: bool) -> Any:
    """A copy on write, or an image made of one: what the commands ask for."""
    with driver._asking_for(volume, StorageVolume) as cloud:
        return (cloud.rebase_volume if back else cloud.copy_volume)(volume.id)


def uploaded(driver: StratusLabNodeDriver) -> StorageVolume:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.img")
        path.write_bytes(CONTENT)
        volume = driver.ex_upload_volume(path, "v")
        assert os.listdir(folder) == ["x.img"]
        return volume


def downloaded(driver: StratusLabNodeDriver, volume: StorageVolume) -> int:
    """How large the file is; if it does not come, there is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.img")
        try:
            driver.ex_download_volume(volume, path)
        except StratusLabError:
            assert os.listdir(folder) == []
            raise
        assert os.listdir(folder) == ["x.img"]
        return path.stat().st_size


STRATUSLAB = (
    Operation(
        "list_images",
        "",
        lambda driver, things: driver.list_images(),
        # Others save images at the same time.
        lambda found, things: (
            things.images <= set(ids(found)) <= set(ids(things.truth.list_images()))
        ),
        (Step("listing", "^GET /marketplace/metadata\n", READS),),
    ),
    Operation(
        "get_image",
        "",
        lambda driver, things: driver.get_image(things.image.id),
        lambda found, things: found.id == things.image.id and found.extra["checksums"],
        (ENTRY,),
    ),
    Operation(
        "list_nodes",
        "n",
        lambda driver, things: driver.list_nodes(),
        lambda found, things: ids(found) == ids(things.nodes),
        (POOL,),
    ),
    Operation(
        "ex_list_nodes",
        "n",
        lambda driver, things: driver.ex_list_nodes(),
        lambda found, things: ids(found) == ids(things.nodes),
        (POOL,),
    ),
    Operation(
        "ex_get_node",
        "n",
        lambda driver, things: driver.ex_get_node(present(things.node.id)),
        lambda found, things: found.id == things.node.id and found.public_ips,
        (INFO,),
    ),
    Operation(
        "ex_get_console_output",
        "n",
        lambda driver, things: driver.ex_get_console_output(things.node),
        lambda found, things: found.startswith("This machine is simulated"),
        (CONSOLE,),
    ),
    Operation(
        "create_node",
        "",
        lambda driver, things: driver.create_node("n", things.size, things.image, auth=KEY),
        lambda found, things: ids([found]) == ids(things.truth.list_nodes()),
        (
            ENTRY,
            Step("allocate", "one.vm.allocate", ONCE, doubt="named 'n' may have been created"),
            Step("info", "one.vm.info", SPARED),
        ),
    ),
    Operation(
        "destroy_node",
        "n",
        lambda driver, things: driver.destroy_node(things.node),
        lambda done, things: done is True and things.is_now(0, 0),
        (Step("kill", "one.vm.action", AGAIN),),
    ),
    Operation(
        "ex_shutdown_node",
        "n",
        lambda driver, things: driver.ex_shutdown_node(things.node),
        lambda done, things: done is True and things.is_now(0, 0),
        (Step("shutdown", "one.vm.action", ONCE, doubt="may be shutting down"),),
    ),
    Operation(
        "create_image",
        "e",
        lambda driver, things: driver.create_image(things.node, "With a wiki", ex_timeout=WAIT),
        lambda found, things: found.name == "With a wiki" and things.is_now(0, 1),
        (
            Step("description", "one.vm.info", READS, later=1),
            Step("disks", "^GET /pdisk/pswd/disks/\n", READS, later=1),
            Step("shutdown", "one.vm.action", ONCE, doubt="may be shutting down"),
            Step("info", "one.vm.info", WAITS),
            Step("saved", "^GET /pdisk/pswd/disks/\n", READS),
            ENTRY,
        ),
    ),
    Operation(
        "wait_until_running",
        "n",
        lambda driver, things: driver.wait_until_running(things.nodes, 0.05, timeout=WAIT),
        lambda found, things: [addresses for _, addresses in found] == [things.node.public_ips],
        (Step("info", "one.vm.info", WAITS),),
    ),
    Operation(
        "list_volumes",
        "v",
        lambda driver, things: driver.list_volumes(),
        lambda found, things: ids(found) == ids(things.volumes),
        (Step("listing", "^GET /pdisk/pswd/disks/\n", READS),),
    ),
    Operation(
        "create_volume",
        "",
        lambda driver, things: driver.create_volume(1, "v"),
        lambda found, things: ids([found]) == ids(things.truth.list_volumes()),
        (Step("create", "^POST /pdisk/pswd/disks/\n", ONCE, doubt="'v' may have been created"),),
    ),
    Operation(
        "attach_volume",
        "nv",
        lambda driver, things: driver.attach_volume(things.node, things.volume),
        lambda done, things: done is True and things.is_now(1, 1, USED),
        (
            INFO,
            Step("mount", "^POST .*/mounts/\n", ONCE, about=True, doubt="may have been attached"),
        ),
    ),
    Operation(
        "detach_volume",
        "nvm",
        lambda driver, things: driver.detach_volume(listed(things.volume)),
        lambda done, things: done is True and things.is_now(1, 1, FREE),
        (
            Step("mounts", "^GET .*/mounts/\n", READS, about=True),
            Step("unmount", "^DELETE .*/mounts/", AGAIN, about=True),
        ),
    ),
    Operation(
        "destroy_volume",
        "v",
        lambda driver, things: driver.destroy_volume(things.volume),
        lambda done, things: done is True and things.is_now(0, 0),
        (Step("delete", "^DELETE ", AGAIN, about=True),),
    ),
    Operation(
        "ex_update_volume",
        "v",
        lambda driver, things: driver.ex_update_volume(things.volume, name="w"),
        lambda done, things: done is True and things.is_now(0, 1, FREE, "w"),
        (Step("update", "^PUT ", AGAIN, about=True),),
    ),
    Operation(
        "ex_disk_mounts",
        "nvm",
        lambda driver, things: driver.ex_disk_mounts(things.volume),
        lambda found, things: [mount["node"] for mount in found] == ids(things.nodes),
        (Step("mounts", "^GET .*/mounts/\n", READS, about=True),),
    ),
    Operation(
        "create_volume_snapshot",
        "v",
        lambda driver, things: driver.create_volume_snapshot(things.volume, "s"),
        lambda found, things: ids([found]) == ids(things.kept()) and things.is_now(0, 1, FREE),
        (
            Step("show", SHOWN, READS, about=True),
            Step("to an image", f"{UPDATE}type=MACHINE_IMAGE_ORIGIN", AGAIN, about=True),
            COPY,
            Step("name", f"{UPDATE}tag=", AGAIN, about=True),
            Step("back", f"{UPDATE}type=DATA_IMAGE_RAW_READ_WRITE", AGAIN, about=True),
        ),
        most=2,
    ),
    Operation(
        "list_volume_snapshots",
        "vs",
        lambda driver, things: driver.list_volume_snapshots(things.volume),
        lambda found, things: ids(found) == ids(things.snapshots),
        (Step("list", "^GET /pdisk/pswd/disks/\n", READS),),
    ),
    Operation(
        "create_volume from a snapshot",
        "vs",
        lambda driver, things: driver.create_volume(1, "v", snapshot=things.snapshot),
        lambda found, things: (
            ids([found, things.volume]) == ids(things.truth.list_volumes())
            and things.is_now(0, 2, FREE)
        ),
        (COPY, Step("name", f"{UPDATE}tag=", AGAIN, about=True)),
        most=2,
    ),
    Operation(
        "destroy_volume_snapshot",
        "vs",
        lambda driver, things: driver.destroy_volume_snapshot(things.snapshot),
        lambda done, things: done is True and things.kept() == [],
        (Step("delete", "^DELETE ", AGAIN, about=True),),
    ),
    Operation(
        "copy_volume",
        "vi",
        lambda driver, things: copied(driver, things.volume, back=False),
        lambda found, things: found.type == "MACHINE_IMAGE_LIVE" and things.is_now(0, 2),
        (Step("show", SHOWN, READS, about=True), COPY),
        most=2,
    ),
    Operation(
        "rebase_volume",
        "vl",
        lambda driver, things: copied(driver, things.volume, back=True),
        lambda found, things: found.type == "MACHINE_IMAGE_ORIGIN" and things.is_now(0, 2),
        (Step("show", SHOWN, READS, about=True), COPY),
        most=2,
    ),
    Operation(
        "ex_upload_volume",
        "",
        lambda driver, things: uploaded(driver),
        lambda found, things: (
            ids([found]) == ids(things.truth.list_volumes()) and things.is_now(0, 1, FREE)
        ),
        (
            Step(
                "send",
                "^POST /pdisk/pswd/disks/\n",
                ONCE,
                doubt="a disk may have been made of",
                patient=True,
            ),
            Step("show", SHOWN, READS, about=True),
            Step("name", f"{UPDATE}tag=", AGAIN, about=True),
        ),
    ),
    Operation(
        "ex_download_volume",
        "v",
        lambda driver, things: downloaded(driver, things.volume),
        lambda size, things: size == 1 << 30,
        (
            Step(
                "content",
                "^GET /pdisk/pswd/disks/[^/\n]+/\n\nAccept: application/x-gzip",
                READS,
                about=True,
                patient=True,
            ),
        ),
        faults=SOME,
    ),
)

# The same calls on a modern engine. What the two dialects share below XML-RPC has met all faults;
# these are one of each kind: nothing is known, heard or not, refused, and not to be read.
THESE = ("refused", "reset", "503", "401", "truncated", "garbage")
FOUND = Step("look", "one.image.info", READS)
VM_INFO = Step("info", "one.vm.info", READS)

MODERN = (
    Operation(
        "list_images",
        "",
        lambda driver, things: driver.list_images(),
        lambda found, things: set(ids(found)) == things.images,
        (Step("listing", "one.imagepool.info", READS),),
    ),
    Operation(
        "list_nodes",
        "n",
        lambda driver, things: driver.list_nodes(),
        lambda found, things: ids(found) == ids(things.nodes),
        (POOL,),
    ),
    Operation(
        "create_node",
        "",
        lambda driver, things: driver.create_node("n", things.size, things.image, auth=KEY),
        lambda found, things: ids([found]) == ids(things.truth.list_nodes()),
        (
            Step("network", "one.vnpool.info", READS),
            Step("allocate", "one.vm.allocate", ONCE, doubt="named 'n' may have been created"),
            Step("info", "one.vm.info", SPARED),
        ),
    ),
    Operation(
        "create_volume",
        "",
        lambda driver, things: driver.create_volume(1, "v"),
        lambda found, things: (
            ids([found]) == ids(things.truth.list_volumes()) and things.is_now(0, 1, FREE)
        ),
        (
            Step("datastores", "one.datastorepool.info", READS),
            Step("create", "one.image.allocate", ONCE, doubt="'v' may have been created"),
            FOUND,
        ),
    ),
    Operation(
        "attach_volume",
        "nv",
        lambda driver, things: driver.attach_volume(things.node, things.volume),
        lambda done, things: done is True and things.is_now(1, 1, USED),
        (
            Step("info", "one.vm.info", READS, later=1),
            Step("attach", "one.vm.attach", ONCE, doubt="may have been attached"),
            VM_INFO,
        ),
    ),
    Operation(
        "destroy_node",
        "n",
        lambda driver, things: driver.destroy_node(things.node),
        lambda done, things: done is True and things.is_now(0, 0),
        (Step("terminate", "one.vm.action", AGAIN),),
    ),
)
OPERATIONS = STRATUSLAB + tuple(replace(one, dialect="opennebula", faults=THESE) for one in MODERN)

# -- what can go wrong -------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """
    What a fault is to the driver.

    :ivar error: its class when the fault lasts.
    :ivar passing: it is worth while to ask again.
    :ivar heard: the request may have had its effect.
    :ivar says: in the text.
    :ivar timeout: of the driver; short where it is waited for.
    :ivar turns: how often the fault is tried: once, always.
    """

    error: type[StratusLabError]
    passing: bool = False
    heard: bool = True
    says: str = ""
    timeout: float = AMPLE
    turns: tuple[str, ...] = ("always",)


BROKEN, UNREADABLE = ConnectionFailedError, MalformedAnswerError
BOTH = ("once", "always")
PASSES: dict[str, Any] = {"passing": True, "turns": BOTH}
SLOW: dict[str, Any] = {**PASSES, "timeout": SHORT}

FAULTS: dict[Fault, Rule] = {
    Fault("refused", outage=faults.refuse): Rule(BROKEN, heard=False, says="refused", **PASSES),
    Fault("reset", faults.reset): Rule(BROKEN, **PASSES),
    Fault("reset in the body", faults.reset_in_body): Rule(BROKEN, **PASSES),
    Fault("no answer", faults.never): Rule(BROKEN, says="did not answer", **SLOW),
    Fault("dripping body", faults.drip_body): Rule(BROKEN, says="in time", **SLOW),
    Fault("dripping head", faults.drip_head): Rule(BROKEN, says="in time", **SLOW),
    Fault("100 for ever", faults.drip_continue): Rule(BROKEN, says="in time", **SLOW),
    Fault("500", faults.status(500)): Rule(UnavailableError, says="HTTP 500", **PASSES),
    Fault("502", faults.status(502)): Rule(UnavailableError, says="HTTP 502", **PASSES),
    Fault("503", faults.status(503)): Rule(UnavailableError, says="HTTP 503", **PASSES),
    Fault("401", faults.status(401)): Rule(CredentialsError, heard=False, says="password"),
    Fault("403", faults.status(403)): Rule(NotPermittedError, heard=False, says="HTTP 403"),
    Fault("404", faults.status(404)): Rule(NotFoundError, heard=False),
    Fault("429, 1 s", faults.status(429, Retry_After="1")): Rule(
        UnavailableError, passing=True, heard=False, says="try again later", turns=("once",)
    ),
    Fault("429, 1 h", faults.status(429, Retry_After="3600")): Rule(
        UnavailableError, heard=False, says="try again later"
    ),
    Fault("web page", faults.web_page): Rule(UNREADABLE, **PASSES),
    Fault("truncated", faults.truncated): Rule(UNREADABLE, **PASSES),
    Fault("mislabelled", faults.mislabelled): Rule(UNREADABLE, passing=True),
    Fault("garbage", faults.garbage): Rule(UNREADABLE),
    Fault("redirect elsewhere", faults.redirect): Rule(UNREADABLE, says="redirects to"),
    Fault("another host's certificate", outage=faults.certificate("another host's")): Rule(
        BROKEN,
        heard=False,
        says="mismatch, certificate is not valid for '127.0.0.1'); use the",
    ),
    Fault("expired certificate", outage=faults.certificate("expired")): Rule(
        BROKEN, heard=False, says="certificate has expired); ask the operator to renew it"
    ),
    Fault("self-signed certificate", outage=faults.certificate("self-signed")): Rule(
        BROKEN, heard=False, says="signed certificate); if the cloud uses its own CA"
    ),
}

NO_LISTING = object()  # an empty Marketplace has no XML listing


def expected(cell: "Cell") -> type[StratusLabError] | object | None:
    """The class of the error; ``None`` where the operation is to succeed all the same."""
    fault, step = cell.fault.name, cell.step
    rule = FAULTS[cell.fault]
    if step.nature == SPARED:
        return None
    if step.patient and rule.timeout == SHORT:
        return LostAnswerError if step.nature == ONCE else rule.error
    if cell.turns == "once" and rule.passing and step.nature != ONCE:
        return None
    if fault == "mislabelled" and cell.operation.name != "list_images":
        return None  # only there the label tells JSON from XML
    if fault == "truncated" and (step.changes or step.name in ("delete", "unmount")):
        return None  # there is no body; it is found gone when asked again
    if fault == "404" and step is CONSOLE:
        return NotSupportedError  # for lack of a door it is a site, not a sandbox
    if fault == "404" and not step.about:
        return NO_LISTING if cell.operation.name == "list_images" else ServiceError
    if rule.error is ConnectionFailedError and rule.heard and step.nature == ONCE:
        return LostAnswerError
    if step.nature == WAITS and (rule.passing or rule.error is UnavailableError):
        return NodeNotReadyError
    return rule.error


def asked(cell: "Cell") -> Container[int]:
    """How often the request may reach the site, the fault and afterwards."""
    rule, nature, once = FAULTS[cell.fault], cell.step.nature, cell.turns == "once"
    if cell.fault.outage:
        return (1,) if once and nature != ONCE else (0,)
    if nature == WAITS and not once:
        return range(1, 1000)
    if cell.fault.name == "garbage" and nature != ONCE:
        return (1, 3)  # refused for its size, or as soon as it cannot be read
    if nature == ONCE or not rule.passing:
        return (1,)
    if cell.step.patient and rule.timeout == SHORT:
        return (1,)
    if cell.fault.name == "truncated" and cell.step.changes:
        return (1,)  # nothing was wrong
    if once:
        return (2,)
    return (2, 3) if rule.turns == BOTH else (1, 2, 3)


# -- trying ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One fault at one request of one operation, once or always."""

    operation: Operation
    step: Step
    fault: Fault
    turns: str

    @property
    def waits(self) -> bool:
        """Whether it takes next to no processor time, but seconds."""
        return FAULTS[self.fault].timeout == SHORT or self.step.nature == WAITS

    def __str__(self) -> str:
        name, dialect = self.operation.name, self.operation.dialect
        where = "" if dialect == "stratuslab" else f" on {dialect}"
        return f"{name}{where}/{self.step.name}-{self.fault.name}-{self.turns}"


CELLS = [
    Cell(operation, step, fault, turns)
    for operation in OPERATIONS
    for step in operation.steps
    for fault, rule in FAULTS.items()
    if not operation.faults or fault.name in operation.faults
    for turns in rule.turns
]


@dataclass(frozen=True)
class Account:
    """
    :ivar truths: for each dialect, a driver that asks the sandbox itself.
    """

    name: str
    password: str
    truths: dict[str, StratusLabNodeDriver]


PATHS = {"stratuslab": "/one-proxy/xmlrpc", "opennebula": "/RPC2"}


class Bench:
    """A sandbox with an account for each worker."""

    def __init__(self, sandbox: Sandbox, certificates: Certificates) -> None:
        self.sandbox = sandbox
        self.compute = sandbox._compute
        self.storage = Storage(self.compute._store, sandbox.dir / "disks", self.compute.machinery)
        self.certificates = certificates
        self.accounts: queue.SimpleQueue[Account] = queue.SimpleQueue()
        for name, password in sandbox.users.items():
            truths = {one: self.driver(sandbox.url, name, password, one) for one in PATHS}
            self.accounts.put(Account(name, password, truths))
        self.images = {one: truth.list_images() for one, truth in truths.items()}

    def driver(
        self, url: str, username: str, password: str, dialect: str, timeout: float = AMPLE
    ) -> StratusLabNodeDriver:
        options = {
            "endpoint": url + PATHS[dialect],
            "dialect": dialect,
            "username": username,
            "password": password,
        }
        if dialect == "stratuslab":
            options["marketplace_endpoint"] = f"{url}/marketplace"
        if url.startswith("https:"):
            options["ca_certificate"] = str(self.certificates.authority)
        return StratusLabNodeDriver(stratuslab_user_config=config(**options), timeout=timeout)

    # From inside: asking for it took a third of the processor time of all cells.

    def machines(self, owner: Owner) -> list[int]:
        found = ET.fromstring(self.compute.pool(owner, -3, -1, -1, -1))
        return [int(present(machine.text)) for machine in found.iterfind("VM/ID")]

    def clear(self, owner: Owner) -> None:
        for machine in self.machines(owner):
            self.compute.action(owner, "finalize", machine)
        for disk in self.storage.disks(owner):  # the newest first: what is made of others
            self.storage.delete(owner, disk["uuid"])

    def made(self, account: Account, things: Things, operation: Operation) -> tuple[int, int]:
        """How many nodes and volumes there are; snapshots are none."""
        if operation.dialect == "opennebula":
            return len(things.truth.list_nodes()), len(things.truth.list_volumes())
        owner = Owner(0, account.name)
        volumes = [
            disk
            for disk in self.storage.disks(owner)
            if disk["type"] != "MACHINE_IMAGE_ORIGIN"
            or not disk["identifier"].startswith("snapshot:")
        ]
        return len(self.machines(owner)), len(volumes)

    def clear_engine(self, truth: StratusLabNodeDriver) -> None:
        for node in truth.list_nodes():
            truth.destroy_node(node)
        wait_for(truth.list_nodes, [])
        for volume in truth.list_volumes():
            truth.destroy_volume(volume)

    def things(self, account: Account, operation: Operation) -> Things:
        """Clear the account, and make what is needed."""
        truth, needs = account.truths[operation.dialect], operation.needs
        if operation.dialect == "opennebula":
            self.clear_engine(truth)
        else:
            self.clear(Owner(0, account.name))
        images = self.images[operation.dialect]
        image = images[0]
        things = Things(truth, truth.list_sizes()[0], image, set(ids(images)))
        if "n" in needs or "e" in needs:
            save_as = SAVE_AS if "e" in needs else None
            things.nodes = [
                truth.create_node("n", things.size, image, auth=KEY, ex_save_as=save_as)
            ]
            if operation.dialect == "opennebula":
                truth.wait_until_running(things.nodes, 0.05, timeout=WAIT)
        if "v" in needs:
            things.volumes = [truth.create_volume(1, "v")]
        if "m" in needs:
            truth.attach_volume(things.node, things.volume)
        if "s" in needs:
            things.snapshots = [truth.create_volume_snapshot(things.volume)]
        for need, kind in (("i", "MACHINE_IMAGE_ORIGIN"), ("l", "MACHINE_IMAGE_LIVE")):
            if need in needs:
                with truth._asking_for(things.volume, StorageVolume) as cloud:
                    cloud.update_volume(things.volume.id, kind=kind)
        for extra in [thing.extra for thing in things.nodes + things.volumes + things.snapshots]:
            del present(extra)["endpoint"]  # the faulty site has another
        return things

    def try_out(self, cell: Cell) -> None:
        """One cell, whole."""
        account = self.accounts.get()
        tls = self.certificates if cell.fault.name.endswith("certificate") else None
        try:
            with (
                Canned([(200, "text/plain", b"")]) as elsewhere,
                FaultySite(self.sandbox, elsewhere, tls) as site,
            ):
                timeout = FAULTS[cell.fault].timeout
                dialect = cell.operation.dialect
                driver = self.driver(site.url, account.name, account.password, dialect, timeout)
                try:
                    self.meet(cell, site, driver, account)
                    site.mend()
                    driver.ex_close()  # the connections that it has left
                    things = self.things(account, cell.operation)
                    result = cell.operation.call(driver, things)
                    assert cell.operation.right(result, things), "not right afterwards"
                finally:
                    driver.ex_close()
        finally:
            self.accounts.put(account)

    def meet(
        self, cell: Cell, site: FaultySite, driver: StratusLabNodeDriver, account: Account
    ) -> None:
        """The operation with the fault, and all that is promised of it."""
        operation, step = cell.operation, cell.step
        things = self.things(account, operation)
        after = [one.pattern for one in operation.steps[: operation.steps.index(step)]]
        site.befall(cell.fault, step.pattern, after, passing=cell.turns == "once")
        kind, result, error = expected(cell), None, None
        begun = time.monotonic()
        try:
            result = operation.call(driver, things)
        except Exception as caught:
            error = caught
        took = time.monotonic() - begun
        site.settle()
        if kind is None:
            assert error is None, f"failed with {error!r}"
            assert operation.right(result, things), f"not right: {result!r}"
        elif kind is NO_LISTING:
            assert (error, result) == (None, [])
        else:
            assert type(error) is kind, f"{error!r}, not {kind}; the result is {result!r}"
            self.check_text(cell, str(error), account)
        assert took < GUARD * max(FAULTS[cell.fault].timeout, step.nature == WAITS and WAIT)
        met = site.met() - (step.later if error is None else 0)
        assert met in asked(cell), f"asked {met} times"
        assert site.elsewhere.requests == []
        nodes, volumes = self.made(account, things, operation)
        assert nodes <= 1, f"{nodes} nodes"
        assert volumes <= operation.most, f"{volumes} volumes"

    def check_text(self, cell: Cell, text: str, account: Account) -> None:
        """One line, that says where, and whether there is something to look for."""
        rule, step = FAULTS[cell.fault], cell.step
        assert "\n" not in text
        assert account.password not in text
        assert rule.says in text
        if step.nature != WAITS:
            assert text.startswith("default (http")
        assert (step.doubt in text) == ((rule.heard and step.nature == ONCE) or not step.doubt), (
            text
        )


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Cell, "Future[None]"]]:
    tests = [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_cell
    ]
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert tests[0].nodeid.endswith("@faults"), "each process would try all the cells"
    cells: list[Any] = [test.callspec.params["cell"] for test in tests]
    users = {f"user{number}": f"Mark3r-{number}-Passw0rd" for number in range(WAITING + WORKING)}
    with (
        pytest.MonkeyPatch.context() as patch,
        pauses(REAL),  # after which a service is back that was down
        Sandbox(users=users) as sandbox,
        ThreadPoolExecutor(WAITING) as waiting,
        ThreadPoolExecutor(WORKING) as working,
    ):
        patch.setattr(pdisk, "_WHOLE_DISK", 1)  # no longer than for anything else
        bench = Bench(sandbox, Certificates(tmp_path_factory.mktemp("certificates")))
        yield {
            cell: (waiting if cell.waits else working).submit(bench.try_out, cell) for cell in cells
        }


@pytest.mark.xdist_group("faults")  # all in one process, whose threads share the work
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell(cell: Cell, outcomes: dict[Cell, "Future[None]"]) -> None:
    outcomes[cell].result()
