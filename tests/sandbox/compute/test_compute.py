import re
import socket
import time
import xmlrpc.client
from collections.abc import Callable

import pytest
from callers import TEMPLATE, USERS, Caller, NotOkError
from present import present

from stratuslab_libcloud.sandbox import addresses
from stratuslab_libcloud.sandbox.compute import documents
from stratuslab_libcloud.sandbox.site import Sandbox

PENDING, PROLOG, BOOT, RUNNING = (1, 0), (3, 1), (3, 2), (3, 3)
SHUTDOWN, EPILOG, FAILURE, FAILED, DONE = (3, 12), (3, 11), (3, 14), (7, 0), (6, 0)
CLEANUP = (3, 15)
WRONG_STATE = "Wrong state to perform action"
UNSUPPORTED = "Virtual machine action not supported"
UNKNOWN = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
ALLOCATE = "[VirtualMachineAllocate] Error allocating a new virtual machine. "
NIC = "NIC=[network_uname=oneadmin, network=public{}]"


def wait_for(probe: Callable[[], object], wanted: object) -> None:
    """Until the probe says what is wanted: the guard is far longer than it takes."""
    end = time.monotonic() + 30
    while (seen := probe()) != wanted:
        assert time.monotonic() < end, f"still {seen}, not {wanted}"
        time.sleep(0.02)


# -- starting


def test_a_machine_has_its_address_and_runs_when_it_is_first_asked_about(jane: Caller) -> None:
    machine = jane.info(jane.start())
    assert (machine.findtext("STATE"), machine.findtext("LCM_STATE")) == ("3", "3")
    assert machine.findtext("NAME") == "one-0"
    assert machine.findtext("UNAME") == "jane"
    assert machine.findtext("DEPLOY_ID") == "one-0"
    nic = present(machine.find("TEMPLATE/NIC"))
    assert nic.findtext("IP", "").startswith("127.")
    assert nic.findtext("NETWORK") == "public"
    assert nic.findtext("NETWORK_UNAME") == "oneadmin"
    octets = [int(octet, 16) for octet in nic.findtext("MAC", "").split(":")]
    assert octets == [2, 0, *map(int, nic.findtext("IP", "").split("."))]
    assert [disk.findtext("DISK_ID") for disk in machine.iterfind("TEMPLATE/DISK")] == ["0", "1"]
    assert machine.findtext("HISTORY_RECORDS/HISTORY/HOSTNAME")


def test_what_a_machine_uses_is_known_once_it_was_polled(
    jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_POLL_SECONDS", 3600)
    vm_id = jane.start()
    machine = jane.info(vm_id)
    assert (machine.findtext("MEMORY"), machine.findtext("LAST_POLL")) == ("0", "0")
    monkeypatch.setattr(documents, "_POLL_SECONDS", 1)
    wait_for(lambda: jane.info(vm_id).findtext("MEMORY"), str(1536 * 1024))
    started = int(jane.info(vm_id).findtext("HISTORY_RECORDS/HISTORY/RSTIME", ""))
    assert int(jane.info(vm_id).findtext("LAST_POLL", "")) > started


def test_the_document_has_every_element_of_the_reference_in_its_order(jane: Caller) -> None:
    machine = jane.info(jane.start())
    assert " ".join(child.tag for child in machine) == (
        "ID UID GID UNAME GNAME NAME PERMISSIONS LAST_POLL STATE LCM_STATE STIME ETIME DEPLOY_ID "
        "MEMORY CPU NET_TX NET_RX TEMPLATE HISTORY_RECORDS"
    )
    assert " ".join(child.tag for child in present(machine.find("PERMISSIONS"))) == (
        "OWNER_U OWNER_M OWNER_A GROUP_U GROUP_M GROUP_A OTHER_U OTHER_M OTHER_A"
    )
    assert " ".join(child.tag for child in present(machine.find("HISTORY_RECORDS/HISTORY"))) == (
        "SEQ HOSTNAME VM_DIR HID STIME ETIME VMMMAD VNMMAD TMMAD PSTIME PETIME RSTIME RETIME "
        "ESTIME EETIME REASON"
    )
    names = [child.tag for child in present(machine.find("TEMPLATE"))]
    assert names == sorted(names)
    assert {"NAME", "VMID"} <= set(names)


def test_ids_ascend_from_zero_and_are_never_given_twice(jane: Caller) -> None:
    assert [jane.start("A=1"), jane.start("A=1")] == [0, 1]
    jane.act("finalize", 1)
    assert jane.start("A=1") == 2


def test_a_value_is_data_and_never_markup(jane: Caller) -> None:
    text = "x</A><STATE>6</STATE><A>y & ü"
    machine = jane.info(jane.start(f'A="{text}"'))
    assert machine.findtext("TEMPLATE/A") == text
    assert [child.text for child in machine.iterfind("STATE")] == ["3"]
    assert len(jane.pool()) == 1


@pytest.mark.parametrize(
    "template",
    [
        'NAME="a & b"',
        'NAME="a <b> c"',
        "NAME=x<",
        'NAME="x</NAME><STATE>6</STATE><NAME>y"',
        'CONTEXT=[a="b]]>c"]',
    ],
)
def test_what_would_not_be_xml_is_refused_and_leaves_nothing(jane: Caller, template: str) -> None:
    with pytest.raises(NotOkError) as refused:
        jane.start(template)
    assert refused.value.text == ALLOCATE + "Error transforming the VM to XML."
    assert refused.value.code == 8192
    assert jane.pool(state=-2) == []


def test_a_name_may_have_128_bytes_and_no_more(jane: Caller) -> None:
    assert jane.info(jane.start('NAME="' + "ä" * 64 + '"')).findtext("NAME") == "ä" * 64
    with pytest.raises(NotOkError) as error:
        jane.start('NAME="' + "ä" * 64 + 'x"')
    # The id that it would have had is the engine's slip (opennebula-engines 4).
    assert error.value.text == ALLOCATE + "1NAME is too long; max length is 128 chars."
    assert error.value.code == 8192


def test_context_variables_are_expanded(jane: Caller) -> None:
    text = 'NAME=web CONTEXT=[ip="$NIC[IP]", name="$NAME-$VMID", none="$NOPE"]' + NIC.format("")
    template = present(jane.info(jane.start(text)).find("TEMPLATE"))
    context = present(template.find("CONTEXT"))
    assert context.findtext("IP") == template.findtext("NIC/IP")
    assert context.findtext("NAME") == "web-0"
    assert context.findtext("NONE") == ""


def test_an_empty_template_is_a_machine_without_anything(jane: Caller) -> None:
    assert jane.states(jane.start("")) == RUNNING


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("A B", "Parse error: syntax error, unexpected VARIABLE, expecting EQUAL or EQUAL_EMPTY"),
        ("CONTEXT=[a=1] CONTEXT=[a=1]", "Only one CONTEXT attribute can be defined."),
        (NIC.format(", vlan_id=1"), "VM Template includes a restricted attribute NIC/VLAN_ID."),
        ("NIC=[network_uname=oneadmin, network=nowhere]", "Could not get virtual network for VM."),
        ("NIC=[network_uname=jane, network=public]", "Could not get virtual network for VM."),
        ("NIC=[network=public]", "Could not get virtual network for VM."),
        (NIC.format(", ip=10.0.0.1"), "Could not get virtual network for VM."),
        (NIC.format(', ip="no address"'), "Could not get virtual network for VM."),
        ("NIC=[network_id=7]", "Could not get virtual network for VM."),
        ("NIC=[network_id=public]", "Could not get virtual network for VM."),
        ("NIC=[network_id=0, network=public]", "Could not get virtual network for VM."),
        ("NIC=[network_id=0, ip=10.0.0.1]", "Could not get virtual network for VM."),
        ("DISK=[image=alma]", "Could not get disk image for VM."),
        ("DISK=[image_id=4]", "Could not get disk image for VM."),
        ('DISK=[image=alma, source="/x"]', "Could not get disk image for VM."),
    ],
)
def test_what_the_engine_refuses_is_refused_in_its_words_and_leaves_nothing(
    jane: Caller, text: str, error: str
) -> None:
    with pytest.raises(NotOkError) as refused:
        jane.start(text)
    assert refused.value.text.startswith(ALLOCATE + error)
    assert refused.value.code == 8192
    assert jane.pool(state=-2) == []
    assert jane.start("A=1") == 0


@pytest.mark.parametrize("source", ["pdisk:no uuid", f"pdisk:https://h/pdisk/{UNKNOWN}"])
def test_an_unknown_disk_is_accepted_and_its_transfer_fails(jane: Caller, source: str) -> None:
    vm_id = jane.start(f'DISK=[source="{source}", target=vda]')
    assert jane.states(vm_id) == FAILED
    machine = jane.info(vm_id)
    reason = f"Error excuting image transfer script: {source} does not exist"
    assert machine.findtext("TEMPLATE/ERROR/MESSAGE") == reason
    history = present(machine.find("HISTORY_RECORDS/HISTORY"))
    assert [history.findtext(tag) for tag in ("RSTIME", "REASON")] == ["0", "1"]


# -- addresses


def address(caller: Caller, vm_id: int) -> str:
    return caller.info(vm_id).findtext("TEMPLATE/NIC/IP", "")


def test_the_next_free_address_is_given_and_none_again_at_once(jane: Caller) -> None:
    first, second = (address(jane, jane.start()) for _ in range(2))
    assert [first.rsplit(".", 1)[1], second.rsplit(".", 1)[1]] == ["1", "2"]
    jane.act("finalize", 0)
    assert address(jane, jane.start()).rsplit(".", 1)[1] == "3"
    assert address(jane, 0) == first  # the document of the dead keeps it


def test_networks_do_not_share_addresses(jane: Caller) -> None:
    nics = [f"NIC=[network_uname=oneadmin, network={n}]" for n in ("public", "local", "private")]
    machine = jane.info(jane.start("\n".join(nics)))
    found = {
        nic.findtext("NETWORK"): nic.findtext("IP") for nic in machine.iterfind("TEMPLATE/NIC")
    }
    assert list(found) == ["public", "local", "private"]
    assert len({present(ip).rsplit(".", 1)[0] for ip in found.values()}) == 3


@pytest.mark.parametrize("nic", ["model=virtio", "bridge=br7", "bridge=br7, ip=10.0.0.1, mac=x"])
def test_a_nic_that_names_no_network_is_taken_as_it_is(jane: Caller, nic: str) -> None:
    (found,) = jane.info(jane.start(f"NIC=[{nic}]")).iterfind("TEMPLATE/NIC")
    given = dict(pair.split("=") for pair in nic.split(", "))
    assert {child.tag.lower(): child.text for child in found} == given


def test_a_network_may_be_named_by_its_id(jane: Caller) -> None:
    (nic,) = jane.info(jane.start("NIC=[network_id=1]")).iterfind("TEMPLATE/NIC")
    (same,) = jane.info(jane.start("NIC=[network_uname=oneadmin, network=local]")).iterfind(
        "TEMPLATE/NIC"
    )
    for tag in ("NETWORK", "NETWORK_ID", "BRIDGE", "VLAN"):
        assert nic.findtext(tag) == same.findtext(tag)
    first, second = (found.findtext("IP", "").rsplit(".", 1) for found in (nic, same))
    assert first[0] == second[0]
    assert nic.findtext("MAC") != same.findtext("MAC")


def test_an_address_may_be_asked_for_while_it_is_free(jane: Caller) -> None:
    wanted = address(jane, jane.start(NIC.format(""))).rsplit(".", 1)[0] + ".77"
    assert address(jane, jane.start(NIC.format(f", ip={wanted}"))) == wanted
    with pytest.raises(NotOkError, match="Could not get virtual network"):
        jane.start(NIC.format(f", ip={wanted}"))


def test_a_machine_has_16_nics_at_most(jane: Caller) -> None:
    template = TEMPLATE.replace("NIC =", "OTHER =")
    with pytest.raises(NotOkError, match=r"Could not get virtual network for VM\."):
        jane.start(template + NIC.format("") * 17)
    assert jane.pool() == []
    nics = jane.info(jane.start(template + NIC.format("") * 16)).findall("TEMPLATE/NIC/IP")
    assert len({nic.text for nic in nics}) == 16


def test_an_address_on_which_another_serves_ssh_is_passed_over(
    jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = address(jane, jane.start()).rsplit(".", 1)[0] + ".2"
    with socket.create_server((taken, 0)) as server:
        monkeypatch.setattr(addresses, "SSH_PORTS", server.getsockname()[1:])
        assert address(jane, jane.start()).endswith(".3")
    wanted = NIC.format(f", ip={taken}")
    assert address(jane, jane.start(wanted)) == taken


def test_a_server_on_all_addresses_is_not_in_the_way_of_any(
    jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        monkeypatch.setattr(addresses, "SSH_PORTS", server.getsockname()[1:])
        assert address(jane, jane.start()).endswith(".1")


# -- life and death


def test_shutdown_ends_a_machine_that_runs(jane: Caller) -> None:
    vm_id = jane.start()
    assert jane.act("shutdown", vm_id) == vm_id
    assert jane.states(vm_id) == DONE
    with pytest.raises(NotOkError) as refused:
        jane.act("shutdown", vm_id)
    assert refused.value.text == "[VirtualMachineAction] Wrong state to perform action"
    assert refused.value.code == 2048


def test_finalize_ends_anything_and_once_more_does_no_harm(jane: Caller) -> None:
    vm_id = jane.start()
    assert jane.act("finalize", vm_id) == vm_id
    assert jane.states(vm_id) == DONE
    assert jane.act("finalize", vm_id) == vm_id
    assert int(jane.info(vm_id).findtext("ETIME", "")) > 0


@pytest.mark.parametrize("action", ["terminate", "terminate-hard", "delete", "", "FINALIZE"])
def test_an_action_that_the_engine_does_not_know_is_an_error_of_its_own(
    jane: Caller, action: str
) -> None:
    vm_id = jane.start()
    with pytest.raises(NotOkError) as refused:
        jane.act(action, vm_id)
    text = "[VirtualMachineAction] Internal error. Action result not defined"
    assert (refused.value.text, refused.value.code) == (text, 8192)
    with pytest.raises(NotOkError, match="Error getting virtual machine"):
        jane.act(action, 99)


@pytest.mark.parametrize(
    ("action", "text"),
    [
        *((name, UNSUPPORTED) for name in ("cancel", "stop", "suspend", "reboot", "resubmit")),
        *((name, WRONG_STATE) for name in ("hold", "release", "resume", "restart")),
    ],
)
def test_the_engines_other_actions_are_refused_in_its_words(
    jane: Caller, action: str, text: str
) -> None:
    vm_id = jane.start()
    with pytest.raises(NotOkError) as refused:
        jane.act(action, vm_id)
    assert (refused.value.text, refused.value.code) == (f"[VirtualMachineAction] {text}", 2048)
    jane.act("finalize", vm_id)
    with pytest.raises(NotOkError, match=f"{WRONG_STATE}$"):
        jane.act(action, vm_id)


def test_a_killed_machine_is_listed_until_it_is_gone() -> None:
    with Sandbox(users=USERS, ending_seconds=3600) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        killed, asked = jane.start(), jane.start()
        lease = NIC.format(f", ip={address(jane, killed)}")
        jane.act("finalize", killed)
        jane.act("shutdown", asked)
        assert [jane.states(vm_id) for vm_id in (killed, asked)] == [CLEANUP, SHUTDOWN]
        assert jane.pool() == jane.pool(state=3) == [killed, asked]
        assert jane.act("finalize", killed) == killed
        with pytest.raises(NotOkError, match=WRONG_STATE):
            jane.act("shutdown", killed)
        with pytest.raises(NotOkError, match="Could not get virtual network"):
            jane.start(lease)


def test_a_killed_machine_is_gone_in_the_end() -> None:
    with Sandbox(users=USERS, ending_seconds=2) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        killed, asked, begun = jane.start(), jane.start(), time.monotonic()
        lease = NIC.format(f", ip={address(jane, killed)}")
        jane.act("finalize", killed)
        jane.act("finalize", killed)
        jane.act("shutdown", asked)
        wait_for(lambda: [jane.states(vm_id) for vm_id in (killed, asked)], [DONE, DONE])
        assert time.monotonic() - begun >= 2
        assert jane.pool() == []
        for vm_id, reason in ((killed, "3"), (asked, "0")):
            history = present(jane.info(vm_id).find("HISTORY_RECORDS/HISTORY"))
            assert history.findtext("REASON") == reason
            assert int(history.findtext("RETIME", "")) >= int(history.findtext("RSTIME", "")) > 0
            assert int(history.findtext("ETIME", "")) > 0
        assert address(jane, jane.start(lease)) == address(jane, killed)


def test_a_machine_boots_in_real_time_and_through_the_real_states() -> None:
    with Sandbox(users=USERS, boot_seconds=3) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        begun = time.monotonic()
        vm_id = jane.start()
        machine = jane.info(vm_id)
        assert machine.findtext("STATE") == "1"
        assert machine.findtext("DEPLOY_ID") == ""
        assert list(present(machine.find("HISTORY_RECORDS"))) == []
        assert machine.findtext("TEMPLATE/NIC/IP")
        seen = [PENDING]
        while seen[-1] != RUNNING:
            if (now := jane.states(vm_id)) != seen[-1]:
                seen.append(now)
            assert time.monotonic() < begun + 60
            time.sleep(0.02)
        assert seen == [PENDING, PROLOG, BOOT, RUNNING]
        assert time.monotonic() - begun >= 3
        jane.act("shutdown", vm_id)
        assert jane.states(vm_id) == SHUTDOWN
        wait_for(lambda: jane.states(vm_id), EPILOG)
        wait_for(lambda: jane.states(vm_id), DONE)


def test_a_machine_can_be_killed_while_it_boots_and_stays_dead() -> None:
    with Sandbox(users=USERS, boot_seconds=0.3) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        killed, other = jane.start(), jane.start()
        jane.act("finalize", killed)
        assert jane.states(killed) == DONE
        wait_for(lambda: jane.states(other), RUNNING)
        assert jane.states(killed) == DONE


def test_shutdown_needs_a_machine_that_runs() -> None:
    with Sandbox(users=USERS, boot_seconds=60) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        vm_id = jane.start()
        with pytest.raises(NotOkError, match="Wrong state to perform action"):
            jane.act("shutdown", vm_id)
        assert jane.states(vm_id) == PENDING


def test_a_machine_can_be_made_to_fail(site: Sandbox, jane: Caller) -> None:
    vm_id = jane.start()
    site.fail(vm_id, "the host <caught> fire & burned")
    machine = jane.info(vm_id)
    assert jane.states(vm_id) == FAILED
    reason = "Error deploying virtual machine: the host <caught> fire & burned"
    assert machine.findtext("TEMPLATE/ERROR/MESSAGE") == reason
    assert machine.findtext("TEMPLATE/ERROR/TIMESTAMP")
    assert jane.act("finalize", vm_id) == vm_id
    assert jane.states(vm_id) == DONE
    with pytest.raises(ValueError, match="no machine"):
        site.fail(vm_id, "again")
    with pytest.raises(ValueError, match="no machine"):
        site.fail(99, "none")


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\uffff", "\ud800"])
def test_a_failure_may_have_any_text(site: Sandbox, jane: Caller, character: str) -> None:
    vm_id = jane.start()
    site.fail(vm_id, f"a{character}b\nc")
    message = jane.info(vm_id).findtext("TEMPLATE/ERROR/MESSAGE")
    assert message == "Error deploying virtual machine: a\ufffdb\nc"


def test_a_failure_is_seen_before_it_is_over() -> None:
    with Sandbox(users=USERS, boot_seconds=3) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        vm_id = jane.start()
        site.fail(vm_id, "no")
        assert jane.states(vm_id) == FAILURE
        # It was not deployed yet.
        message = jane.info(vm_id).findtext("TEMPLATE/ERROR/MESSAGE")
        assert message == "Error excuting image transfer script: no"
        wait_for(lambda: jane.states(vm_id), FAILED)


def test_an_image_that_the_own_marketplace_does_not_have_makes_the_machine_fail(
    site: Sandbox, jane: Caller
) -> None:
    missing = f"{site.url}/marketplace/metadata/MMZu9WvwKIro-rtBQfDk4PsKO7_"
    vm_id = jane.start(f'DISK=[source="{missing}", target=vda]')
    assert jane.states(vm_id) == FAILED
    assert missing in jane.info(vm_id).findtext("TEMPLATE/ERROR/MESSAGE", "")


def test_an_image_that_the_own_marketplace_has_runs(site: Sandbox, jane: Caller) -> None:
    listing = jane.request("GET", "/metadata", headers={"Accept": "application/xml"})
    identifier = present(re.search(r"identifier>([A-Za-z0-9_-]{27})<", listing.text))[1]
    for path in ("metadata", "marketplace/metadata"):
        vm_id = jane.start(f'DISK=[source="{site.url}/{path}/{identifier}", target=vda]')
        assert jane.states(vm_id) == RUNNING


# -- who may see what


def test_others_machines_exist_but_are_not_shown(jane: Caller, joerg: Caller) -> None:
    vm_id = jane.start()
    uid = joerg.info(joerg.start()).findtext("UID")
    for ask, tag, right in (
        (lambda: joerg.info(vm_id), "VirtualMachineInfo", "USE"),
        (lambda: joerg.act("finalize", vm_id), "VirtualMachineAction", "MANAGE"),
    ):
        with pytest.raises(NotOkError) as refused:
            ask()
        text = f"[{tag}] User [{uid}] : Not authorized to perform {right} VM [{vm_id}]."
        assert (refused.value.text, refused.value.code) == (text, 512)
    assert jane.states(vm_id) == RUNNING


def test_an_unknown_machine_does_not_exist(jane: Caller) -> None:
    with pytest.raises(NotOkError) as refused:
        jane.info(99)
    assert refused.value.text == "[VirtualMachineInfo] Error getting virtual machine [99]."
    assert refused.value.code == 1024
    with pytest.raises(NotOkError, match=r"Not authorized to perform USE VM\.$"):
        jane.info(-1)


def test_an_account_name_is_url_encoded_in_documents(joerg: Caller) -> None:
    assert joerg.info(joerg.start()).findtext("UNAME") == "j%C3%B6rg"


def test_the_pool_holds_the_callers_machines_in_order(jane: Caller, joerg: Caller) -> None:
    ids = [jane.start("A=1") for _ in range(4)]
    theirs = joerg.start("A=1")
    jane.act("finalize", ids[1])
    alive = [ids[0], ids[2], ids[3]]
    uid = int(jane.info(ids[0]).findtext("UID", ""))
    assert jane.pool() == jane.pool(flag=-1) == jane.pool(flag=-2) == jane.pool(flag=uid) == alive
    assert jane.pool(flag=uid + 1) == []
    assert joerg.pool() == [theirs]
    assert jane.pool(state=-2) == ids
    assert jane.pool(state=6) == [ids[1]]
    assert jane.pool(state=3) == alive
    assert jane.pool(start=2) == [2, 3]
    assert jane.pool(start=0, end=2) == [0, 2]
    assert jane.pool(start=-1, end=0) == alive


def test_an_empty_pool_is_an_element_with_an_end_tag(jane: Caller) -> None:
    assert jane.call("one.vmpool.info", -3, -1, -1, -1) == "<VM_POOL></VM_POOL>"


@pytest.mark.parametrize(
    ("flag", "state", "text"),
    [(-4, -1, "Incorrect filter_flag"), (-3, 99, "Incorrect filter_flag, state")],
)
def test_a_filter_that_makes_no_sense_is_refused(
    jane: Caller, flag: int, state: int, text: str
) -> None:
    with pytest.raises(NotOkError) as refused:
        jane.pool(flag=flag, state=state)
    assert (refused.value.text, refused.value.code) == (f"[VirtualMachinePoolInfo] {text}", 4096)


# -- XML-RPC


@pytest.mark.parametrize(
    ("method", "parameters", "code", "text"),
    [
        ("one.vm.info", (), -501, "Not enough parameters"),
        ("one.vmpool.info", (-3, -1, -1), -501, "Not enough parameters"),
        ("one.vm.info", ("0",), -501, "Parameter that is supposed to be integer is not"),
        ("one.vm.info", (True,), -501, "Parameter that is supposed to be integer is not"),
        ("one.vm.info", (1.0,), -501, "Parameter that is supposed to be integer is not"),
        ("one.vm.allocate", (1,), -501, "Parameter that is supposed to be a string is not"),
        ("one.vm.allocate", (["A=1"],), -501, "Parameter that is supposed to be a string is not"),
        ("one.foo", (), -506, "Method 'one.foo' not defined"),
    ],
)
def test_protocol_mistakes_are_faults(
    jane: Caller, method: str, parameters: tuple[object, ...], code: int, text: str
) -> None:
    with pytest.raises(xmlrpc.client.Fault) as fault:
        jane.call(method, *parameters)
    assert (fault.value.faultCode, fault.value.faultString) == (code, text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no xml",
        b"<methodCall><methodName>one.vm.info</methodName>",
        b"<other/>",
        b"<methodCall/>",
        b"<!DOCTYPE a [<!ENTITY e 'x'>]><methodCall><methodName>&e;</methodName></methodCall>",
        b"<methodCall><methodName>one.vm.info</methodName><params><param><value><int>99999999999"
        b"</int></value></param></params></methodCall>",
        b"<methodCall><methodName>a</methodName><params><param><value>\xff</value></param></params>"
        b"</methodCall>",
    ],
)
def test_a_call_that_is_none_is_fault_503(jane: Caller, body: bytes) -> None:
    with pytest.raises(xmlrpc.client.Fault) as fault:
        jane.post_call(body)
    assert fault.value.faultCode == -503


@pytest.mark.parametrize("smile", ["\N{GRINNING FACE}", "&#128512;"])
def test_emoji_anywhere_are_fault_503(jane: Caller, smile: str) -> None:
    body = xmlrpc.client.dumps(("s", "NAME=@"), "one.vm.allocate").replace("@", smile).encode()
    with pytest.raises(xmlrpc.client.Fault, match="Basic Multilingual Plane") as fault:
        jane.post_call(body)
    assert fault.value.faultCode == -503


def test_a_call_above_512_kib_is_fault_509(jane: Caller) -> None:
    with pytest.raises(xmlrpc.client.Fault) as fault:
        jane.start('A="' + "x" * 512 * 1024 + '"')
    assert fault.value.faultCode == -509


def test_untyped_strings_both_integers_and_extra_parameters_are_taken(jane: Caller) -> None:
    jane.start("A=1")
    body = (
        b"<?xml version='1.0'?><methodCall><methodName>one.vm.action</methodName><params>"
        b"<param><value>jane:whatever</value></param><param><value>finalize</value></param>"
        b"<param><value><i4>0</i4></value></param>"
        b"<param><value><struct/></value></param></params></methodCall>"
    )
    assert jane.post_call(body) == [True, 0, 0]


def test_the_session_parameter_says_nothing_about_who_asks(jane: Caller, joerg: Caller) -> None:
    body = xmlrpc.client.dumps(("jörg:grün", TEMPLATE), "one.vm.allocate").encode()
    assert jane.post_call(body) == [True, 0, 0]
    assert jane.pool() == [0]
    assert joerg.pool() == []


def test_only_post_is_a_call(jane: Caller) -> None:
    answer = jane.request("GET", "/one-proxy/pswd/xmlrpc")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
