"""Who comes in, what is a call, and what nobody may see (opennebula-modern 2, 8, 9)."""

import xmlrpc.client
from typing import Any

import pytest
from engine_callers import One, RefusedCallError, connected, post
from looks import wait_for

from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.opennebula.calls import CALLS
from stratuslab_libcloud.sandbox.opennebula.xmlrpc import MAX_CALL_BYTES
from stratuslab_libcloud.sandbox.site import Sandbox

DENIED = (256, "User couldn't be authenticated, aborting call.")
SAMPLES: dict[str, object] = {"i": 0, "s": "x", "b": False, "B": False}


@pytest.mark.parametrize(
    "session",
    ["", "alice", "alice:", ":pw-a", "alice:wrong", "nobody:pw-a", "' OR 1=1:x", "bob:pw-a"],
)
@pytest.mark.parametrize("method", ["system.version", "user.info", "vm.allocate"])
def test_one_answer_to_all_who_are_not_who_they_say(
    both: Sandbox, session: str, method: str
) -> None:
    needed = CALLS[f"one.{method}"][0].split("|")[0]
    parameters = [SAMPLES[kind] for kind in needed]
    assert One(both, session).refusal(method, *parameters) == DENIED


def test_every_call_is_for_users_only(both: Sandbox) -> None:
    for method, (signature, _) in CALLS.items():
        parameters = [SAMPLES[kind] for kind in signature.split("|")[0]]
        who = One(both, "alice:wrong")
        assert who.refusal(method.removeprefix("one."), *parameters) == DENIED, method


def test_only_a_post_to_this_very_path(both: Sandbox) -> None:
    assert post(both, b"", "GET")[0] == 405
    assert post(both, b"")[0] == 400
    assert post(both, b"x", "POST", "/rpc2")[0] == 404
    assert post(both, b"x", "POST", "/RPC2/x")[0] == 404


def test_the_connection_is_closed_after_every_call(both: Sandbox) -> None:
    body = xmlrpc.client.dumps(("alice:pw-a",), "one.system.version")
    with connected(both) as connection:
        connection.request("POST", "/RPC2", body)
        answer = connection.getresponse()
        assert answer.headers["Connection"] == "close"
        returned: Any = xmlrpc.client.loads(answer.read())[0][0]
        assert returned[0] is True


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<methodCall><methodName>one.vm.info</methodName><params><param><value>&b;</value></param></params>
</methodCall>"""
HOSTILE = {
    "no XML": b"x",
    "not UTF-8": b"<methodCall>\xff\xfe</methodCall>",
    "entities": BOMB,
    "another root": b"<a/>",
    "no method": b"<methodCall/>",
    "deep": b"<a>" * 100_000,
    "an emoji": xmlrpc.client.dumps(("alice:\U0001f600",), "one.system.version").encode(),
    "too large": xmlrpc.client.dumps(("x" * MAX_CALL_BYTES,), "one.system.version").encode(),
    "a large number": b"<methodCall><methodName>one.vm.info</methodName><params><param><value><i4>"
    + b"9" * 100_000
    + b"</i4></value></param></params></methodCall>",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_body_that_is_no_call_is_a_fault(both: Sandbox, body: bytes) -> None:
    status, answer = post(both, body)
    assert status == 200
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(answer)
    assert caught.value.faultCode in (-503, -509)


def test_a_web_page_of_another_site_is_refused(both: Sandbox) -> None:
    body = xmlrpc.client.dumps(("alice:pw-a",), "one.system.version")
    with connected(both) as connection:
        connection.request("POST", "/RPC2", body, {"Origin": "http://evil.example"})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (
            403,
            b"Web pages of other sites may not send requests to this one.",
        )


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("vm.info", ()),
        ("vm.info", ("0",)),
        ("vm.info", (0.0,)),
        ("vm.info", (True,)),
        ("vm.action", (0, "x")),
        ("image.allocate", ("SIZE=1",)),
        ("imagepool.info", (-2, -1)),
        ("vm.disksaveas", (0, 0, "x", "")),
        ("vm.diskresize", (0, 0, 5)),
        ("image.persistent", (0, 1)),
    ],
)
def test_parameters_of_another_type_or_number_are_faults(
    both: Sandbox, method: str, parameters: tuple[object, ...]
) -> None:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        One(both, "alice:pw-a")(method, *parameters)
    assert caught.value.faultCode == -501


def test_an_int_for_a_boolean_is_a_fault_in_the_new_version_only(both: Sandbox) -> None:
    her = One(both, "alice:pw-a")
    number = her.start()
    if her("system.version") == "6.10.5":
        assert her("vm.resize", number, "CPU=1", 1) == number
    else:
        with pytest.raises(xmlrpc.client.Fault):
            her("vm.resize", number, "CPU=1", 1)


def test_an_unknown_method_is_a_fault(both: Sandbox) -> None:
    for method in ("vm.startover", "image.resize"):
        with pytest.raises(xmlrpc.client.Fault) as caught:
            One(both, "alice:pw-a")(method)
        assert caught.value.faultCode == -506


def test_nobody_sees_or_changes_what_is_somebody_elses(site: Sandbox, alice: One, bob: One) -> None:
    """Every call that takes an id, on a machine, an image and a template of somebody else."""
    ids = {"vm": alice.start("SECRET=hers"), "image": alice.volume("secret-of-hers")}
    ids["template"] = alice("template.allocate", 'NAME="secret-of-hers"\nCPU=1\nMEMORY=64')
    alice("vm.attach", ids["vm"], f"DISK=[IMAGE_ID={ids['image']}]")
    before = [alice(f"{kind}.info", number) for kind, number in ids.items()]
    for method, (signature, _) in CALLS.items():
        _, kind, verb = method.split(".") if method.count(".") == 2 else ("", "", "")
        if kind not in ids or verb == "allocate":
            continue
        parameters: list[object] = [SAMPLES[one] for one in signature.split("|")[0]]
        parameters[1 if verb == "action" else 0] = ids[kind]
        if verb == "action":
            parameters[0] = "terminate"
        if verb in ("attach", "attachnic"):
            parameters[1] = "DISK=[TYPE=fs,SIZE=1]"
        if verb in ("update", "updateconf", "resize"):
            parameters[1] = 'CONTEXT=[A="b"]'
        assert bob.refusal(f"{kind}.{verb}", *parameters)[0] == 512, method
    for pool in ("imagepool.info", "templatepool.info"):
        for flag in (-4, -3, -2, -1, 2, 3):
            assert "secret-of-hers" not in bob(pool, flag, -1, -1)
    for pool in ("vmpool.info", "vmpool.infoextended"):
        for flag in (-4, -3, -2, -1, 2, 3):
            assert bob(pool, flag, -1, -1, -2) == "<VM_POOL></VM_POOL>"
    assert bob("vmpool.infoset", str(ids["vm"]), True) == "<VM_POOL></VM_POOL>"
    assert "alice" not in bob("userpool.info") + bob("user.info", -1)
    theirs = int(alice.document("user.info", -1).findtext("ID", ""))
    assert bob.refusal("user.info", theirs)[0] == 512
    assert bob.refusal("user.update", theirs, "A=1", 1)[0] == 512
    assert bob.refusal("user.login", "alice", "", 60)[0] == 512
    assert [alice(f"{kind}.info", number) for kind, number in ids.items()] == before


def test_tokens(alice: One, bob: One, site: Sandbox) -> None:
    token = alice("user.login", "alice", "", 3600)
    assert len(token) == 64
    by_token = One(site, f"alice:{token}")
    assert by_token.document("user.info", -1).findtext("LOGIN_TOKEN/TOKEN") == token
    assert One(site, f"bob:{token}").refusal("system.version") == DENIED
    assert bob.document("user.info", -1).find("LOGIN_TOKEN/TOKEN") is None
    assert by_token("user.login", "alice", "of-her-own", -1) == "of-her-own"
    One(site, "alice:of-her-own")("system.version")
    alice("user.login", "alice", token, 0)
    assert by_token.refusal("system.version") == DENIED
    words = "EGID is not in user group list"
    assert alice.refusal("user.login", "alice", "", 60, 0) == (4096, words)


VM = {"VMS": 1.0, "CPU": 0.5, "MEMORY": 64.0, "RUNNING_VMS": 1, "RUNNING_CPU": 0.5}


@pytest.mark.parametrize("name", [*VM, "RUNNING_MEMORY", "SYSTEM_DISK_SIZE"])
def test_a_quota_of_machines(site: Sandbox, alice: One, bob: One, name: str) -> None:
    limit = VM.get(name, 128 if name == "SYSTEM_DISK_SIZE" else 64)
    site.opennebula.limit("alice", name, limit)
    number = alice.start("DISK=[IMAGE_ID=0]")
    uid = alice.document("user.info", -1).findtext("ID")
    words = f"user [{uid}] limit of {limit:g} reached for {name} quota in VM"
    text = "CPU=0.5\nMEMORY=64\nDISK=[IMAGE_ID=0]"
    assert alice.refusal("vm.allocate", text) == (512, f"User [{uid}] : {words}.")
    quota = alice.document("user.info", -1)
    assert quota.findtext(f"VM_QUOTA/VM/{name}") == f"{limit:g}"
    assert quota.findtext(f"VM_QUOTA/VM/{name}_USED") == f"{limit:g}"
    bob.start("DISK=[IMAGE_ID=0]")
    if name == "RUNNING_VMS":
        alice("vm.action", "poweroff", number)
        alice("vm.allocate", text)
        assert alice.refusal("vm.action", "resume", number) == (2048, words)


@pytest.mark.parametrize(
    ("name", "limit", "where"),
    [
        ("IMAGES", 1, "DATASTORE with ID: 1."),
        ("SIZE", 10, "DATASTORE with ID: 1."),
        ("LEASES", 1, "NETWORK with ID: 0."),
        ("RVMS", 1, "IMAGE with ID: 0."),
    ],
)
def test_a_quota_of_one_thing(site: Sandbox, alice: One, name: str, limit: int, where: str) -> None:
    number = 1 if "DATASTORE" in where else 0
    site.opennebula.limit("alice", name, limit, number)
    calls: dict[str, tuple[Any, ...]] = {
        "IMAGES": ("image.allocate", 'NAME="b"\nSIZE=1', 1),
        "SIZE": ("image.allocate", 'NAME="b"\nSIZE=1', 1),
        "LEASES": ("vm.allocate", "CPU=1\nMEMORY=64\nNIC=[NETWORK_ID=0]"),
        "RVMS": ("vm.allocate", "CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=0]"),
    }
    if number:
        alice.volume("a")
    else:
        alice(*calls[name])
    code, words = alice.refusal(*calls[name])
    assert code == 512
    assert words.endswith(f"limit of {limit} reached for {name} quota in {where}")


def test_a_quota_of_the_group(site: Sandbox, alice: One, bob: One) -> None:
    site.opennebula.limit(None, "VMS", 0)
    for who in (alice, bob):
        words = who.refusal("vm.allocate", "CPU=1\nMEMORY=64")[1]
        assert words.endswith(" : group [1] limit of 0 reached for VMS quota in VM.")
    assert alice.refusal("user.quota", 0, "VM=[VMS=9]")[0] == 512


def test_what_cannot_be_set_is_said(site: Sandbox) -> None:
    for wrong in (("alice", "NO"), ("nobody", "VMS")):
        with pytest.raises(ValueError, match="there is no"):
            site.opennebula.limit(*wrong, 1)
    with pytest.raises(ValueError, match="there is no step"):
        site.opennebula.fail("everything")
    with pytest.raises(SandboxError, match=r"6\.10\.5, 7\.4\.0"):
        Sandbox(opennebula_version="5")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("image", "image"),
        ("vm", "virtual machine"),
        ("template", "virtual machine template"),
        ("vn", "virtual network"),
        ("datastore", "datastore"),
    ],
)
def test_what_is_not_there(both: Sandbox, kind: str, what: str) -> None:
    her = One(both, "alice:pw-a")
    assert her.refusal(f"{kind}.info", 9999) == (1024, f"Error getting {what} [9999].")
    assert her.raw(f"{kind}.info", 9999)[3] == 9999


def test_every_call_that_takes_more_than_there_may_be(site: Sandbox, alice: One) -> None:
    limit = site.opennebula.limit
    vm = alice.start("DISK=[IMAGE_ID=0]", "NIC=[NETWORK_ID=0]")
    volume = alice.volume("v")
    alice("vm.attach", vm, f"DISK=[IMAGE_ID={volume}]")

    def refused(name: str, call: str, *parameters: object) -> None:
        code, words = alice.refusal(call, *parameters)
        assert (code, f" limit of 0 reached for {name} quota in " in words) == (512, True), words

    limit("alice", "IMAGES", 0, 1)
    refused("IMAGES", "image.clone", 0, "c")
    refused("IMAGES", "vm.disksaveas", vm, 0, "s", "", -1)
    limit("alice", "IMAGES", -1, 1)
    limit("alice", "SIZE", 0, 1)
    refused("SIZE", "image.clone", 0, "c")
    refused("SIZE", "vm.disksaveas", vm, 0, "s", "", -1)
    refused("SIZE", "vm.diskresize", vm, 1, "50")
    limit("alice", "SYSTEM_DISK_SIZE", 0)
    refused("SYSTEM_DISK_SIZE", "vm.diskresize", vm, 0, "500")
    limit("alice", "LEASES", 0, 0)
    refused("LEASES", "vm.attachnic", vm, "NIC=[NETWORK_ID=0]")
    limit("alice", "CPU", 0)
    refused("CPU", "vm.resize", vm, "CPU=9", True)
    limit("alice", "CPU", -2)
    limit("alice", "MEMORY", 0)
    refused("MEMORY", "vm.resize", vm, "MEMORY=999", True)
    alice("vm.resize", vm, "CPU=9", True)
    machine = alice.vm(vm)
    assert len(machine.findall("TEMPLATE/NIC")) == 1
    assert machine.findtext("TEMPLATE/DISK/SIZE") == "128"
    told = alice.document("user.info", -1)
    said = {name: told.findtext(f"VM_QUOTA/VM/{name}") for name in ("VMS", "CPU", "MEMORY")}
    assert said == {"VMS": "-1", "CPU": "-2", "MEMORY": "0"}


def test_a_quota_at_an_attach(both: Sandbox) -> None:
    """6.10 says which, 7.4 does not; of a volume nothing counts but its uses."""
    her = One(both, "alice:pw-a")
    vm, volume, uid = her.start(), her.volume("q"), her.document("user.info", -1).findtext("ID")
    both.opennebula.limit("alice", "SYSTEM_DISK_SIZE", 0)
    both.opennebula.limit("alice", "RVMS", 0, volume)
    words = f"User [{uid}] : user [{uid}] limit of 0 reached for SYSTEM_DISK_SIZE quota in VM."
    if her("system.version") == "7.4.0":
        words = f"User [{uid}] not authorized to perform action on virtual machine."
    assert her.refusal("vm.attach", vm, "DISK=[TYPE=fs,SIZE=1]") == (512, words)
    words = f"limit of 0 reached for RVMS quota in IMAGE with ID: {volume}."
    assert her.refusal("vm.attach", vm, f"DISK=[IMAGE_ID={volume}]")[1].endswith(words)
    both.opennebula.limit("alice", "RVMS", -1, volume)
    her("vm.attach", vm, f"DISK=[IMAGE_ID={volume}]")
    assert her.image_state(volume) == 8
    both.opennebula.limit("alice", "SYSTEM_DISK_SIZE", -1)


def test_nothing_is_said_of_limits_before_there_are_any(bob: One) -> None:
    told = bob.document("user.info", -1)
    for kind in ("VM", "DATASTORE", "NETWORK", "IMAGE"):
        found = told.find(f"{kind}_QUOTA")
        assert found is not None
        assert len(found) == 0


def test_a_token_ends_by_itself(alice: One, site: Sandbox) -> None:
    alice("user.login", "alice", "short", 1)
    alice("user.login", "alice", "long", 3600)

    def works(token: str) -> bool:
        try:
            One(site, f"alice:{token}")("system.version")
        except RefusedCallError as refused:
            assert (refused.code, refused.text) == DENIED
            return False
        return True

    wait_for(lambda: works("short"), False)
    assert works("long")
