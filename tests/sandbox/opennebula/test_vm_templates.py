"""What else a template of a machine may say, and what is made of it (opennebula-modern 6, 11)."""

import pytest
from engine_callers import One

from stratuslab_libcloud.sandbox.site import Sandbox

RUNNING = (3, 3)
CPU = "CPU attribute must be a positive float or integer value."
MEMORY = "MEMORY attribute must be a positive integer value."


@pytest.fixture
def her(both: Sandbox) -> One:
    return One(both, "alice:pw-a")


@pytest.mark.parametrize(
    ("cpu", "kept"), [("0.01", "0.01"), (".5", "0.5"), ("1e1", "10"), ("1.23456789", "1.23457")]
)
def test_a_share_of_a_core(her: One, cpu: str, kept: str) -> None:
    number = her("vm.allocate", f"CPU={cpu}\nMEMORY=64")
    assert her.vm(number).findtext("TEMPLATE/CPU") == kept
    (short,) = her.document("vmpool.info", -3, number, number, -1)
    assert short.findtext("TEMPLATE/VCPU") == ""


def test_what_the_versions_make_of_blanks(her: One) -> None:
    new = her("system.version") == "7.4.0"
    text = 'CPU=" 1 "\nMEMORY=64\nMINE="line\n"'
    if not new:
        assert her.refusal("vm.allocate", text) == (8192, CPU)
        text = text.replace(" 1 ", "1")
    machine = her.vm(her("vm.allocate", text))
    assert machine.findtext("USER_TEMPLATE/MINE") == ("line" if new else "line\n")
    assert (machine.findtext("TEMPLATE/OS/MACHINE") == "q35") == new


def test_an_empty_template_lacks_memory_first(her: One) -> None:
    assert her.refusal("vm.allocate", "") == (8192, MEMORY)


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (['NAME=""'], "one-{}"),
        (['NAME="  "'], "one-{}"),
        (['name="lower"'], "lower"),
        (["NAME=first", "NAME=second"], "first"),
        (['NAME=" blanks "'], "blanks"),
    ],
    ids=["empty", "blank", "lower case", "two", "blanks"],
)
def test_names(her: One, lines: list[str], name: str) -> None:
    number = her("vm.allocate", "\n".join(["CPU=1", "memory=64", *lines]))
    assert her.vm(number).findtext("NAME") == name.format(number)


def test_a_quotation_mark_that_is_not_ended_is_a_part_of_the_name(her: One) -> None:
    words = "Invalid NAME, char '\"' is not allowed"
    assert her.refusal("vm.allocate", 'CPU=1\nMEMORY=64\nNAME="oops') == (8192, words)


def test_values_come_back_as_they_were(her: One) -> None:
    value = "a, b] [c] = d & <e> \\\\ é\nline"
    text = f'CPU=1\nMEMORY=64\nMINE="{value} \\"q\\""'
    assert her.vm(her("vm.allocate", text)).findtext("USER_TEMPLATE/MINE") == f'{value} "q"'


@pytest.mark.parametrize("more", ["SIZE=5000", "SIZE=x", ""])
def test_images_by_name_twice_and_larger(her: One, more: str) -> None:
    name = her.image(0).findtext("NAME")
    by_name = f'DISK=[IMAGE="{name}",IMAGE_UNAME="oneadmin"]'
    by_uid = f'DISK=[IMAGE="{name}",IMAGE_UID="0"{f",{more}" if more else ""}]'
    disks = her.vm(her.start(by_name, by_uid)).findall("TEMPLATE/DISK")
    assert [one.findtext("IMAGE_ID") for one in disks] == ["0", "0"]
    assert disks[1].findtext("SIZE") == (more.removeprefix("SIZE=") or "128")
    assert disks[1].findtext("ORIGINAL_SIZE") == "128"


def test_an_image_of_somebody_elses_is_named_with_its_owner(her: One) -> None:
    uid, name = her.document("user.info", -1).findtext("ID"), her.image(0).findtext("NAME")
    words = f"User {uid} does not own an image with name: {name} . "
    words += "Set IMAGE_UNAME or IMAGE_UID of owner in DISK."
    code, said = her.refusal("vm.allocate", f'CPU=1\nMEMORY=64\nDISK=[IMAGE="{name}"]')
    assert (code, said.removeprefix("DISK 0: ")) == (8192, words)


def test_disks_without_an_image(her: One) -> None:
    number = her.start("DISK=[TYPE=fs,SIZE=5]", "DISK=[TYPE=swap,SIZE=7]")
    (short,) = her.document("vmpool.info", -3, number, number, -1)
    for one in short.iterfind("TEMPLATE/DISK"):
        assert [one.findtext(tag) for tag in ("IMAGE", "IMAGE_ID", "CLONE")] == ["", "", ""]
    assert [one.findtext("TYPE") for one in short.iterfind("TEMPLATE/DISK")] == ["fs", "swap"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('GRAPHICS=[TYPE="VNC",PORT="-1"]', "Wrong PORT number in GRAPHICS attribute"),
        ('GRAPHICS=[TYPE="VNC",PORT="x"]', "Wrong PORT number in GRAPHICS attribute"),
        (
            'CONTEXT=[TOKEN="YES"]',
            "TOKEN set, but onegate endpoint was not defined in oned.conf.",
        ),
        (
            "DISK=[TYPE=fs,SIZE=1,TARGET=vda]\nDISK=[TYPE=fs,SIZE=1,TARGET=vda]",
            "Two disks have defined the same target vda",
        ),
        ("VCPU=x", "VCPU attribute must be a positive integer value."),
        ("VCPU=-1", "VCPU attribute must be a positive integer value."),
    ],
)
def test_what_else_is_refused(her: One, lines: str, words: str) -> None:
    assert her.refusal("vm.allocate", f"CPU=1\nMEMORY=64\n{lines}") == (8192, words)


def test_what_else_is_accepted_and_kept(her: One) -> None:
    lines = (
        'GRAPHICS=[TYPE="VNC",LISTEN="127.0.0.1",PASSWD="p",PORT="5901"]',
        'TOPOLOGY=[SOCKETS="1"]\nCPU_MODEL=[MODEL="host"]\nFEATURES=[ACPI="yes"]',
        'SCHED_REQUIREMENTS="((("\nSCHED_DS_REQUIREMENTS="x"\nLABELS="a,b"\nHYPERVISOR="kvm"',
        'REPORT="x"\nCONTEXT=[REPORT_READY="YES"]\nPCI=[VENDOR="8086"]',
    )
    number = her.start(*lines)
    machine = her.vm(number)
    for path in ("TOPOLOGY/SOCKETS", "CPU_MODEL/MODEL", "FEATURES/ACPI", "PCI/VENDOR"):
        assert machine.findtext(f"TEMPLATE/{path}"), path
    for name in ("SCHED_REQUIREMENTS", "SCHED_DS_REQUIREMENTS", "LABELS", "HYPERVISOR", "REPORT"):
        assert machine.findtext(f"USER_TEMPLATE/{name}"), name
    (short,) = her.document("vmpool.info", -3, number, number, -1)
    assert short.findtext("TEMPLATE/GRAPHICS/PASSWD") == "p"
    assert short.findtext("USER_TEMPLATE/LABELS") == "a,b"


def test_a_machine_that_is_not_scheduled_waits_for_ever(both: Sandbox, her: One) -> None:
    both.opennebula.fail("schedule", "Cannot dispatch VM: No host meets SCHED_REQUIREMENTS")
    number = her.start()
    assert her.state(number) == (1, 0)
    (short,) = her.document("vmpool.info", -3, number, number, -1)
    said = short.findtext("USER_TEMPLATE/SCHED_MESSAGE", "")
    assert said.endswith(": Cannot dispatch VM: No host meets SCHED_REQUIREMENTS")
    her("vm.action", "hold", number)
    assert her.state(number) == (2, 0)
    her("vm.action", "terminate", number)


def test_a_bad_share_in_what_replaces_a_template(her: One) -> None:
    name = f"share-{her('system.version')}"
    template = her("template.allocate", f'NAME="{name}"\nCPU=1\nMEMORY=64')
    uid = her.document("user.info", -1).findtext("ID")
    refusal = her.refusal("template.instantiate", template, "n", False, "CPU=-1", False)
    if her("system.version") == "7.4.0":
        words = f"Error allocating a new virtual machine template. {CPU}"
        assert refusal == (16384, words)
    else:
        assert refusal == (512, f"User [{uid}] : user [{uid}] {CPU}")
    refusal = her.refusal("template.instantiate", template, "n", False, "CPU=[", False)
    assert refusal[0] == 8192
    assert refusal[1].startswith("Parse error: ")


def test_a_template_is_copied_shared_and_changed(both: Sandbox, her: One) -> None:
    him, name = One(both, "bob:pw-b"), f"copied-{her('system.version')}"
    first = her("template.allocate", f'NAME="{name}"\nCPU=1\nMEMORY=64\nA="b"')
    copy = her("template.clone", first, f"{name} 2")
    assert him.refusal("template.instantiate", copy, "n")[0] == 512
    her("template.chmod", copy, -1, -1, -1, -1, -1, -1, 1, -1, -1)
    assert him.state(him("template.instantiate", copy, "n")) == RUNNING
    assert him.refusal("template.update", copy, 'A="x"', 1)[0] == 512
    her("template.update", copy, 'MEMORY="128"', 1)
    her("template.rename", copy, f"{name} 3")
    words = f"template cannot be renamed to {name} because it collides with template {first}"
    assert her.refusal("template.rename", copy, name) == (2048, words)
    found = her.document("template.info", copy)
    assert (found.findtext("NAME"), found.findtext("TEMPLATE/A")) == (f"{name} 3", "b")
    assert found.findtext("TEMPLATE/MEMORY") == "128"
    assert her.refusal("template.update", copy, "A=1", 7) == (4096, "Wrong update type")


# -- what nobody means well by

MANY = "9" * 5000


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (f"VCPU={MANY}", 8192),
        (f"MEMORY={MANY}", 8192),
        (f"CPU={MANY}", 8192),
        (f"DISK=[IMAGE_ID={'9' * 19}]", 512),
        (f"DISK=[IMAGE_ID={MANY}]", 512),
        ("DISK=[IMAGE_ID=\u0660]", 512),
        (f"DISK=[TYPE=fs,SIZE={MANY}]", 8192),
        (f"NIC=[NETWORK_ID={MANY}]", 8192),
        (f"GRAPHICS=[PORT={MANY}]", 8192),
    ],
    ids=["cores", "memory", "share", "19", "image", "digit", "disk", "network", "port"],
)
def test_numbers_that_nothing_has(her: One, lines: str, code: int) -> None:
    text = "\n".join([lines, "CPU=1", "MEMORY=64"])
    assert her.refusal("vm.allocate", text)[0] == code


def test_what_only_the_engine_knows_is_not_believed(both: Sandbox, her: One) -> None:
    forged = "ATTACH=YES,CLONING=YES,PERSISTENT=YES,DISK_ID=x"
    number = her.start(f"DISK=[TYPE=fs,SIZE=5,{forged}]", "NIC=[NETWORK_ID=0,NIC_ID=x]")
    machine = her.vm(number)
    assert her.state(number) == RUNNING
    for name in ("ATTACH", "CLONING", "PERSISTENT"):
        assert machine.find(f"TEMPLATE/DISK/{name}") is None
    assert machine.findtext("TEMPLATE/DISK/DISK_ID") == "0"
    assert machine.findtext("TEMPLATE/NIC/NIC_ID") == "0"
    both.opennebula.limit("alice", "SYSTEM_DISK_SIZE", 0)
    try:
        for image in ("TYPE=fs,SIZE=5", "IMAGE_ID=0"):
            text = f"CPU=1\nMEMORY=64\nDISK=[{image},{forged}]"
            assert "SYSTEM_DISK_SIZE" in her.refusal("vm.allocate", text)[1]
    finally:
        both.opennebula.limit("alice", "SYSTEM_DISK_SIZE", -1)


def test_a_contexts_place_is_the_engines(her: One) -> None:
    number = her.start('CONTEXT=[A="b"]')
    her("vm.updateconf", number, "CONTEXT=[DISK_ID=x,TARGET=vda]", 1)
    her("vm.attach", number, 'DISK=[TYPE=fs,SIZE=1,DEV_PREFIX="vd"]')
    assert her.vm(number).findtext("TEMPLATE/DISK/TARGET") == "vda"
    assert her.vm(number).findtext("TEMPLATE/CONTEXT/DISK_ID") == "0"
