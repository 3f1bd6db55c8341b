"""Template text: what the sandbox's independent parser reads back is what was meant."""

import base64
import gzip
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libcloud.compute.base import NodeAuthSSHKey

from stratuslab_libcloud.client.data import NewMachine
from stratuslab_libcloud.client.stratuslab import template
from stratuslab_libcloud.client.stratuslab.template import BootDisk
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import InvalidValueError
from stratuslab_libcloud.sandbox.site import Sandbox
from stratuslab_libcloud.sandbox.template import Template, parse

BOOT = BootDisk("https://m/metadata/X", driver="qcow2", bus="virtio", inbound_ports=(22, 80))


def render(boot: BootDisk = BOOT, **more: Any) -> str:
    disks = {name: more.pop(name, ()) for name in ("volumes", "readonly_images")}
    machine = NewMachine(**{"image": "X", "cpus": 2, "ram": 1536, "swap": 512, **more})
    return template.render(machine, boot, **disks)


def read(**more: Any) -> Template:
    return parse(render(**more))


def context(**more: Any) -> dict[str, str]:
    (found,) = read(**more).vectors("CONTEXT")
    return found


class TestContent:
    def test_a_machine(self) -> None:
        template = read(name="web", public_keys=["ssh-rsa AAAA jane@example.org"])
        numbers = {name: template.text(name) for name in ("CPU", "VCPU", "MEMORY", "NAME")}
        assert numbers == {"CPU": "2", "VCPU": "2", "MEMORY": "1536", "NAME": "web"}
        assert template.text("INBOUND_PORTS") == "22,80"
        assert template.vectors("DISK") == [
            {
                "SOURCE": "https://m/metadata/X",
                "TARGET": "vda",
                "SAVE": "no",
                "READONLY": "no",
                "DRIVER": "qcow2",
            },
            {"TYPE": "swap", "SIZE": "512", "TARGET": "vdb", "READONLY": "no"},
        ]
        assert template.vectors("NIC") == [{"NETWORK_UNAME": "oneadmin", "NETWORK": "public"}]
        assert template.vectors("CONTEXT") == [
            {"PUBLIC_KEY": "ssh-rsa AAAA jane@example.org", "TARGET": "hdd"}
        ]

    @pytest.mark.parametrize(("bus", "prefix"), [("ide", "hd"), ("scsi", "sd"), ("virtio", "vd")])
    def test_every_disk_has_a_target_of_its_own(self, bus: str, prefix: str) -> None:
        volumes = [f"pdisk:https://h/pdisk/{n}" for n in range(20)]
        template = read(boot=BootDisk("x", bus=bus), volumes=volumes, readonly_images=["a", "b"])
        targets = [disk["TARGET"] for disk in template.vectors("DISK")]
        assert len(set(targets)) == len(targets) == 24
        assert "hdd" not in targets  # the context drive's
        assert all(target.startswith(prefix) for target in targets)

    def test_more_disks_than_letters_are_refused(self) -> None:
        with pytest.raises(InvalidValueError, match="that many disks"):
            render(volumes=["pdisk:x"] * 25)

    def test_no_swap_is_no_disk(self) -> None:
        assert len(read(swap=0).vectors("DISK")) == 1

    def test_an_unknown_bus_is_refused(self) -> None:
        with pytest.raises(InvalidValueError, match=r"disk bus must be .*, not 'sata'"):
            render(boot=BootDisk("x", bus="sata"))

    def test_all_that_may_be_asked_for(self) -> None:
        template = read(
            volumes=["pdisk:x"],
            readonly_images=["y"],
            volatile_disk=5,
            address="10.0.0.5",
            network="local",
            network_model="virtio",
            requirements='CLUSTER = "test"',
            cpu_amount=0.5,
            use_host_cpu=True,
            vnc_port=5901,
            vnc_listen="::1",
            keymap="fr",
        )
        numbers = {name: template.text(name) for name in ("CPU", "VCPU", "REQUIREMENTS")}
        assert numbers == {"CPU": "0.5", "VCPU": "2", "REQUIREMENTS": 'CLUSTER = "test"'}
        assert template.vectors("NIC") == [
            {
                "NETWORK_UNAME": "oneadmin",
                "NETWORK": "local",
                "IP": "10.0.0.5",
                "MODEL": "virtio",
            }
        ]
        assert template.vectors("GRAPHICS") == [
            {"PORT": "5901", "LISTEN": "::1", "KEYMAP": "fr", "TYPE": "vnc"}
        ]
        (raw,) = template.vectors("RAW")
        assert raw["TYPE"] == "kvm"
        assert "<qemu:arg value='-cpu'/><qemu:arg value='host'/>" in raw["DATA"]
        volume, volatile, image = template.vectors("DISK")[2:]
        assert (volume["TARGET"], image["TARGET"]) == ("vdc", "vde")  # the guide's volume is at c
        assert volatile == {
            "TYPE": "fs",
            "FORMAT": "ext3",
            "SIZE": "5120",
            "TARGET": "vdd",
            "SAVE": "no",
            "READONLY": "no",
        }

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"volatile_disk": -1}, "-1 GiB of volatile disk"),
            ({"volatile_disk": "5"}, "'5' GiB of volatile disk"),
            ({"address": "10.0.0"}, "address must be an IP address, not '10.0.0'"),
            ({"address": 5}, "address must be an IP address, not 5"),
            ({"network_model": 5}, "network_model must be text"),
            ({"requirements": 5}, "requirements must be text"),
            ({"cpu_amount": 0}, "cpu_amount must be a number of CPUs, more than 0 and at most 2"),
            ({"cpu_amount": 2.5}, "cpu_amount must be a number of CPUs, more than 0 and at most 2"),
            ({"cpu_amount": "1"}, "cpu_amount must be a number of CPUs"),
            ({"vnc_port": 0}, "vnc_port must be a TCP port"),
            ({"vnc_port": 65536}, "vnc_port must be a TCP port"),
            ({"vnc_listen": "everywhere"}, "vnc_listen must be an IP address"),
            ({"keymap": None}, "keymap must be text"),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_refused(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(InvalidValueError, match=re.escape(said)):
            render(**options)

    def test_user_data_is_packed_for_cloud_init(self) -> None:
        data = bytes(range(256))
        found = context(context_method="cloud-init", user_data=data, public_keys=["ssh-rsa A"])
        packed = base64.b64decode(found["CLOUD_INIT_USER_DATA"])
        assert gzip.decompress(packed) == data
        keys = base64.b64decode(found["CLOUD_INIT_AUTHORIZED_KEYS"])
        assert keys == b"ssh-rsa A\n"
        assert found["CONTEXT_METHOD"] == "cloud-init"

    def test_a_keys_comment_is_dropped_where_it_could_harm(self) -> None:
        keys = ['ssh-rsa AAAA "$(reboot)"', "ssh-rsa BBBB jane@example.org on her laptop"]
        assert context(public_keys=keys)["PUBLIC_KEY"] == (
            "ssh-rsa AAAA\nssh-rsa BBBB jane@example.org on her laptop"
        )


# What bash(1) and dash(1) know, and what their environment may hold.
SHELL_VARIABLES = re.findall(
    "[A-Z_0-9]+",
    """
    _ BASH BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS BASH_COMMAND
    BASH_COMPAT BASH_ENV BASH_EXECUTION_STRING BASH_LINENO BASH_LOADABLES_PATH BASH_REMATCH
    BASH_SOURCE BASH_SUBSHELL BASH_VERSINFO BASH_VERSION BASH_XTRACEFD CHILD_MAX COLUMNS COMPREPLY
    COMP_WORDBREAKS COPROC DIRSTACK EMACS ENV EPOCHREALTIME EPOCHSECONDS EUID EXECIGNORE FCEDIT
    FIGNORE FUNCNAME FUNCNEST GLOBIGNORE GROUPS HISTCMD HISTCONTROL HISTFILE HISTSIZE HOME HOSTFILE
    HOSTNAME HOSTTYPE IFS IGNOREEOF INPUTRC INSIDE_EMACS LANG LC_ALL LC_COLLATE LC_CTYPE
    LD_LIBRARY_PATH LD_PRELOAD LINENO LINES LOGNAME MACHTYPE MAIL MAILCHECK MAILPATH MAPFILE OLDPWD
    OPTARG OPTERR OPTIND OSTYPE PATH PIPESTATUS POSIXLY_CORRECT PPID PROMPT_COMMAND PS0 PS1 PS2 PS3
    PS4 PWD RANDOM READLINE_LINE REPLY SECONDS SHELL SHELLOPTS SHLVL SRANDOM TERM TIMEFORMAT TMOUT
    TMPDIR TZ UID USER
    """,
)
# What follows the context in a script of the guest's, and what it prints when all is well.
FOLLOWS = "f() { /bin/true; }; f; cd /; set -- $(echo a b); echo $#; ls -d /; type ls >/dev/null"


def survives(shell: list[str], key: str) -> bool:
    """Whether a shell reads the value back, and goes on as if nothing had been."""
    script = f"set -a; {key}='x1'; printf '%s\\n' \"${key}\"; {FOLLOWS}"
    done = subprocess.run([*shell, "-c", script], capture_output=True, text=True, timeout=60)
    return (done.returncode, done.stdout) == (0, "x1\n2\n/\n")


@pytest.mark.parametrize("key", SHELL_VARIABLES)
def test_a_context_key_that_a_guests_shell_would_trip_over_is_refused(key: str) -> None:
    environment = ["env", "-i", "PATH=/usr/bin:/bin"]
    shells = [["bash", "-e"], ["bash", "--posix", "-e"], ["sh", "-e"]]
    try:
        render(context={key.lower(): "x1"})
    except InvalidValueError as error:
        assert str(error).endswith("is a variable of the machine's shell; use another name")
        return
    for shell in shells:
        assert survives([*environment, *shell], key), shell


@pytest.mark.parametrize("key", ["UID", "euid", "PPID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO"])
def test_a_context_key_that_is_read_only_is_refused(key: str) -> None:
    with pytest.raises(InvalidValueError, match=f"^the context key '{key}' is a variable of"):
        render(context={key: "1"})


@pytest.mark.parametrize(
    "key", ["HOSTNAME", "HOME", "USER", "USERS", "GUID", "IFS_1", "PATHS", "BASHFUL", "OLD_PATH"]
)
def test_other_context_keys_are_not(key: str) -> None:
    assert context(context={key: "1"})[key] == "1"


NAMES = [
    'x" CPU = 8 NAME = "y',
    "Université d'été",
    "日本語",
    'say "hi"',
    "two\nlines\n",
    " blanks around ",
    "a\\b",
    'a\\\\b"c',
    "NAME = [ A = 1 ]",
    "# no comment",
    "$NAME ${x}",
    "tab\there",
    "x" * 128,
    "é" * 64,
    '""',
    "",
]
REFUSED = [
    "ends with \\",
    'before \\" a quote',
    "a]]>b",
    "x" * 129,
    "é" * 65,
    "bell\x07",
    "return\r",
    "nul\0",
    "emoji \U0001f600",
    "lone \ud800",
    "\uffff",
    "x</NAME><STATE>6</STATE><NAME>y",
    "a & b",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_back_exactly(name: str) -> None:
    template = read(name=name)
    assert template.text("NAME") == name
    assert template.text("CPU") == "2"
    assert len(template.attributes) == len(read(name="x").attributes) - (not name)


@pytest.mark.parametrize("name", REFUSED)
def test_or_refused_in_one_line(name: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        render(name=name)
    assert "\n" not in str(caught.value)


@settings(max_examples=300)
@given(st.text(max_size=140) | st.text('\\"]>[=,#\n $<&ab', max_size=20))
def test_any_name_is_read_back_exactly_or_refused(name: str) -> None:
    try:
        text = render(name=name)
    except InvalidValueError:
        return
    template = parse(text)
    assert template.text("NAME") == name
    assert len(template.attributes) == len(read(name="x").attributes) - (not name)


@settings(max_examples=300)
@given(
    st.dictionaries(
        st.text("aB_9é", min_size=1, max_size=5),
        st.text(max_size=30) | st.text('\\"]>[=,#\n $`ab', max_size=12),
        max_size=4,
    ),
    st.lists(st.text(max_size=30), max_size=3),
)
def test_any_context_is_read_back_exactly_or_refused(
    values: dict[str, str], keys: list[str]
) -> None:
    plain = [key for key in keys if key.strip()]
    try:
        found = context(context=values, public_keys=plain)
    except InvalidValueError:
        return
    found.pop("TARGET")
    public = found.pop("PUBLIC_KEY", "")
    assert found == {key.upper(): value for key, value in values.items() if value}
    assert not set(public) & set('"$`\\')


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StratusLabNodeDriver]:
    folder: Path = tmp_path_factory.mktemp("site")
    with Sandbox(folder / "s") as sandbox:
        driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
        yield driver
        driver.ex_close()


def created(driver: StratusLabNodeDriver, name: str) -> str:
    """The name of a new node, as creating and listing it tell."""
    node = driver.create_node(
        name,
        driver.list_sizes()[0],
        driver.list_images()[0],
        auth=NodeAuthSSHKey("ssh-rsa AAAA"),
    )
    found = {one.id: one.name for one in driver.list_nodes()}
    driver.destroy_node(node)
    assert node.name == found[node.id]
    return str(node.name)


class TestThroughTheWholeSite:
    """Over HTTP, XML-RPC and the VM document, and back."""

    @pytest.mark.parametrize("name", [name for name in NAMES if name])
    def test_a_name_comes_back_exactly(self, driver: StratusLabNodeDriver, name: str) -> None:
        assert created(driver, name) == name

    @settings(max_examples=60)
    @given(name=st.text(min_size=1, max_size=100))
    def test_any_name_does_or_is_refused(self, driver: StratusLabNodeDriver, name: str) -> None:
        before = len(driver.list_nodes())
        try:
            assert created(driver, name) == name
        except InvalidValueError:
            assert len(driver.list_nodes()) == before
