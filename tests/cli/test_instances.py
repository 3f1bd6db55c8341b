"""The commands about machines, as the User's Guide has them (6.1, 7.3.1)."""

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from forked import Forked
from invoked import done, refused, run
from looks import interrupt_waiting
from sshd import Greeter, Sshd, free_port, make_key, needed

from stratuslab_libcloud import Cloud, Machine, connect, errors
from stratuslab_libcloud.cli import instances
from stratuslab_libcloud.cli.connect import connect_instance
from stratuslab_libcloud.cli.instances import (
    describe_instance,
    kill_instance,
    shutdown_instance,
)
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.sandbox.site import Sandbox

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK jane@example.org"
STARTED = """\

 :::::::::::::::::::::::::
 :: Starting machine(s) ::
 :::::::::::::::::::::::::
 :: Starting 1 machine
 :: Machine 1 (vm ID: {})
\tPublic ip: {}
 :: Done!
"""


@pytest.fixture(autouse=True)
def _nothing_runs(cloud: Cloud) -> Iterator[None]:
    yield
    for machine in cloud.machines():
        cloud.kill_machine(machine.id)


def start(site: Sandbox, image: str, *words: str) -> str:
    """The id of a new machine."""
    return done(run_instance, site, "-q", *words, image).partition(",")[0]


def configured(site: Sandbox, folder: Path, **more: object) -> Path:
    """The site's configuration file, with more in its section."""
    text = site.config_path.read_text()
    lines = "".join(f"{key} = {value}\n" for key, value in more.items())
    path = folder / "more.cfg"
    path.write_text(text.replace("[sandbox]\n", f"[sandbox]\n{lines}"))
    path.chmod(0o600)
    return path


class TestRun:
    def test_the_guides_example(self, site: Sandbox, cloud: Cloud, image: str) -> None:
        printed = done(run_instance, site, image)
        (machine,) = cloud.machines()
        assert printed == STARTED.format(machine.id, machine.address)
        assert (machine.image, machine.cpus, machine.memory) == (image, 1, 1536)

    def test_with_a_persistent_disk(self, site: Sandbox, cloud: Cloud, image: str) -> None:
        uuid = cloud.create_volume(1, "mine").id
        done(run_instance, site, f"--persistent-disk={uuid}", image)
        (machine,) = cloud.machines()
        assert machine.disks[2]["source"] == f"pdisk:{site.url}/pdisk/{uuid}"
        assert machine.disks[2]["target"] in ("hdc", "sdc", "vdc")
        line = refused(1, run_instance, site, f"--persistent-disk={uuid}", image)
        assert "disk cannot be attached; it is already mounted (0/1)" in line
        spare = cloud.create_volume(1, "spare").id
        line = refused(1, run_instance, site, "-n2", f"--persistent-disk={spare}", image)
        assert "(1/2)" in line
        unknown = "00000000-0000-4000-8000-000000000000"
        assert unknown in refused(1, run_instance, site, f"--persistent-disk={unknown}", image)

    def test_several_and_quietly(
        self, site: Sandbox, cloud: Cloud, image: str, tmp_path: Path
    ) -> None:
        ids = tmp_path / "ids"
        printed = done(run_instance, site, "-n", "2", "-q", "-o", str(ids), image)
        machines = sorted(cloud.machines(), key=lambda machine: int(machine.id))
        assert printed == "".join(f"{m.id}, {m.address}\n" for m in machines)
        assert ids.read_text() == "\n".join(machine.id for machine in machines)
        assert done(kill_instance, site, "-i", str(ids)) == ""
        assert cloud.machines() == []
        assert " :: Starting 2 machines\n" in done(run_instance, site, "--num=2", image)

    def test_json(self, site: Sandbox, cloud: Cloud, image: str) -> None:
        (shown,) = json.loads(done(run_instance, site, "--json", image))
        (machine,) = cloud.machines()
        assert shown == {**machine._asdict(), "summary": "Running"}
        assert json.loads(done(describe_instance, site, "--json", machine.id)) == [shown]
        assert json.loads(done(describe_instance, site, "--json")) == [shown]

    def test_all_that_may_be_asked_for(
        self, site: Sandbox, cloud: Cloud, image: str, tmp_path: Path
    ) -> None:
        start(site, image, "--local-ip")
        (scout,) = cloud.machines()
        wanted = str(scout.address).rpartition(".")[0] + ".77"
        (tmp_path / "context").write_text("a=1\nb=2\n\n")
        (tmp_path / "key.pub").write_text(f"{KEY}\n")
        vm_id = start(
            site,
            image,
            *("--local-ip", "--private-ip", "--address", wanted, "--vm-name", "mine"),
            *("--type", "m1.large", "--cpu", "3", "--ram=700", "--swap", "0"),
            *("--key", str(tmp_path / "key.pub"), "--context", "b=3#c=x y"),
            *("--context-file", str(tmp_path / "context"), "--volatile-disk=2"),
            *("--readonly-disk", image, "--vnc-port", "5901", "--vnc-listen", "::1"),
            *("--keymap", "fr", "--use-host-cpu", "--vm-requirements", 'CLUSTER = \\"a\\"'),
            *("--vm-network-model", "virtio", "--vm-cpu-amount=0.5", "--vm-disks-bus", "scsi"),
        )
        said = cloud.machine_attributes(vm_id)
        assert set(said) >= {
            ("name", "mine"),
            ("template_cpu", "0.5"),
            ("template_vcpu", "3"),
            ("template_memory", "700"),
            ("template_requirements", 'CLUSTER = "a"'),
            ("template_nic_ip", wanted),
            ("template_nic_network", "local"),
            ("template_nic_model", "virtio"),
            ("template_graphics_port", "5901"),
            ("template_graphics_listen", "::1"),
            ("template_graphics_keymap", "fr"),
            ("template_raw_type", "kvm"),
            ("template_context_a", "1"),
            ("template_context_b", "3"),
            ("template_context_c", "x y"),
            ("template_context_public_key", KEY),
        }
        disks = [(disk["target"], disk["size"]) for disk in cloud.machine(vm_id).disks]
        assert disks == [("sda", None), ("sdc", 2048), ("sdd", None)]
        (again,) = [line for line in said if line[0] == "template_disk_format"]
        assert again[1] == "ext3"

    def test_cloud_init(self, site: Sandbox, cloud: Cloud, image: str, tmp_path: Path) -> None:
        (tmp_path / "run.sh").write_text("#!/bin/sh\n")
        (tmp_path / "key.pub").write_text(f"{KEY}\n")
        pairs = f"x-shellscript,{tmp_path}/run.sh#ssh,{tmp_path}/key.pub"
        said = dict(cloud.machine_attributes(start(site, image, "--cloud-init", pairs)))
        assert said["template_context_context_method"] == "cloud-init"
        keys = base64.b64decode(said["template_context_cloud_init_authorized_keys"])
        assert keys.decode() == f"{KEY}\n"
        assert said["template_context_cloud_init_user_data"]
        said = dict(cloud.machine_attributes(start(site, image, "--cloud-init", "")))
        assert said["template_context_context_method"] == "cloud-init"
        assert "template_context_cloud_init_user_data" not in said
        prepared = tmp_path / "cloud-init.txt"
        data = said["template_context_cloud_init_authorized_keys"]
        prepared.write_text(f"CONTEXT_METHOD=cloud-init\nCLOUD_INIT_AUTHORIZED_KEYS={data}\n\n")
        said = dict(cloud.machine_attributes(start(site, image, "--context-file", str(prepared))))
        assert said["template_context_cloud_init_authorized_keys"] == data

    def test_types(self, site: Sandbox, tmp_path: Path) -> None:
        result = CliRunner().invoke(run_instance, ["-l"])  # without file, endpoint and network
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == (
            " Type             CPU       RAM      SWAP\n"
            "  c1.medium       2 CPU    1536 MB    1536 MB\n"
            "  c1.xlarge       4 CPU    6144 MB    6144 MB\n"
            "  m1.large        2 CPU    6144 MB    6144 MB\n"
            "  m1.medium       1 CPU    3072 MB    3072 MB\n"
            "* m1.small        1 CPU    1536 MB    1536 MB\n"
            "  m1.xlarge       4 CPU    8192 MB    8192 MB\n"
            "  t1.micro        1 CPU     512 MB     512 MB\n"
            "\n"
        )
        assert "\n* t1.micro " in done(run_instance, site, "-lt", "t1.micro")
        file = configured(site, tmp_path, default_instance_type="c1.medium")
        assert "\n* c1.medium " in done(run_instance, "-c", file, "--list-type")
        assert "\n* t1.micro " in done(run_instance, "-c", file, "-lt", "t1.micro")
        assert {"name": "t1.micro", "cpus": 1, "ram": 512, "swap": 512} in json.loads(
            done(run_instance, site, "-l", "--json")
        )
        assert "Unknown instance type: x; known" in refused(1, run_instance, site, "-lt", "x")

    @pytest.mark.parametrize(
        ("status", "words", "text"),
        [
            (2, [], "Please specify the machine image to start"),
            (2, ["a", "b"], "Please specify the machine image to start"),
            (2, ["--vm-template-file=x", "IMAGE"], "--vm-template-file is not supported"),
            (2, ["-n", "0", "IMAGE"], "Invalid value for '-n' / '--number'"),
            (2, ["--cpu=many", "IMAGE"], "Invalid value for '--cpu'"),
            (2, ["--context-file=/no/such", "IMAGE"], "Extra context file does not exist"),
            (2, ["--vnc-listen=x", "IMAGE"], "VNC listen IP is not valid"),
            (1, ["--context=a", "IMAGE"], "Syntax error in line `a`"),
            (1, ["--cloud-init=foo", "IMAGE"], "invalid CloudInit mimetype pair: 'foo'"),
            (1, ["--cloud-init=ssh,/no/such", "IMAGE"], "/no/such cannot be read"),
            (1, ["-k", "/no/key.pub", "IMAGE"], "SSH public key /no/key.pub cannot be read"),
            (1, ["-t", "x", "IMAGE"], "Unknown instance type: x"),
            (1, ["-S", "elsewhere", "IMAGE"], "there is no section [elsewhere]"),
            (1, ["-o", "/no/such/ids", "IMAGE"], "/no/such/ids: No such file or directory"),
            (1, ["--persistent-disk=x", "IMAGE"], "'x' is not the UUID of a disk"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_is_refused(
        self, site: Sandbox, cloud: Cloud, image: str, status: int, words: list[str], text: str
    ) -> None:
        words = [image if word == "IMAGE" else word for word in words]
        assert text in refused(status, run_instance, site, *words)
        assert cloud.machines() == []

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["--vm-disks-bus=sata", "IMAGE"], "disks_bus must be ide, scsi or virtio, not 'sata'"),
            (["--address=10.0.0.1", "IMAGE"], "Could not get virtual network for VM"),
            (["-p", "wrong", "IMAGE"], "401"),
            (["not-an-image"], "'not-an-image' is not the identifier of an image"),
            (["AAAAAAAAAAAAAAAAAAAAAAAAAAA"], "AAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_the_cloud_refuses(
        self, site: Sandbox, cloud: Cloud, image: str, words: list[str], text: str
    ) -> None:
        words = [image if word == "IMAGE" else word for word in words]
        result = run(run_instance, site, *words)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert text in result.stderr
        assert "wrong" not in result.output
        assert ":: Machine" not in result.stdout
        assert cloud.machines() == []

    def test_what_changes_nothing_is_explained(self, site: Sandbox, image: str) -> None:
        result = run(run_instance, site, "--qcow", "--no-check", "--notify=a", "--notify=b", image)
        assert result.exit_code == 0
        lines = result.stderr.splitlines()
        assert len(lines) == 3
        assert all(re.fullmatch(r"  \[WARNING\] --.*; it changes nothing", line) for line in lines)

    def test_a_machine_that_cannot_be_looked_at_is_not_lost(
        self, site: Sandbox, cloud: Cloud, image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object) -> None:
            raise errors.UnavailableError("busy")

        with monkeypatch.context() as patch:
            patch.setattr("stratuslab_libcloud.client.stratuslab.compute.ComputeClient.info", fails)
            result = run(run_instance, site, "-q", image)
            shown = run(run_instance, site, "--json", image)
        machines = sorted(cloud.machines(), key=lambda machine: int(machine.id))
        assert (result.exit_code, result.stdout) == (0, f"{machines[0].id}, \n")
        assert f"machine {machines[0].id} was started, but cannot be looked at" in result.stderr
        assert json.loads(shown.stdout) == [{"id": machines[1].id}]

    def test_an_interrupt_says_what_there_may_be(
        self,
        site: Sandbox,
        cloud: Cloud,
        image: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        kind = type(cloud)
        create, calls = kind.create_machine, []

        def interrupted(self: Cloud, order: Any, sending: Any) -> str:
            calls.append(order)
            if len(calls) == 2:
                sending()
                raise KeyboardInterrupt
            return create(self, order, sending)

        monkeypatch.setattr(kind, "create_machine", interrupted)
        ids = tmp_path / "ids"
        result = run(run_instance, site, "-n3", "-o", str(ids), image)
        (machine,) = cloud.machines()
        assert result.exit_code == 130
        assert f"(vm ID: {machine.id})" in result.stdout
        assert "a machine may have been started: see stratus-describe-instance" in result.stderr
        assert result.stderr.endswith("  [ERROR] interrupted\n")
        assert ids.read_text() == machine.id


class TestWaiting:
    def test_until_ssh_answers(
        self, site: Sandbox, cloud: Cloud, image: str, tmp_path: Path
    ) -> None:
        start(site, image)
        (machine,) = cloud.machines()
        wanted = str(machine.address).rpartition(".")[0] + ".88"
        port = free_port(wanted)
        file = configured(site, tmp_path, ssh_port=port)
        words = ["--address", wanted, "--wait", image]
        result = run(run_instance, "-c", file, "--timeout=0.3", *words)
        assert result.exit_code == 1
        assert f"there is no SSH server at {wanted} port {port} yet" in result.stderr
        assert ":: Done!" not in result.stdout
        for machine in cloud.machines():
            cloud.kill_machine(machine.id)
        with Greeter(wanted, port):
            assert done(run_instance, "-c", file, *words).endswith(":: Done!\n")

    def test_a_machine_that_fails_is_not_waited_for(
        self, site: Sandbox, cloud: Cloud, image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        look = type(cloud).machine
        ids: list[str] = []

        def breaks(self: Cloud, vm_id: str, timeout: float | None = None) -> Machine:
            if vm_id in ids:
                site.fail(int(vm_id), "no memory left")
            ids.append(vm_id)
            return look(self, vm_id, timeout)

        monkeypatch.setattr(type(cloud), "machine", breaks)
        result = run(run_instance, site, "--wait", image)
        assert result.exit_code == 1
        assert f"machine {ids[0]} is Failed: " in result.stderr
        assert "no memory left" in result.stderr

    def test_an_interrupt_leaves_the_machine(
        self, site: Sandbox, cloud: Cloud, image: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        interrupt_waiting(monkeypatch, "stratuslab_libcloud.cli.waiting")
        monkeypatch.setattr("stratuslab_libcloud.cli.waiting._greets", lambda *_: False)
        result = run(run_instance, site, "--wait", image)
        assert result.exit_code == 130
        assert result.stderr == "\n  [ERROR] interrupted\n"
        assert len(cloud.machines()) == 1


class TestDescribe:
    def test_the_guides_columns(self, site: Sandbox, cloud: Cloud, image: str) -> None:
        assert done(describe_instance, site) == (
            "id  state     vcpu memory    cpu% host/ip                 name\n"
        )
        vm_id = start(site, image)
        (machine,) = cloud.machines()
        assert done(describe_instance, site, vm_id) == (
            "id  state     vcpu memory    cpu% host/ip                 name\n"
            f"{vm_id:4}Running   1    0         0    {machine.address:24}one-{vm_id}\n"
        )
        assert done(describe_instance, site) == done(describe_instance, site, "-nq", vm_id)

    def test_a_wide_value_makes_its_column_wider(self, capsys: pytest.CaptureFixture[str]) -> None:
        machine = Machine(
            *("5507", "one-5507", "jane", 3, 3),
            nics=[{"ip": "134.158.75.75", "network": "public"}],
            disks=[],
            host="h",
            cpus=1,
            memory=128,
            memory_kib=131072,
            cpu_percent=4.0,
            started=1,
            error=None,
        )
        names = {"134.158.75.75": "vm-75.lal.stratuslab.eu"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(instances, "_names", lambda _addresses: names)
            instances._show_table([machine], False, False)
        assert capsys.readouterr().out == (  # the guide's, 6.1.2
            "id   state     vcpu memory    cpu% host/ip                 name\n"
            "5507 Running   1    131072    4    vm-75.lal.stratuslab.eu one-5507\n"
        )

    def test_one_of_several_is_unknown(self, site: Sandbox, image: str) -> None:
        vm_id = start(site, image)
        result = run(describe_instance, site, "777", vm_id, "x")
        assert result.exit_code == 1
        assert result.stdout.splitlines()[1].split()[:2] == [vm_id, "Running"]
        first, second = result.stderr.splitlines()
        assert first.startswith("  [ERROR] 777: ")
        assert "Error getting virtual machine [777]." in first
        assert second.startswith("  [ERROR] x: 'x' is not the id of a")
        assert run(describe_instance, site, "777").stdout == ""

    def test_a_failure_and_all_attributes(self, site: Sandbox, image: str) -> None:
        vm_id = start(site, image)
        site.fail(int(vm_id), "no memory\x1b[2Jleft")
        head, row, reason = done(describe_instance, site, "--verb", vm_id).splitlines()
        assert row.split()[:2] == [vm_id, "Failed"]
        assert reason.startswith("    ")
        assert "no memory" in reason
        assert "\x1b" not in reason
        printed = done(describe_instance, site, "-vvv", vm_id).splitlines()
        assert printed[:2] == ["-" * 25, f"{vm_id} (all attributes)"]
        assert "  state_summary = Failed" in printed
        assert f"  id = {vm_id}" in printed
        assert any(line.startswith("  template_nic_ip = 127.") for line in printed)
        assert printed[2:] == sorted(printed[2:])
        assert head.startswith("id")

    def test_names_of_hosts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def name(address: str) -> tuple[str, list[str], list[str]]:
            if address == "192.0.2.1":
                return "vm-1.example.org", [], [address]
            raise socket.herror(1, "Unknown host")

        monkeypatch.setattr(socket, "gethostbyaddr", name)
        found = instances._names({"192.0.2.1", "192.0.2.2", "127.0.0.1", ""})
        assert found == {"192.0.2.1": "vm-1.example.org"}

    def test_several_sites(self, site: Sandbox, image: str, tmp_path: Path) -> None:
        vm_id = start(site, image)
        ((user, password),) = site.users.items()
        url = f"{site.url}/one-proxy/xmlrpc"
        lines = f"\n  {url} {user} {password}\n  {url} {user} wrong-one\n  only-two fields"
        file = configured(site, tmp_path, endpoints=lines)
        result = run(describe_instance, "-c", file, "-m")
        assert result.exit_code == 1
        head, columns, row = result.stdout.splitlines()
        assert head == f"::: {url} : {user} :::"
        assert columns.startswith("id  state ")
        assert row.split()[0] == vm_id
        assert result.stderr.count("[ERROR]") == 2
        assert password not in result.output
        assert "wrong-one" not in result.output
        result = run(describe_instance, "-c", file, "-m", "--json")
        (shown,) = json.loads(result.stdout)
        assert (shown["endpoint"], shown["username"], shown["id"]) == (url, user, vm_id)


class TestEnds:
    def test_the_guides_example(self, site: Sandbox, cloud: Cloud, image: str) -> None:
        assert done(kill_instance, site, start(site, image)) == ""
        assert done(shutdown_instance, site, start(site, image)) == ""
        assert cloud.machines() == []

    def test_the_others_are_ended_when_one_is_not(
        self, site: Sandbox, cloud: Cloud, image: str
    ) -> None:
        ids = [start(site, image), start(site, image)]
        result = run(kill_instance, site, "-v", ids[0], "777", "abc", ids[1])
        assert (result.exit_code, result.stdout) == (1, "")
        assert cloud.machines() == []
        lines = result.stderr.splitlines()
        assert lines[0] == f'Sending "Kill" request for instance {ids[0]}.'
        assert lines[-1] == f'"Kill" 2 VMs: {", ".join(ids)}'
        wrong = [line for line in lines if "[ERROR]" in line]
        assert [line.split()[1] for line in wrong] == ["777:", "abc:"]

    def test_a_wrong_state(self, site: Sandbox, image: str) -> None:
        vm_id = start(site, image)
        done(kill_instance, site, vm_id)
        assert "Wrong state" in refused(1, shutdown_instance, site, vm_id)

    def test_what_is_refused(self, site: Sandbox, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n")
        for words in ([], ["-i", str(tmp_path / "empty")]):
            line = refused(2, kill_instance, site, *words)
            assert "Missing vm-id or input file (-i/--input)" in line
        line = refused(1, kill_instance, site, "-i", "/no/such")
        assert "/no/such: No such file or directory" in line


class TestConnect:
    @pytest.fixture
    def called(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        called: list[str] = []
        monkeypatch.setattr(os, "execvp", lambda _name, words: called.extend(words))
        return called

    def test_it_becomes_ssh(
        self,
        site: Sandbox,
        cloud: Cloud,
        image: str,
        tmp_path: Path,
        called: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        vm_id = start(site, image)
        machine = cloud.machine(vm_id)
        port = free_port(str(machine.address))
        file = configured(site, tmp_path, ssh_port=port)
        with Greeter(str(machine.address), port):
            words = [vm_id, "--", "uname", "-a"]
            assert done(connect_instance, "-c", file, *words) == ""
            pair = connect(site.config_path).settings.default_key_pair()
            assert pair is not None
            assert called == [
                *("ssh", "-p", str(port), "-i", str(pair[1]), "-o", "IdentitiesOnly=yes"),
                *("-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=accept-new"),
                *("-o", f"HostKeyAlias=vm-{vm_id}-{machine.started}.127.0.0.1"),
                *("--", f"root@{machine.address}", "uname", "-a"),
            ]
            called.clear()
            key = tmp_path / "my.b"
            key.touch()
            monkeypatch.setenv("STRATUSLAB_KEY", f"{key}.pub")
            done(connect_instance, "-c", file, vm_id)
            assert called[4] == str(key)
            other = tmp_path / "other"
            other.touch()
            done(connect_instance, "-c", file, vm_id, "-k", str(other))
            assert str(other) in called

    @needed
    def test_the_status_is_that_of_the_command(
        self, site: Sandbox, cloud: Cloud, image: str, tmp_path: Path
    ) -> None:
        if os.getuid():
            pytest.skip("only root can be root here")
        vm_id = start(site, image)
        address = str(cloud.machine(vm_id).address)
        sshd = Sshd(tmp_path, address, free_port(address))
        key = tmp_path / "key"
        sshd.authorized_keys.write_text(make_key(key, "ed25519"))
        file = configured(site, tmp_path, ssh_port=sshd.port)
        with sshd:
            code = f"import os; os.environ.update({sshd._users()})\n"  # whose home has known_hosts
            code += "from stratuslab_libcloud.cli.connect import connect_instance as c; c()"
            words = ("-c", str(file), "-k", str(key), vm_id, "--", "echo it works; exit 7")
            with Forked(code, *words) as process:
                out, _ = process.communicate(timeout=120)
                assert (process.returncode, out) == (7, "it works\n")
        assert (sshd.home / ".ssh" / "known_hosts").read_text().count("\n") == 1

    def test_what_is_refused(
        self, site: Sandbox, cloud: Cloud, image: str, called: list[str]
    ) -> None:
        assert "Missing vm-id" in refused(2, connect_instance, site)
        vm_id = start(site, image)
        line = refused(1, connect_instance, site, "-k", "/no/key", vm_id)
        assert "Private key `/no/key` does not exist" in line
        line = refused(1, connect_instance, site, "--timeout=0", vm_id)
        assert f"there is no SSH server at {cloud.machine(vm_id).address} port 22" in line
        assert "[777]" in refused(1, connect_instance, site, "777")
        cloud.kill_machine(vm_id)
        assert f"machine {vm_id} is Done" in refused(1, connect_instance, site, vm_id)
        assert called == []

    def test_without_a_key(self, site: Sandbox, tmp_path: Path) -> None:
        text = site.config_path.read_text()
        file = tmp_path / "keyless.cfg"
        file.write_text(re.sub("user_public_key_file = .*\n", "", text))
        file.chmod(0o600)
        result = run(connect_instance, "-c", file, "0")
        assert result.exit_code == 1
        assert "Unspecified user private key. See --key option." in result.stderr


SCRIPT = """\
set -e
stratus-run-instance $1 > out
id=$(grep 'vm ID' out | sed 's/.*vm ID: \\([0-9]*\\)).*/\\1/')
ip=$(awk '/ip:/ {print $3}' out)
test "$(stratus-describe-instance -n $id | tail -1 | awk '{print $2, $6}')" = "Running $ip"
stratus-run-instance -q -o ids $1 > out
test $(cut -d, -f1 out) = $(cat ids)
for id in $id $(cat ids); do stratus-kill-instance $id; done
stratus-describe-instance | wc -l
"""


def test_a_script_of_2013(site: Sandbox, image: str, home: Path, tmp_path: Path) -> None:
    folder = Path(sys.executable).parent
    assert shutil.which("stratus-run-instance", path=str(folder))
    configuration = home / ".stratuslab"
    configuration.mkdir()
    shutil.copy(site.config_path, configuration / "stratuslab-user.cfg")
    finished = subprocess.run(
        ["sh", "-c", SCRIPT, "sh", image],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.strip() == "1"
