"""Machines: what they are made of, and every action in every state (opennebula-modern 6)."""

import xmlrpc.client
from collections.abc import Callable

import pytest
from engine_callers import One, RefusedCallError
from looks import wait_for

from stratuslab_libcloud.sandbox.opennebula.records import Machine
from stratuslab_libcloud.sandbox.site import Sandbox

NET = 'NIC=[NETWORK="public",NETWORK_UNAME="oneadmin"]'
RUNNING, DONE, POWEROFF, SUSPENDED = (3, 3), (6, 0), (8, 0), (5, 0)
CPU = "CPU attribute must be a positive float or integer value."
MEMORY = "MEMORY attribute must be a positive integer value."


@pytest.fixture
def her(both: Sandbox) -> One:
    return One(both, "alice:pw-a")


def test_the_least_that_runs(her: One) -> None:
    number = her("vm.allocate", 'CPU="0.1"\nMEMORY="64"')
    machine = her.vm(number)
    assert machine.findtext("NAME") == f"one-{number}"
    assert her.state(number) == RUNNING
    assert machine.find("TEMPLATE/NIC") is None
    assert machine.find("TEMPLATE/CONTEXT") is None
    assert machine.findtext("HISTORY_RECORDS/HISTORY/HOSTNAME")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MEMORY=64", CPU),
        ("CPU=0\nMEMORY=64", CPU),
        ("CPU=x\nMEMORY=64", CPU),
        ("CPU=-1\nMEMORY=64", CPU),
        ("CPU=1", MEMORY),
        ("CPU=1\nMEMORY=1.5", MEMORY),
        ("CPU=1\nMEMORY=1G", MEMORY),
        ("CPU=1\nMEMORY=64\nVCPU=0", "VCPU attribute must be a positive integer value."),
        ("CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=9999]", "DISK 0: Image with ID: 9999 does not exist"),
        ('CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=""]', "DISK 0: Unknown disk type "),
        ("CPU=1\nMEMORY=64\nDISK=[TYPE=block,SOURCE=x]", "DISK 0: Unknown disk type BLOCK"),
        (
            "CPU=1\nMEMORY=64\nDISK=[TYPE=fs]",
            "DISK 0: SIZE attribute must be a positive integer value.",
        ),
        (
            "CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=0,SIZE=10]",
            "DISK 0: SIZE of 10MB is less than the image [0] size of 128MB.",
        ),
        ("CPU=1\nMEMORY=64\nNIC=[NETWORK_ID=99]", "Virtual network with ID: 99 does not exist"),
        (
            "CPU=1\nMEMORY=64\nNIC=[NETWORK=x,NETWORK_UNAME=nobody]",
            "User set in NETWORK_UNAME does not exist",
        ),
        (
            "CPU=1\nMEMORY=64\nNIC=[NETWORK_ID=0,IP=10.0.0.1]",
            "Cannot get IP/MAC lease from virtual network 0.",
        ),
        ('CPU=1\nMEMORY=64\nNAME="a<b"', "Invalid NAME, char '<' is not allowed"),
        (
            'CPU=1\nMEMORY=64\nOS=[BOOT="disk0"]',
            "Wrong OS/BOOT value. Device with DISK_ID 0 not found",
        ),
    ],
)
def test_what_makes_no_machine(her: One, text: str, words: str) -> None:
    assert her.refusal("vm.allocate", text) == (8192, words)


@pytest.mark.parametrize("text", ["X", "=", "CPU=[", 'NAME="a\\"', "CPU=1\nDISK=[A=1 B=2]"])
def test_what_is_no_template(her: One, text: str) -> None:
    code, words = her.refusal("vm.allocate", text)
    assert code == 8192
    assert words.startswith("Parse error: syntax error, unexpected ")


@pytest.mark.parametrize("text", ["NIC=[MAC=x]", "CONTEXT=[FILES=x]", "RAW=[DATA=x]", "EMULATOR=x"])
def test_what_only_an_administrator_writes(her: One, text: str) -> None:
    code, words = her.refusal("vm.allocate", f"CPU=1\nMEMORY=64\n{text}")
    assert code == 512
    assert "VM Template includes a restricted attribute " in words


@pytest.mark.parametrize("text", ["$(x)", "${x}", "$$", "$?", "$ ", "a$"])
def test_a_dollar_that_names_nothing_fails_the_whole_call(her: One, text: str) -> None:
    code, words = her.refusal("vm.allocate", f'CPU=1\nMEMORY=64\nCONTEXT=[A="{text}",B="b"]')
    assert code == 8192
    assert words.startswith("Error parsing: ")
    assert 'B="b"' in words


def test_a_dollar_is_the_engines(her: One) -> None:
    her("user.update", -1, 'SSH_PUBLIC_KEY="ssh-ed25519 AAA"', 1)
    lines = 'CONTEXT=[A="$HOME$5",B="\\$HOME",C="$NAME",K="$USER[SSH_PUBLIC_KEY]",I="$NIC[IP]"]'
    machine = her.vm(her.start(NET, lines))
    context = {leaf.tag: leaf.text or "" for leaf in machine.iterfind("TEMPLATE/CONTEXT/*")}
    address = machine.findtext("TEMPLATE/NIC/IP")
    wanted = {"A": "", "B": "\\", "C": "m", "K": "ssh-ed25519 AAA", "I": address}
    assert {key: context[key] for key in wanted} == wanted
    assert "ETH0_IP" not in context


def test_addresses_are_in_the_context_when_it_says_network(her: One) -> None:
    machine = her.vm(her.start(NET, 'CONTEXT=[NETWORK="YES"]'))
    address = machine.findtext("TEMPLATE/NIC/IP", "")
    assert address.startswith("127.")
    assert machine.findtext("TEMPLATE/CONTEXT/ETH0_IP") == address


def test_devices_begin_where_the_version_lets_them(both: Sandbox, her: One) -> None:
    number = her.start("DISK=[TYPE=fs,SIZE=1]", 'CONTEXT=[A="b"]')
    new = her("system.version") == "7.4.0"
    machine = her.vm(number)
    assert machine.findtext("TEMPLATE/CONTEXT/TARGET") == ("sda" if new else "hda")
    assert machine.findtext("TEMPLATE/DISK/TARGET") == ("sdb" if new else "sda")
    assert machine.findtext("TEMPLATE/CONTEXT/DISK_ID") == "1"


def test_what_the_two_listings_have(her: One) -> None:
    number = her.start(NET, "DISK=[IMAGE_ID=0]", 'CONTEXT=[A="b"]', 'MINE="x"', 'SCHED_MESSAGE="s"')
    short, whole = (
        her.document(method, -3, number, number, -1)[0]
        for method in ("vmpool.info", "vmpool.infoextended")
    )
    for path in ("TEMPLATE/DISK/TARGET", "TEMPLATE/CONTEXT", "USER_TEMPLATE/MINE", "PERMISSIONS"):
        assert short.find(path) is None, path
        assert whole.find(path) is not None, path
    for path in ("TEMPLATE/DISK/IMAGE_ID", "TEMPLATE/NIC/IP", "USER_TEMPLATE/SCHED_MESSAGE"):
        assert short.findtext(path) == whole.findtext(path) != ""
    assert her.document("vmpool.infoset", f"{number},99999", False)[0].findtext("ID") == str(number)
    new = her("system.version") == "7.4.0"
    words = "Incorrect state filter 12" if new else "Incorrect filter_flag, state"
    assert her.refusal("vmpool.info", -3, -1, -1, 12) == (4096, words)


# -- actions


def to_hold(her: One) -> int:
    return int(her("vm.allocate", "CPU=1\nMEMORY=64", True))


def to_running(her: One) -> int:
    return her.start()


def by(*actions: str) -> Callable[[One], int]:
    def make(her: One) -> int:
        number = her.start()
        for action in actions:
            her("vm.action", action, number)
        return number

    return make


STATES = {
    "HOLD": (to_hold, (2, 0)),
    "RUNNING": (to_running, RUNNING),
    "POWEROFF": (by("poweroff"), POWEROFF),
    "SUSPENDED": (by("suspend"), SUSPENDED),
    "STOPPED": (by("stop"), (4, 0)),
    "UNDEPLOYED": (by("undeploy"), (9, 0)),
    "DONE": (by("terminate"), DONE),
}
BOTH_ENDS = {"terminate": DONE, "terminate-hard": DONE}
ACCEPTED = {
    "HOLD": {**BOTH_ENDS, "release": RUNNING},
    "RUNNING": {
        **BOTH_ENDS,
        "poweroff": POWEROFF,
        "poweroff-hard": POWEROFF,
        "suspend": SUSPENDED,
        "stop": (4, 0),
        "undeploy": (9, 0),
        "undeploy-hard": (9, 0),
        "reboot": RUNNING,
        "reboot-hard": RUNNING,
    },
    "POWEROFF": {**BOTH_ENDS, "resume": RUNNING, "undeploy": (9, 0), "undeploy-hard": (9, 0)},
    "SUSPENDED": {**BOTH_ENDS, "resume": RUNNING, "stop": (4, 0)},
    "STOPPED": {**BOTH_ENDS, "resume": RUNNING},
    "UNDEPLOYED": {**BOTH_ENDS, "resume": RUNNING},
    "DONE": BOTH_ENDS,
}
EVERY = sorted({action for actions in ACCEPTED.values() for action in actions} | {"hold"})


@pytest.mark.parametrize("state", STATES)
def test_every_action_in_a_state(her: One, state: str) -> None:
    make, now = STATES[state]
    number = make(her)
    for action in EVERY:
        if action in ACCEPTED[state]:
            continue
        assert her.refusal("vm.action", action, number) == (
            2048,
            f'Error performing action "{action}": This action is not available for state {state}',
        )
        assert her.state(number) == now
    for action, then in ACCEPTED[state].items():
        number = make(her)
        assert her("vm.action", action, number) == number
        assert her.state(number) == then, action


@pytest.mark.parametrize("action", ["shutdown", "start", "cancel", "finalize", "REBOOT", ""])
def test_an_action_that_is_none(her: One, action: str) -> None:
    words = f'Action "{action}" is not supported'
    assert her.refusal("vm.action", action, her.start()) == (2048, words)


@pytest.mark.parametrize("action", ["delete", "recover", "migrate", "resched", "unresched"])
def test_an_action_of_administrators(her: One, action: str) -> None:
    number = her.start()
    code, words = her.refusal("vm.action", action, number)
    assert (code, words.split(" : ")[1]) == (512, f"Not authorized to perform ADMIN VM [{number}].")


def test_a_machine_locked_by_its_owner(her: One) -> None:
    number = her.start()
    her("vm.lock", number, 1)
    code, words = her.refusal("vm.action", "reboot", number)
    assert (code, words.split(" : ")[1]) == (
        512,
        f"Not authorized to perform MANAGE VM [{number}].",
    )
    her("vm.unlock", number)
    her("vm.action", "reboot", number)


def test_unknown_machines(her: One) -> None:
    words = "Error getting virtual machine [99999]."
    assert her.refusal("vm.info", 99999) == (1024, words)
    assert her.refusal("vm.action", "terminate", 99999) == (1024, words)
    assert her.raw("vm.info", 99999)[2:] == [1024, 99999, -1]
    assert her.refusal("vm.info", -1)[0] == 512


def test_a_boot_that_fails_leaves_the_volume_in_error_and_it_can_be_mended(
    both: Sandbox, her: One
) -> None:
    volume = her.volume("boots-not")
    both.opennebula.fail("boot", "injected: no")
    number = her.start(f"DISK=[IMAGE_ID={volume}]")
    assert her.state(number) == (3, 36)
    assert her.error(number).endswith(": DEPLOY: injected: no")
    words = 'Error performing action "reboot": This action is not available for state BOOT_FAILURE'
    assert her.refusal("vm.action", "reboot", number) == (2048, words)
    her("vm.action", "terminate", number)
    assert (her.state(number), her.image_state(volume)) == (DONE, 5)
    her("image.enable", volume, True)
    other = her.start(f"DISK=[IMAGE_ID={volume}]")
    assert (her.state(other), her.image_state(volume)) == (RUNNING, 8)
    her("vm.action", "terminate", other)
    her("image.delete", volume)


def test_a_transfer_that_fails(both: Sandbox, her: One) -> None:
    both.opennebula.fail("prolog", "injected: no")
    number = her.start("DISK=[IMAGE_ID=0]")
    assert her.state(number) == (3, 39)
    assert her.error(number).endswith(": PROLOG: injected: no")


def test_a_guest_that_ignores_its_end(both: Sandbox, her: One) -> None:
    both.opennebula.fail("shutdown", "injected: it does not listen")
    number = her.start()
    her("vm.action", "terminate", number)
    assert her.state(number) == RUNNING
    assert her.error(number).endswith(": SHUTDOWN: injected: it does not listen")
    her("vm.action", "terminate-hard", number)
    assert her.state(number) == DONE


def test_an_end_that_fails(both: Sandbox, her: One) -> None:
    both.opennebula.fail("epilog", "injected: no")
    number = her.start()
    her("vm.action", "terminate", number)
    assert her.state(number) == (3, 40)
    her("vm.action", "terminate", number)
    assert her.state(number) == DONE


def test_templates(her: One) -> None:
    text = f'NAME="t"\nCPU=1\nMEMORY=64\n{NET}\n{NET}\nCONTEXT=[NETWORK="YES",A="b"]'
    number = her("template.allocate", text)
    machine = her.vm(her("template.instantiate", number, ""))
    assert machine.findtext("NAME") == f"t-{machine.findtext('ID')}"
    assert machine.findtext("TEMPLATE/TEMPLATE_ID") == str(number)
    assert len(machine.findall("TEMPLATE/NIC")) == 2
    replaced = f'MEMORY=128\n{NET}\nCONTEXT=[C="d"]\nNAME="other"'
    machine = her.vm(her("template.instantiate", number, "n", False, replaced, False))
    assert machine.findtext("NAME") == "n"
    assert machine.findtext("TEMPLATE/MEMORY") == "128"
    assert len(machine.findall("TEMPLATE/NIC")) == 1
    assert machine.find("TEMPLATE/CONTEXT/A") is None
    words = f"Error allocating a new virtual machine template. {MEMORY}"
    code = her.refusal("template.instantiate", number, "n", False, "MEMORY=x", False)
    assert code == (16384, words)
    words = f"NAME is already taken by TEMPLATE {number}."
    assert her.refusal("template.allocate", text) == (8192, words)
    words = "Error getting virtual machine template [999]."
    assert her.refusal("template.instantiate", 999, "n") == (1024, words)
    assert her("template.delete", number) == number


def test_three_parameters_instantiate_in_the_new_version_only(her: One) -> None:
    name = f"t3-{her('system.version')}"
    number = her("template.allocate", f'NAME="{name}"\nCPU=1\nMEMORY=64')
    if her("system.version") == "7.4.0":
        assert her.state(her("template.instantiate", number, "n", True)) == (2, 0)
    else:
        with pytest.raises(xmlrpc.client.Fault) as caught:
            her("template.instantiate", number, "n", True)
        assert caught.value.faultCode == -501


def test_sizes_change_at_once_or_live(her: One) -> None:
    number = her.start()
    her("vm.resize", number, "CPU=2\nMEMORY=128", True)
    her("vm.resize", number, "MEMORY=0\nCPU=x", True)
    machine = her.vm(number)
    assert (machine.findtext("TEMPLATE/CPU"), machine.findtext("TEMPLATE/MEMORY")) == ("2", "128")
    assert her.refusal("vm.resize", number, "MEMORY=-1", True)[0] == 8192
    assert her.refusal("vm.resize", number, "MEMORY=900000000", True) == (
        2048,
        "Not enough memory: 921600000000/268304384",
    )
    her("vm.action", "suspend", number)
    words = "Cannot resize a VM in state SUSPENDED"
    assert her.refusal("vm.resize", number, "CPU=1", True) == (2048, words)


def test_names_and_what_the_user_says(her: One) -> None:
    number = her.start()
    her("vm.rename", number, "an other")
    her("vm.update", number, 'A="1"\nCPU="9"', 1)
    her("vm.update", number, 'B="2"', 1)
    machine = her.vm(number)
    assert machine.findtext("NAME") == "an other"
    assert [leaf.tag for leaf in machine.iterfind("USER_TEMPLATE/*")] == ["A", "B"]
    assert machine.findtext("TEMPLATE/CPU") == "0.5"
    assert her.refusal("vm.rename", number, "a#") == (2048, "Invalid NAME, char '#' is not allowed")
    words = "Virtual machine does not have context, cannot add a new one."
    assert her.refusal("vm.updateconf", number, 'CONTEXT=[A="b"]', 1) == (8192, words)


def test_the_states_on_the_way(site: Sandbox) -> None:
    """With a pace: a poller sees the recorded states, and what is refused in them."""
    with Sandbox(
        users={"alice": "pw-a"}, boot_seconds=1.5, ending_seconds=1, opennebula_seconds=0.5
    ) as slow:
        her = One(slow, "alice:pw-a")
        number = her.start()
        assert her.state(number) == (1, 0)
        seen: list[tuple[int, int]] = []

        def until(last: tuple[int, int]) -> list[tuple[int, int]]:
            seen.clear()

            def probe() -> tuple[int, int]:
                now = her.state(number)
                if now not in seen[-1:]:
                    seen.append(now)
                return now

            wait_for(probe, last)
            return seen

        assert set(until(RUNNING)) <= {(1, 0), (3, 1), (3, 2), RUNNING}
        volume = her.volume("slow")
        assert her.image_state(volume) == 4
        words = f"Cannot acquire image {volume}, it is locked"
        assert her.refusal("vm.attach", number, f"DISK=[IMAGE_ID={volume}]") == (2048, words)
        words = "Image locked, use --force flag to remove the image. "
        words += "Force delete may leave some files on Datastore"
        assert her.refusal("image.delete", volume) == (8192, words)
        waiting = her.start(f"DISK=[IMAGE_ID={volume}]")
        assert (her.state(waiting), her.image_state(volume)) == ((10, 0), 10)
        her("vm.action", "suspend", number)
        assert until(SUSPENDED) == [(3, 6), SUSPENDED]
        wait_for(lambda: her.state(waiting), RUNNING)
        her("vm.action", "terminate", number)
        try:
            her("vm.action", "terminate", number)
        except RefusedCallError as refused:
            assert refused.code == 2048
            assert "Could not terminate VM" in refused.text
        until(DONE)


# -- what is said of a machine later


def test_what_the_user_says_is_merged_or_replaced(her: One) -> None:
    number = her.start('A="1"\nB="2"')
    her("vm.update", number, 'B="3"', 1)
    assert her.vm(number).findtext("USER_TEMPLATE/A") == "1"
    her("vm.update", number, 'C="4"')
    assert [leaf.tag for leaf in her.vm(number).iterfind("USER_TEMPLATE/*")] == ["C"]
    assert her.refusal("vm.update", number, "C=[", 1)[0] == 2048  # elsewhere it is 8192
    words = "Cannot update template. User Template includes a restricted attribute MAC"
    assert her.refusal("vm.update", number, 'NIC=[MAC="x"]', 1) == (8192, words)
    assert her.refusal("vm.update", number, "C=1", 7) == (4096, "Wrong update type")


def test_a_password_does_not_come_back(her: One) -> None:
    number = her.start('CONTEXT=[PASSWORD="s3cret",A="b"]')
    document = her("vm.info", number, True)
    assert "<PASSWORD>" in document
    for shown in (document, her("vmpool.infoextended", -3, -1, -1, -1)):
        assert "s3cret" not in shown
    assert her.vm(number).findtext("TEMPLATE/CONTEXT/A") == "b"


def test_a_context_is_merged_or_replaced(her: One) -> None:
    number = her.start(NET, 'CONTEXT=[NETWORK="YES",A="1"]')
    her("vm.updateconf", number, 'CONTEXT=[B="2"]', 1)
    context = her.vm(number).find("TEMPLATE/CONTEXT")
    assert context is not None
    assert (context.findtext("A"), context.findtext("B")) == ("1", "2")
    assert context.findtext("ETH0_IP")
    her("vm.updateconf", number, 'CONTEXT=[C="3"]')
    context = her.vm(number).find("TEMPLATE/CONTEXT")
    assert context is not None
    assert {leaf.tag for leaf in context} == {"C", "DISK_ID", "TARGET"}


def test_machines_that_have_ended_stay_but_not_in_a_listing(her: One) -> None:
    number = her.start()
    her("vm.action", "terminate", number)
    assert her.state(number) == DONE

    def listed(state: int) -> list[str | None]:
        pool = her.document("vmpool.info", -3, number, number, state)
        return [one.findtext("ID") for one in pool]

    assert (listed(-1), listed(-2), listed(6), listed(3)) == ([], [str(number)], [str(number)], [])


def test_what_only_an_administrator_recovers(her: One) -> None:
    number = her.start()
    for method, parameters in (("recover", (3,)), ("deploy", (0,)), ("migrate", (0,))):
        code, words = her.refusal(f"vm.{method}", number, *parameters)
        assert (code, words.split(" : ")[1]) == (
            512,
            f"Not authorized to perform ADMIN VM [{number}].",
        )
    words = "Wrong recovery operation code"
    assert her.refusal("vm.recover", number, 9) == (2048, words)


def test_a_record_of_every_time_on_a_host(her: One) -> None:
    number = her.start()
    for action in ("poweroff", "resume"):
        her("vm.action", action, number)
    records = her.vm(number).findall("HISTORY_RECORDS/HISTORY")
    assert [one.findtext("SEQ") for one in records] == ["0", "1"]
    new = her("system.version") == "7.4.0"
    assert (records[0].find("PLAN_ID") is not None) == new
    (short,) = her.document("vmpool.info", -3, number, number, -1)
    assert [one.findtext("SEQ") for one in short.iterfind("HISTORY_RECORDS/HISTORY")] == ["1"]


def test_a_machine_that_is_suspended_as_it_reboots_stays_suspended() -> None:
    with Sandbox(users={"alice": "pw-a"}, boot_seconds=0.5) as site:
        her = One(site, "alice:pw-a")
        number = her.start()
        wait_for(lambda: her.state(number), RUNNING)
        her("vm.action", "reboot", number)
        her("vm.action", "suspend", number)

        def task() -> str:
            with site.opennebula._core.reading() as book:
                machine = book.find(Machine, number)
                assert machine is not None
                return machine.task

        wait_for(task, "run")
        assert her.state(number) == SUSPENDED
        her("vm.action", "resume", number)
        assert her.state(number) == RUNNING
