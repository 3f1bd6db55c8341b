"""Machines of an engine: orders, ends, and what comes between (modern 1, 6, 7, 8)."""

import base64
from typing import Any

import pytest
from engines import Scripted, done, image, machine, network, pool_of, refused

from stratuslab_libcloud.client.data import NewMachine
from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    LostAnswerError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    QuotaExceededError,
    UnavailableError,
)

ONE_NETWORK = pool_of("VNET", network(0, "public"))
TWO_NETWORKS = pool_of("VNET", network(3, "private"), network(0, "public"))
CREATED = {"vnpool.info": ONE_NETWORK, "vm.allocate": done(81)}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK jane@example.org"
TEMPLATE = (
    "<VMTEMPLATE><ID>4</ID><UNAME>oneadmin</UNAME><NAME>site</NAME><TEMPLATE><CPU>0.5</CPU>"
    "<MEMORY>256</MEMORY><DISK><IMAGE>alpine</IMAGE><IMAGE_UNAME>oneadmin</IMAGE_UNAME></DISK>"
    "<DISK><TYPE>SWAP</TYPE><SIZE>64</SIZE></DISK><NIC><NETWORK_ID>3</NETWORK_ID><IP>10.0.0.9</IP>"
    "<NAME>NIC0</NAME><MODEL>virtio</MODEL></NIC><NIC><NETWORK>second</NETWORK></NIC><GRAPHICS>"
    "<TYPE>SPICE</TYPE><PASSWD>a</PASSWD><KEYMAP>fr</KEYMAP></GRAPHICS><CONTEXT><NETWORK>YES</NETWORK>"
    "<SSH_PUBLIC_KEY>$USER[SSH_PUBLIC_KEY]</SSH_PUBLIC_KEY><REPORT_READY>NO</REPORT_READY></CONTEXT>"
    "</TEMPLATE></VMTEMPLATE>"
)


def order(**more: Any) -> NewMachine:
    return NewMachine(**{"image": "0", "cpus": 1, "ram": 512, "swap": 0, **more})


def template_of(engine: Scripted) -> str:
    """What was asked for last."""
    name, *arguments = next(
        call for call in reversed(engine.calls) if call[0].startswith(("vm.all", "template.inst"))
    )
    return str(arguments[0] if name == "vm.allocate" else arguments[3])


class TestOrders:
    def test_a_whole_one(self) -> None:
        with Scripted(CREATED) as engine:
            made = engine.cloud().create_machine(
                order(
                    name="web",
                    swap=64,
                    volumes=["5"],
                    public_keys=[KEY],
                    user_data=b"#!/bin/sh\necho $HOME $(id)\n",
                    disk_size=8,
                    hold=True,
                    context={"ROLE": "db"},
                )
            )
        assert made == "81"
        assert engine.methods == ["vnpool.info", "vm.allocate"]
        assert engine.calls[1][2] is True
        text = template_of(engine)
        encoded = base64.b64encode(b"#!/bin/sh\necho $HOME $(id)\n").decode()
        for part in (
            *('NAME = "web"', 'CPU = "1"', 'VCPU = "1"', 'MEMORY = "512"'),
            'DISK = [\n  IMAGE_ID = "0",\n  DEV_PREFIX = "vd",\n  SIZE = "8192" ]',
            'DISK = [\n  TYPE = "swap",\n  SIZE = "64",\n  DEV_PREFIX = "vd" ]',
            'DISK = [\n  IMAGE_ID = "5",\n  DEV_PREFIX = "vd" ]',
            'NIC = [\n  NETWORK_ID = "0" ]',
            *('  NETWORK = "YES"', f'  SSH_PUBLIC_KEY = "{KEY}"', f'  USERDATA = "{encoded}"'),
            *('  USERDATA_ENCODING = "base64"', '  ROLE = "db"', 'LABELS = "stratuslab-'),
        ):
            assert part in text
        assert "$" not in text

    @pytest.mark.parametrize(
        ("wanted", "known", "found"),
        [
            ("", ONE_NETWORK, "0"),
            ("private", TWO_NETWORKS, "3"),
            ("7", None, "7"),
        ],
        ids=["the only one", "by name", "by id"],
    )
    def test_networks(self, wanted: str, known: Any, found: str) -> None:
        answers = {"vm.allocate": done(81), **({"vnpool.info": known} if known else {})}
        with Scripted(answers) as engine:
            engine.cloud().create_machine(order(network=wanted))
        assert f'NETWORK_ID = "{found}"' in template_of(engine)

    @pytest.mark.parametrize("wanted", ["", "nowhere"])
    def test_a_network_that_is_not_clear(self, wanted: str) -> None:
        with Scripted({"vnpool.info": TWO_NETWORKS}) as engine:
            with pytest.raises(InvalidValueError, match=r": private \(3\), public \(0\)") as caught:
                engine.cloud().create_machine(order(network=wanted))
        assert wanted or "by ex_network, or by the location's option network: " in str(caught.value)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"image": "x"},
            {"cpus": 0},
            {"name": "a<b"},
            {"context": {"A": "$HOME"}},
            {"context": {"network": "NO"}},
            {"disks_bus": "floppy"},
            {"context_method": "smoke"},
            {"volumes": ["a-b"]},
        ],
        ids=str,
    )
    def test_what_the_engine_would_not_keep_is_not_sent(self, wrong: dict[str, Any]) -> None:
        with Scripted(CREATED) as engine, pytest.raises(InvalidValueError):
            engine.cloud().create_machine(order(**wrong))
        assert "vm.allocate" not in engine.methods

    def test_volumes_that_the_engine_has_spoilt_are_mended(self) -> None:
        spoilt = "[one.vm.allocate] DISK 1: Cannot acquire image 5, it is in state: ERROR"
        answers = {
            **CREATED,
            "vm.allocate": [refused(spoilt, 8192), done(81)],
            "image.info": [done(image(5, 5)), done(image(6, 5))],
            "image.enable": done(5),
        }
        with Scripted(answers) as engine:
            assert engine.cloud().create_machine(order(volumes=["5", "6"])) == "81"
        enabled = [call for call in engine.calls if call[0] == "image.enable"]
        assert enabled == [("image.enable", 5, True), ("image.enable", 6, True)]

    def test_a_lost_answer_says_how_to_find_the_one(self) -> None:
        answers = {**CREATED, "vm.allocate": lambda handler, request: handler.hang_up()}
        with Scripted(answers) as engine, pytest.raises(LostAnswerError) as caught:
            engine.cloud().create_machine(order(name="web"))
        assert engine.methods.count("vm.allocate") == 1
        mark = str(caught.value).partition("the label ")[2].split()[0]
        assert f'LABELS = "{mark}"' in template_of(engine)

    @pytest.mark.parametrize(
        ("text", "code", "kind"),
        [
            ("DISK 0: Image with ID: 99 does not exist", 8192, NotFoundError),
            ("DISK 0: Cannot acquire image 5, it is persistent and already", 8192, ConflictError),
            ("User [2] : Not authorized to perform USE IMAGE [3].", 512, NotPermittedError),
            *[
                (f"user [4] limit of 1 reached for {what} quota in VM.", 512, QuotaExceededError)
                for what in ("VMS", "CPU", "MEMORY", "RUNNING_VMS", "SYSTEM_DISK_SIZE")
            ],
            ("group [1] limit of 0 reached for LEASES quota in NETWORK", 512, QuotaExceededError),
        ],
    )
    def test_refusals(self, text: str, code: int, kind: type[Exception]) -> None:
        answers = {**CREATED, "vm.allocate": refused(f"[one.vm.allocate] {text}", code)}
        with Scripted(answers) as engine, pytest.raises(kind):
            engine.cloud().create_machine(order())


class TestTemplates:
    ANSWERS = {  # noqa: RUF012
        "template.info": done(TEMPLATE),
        "template.instantiate": done(81),
        "vnpool.info": TWO_NETWORKS,
    }

    def test_the_list(self) -> None:
        with Scripted({"templatepool.info": pool_of("VMTEMPLATE", TEMPLATE)}) as engine:
            (found,) = engine.cloud().templates()
        assert (found.id, found.name, found.ram, found.cpus) == ("4", "site", 256, 1)
        assert (found.images, found.networks) == (["alpine"], ["3", "second"])

    def test_what_it_says_holds(self) -> None:
        with Scripted(self.ANSWERS) as engine:
            engine.cloud().create_machine(order(template="4", image="", cpus=0, ram=0, name="n"))
        assert engine.methods == ["template.info", "template.instantiate"]
        assert engine.calls[1][1:4] == (4, "n", False)
        text = template_of(engine)
        assert not any(word in text for word in ("DISK", "NIC", "CONTEXT", "MEMORY", "GRAPHICS"))

    def test_what_replaces_a_part_keeps_the_rest(self) -> None:
        with Scripted(self.ANSWERS) as engine:
            engine.cloud().create_machine(
                order(
                    template="4",
                    image="9",
                    swap=32,
                    volumes=["5"],
                    network="public",
                    public_keys=[KEY],
                    vnc_port=5901,
                )
            )
        text = template_of(engine)
        for part in (
            'DISK = [\n  IMAGE_ID = "9"',
            'DISK = [\n  TYPE = "SWAP",\n  SIZE = "64" ]',
            'DISK = [\n  IMAGE_ID = "5"',
            'NIC = [\n  NAME = "NIC0",\n  MODEL = "virtio",\n  NETWORK_ID = "0" ]',
            'NIC = [\n  NETWORK = "second" ]',
            f'SSH_PUBLIC_KEY = "$USER[SSH_PUBLIC_KEY]\n{KEY}"',
            'REPORT_READY = "NO"',
            'TYPE = "SPICE",\n  PASSWD = "a",\n  KEYMAP = "fr",\n  PORT = "5901" ]',
        ):
            assert part in text
        assert "alpine" not in text
        assert text.count("DISK = [") == 3

    def test_a_keyboard(self) -> None:
        with Scripted(self.ANSWERS) as engine:
            engine.cloud().create_machine(order(template="4", image="", keymap="de"))
        assert 'PASSWD = "a",\n  KEYMAP = "de" ]' in template_of(engine)

    def test_a_larger_disk(self) -> None:
        with Scripted(self.ANSWERS) as engine:
            engine.cloud().create_machine(order(template="4", image="", disk_size=3))
        assert 'IMAGE_UNAME = "oneadmin",\n  SIZE = "3072" ]' in template_of(engine)


class TestEnding:
    def test_one_request(self) -> None:
        with Scripted({"vm.action": done(81)}) as engine:
            engine.cloud().kill_machine("81")
        assert engine.calls == [("vm.action", "terminate-hard", 81)]

    @pytest.mark.parametrize("state", ["3/1", "3/2", "3/17", "3/26", "3/6"])
    def test_one_that_is_changed_is_waited_for(self, state: str) -> None:
        wrong = (
            '[one.vm.action] Error performing action "terminate-hard": Could not terminate VM 81'
        )
        answers = {
            "vm.action": [refused(f"{wrong}, wrong state X.", 2048), done(81)],
            "vm.info": [done(machine(state)), done(machine(state)), done(machine("3/3"))],
        }
        with Scripted(answers) as engine:
            engine.cloud().kill_machine("81")
        assert engine.methods == ["vm.action", *["vm.info"] * 3, "vm.action"]

    @pytest.mark.parametrize("state", ["3/11", "3/12", "3/23", "6"])
    def test_one_that_is_ending_is_a_success(self, state: str) -> None:
        wrong = "[one.vm.action] Could not terminate VM 81, wrong state EPILOG."
        answers = {"vm.action": refused(wrong, 2048), "vm.info": done(machine(state))}
        with Scripted(answers) as engine:
            engine.cloud().kill_machine("81")
        assert engine.methods == ["vm.action", "vm.info"]

    def test_one_that_stays_as_it_is(self) -> None:
        wrong = "[one.vm.action] Could not terminate VM 81, wrong state BOOT."
        answers = {"vm.action": refused(wrong, 2048), "vm.info": done(machine("3/2"))}
        with Scripted(answers) as engine:
            cloud = engine.cloud()
            cloud._patience = 0.3
            with pytest.raises(UnavailableError, match="node 81 could not be ended meanwhile"):
                cloud.kill_machine("81")

    @pytest.mark.parametrize("state", ["3/36", "3/39", "3/40"])
    def test_the_volumes_of_a_failed_one_are_mended(self, state: str) -> None:
        answers = {
            "vm.info": [done(machine(state, 0, 5)), done(machine("3/23", 0, 5))],
            "vm.action": done(81),
            "image.info": [
                done(image(0, 2, type=0, persistent=0, machines=(7,))),  # which others have
                done(image(0, 2, type=0, persistent=0, machines=(7,))),
                done(image(5, 8, machines=(81,))),
                done(image(5, 5)),
            ],
            "image.enable": done(5),
        }
        with Scripted(answers) as engine:
            cloud = engine.cloud()
            assert cloud.machine("81").failed
            cloud.kill_machine("81")
        assert engine.calls[-1] == ("image.enable", 5, True)


class TestPower:
    @pytest.mark.parametrize(
        ("method", "word", "before", "after"),
        [
            ("stop_machine", "poweroff", "3/3", "3/18"),
            ("start_machine", "resume", "8", "3/20"),
            ("suspend_machine", "suspend", "3/3", "3/6"),
            ("resume_machine", "resume", "5", "3/21"),
        ],
    )
    def test_the_new_state_shows_on_return(
        self, method: str, word: str, before: str, after: str
    ) -> None:
        answers = {
            "vm.action": done(81),
            "vm.info": [done(machine(before)), done(machine(after))],
        }
        with Scripted(answers) as engine:
            getattr(engine.cloud(), method)("81")
        assert engine.calls[0] == ("vm.action", word, 81)
        assert engine.methods == ["vm.action", "vm.info", "vm.info"]

    def test_one_on_hold_is_released(self) -> None:
        text = (
            '[one.vm.action] Error performing action "resume": This action is not available for '
            "state HOLD"
        )
        answers = {"vm.action": [refused(text, 2048), done(81)], "vm.info": done(machine("1"))}
        with Scripted(answers) as engine:
            engine.cloud().start_machine("81")
        assert [call[1] for call in engine.calls[:2]] == ["resume", "release"]

    @pytest.mark.parametrize("state", ["3/18", "3/6", "3/5", "3/10", "3/30"])
    def test_one_that_is_stopping_is_started_then(self, state: str) -> None:
        text = "[one.vm.action] This action is not available for state SHUTDOWN_POWEROFF"
        stopped = [done(machine(one)) for one in (state, state, "8", "3/20")]
        answers = {"vm.action": [refused(text, 2048), done(81)], "vm.info": stopped}
        with Scripted(answers) as engine:
            engine.cloud().start_machine("81")
        assert [call[1] for call in engine.calls if call[0] == "vm.action"] == ["resume"] * 2

    @pytest.mark.parametrize("state", ["3/3", "3/2", "1", "6"])
    def test_one_that_does_not_rest_is_not_started(self, state: str) -> None:
        text = "[one.vm.action] This action is not available for state RUNNING"
        answers = {"vm.action": refused(text, 2048), "vm.info": done(machine(state))}
        with Scripted(answers) as engine, pytest.raises(ConflictError, match="state RUNNING"):
            engine.cloud().start_machine("81")
        assert engine.methods == ["vm.action", "vm.info"]

    def test_reboot(self) -> None:
        with Scripted({"vm.action": done(81)}) as engine:
            engine.cloud().reboot_machine("81")
        assert engine.calls == [("vm.action", "reboot", 81)]

    def test_a_state_that_does_not_allow_it(self) -> None:
        text = (
            '[one.vm.action] Error performing action "reboot": This action is not available for '
            "state POWEROFF"
        )
        with Scripted({"vm.action": refused(text, 2048)}) as engine:
            with pytest.raises(ConflictError, match="state POWEROFF"):
                engine.cloud().reboot_machine("81")

    def test_resume_over_a_quota(self) -> None:
        text = "[one.vm.action] user [4] limit of 1 reached for RUNNING_VMS quota in VM."
        with Scripted({"vm.action": refused(text, 2048)}) as engine:
            with pytest.raises(QuotaExceededError):
                engine.cloud().start_machine("81")

    def test_resize_and_rename(self) -> None:
        new = machine("3/66").replace("<MEMORY>512", "<MEMORY>1024")
        answers = {
            "vm.info": [done(machine()), done(new), done(new.replace("E>66", "E>3"))],
            "vm.resize": done(81),
            "vm.rename": done(81),
        }
        with Scripted(answers) as engine:
            engine.cloud().resize_machine("81", 1, 1024)
            engine.cloud().rename_machine("81", "db")
        assert engine.methods == ["vm.info", "vm.resize", "vm.info", "vm.info", "vm.rename"]
        assert engine.calls[-1] == ("vm.rename", 81, "db")


def test_addresses_of_each_family() -> None:
    nic = (
        "<NIC><NETWORK>lan</NETWORK><IP>10.0.0.5</IP><IP6_GLOBAL>2001:db8::1</IP6_GLOBAL>"
        "<IP6_ULA>fd00::1</IP6_ULA><IP6_LINK>fe80::1</IP6_LINK></NIC>"
        "<NIC_ALIAS><NETWORK>lan</NETWORK><IP6>2001:db8::2</IP6></NIC_ALIAS>"
    )
    with Scripted({"vm.info": done(machine(nic=nic))}) as engine:
        found = engine.cloud().machine("81")
    known = ["10.0.0.5", "2001:db8::1", "fd00::1", "2001:db8::2"]
    assert [one["ip"] for one in found.nics] == known


class TestAccount:
    USER = (
        "<USER><ID>2</ID><GID>1</GID><GROUPS><ID>1</ID></GROUPS><GNAME>users</GNAME><NAME>alice"
        "</NAME><PASSWORD>hash</PASSWORD><ENABLED>1</ENABLED><LOGIN_TOKEN><TOKEN>t0ken</TOKEN>"
        f"</LOGIN_TOKEN><TEMPLATE><SSH_PUBLIC_KEY>{KEY}</SSH_PUBLIC_KEY></TEMPLATE><VM_QUOTA><VM>"
        "<VMS>5</VMS><VMS_USED>2</VMS_USED><CPU>-2</CPU><CPU_USED>0.5</CPU_USED></VM></VM_QUOTA>"
        "<DATASTORE_QUOTA><DATASTORE><ID>1</ID><SIZE>4096</SIZE><SIZE_USED>1024</SIZE_USED>"
        "</DATASTORE></DATASTORE_QUOTA></USER>"
    )

    def test_the_account_has_no_secrets(self) -> None:
        with Scripted({"user.info": done(self.USER)}) as engine:
            user = engine.cloud().user()
        assert (user["name"], user["groups"], user["public_keys"]) == ("alice", ["1"], [KEY])
        assert "hash" not in str(user)
        assert "t0ken" not in str(user)

    def test_quotas(self) -> None:
        with Scripted({"user.info": done(self.USER)}) as engine:
            assert engine.cloud().quota() == {
                "vms": {"used": 2.0, "limit": 5.0},
                "cpu": {"used": 0.5, "limit": None},
                "datastore_1_size": {"used": 1024.0, "limit": 4096.0},
            }

    def test_keys(self) -> None:
        with Scripted({"user.info": done(self.USER), "user.update": done(2)}) as engine:
            driver = engine.driver()
            with pytest.raises(NotSupportedError):  # an engine that does not know its version
                driver.list_key_pairs()
            cloud = engine.cloud()
            cloud.set_public_keys([*cloud.public_keys(), KEY.replace("jane", "joe")])
        name, number, text, how = engine.calls[-1]
        assert (name, number, how) == ("user.update", 2, 1)
        assert text.count("ssh-ed25519") == 2
