"""
Nobody sees, changes or guesses machines and disks of somebody else: every route, by every door,
in both layouts (pdisk-rest 1.4 and 2, compute-xmlrpc 2, opennebula-engines 7), and by that of the
modern engine (opennebula-modern 2 to 10).
"""

import re
import sqlite3
import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from callers import Caller
from present import present

from stratuslab_libcloud.sandbox.compute.xmlrpc import METHODS
from stratuslab_libcloud.sandbox.opennebula.calls import CALLS as ENGINE_CALLS
from stratuslab_libcloud.sandbox.site import Sandbox

USERS = {"certified": "pw-c", "ursula": "pw-u", "stranger": "pw-s"}
SECRETS = ("ursula", "tag-of-ursula", "name-of-ursula", "key-of-ursula")
UNKNOWN = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
MACHINE = """NAME = "name-of-ursula"
MEMORY = 512
NIC = [ NETWORK_UNAME = oneadmin, NETWORK = "public" ]
CONTEXT = [ PUBLIC_KEY = "key-of-ursula" ]
"""
NODE = {"node": "sandbox", "vm_id": "{machine}"}

# Of the storage service. {disk} is plugged into {machine}, {spare} and {boot} into none: all are
# somebody else's. {own} and {mine}, a disk and a machine, are the caller's.
ROUTES = [
    ("GET", "", {}, 200),
    ("HEAD", "", {}, 200),
    ("GET", "/disks", {}, 200),
    ("HEAD", "/disks", {}, 200),
    ("POST", "/disks", {"size": "1", "owner": "ursula"}, 403),
    ("POST", "/disks", {"size": "1", "identifier": "x"}, 403),
    ("POST", "/disks", {"size": "1", "quarantine": "x"}, 403),
    ("GET", "/disks/{disk}", {}, 403),
    ("HEAD", "/disks/{disk}", {}, 403),
    ("POST", "/disks/{disk}", {"x": "y"}, 403),
    ("PUT", "/disks/{disk}", {"tag": "stolen"}, 403),
    ("PUT", "/disks/{disk}", {"visibility": "public"}, 403),
    ("PUT", "/disks/{disk}", {"owner": "stranger"}, 403),
    ("PUT", "/disks/{own}", {"owner": "ursula"}, 403),
    ("DELETE", "/disks/{disk}", {}, 403),
    ("POST", "/disks/{disk}?method=PUT", {"tag": "stolen"}, 403),
    ("POST", "/disks/{disk}?method=DELETE", {}, 403),
    ("GET", "/disks/{disk}/mounts", {}, 403),
    ("HEAD", "/disks/{disk}/mounts", {}, 403),
    ("POST", "/disks/{disk}/mounts", NODE, 403),
    ("POST", "/disks/{disk}/mounts", {**NODE, "vm_id": "{mine}"}, 403),
    ("POST", "/disks/{own}/mounts", NODE, 403),
    ("POST", "/disks/{own}/mounts", {**NODE, "register_only": "true"}, 403),
    ("GET", "/disks/{disk}/mounts/{disk}_{machine}", {}, 403),
    ("HEAD", "/disks/{disk}/mounts/{disk}_{machine}", {}, 403),
    ("DELETE", "/disks/{disk}/mounts/{disk}_{machine}", {}, 403),
    ("GET", "/disks/{disk}/mounts/{disk}_{mine}", {}, 403),
    ("GET", "/disks/{own}/mounts/{disk}_{machine}", {}, 404),
    ("DELETE", "/disks/{own}/mounts/{disk}_{machine}", {}, 404),
    ("GET", "/disks/{disk}/turl", {}, 403),
    ("HEAD", "/disks/{disk}/turl", {}, 403),
    ("GET", "/instances", {}, 200),
    ("HEAD", "/instances", {}, 200),
    ("GET", "/instances/{machine}", {}, 200),
    ("HEAD", "/instances/{machine}", {}, 200),
    # What does not exist: that a disk of an unguessable name does is all that is ever told.
    ("GET", f"/disks/{UNKNOWN}", {}, 404),
    ("GET", "/disks/..%2f{disk}", {}, 404),
    ("GET", "/disks/{disk}%00", {}, 404),
    ("GET", "/disks/%25", {}, 404),
    ("POST", "/disks/{own}/mounts", {**NODE, "vm_id": "999999"}, 404),
]

# Calls, what is refused of them, or None where nothing is shown.
CALLS = [
    ("one.vm.info", ("{machine}",), 512),
    ("one.vm.action", ("finalize", "{machine}"), 512),
    ("one.vm.action", ("shutdown", "{machine}"), 512),
    *(("one.vmpool.info", (flag, -1, -1, -2), None) for flag in (-3, -2, -1, 0, 1, "{ursula}")),
    ("one.vmpool.info", (-2, "{machine}", "{machine}", -2), None),
    ("one.vm.info", (999_999,), 1024),
]

# Machines that would begin with a disk of hers.
TEMPLATES = [
    *(
        f'DISK=[SOURCE="/x"]DISK=[SOURCE="{source}"]'
        for source in (
            *(
                "pdisk:h/{spare}",
                "pdisk:https://h/pdisk/{spare}",
                "https://h/pdisk/pswd/disks/{spare}",
            ),
            *("https://h/pswd/disks/{spare}/", "pdisk:h/{disk}", f"pdisk:h/{UNKNOWN}"),
        )
    ),
    'DISK=[SOURCE="pdisk:h/{boot}"]',
]


# What she has on the modern engine; and the calls that say, with an id, what to do with which.
OF_URSULA: dict[str, tuple[Any, ...]] = {
    "vm": ("one.vm.allocate", 'NAME="name-of-ursula"\nCPU=1\nMEMORY=64\nNOTE="key-of-ursula"'),
    "image": ("one.image.allocate", 'NAME="tag-of-ursula"\nPERSISTENT=YES\nSIZE=1', 1),
    "template": ("one.template.allocate", 'NAME="tag-of-ursula"\nCPU=1\nMEMORY=64'),
}
ENGINE_CHANGES = [
    method
    for method in ENGINE_CALLS
    if method.split(".")[1] in OF_URSULA and not method.endswith(".allocate")
]
ENGINE_TEXTS = {
    **dict.fromkeys(("one.vm.attach", "one.vm.attachnic"), "DISK=[TYPE=fs,SIZE=1]\nNIC=[]"),
    "one.vm.action": "terminate-hard",
}
ENGINE_POOLS = [
    *(("one.imagepool.info", flag) for flag in (-4, -3, -2, -1, "{ursula}")),
    *(("one.templatepool.info", flag) for flag in (-4, -3, -2, -1, "{ursula}")),
    *(("one.vmpool.info", flag, -2) for flag in (-4, -3, -2, -1, "{ursula}")),
    *(("one.vmpool.infoextended", flag, -2) for flag in (-4, -3, -2, -1, "{ursula}")),
    ("one.marketapppool.info", -2),
]
ENGINE_TEMPLATES = [
    "DISK=[IMAGE_ID={engine image}]",
    'DISK=[IMAGE="tag-of-ursula",IMAGE_UNAME="ursula"]',
    'DISK=[IMAGE="tag-of-ursula",IMAGE_UID="{ursula}"]',
    'DISK=[SOURCE="pdisk:h/{spare}"]',
    'DISK=[TYPE="BLOCK",SOURCE="pdisk:h/{spare}"]',
]


@dataclass
class Place:
    """A site, what Ursula has there, and who else is about."""

    site: Sandbox
    ids: dict[str, str] = field(default_factory=lambda: {"own": UNKNOWN, "mine": "0"})

    def caller(self, who: str) -> tuple[Caller, dict[str, Any]]:
        options: dict[str, Any] = {"verify": str(self.site.dir / "ca.pem")}
        if who == "certified":
            options["cert"] = str(self.site.dir / "user-certified.pem")
            return Caller(self.site, None), options
        return Caller(self.site, (who, USERS[who]) if who in USERS else None), options

    def filled(self, text: str) -> str:
        return text.format(**self.ids)

    def everything(
        self, tables: tuple[str, ...] = ("machines", "addresses", "disks", "mounts", "opennebula")
    ) -> list[tuple[object, ...]]:
        """What the site remembers of machines and disks, and the disks' files."""
        with sqlite3.connect(f"file:{self.site.dir}/sandbox.db?mode=ro", uri=True) as db:
            rows = [(name, *row) for name in tables for row in db.execute(f"SELECT * FROM {name}")]
        db.close()
        files = [
            (path.name, path.stat().st_mtime)
            for folder in ("disks", "datastore")
            for path in (self.site.dir / folder).iterdir()
        ]
        return sorted(rows + files, key=repr)

    def call(self, who: str, path: str, method: str, *parameters: Any) -> Any:
        caller, options = self.caller(who)
        body = xmlrpc.client.dumps(("stranger:pw-s", *parameters), method).encode()
        answer = caller.request("POST", path, data=body, **options)
        assert answer.status_code == 200, answer.text
        returned: Any = xmlrpc.client.loads(answer.content)[0][0]
        success, result, code = returned
        return result if success else (result, code)

    def ask_engine(self, who: str, method: str, *parameters: Any) -> Any:
        """What the modern engine answers: a value, or text and code."""
        caller, options = self.caller("nobody")  # it takes no login of HTTP
        session = f"{who}:{USERS.get(who, '')}"
        body = xmlrpc.client.dumps((session, *parameters), method).encode()
        answer = caller.request("POST", "/RPC2", data=body, **options)
        assert answer.status_code == 200, answer.text
        returned: Any = xmlrpc.client.loads(answer.content)[0][0]
        return returned[1] if returned[0] else tuple(returned[1:3])


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Sandbox(users=USERS, tls=True) as site:
        found = Place(site)
        ursula, options = found.caller("ursula")
        vm_id = found.call("ursula", "/pswd/xmlrpc", "one.vm.allocate", MACHINE)
        assert isinstance(vm_id, int), vm_id
        found.ids["machine"] = str(vm_id)
        for name in ("disk", "spare", "boot"):
            kind = "MACHINE_IMAGE_LIVE" if name == "boot" else "DATA_IMAGE_RAW_READ_WRITE"
            disk = {"size": 1, "tag": "tag-of-ursula", "type": kind}
            found.ids[name] = ursula.disks("POST", data=disk, **options).json()["uuid"]
        mount = {"node": "sandbox", "vm_id": vm_id}
        plugged = ursula.disks("POST", f"/{found.ids['disk']}/mounts", data=mount, **options)
        assert plugged.status_code == 200, plugged.text
        document = found.call("ursula", "/pswd/xmlrpc", "one.vm.info", vm_id)
        found.ids["ursula"] = present(re.search("<UID>([0-9]+)", document))[1]
        for kind, (method, *parameters) in OF_URSULA.items():
            made = found.ask_engine("ursula", method, *parameters)
            assert isinstance(made, int), made
            found.ids[f"engine {kind}"] = str(made)
        yield found


DOORS = [
    *(("stranger", prefix) for prefix in ("/pdisk/pswd", "/pswd")),
    *(("certified", prefix) for prefix in ("/pdisk/cert", "/cert")),
]


@pytest.fixture(scope="module", params=DOORS, ids=lambda door: door[1])
def stranger(place: Place, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Somebody at one of the doors, with a disk and a machine that he may use."""
    who, prefix = request.param
    caller, options = place.caller(who)
    own = caller.request("POST", f"{prefix}/disks", data={"size": 1}, **options)
    place.ids["own"] = own.json()["uuid"]
    door = prefix.replace("/pdisk", "/one-proxy")
    place.ids["mine"] = str(place.call(who, f"{door}/xmlrpc", "one.vm.allocate", "MEMORY=512"))
    return who, prefix


@pytest.mark.parametrize(("method", "path", "form", "status"), ROUTES)
def test_what_is_somebody_elses_is_neither_shown_nor_changed(
    place: Place,
    stranger: tuple[str, str],
    method: str,
    path: str,
    form: dict[str, str],
    status: int,
) -> None:
    who, prefix = stranger
    caller, options = place.caller(who)
    before = place.everything()
    data = {name: place.filled(text) for name, text in form.items()} or None
    answer = caller.request(method, place.filled(prefix + path), data=data, **options)
    assert answer.status_code == status, answer.text
    assert place.everything() == before
    shown = f"{answer.text}{answer.headers}"
    assert [secret for secret in SECRETS if secret in shown] == []
    if status == 200:
        assert place.ids["disk"] not in shown
        assert f'"vmId": "{place.ids["machine"]}"' not in shown


@pytest.mark.parametrize(("method", "parameters", "code"), CALLS)
def test_what_is_somebody_elses_is_neither_shown_nor_changed_by_a_call(
    place: Place, stranger: tuple[str, str], method: str, parameters: tuple[object, ...], code: int
) -> None:
    who, prefix = stranger
    texts = [place.filled(str(value)) for value in parameters]
    filled = [int(text) if re.fullmatch("-?[0-9]+", text) else text for text in texts]
    before = place.everything()
    path = f"{prefix.replace('/pdisk', '/one-proxy')}/xmlrpc"
    result = place.call(who, path, method, *filled)
    assert place.everything() == before
    text = result if code is None else result[0]
    assert code is None or result[1] == code
    assert [secret for secret in SECRETS if secret in text] == []
    assert f"<ID>{place.ids['machine']}</ID>" not in text


def test_the_console_of_somebody_elses_machine_is_not_shown(
    place: Place, stranger: tuple[str, str]
) -> None:
    who, prefix = stranger
    caller, options = place.caller(who)
    machines = f"{prefix.replace('/pdisk', '/one-proxy')}/xmlrpc/machines"
    answer = caller.request("GET", f"{machines}/{place.ids['machine']}/console", **options)
    assert answer.status_code == 403
    assert [secret for secret in SECRETS if secret in answer.text] == []
    own = caller.request("GET", f"{machines}/{place.ids['mine']}/console", **options)
    assert own.json()["id"] == place.ids["mine"]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_disk_of_somebody_elses_gets_into_no_machine(
    place: Place, stranger: tuple[str, str], template: str
) -> None:
    who, prefix = stranger
    path = f"{prefix.replace('/pdisk', '/one-proxy')}/xmlrpc"
    before = place.everything(tables=("disks", "mounts"))
    vm_id = place.call(who, path, "one.vm.allocate", place.filled(template))
    document = place.call(who, path, "one.vm.info", vm_id)
    assert place.everything(tables=("disks", "mounts")) == before
    assert "<STATE>7</STATE>" in document
    assert "<MESSAGE>Error excuting image transfer script: " in document
    assert [secret for secret in SECRETS if secret in document] == []


@pytest.mark.parametrize(("method", "path", "form", "status"), ROUTES)
def test_nobody_is_shown_anything(
    place: Place, method: str, path: str, form: dict[str, str], status: int
) -> None:
    nobody, options = place.caller("nobody")
    before = place.everything()
    for prefix, refusal in (("/pdisk/pswd", 401), ("/pswd", 401), ("/cert", 403)):
        answer = nobody.request(method, place.filled(prefix + path), data=form, **options)
        assert answer.status_code == refusal
        assert place.ids["disk"] not in answer.text
    assert place.everything() == before


def test_no_route_is_forgotten(place: Place) -> None:
    assert {method for method, _, _ in CALLS} | {"one.vm.allocate"} == set(METHODS)  # TEMPLATES
    caller, options = place.caller("stranger")
    patterns: dict[str, set[str]] = {}
    for method, path, _, _ in ROUTES:
        pattern = re.sub("{disk}_{m[a-z]+}", "mount", path.partition("?")[0])
        pattern = re.sub("/disks/[^/]+", "/disks/disk", pattern)
        patterns.setdefault(pattern, set()).add(method)
    for pattern, methods in patterns.items():
        answer = caller.request("PATCH", place.filled(f"/pswd{pattern}"), **options)
        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == methods, pattern
    assert len(patterns) == 8


@pytest.mark.parametrize("method", ENGINE_CHANGES)
@pytest.mark.parametrize("who", ["stranger", "nobody"])
def test_what_is_somebody_elses_is_left_alone_by_the_engine(
    place: Place, who: str, method: str
) -> None:
    kind, signature = method.split(".")[1], ENGINE_CALLS[method][0].partition("|")[0]
    samples = {"i": 0, "s": ENGINE_TEXTS.get(method, "A=1"), "b": False}
    parameters: list[object] = [samples[one] for one in signature]
    parameters[signature.index("i")] = int(place.ids[f"engine {kind}"])
    before = place.everything()
    text, code = place.ask_engine(who, method, *parameters)
    assert code == (512 if who == "stranger" else 256)
    assert place.everything() == before
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("call", ENGINE_POOLS, ids=str)
def test_what_is_somebody_elses_is_in_no_pool_of_the_engine(
    place: Place, call: tuple[Any, ...]
) -> None:
    method, flag, *states = call
    flag = int(place.filled(str(flag)))
    document = place.ask_engine("stranger", method, flag, -1, -1, *states)
    assert isinstance(document, str)
    assert [secret for secret in SECRETS if secret in document] == []
    assert place.ask_engine("nobody", method, flag, -1, -1, *states)[1] == 256


def test_nor_what_the_engine_tells_of_several_machines_and_of_users(place: Place) -> None:
    for method, *parameters in (
        ("one.vmpool.infoset", place.ids["engine vm"], True),
        ("one.userpool.info",),
        ("one.user.info", -1),
        ("one.datastorepool.info",),
        ("one.vnpool.info", -2, -1, -1),
    ):
        document = place.ask_engine("stranger", method, *parameters)
        assert [secret for secret in SECRETS if secret in document] == [], method
    before = place.everything()
    hers = int(place.ids["ursula"])
    for method, *parameters in (
        ("one.user.info", hers),
        ("one.user.update", hers, "A=1", 1),
        ("one.user.login", "ursula", "", 60),
        ("one.user.quota", hers, "VM=[VMS=0]"),
    ):
        assert place.ask_engine("stranger", method, *parameters)[1] == 512
    assert place.everything() == before


@pytest.mark.parametrize("template", ENGINE_TEMPLATES)
def test_a_disk_of_somebody_elses_gets_into_no_machine_of_the_engine(
    place: Place, template: str
) -> None:
    before = place.everything()
    text = f"CPU=1\nMEMORY=64\n{place.filled(template)}"
    refusal, code = place.ask_engine("stranger", "one.vm.allocate", text)
    assert code in (512, 8192)
    assert place.everything() == before
    assert [secret for secret in SECRETS if secret in refusal] == []


def test_machines_of_one_door_are_none_of_the_other(place: Place) -> None:
    """Their numbers are the same, and belong to different people."""
    mine = place.ask_engine("stranger", "one.vm.allocate", "CPU=1\nMEMORY=64")
    for number in (int(place.ids["machine"]), mine):
        document = place.ask_engine("stranger", "one.vm.info", number)
        if isinstance(document, str):
            assert [secret for secret in SECRETS if secret in document] == []
    before = place.everything()
    place.call("stranger", "/pswd/xmlrpc", "one.vm.action", "finalize", int(mine))
    machines = [row for row in place.everything() if row[0] == "opennebula"]
    assert machines == [row for row in before if row[0] == "opennebula"]


def test_disks_cannot_be_guessed(place: Place) -> None:
    """Their names are random, all 122 bits."""
    caller, options = place.caller("ursula")
    found = {caller.disks("POST", data={"size": 1}, **options).json()["uuid"] for _ in range(20)}
    assert len(found) == 20
    assert {uuid[14] for uuid in found} == {"4"}
