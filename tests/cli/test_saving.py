"""Machines that become images: ``stratus-run-instance --save``, and ``stratus-create-image``."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clouds import configured
from forked import Forked
from invoked import run
from present import present
from sshd import Sshd, free_port, make_key, needed

from stratuslab_libcloud import Cloud
from stratuslab_libcloud.cli.creation import create_image
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.sandbox.site import Sandbox

TTYLINUX, UBUNTU = "PAG0IrP3g8RVUUaDvFINgBAacn2", "APjG8p0u2xBKoUDRCMl2RMlKllm"
ASKED = {
    "--author": "Jane Doe",
    "--author-email": "jane@example.org",
    "--image-version": "1.7",
    "--title": "With a wiki",
    "--comment": "ttylinux, and a wiki.",
}
ALL = [word for pair in ASKED.items() for word in pair]
HOSTILE = '$(touch owned) `touch owned` "; touch owned #'


@pytest.fixture(autouse=True)
def _nothing_is_left(cloud: Cloud) -> Iterator[None]:
    yield
    for machine in cloud.machines():
        cloud.kill_machine(machine.id)
    for volume in cloud.volumes():
        cloud.delete_volume(volume.id)


class TestRunInstance:
    def test_a_machine_is_saved_when_it_is_shut_down(self, site: Sandbox, cloud: Cloud) -> None:
        result = run(run_instance, site, "-q", "--save", *ALL, TTYLINUX)
        assert (result.exit_code, result.stderr) == (0, "")
        vm_id = result.stdout.partition(",")[0]
        said = dict(cloud.machine_attributes(vm_id))
        asked = {
            key.removeprefix("template_create_image_"): text
            for key, text in said.items()
            if key.startswith("template_create_image_")
        }
        assert asked == {
            "creator_name": "Jane Doe",
            "creator_email": "jane@example.org",
            "newimage_version": "1.7",
            "newimage_title": "With a wiki",
            "newimage_comment": "ttylinux, and a wiki.",
            "newimage_marketplace": f"{site.url}/marketplace",
        }
        assert re.fullmatch(r"creator: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said["name"])
        cloud.shut_down_machine(vm_id)
        (volume,) = cloud.volumes()
        details = cloud.image(str(volume.identifier)).details()
        assert (volume.name, details["title"], details["version"]) == (*["With a wiki"] * 2, "1.7")

    def test_a_name_and_another_marketplace(self, site: Sandbox, cloud: Cloud) -> None:
        more = ["--vm-name", "web", "--marketplace-endpoint-newimage", "https://mp.example.org/"]
        result = run(run_instance, site, "-q", "--save", *ALL, *more, TTYLINUX)
        said = dict(cloud.machine_attributes(result.stdout.partition(",")[0]))
        assert said["name"] == "web"
        assert said["template_create_image_newimage_marketplace"] == "https://mp.example.org"

    @pytest.mark.parametrize(
        ("missing", "what"),
        [
            ("--author", "a valid author name of the image (--author)"),
            (
                "--author-email",
                "a valid email address of the author of the image (--author-email)",
            ),
            ("--image-version", "a version number for the new image (--image-version)"),
            ("--title", "a title for the image (--title)"),
            ("--comment", "a comment for the image (--comment)"),
        ],
    )
    def test_all_five_are_needed(
        self, site: Sandbox, cloud: Cloud, missing: str, what: str
    ) -> None:
        words = [word for pair in ASKED.items() if pair[0] != missing for word in pair]
        result = run(run_instance, site, "--save", *words, TTYLINUX)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"With the --save option, please provide {what}." in result.stderr
        assert cloud.machines() == []

    def test_without_save_they_change_nothing(self, site: Sandbox, cloud: Cloud) -> None:
        result = run(run_instance, site, "-q", "--title", "x", TTYLINUX)
        assert result.exit_code == 0
        assert "[WARNING] --title: without --save it changes nothing" in result.stderr
        said = dict(cloud.machine_attributes(result.stdout.partition(",")[0]))
        assert not any("create_image" in name for name in said)

    @pytest.mark.parametrize(
        ("option", "text", "said"),
        [
            ("--author-email", "jane", "is not an e-mail address"),
            ("--author-email", "a@b.org\nBcc: c@d.org", "is not an e-mail address"),
            ("--title", "x" * 41, "the title has 41 characters, but the limit is 40"),
            ("--title", "'x'", "would be lost"),
            ("--comment", "]]>", "must not contain"),
            ("--comment", "\x1b[2J", "cannot be sent"),
        ],
    )
    def test_what_is_refused(
        self, site: Sandbox, cloud: Cloud, option: str, text: str, said: str
    ) -> None:
        words = [word for pair in {**ASKED, option: text}.items() for word in pair]
        result = run(run_instance, site, "-q", "--save", *words, TTYLINUX)
        assert result.exit_code in (1, 2)
        assert said in result.stderr
        assert "\x1b" not in result.stderr
        assert cloud.machines() == []


class TestCreateImage:
    @pytest.mark.parametrize(
        ("words", "text"),
        [
            ([], "Please specify the machine image to start"),
            (["a", "b"], "Please specify the machine image to start"),
            (["--no-upload", "a"], "If you specify --no-upload you also need to specify"),
            (["a"], "Provide a title describing the new image"),
            (["--title=t", "a"], "Provide a comment describing the new image"),
            (["--title=t", "--comment=c", "a"], "Provide an author for the new image"),
            (["--title=t", "--comment=c", "--author=a", "a"], "Provide a valid Email address"),
            ([*ALL, "--author-email=x", "a"], "'x' is not an e-mail address"),
            ([*ALL, "-s", "/no/such", TTYLINUX], "Script does not exist: /no/such"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_wrong_words(self, site: Sandbox, cloud: Cloud, words: list[str], text: str) -> None:
        result = run(create_image, site, *words)
        assert result.exit_code == 2
        assert text in result.stderr
        assert cloud.machines() == []

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["AAAAAAAAAAAAAAAAAAAAAAAAAAA"], "AAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            (["-a", "gcc", TTYLINUX], "Unsupported OS: ttylinux; give --installer"),
            (["-a", "gcc", "--installer=pip", TTYLINUX], "Unsupported installer: pip"),
            (["--os=Plan 9", "-a", "gcc", UBUNTU], "Unsupported OS: Plan 9"),
            (["--persistent-disk=x", TTYLINUX], "'x' is not the UUID of a disk"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_what_is_refused(
        self, site: Sandbox, cloud: Cloud, words: list[str], text: str
    ) -> None:
        result = run(create_image, site, "-q", *ALL, *words)
        assert result.exit_code == 1
        assert text in result.stderr
        assert cloud.machines() == []

    def test_types_are_listed_without_the_rest(self, site: Sandbox) -> None:
        result = run(create_image, site, "-l")
        assert (result.exit_code, result.stderr) == (0, "")
        assert "* m1.small " in result.stdout

    def test_a_machine_that_nobody_can_work_on_is_ended(self, site: Sandbox, cloud: Cloud) -> None:
        result = run(create_image, site, "-q", "--vm-ping-timeout=0", *ALL, TTYLINUX)
        assert result.exit_code == 1
        assert "there is no SSH server" in result.stderr
        assert cloud.machines() == []
        assert cloud.volumes() == []

    def test_unless_it_should_be_left(self, site: Sandbox, cloud: Cloud) -> None:
        words = ["-q", "--vm-ping-timeout=0", "--no-shutdown", *ALL, TTYLINUX]
        result = run(create_image, site, *words)
        assert result.exit_code == 1
        (machine,) = cloud.machines()
        assert f"[WARNING] machine {machine.id} is left running" in result.stderr


@needed
@pytest.mark.skipif(os.getuid() != 0, reason="only root can be root here")
class TestOnMachines:
    """With a real SSH server at the address that the next machine will have."""

    @pytest.fixture
    def sshd(self, site: Sandbox, cloud: Cloud, tmp_path: Path) -> Iterator[Sshd]:
        started = run(run_instance, site, "-q", TTYLINUX).stdout
        vm_id, address = started.strip().split(", ")
        cloud.kill_machine(vm_id)
        first, last = address.rsplit(".", 1)
        sshd = Sshd(tmp_path, f"{first}.{int(last) + 1}", free_port(address))
        key = tmp_path / "key"
        sshd.authorized_keys.write_text(make_key(key, "ed25519"))
        with sshd:
            yield sshd

    def created(
        self, site: Sandbox, sshd: Sshd, tmp_path: Path, *words: str
    ) -> subprocess.CompletedProcess[str]:
        key = tmp_path / "key.pub"
        path = configured(site, tmp_path, ssh_port=sshd.port, user_public_key_file=key)
        code = f"import os; os.environ.update({sshd._users()})\n"  # whose home has known_hosts
        code += "from stratuslab_libcloud.cli.creation import create_image as c; c()"
        with Forked(code, "-c", str(path), *ALL, *words) as process:
            out, err = process.communicate(timeout=200)
            return subprocess.CompletedProcess(words, present(process.returncode), out, err)

    def script(self, tmp_path: Path, text: str) -> Path:
        path = tmp_path / f"set up;{os.getpid()}.sh"
        path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}\n")
        return path

    def test_scripts_run_and_it_is_saved(
        self, site: Sandbox, cloud: Cloud, sshd: Sshd, tmp_path: Path
    ) -> None:
        script = self.script(tmp_path, 'echo said; printf "%s|" "$@" > arguments; pwd > ran')
        words = ["--wait", "-s", f"'{script}' one '{HOSTILE}'", TTYLINUX]
        done = self.created(site, sshd, tmp_path, *words)
        assert done.returncode == 0, done.stderr
        steps = re.findall(r"^ :: (.*[^:\n])$", done.stdout, re.M)
        assert steps[:3] == [
            *("Checking that base image exists", "Starting base image", "Starting 1 machine"),
        ]
        assert steps[-2:] == ["Executing user scripts", "Shutting down machine"]
        assert " :: Please check jane@example.org for new image ID and instruction. ::" in (
            done.stdout
        )
        assert "said" in done.stderr
        assert (tmp_path / "arguments").read_text() == f"one|{HOSTILE}|"
        assert not list(tmp_path.glob("**/owned"))
        (volume,) = cloud.volumes()
        assert done.stdout.endswith(f"\nIMAGE {volume.identifier}\n")
        uploaded = Path("/tmp", script.name)
        assert stat.S_IMODE(uploaded.stat().st_mode) == 0o755
        uploaded.unlink()

    def test_json_is_the_image(
        self, site: Sandbox, cloud: Cloud, sshd: Sshd, tmp_path: Path
    ) -> None:
        done = self.created(site, sshd, tmp_path, "--wait", "--json", TTYLINUX)
        assert done.returncode == 0, done.stderr
        (image,) = json.loads(done.stdout)
        assert image["title"] == "With a wiki"
        (volume,) = cloud.volumes()
        assert volume.identifier == image["id"]

    def test_a_script_that_fails_ends_it(
        self, site: Sandbox, cloud: Cloud, sshd: Sshd, tmp_path: Path
    ) -> None:
        script = self.script(tmp_path, "exit 3")
        done = self.created(site, sshd, tmp_path, "-s", f"'{script}'", TTYLINUX)
        Path("/tmp", script.name).unlink()
        assert done.returncode == 1
        assert f"An error occurred while executing script {script}" in done.stderr
        assert (cloud.machines(), cloud.volumes()) == ([], [])

    def test_it_is_left_running(
        self, site: Sandbox, cloud: Cloud, sshd: Sshd, tmp_path: Path
    ) -> None:
        done = self.created(site, sshd, tmp_path, "--no-shutdown", TTYLINUX)
        assert done.returncode == 0, done.stderr
        (machine,) = cloud.machines()
        assert done.stdout.endswith(
            f" :: Machine ready for use\n\n\tMachine IP: {machine.address}\tRemember to stop the "
            "machine when finished\n"
        )


@pytest.mark.parametrize(
    ("os_name", "asked", "commands"),
    [
        (
            "Ubuntu",
            {"packages": "gcc, $(id)"},
            [
                "apt-get -q update",
                "DEBIAN_FRONTEND=noninteractive apt-get -q -y install -- gcc '$(id)'",
            ],
        ),
        (
            "CentOS",
            {"packages": "gcc", "extra_os_repos": "https://example.org/a b.repo"},
            [
                "yum-config-manager --add-repo 'https://example.org/a b.repo'",
                "yum -q -y update",
                "yum -q -y install -- gcc",
            ],
        ),
        (
            "x",
            {"installer": "apt", "extra_os_repos": "ppa:a/b"},
            ["add-apt-repository -y ppa:a/b", "apt-get -q update"],
        ),
    ],
    ids=["apt", "yum", "repositories alone"],
)
def test_packages(os_name: str, asked: dict[str, str], commands: list[str]) -> None:
    from stratuslab_libcloud.cli.creation import _Steps

    names = ("scripts", "packages", "extra_os_repos", "os", "installer")
    steps = _Steps.of(os_name, {**dict.fromkeys(names), **asked})
    assert steps.commands() == commands
