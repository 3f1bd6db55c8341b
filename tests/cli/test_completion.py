"""Shell completion: options, files, and ids from the cloud, or nothing."""

import os
import socket
import subprocess
import sys
import time
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from stratuslab_libcloud import Cloud, NewMachine
from stratuslab_libcloud.cli import completion
from stratuslab_libcloud.cli.completion import script
from stratuslab_libcloud.cli.connect import connect_instance
from stratuslab_libcloud.cli.instances import describe_instance, kill_instance
from stratuslab_libcloud.cli.mounts import attach_volume, detach_volume
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.cli.volumes import delete_volume, describe_volumes, update_volume
from stratuslab_libcloud.sandbox.site import Sandbox

COMMANDS = [
    point.name
    for point in entry_points(group="console_scripts")
    if point.value.startswith("stratuslab_libcloud.")
]


@pytest.fixture(scope="module", autouse=True)
def _things(cloud: Cloud, image: str) -> None:
    """Two machines and a disk."""
    for _ in range(2):
        cloud.create_machine(NewMachine(image, 1, 512, 0))
    cloud.create_volume(1, "mine")


def completed(command: click.Command, *words: str) -> list[tuple[str, str | None]]:
    """What the last word may become, and what is said about it."""
    *before, begin = words
    asked = ShellComplete(command, {}, str(command.name), "_COMPLETE")
    return [(item.value, item.help) for item in asked.get_completions(before, begin)]


class TestIds:
    @pytest.fixture(autouse=True)
    def _patient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However busy this machine is."""
        monkeypatch.setattr(completion, "_PATIENCE", 60.0)

    @pytest.mark.parametrize("command", [describe_instance, kill_instance, connect_instance])
    def test_of_machines(self, command: click.Command, site: Sandbox, cloud: Cloud) -> None:
        known = {(m.id, f"one-{m.id} Running") for m in cloud.machines()}
        assert len(known) == 2
        words = ["-c", str(site.config_path)]
        assert set(completed(command, *words, "")) == known
        first = min(known)
        assert completed(command, *words, first[0]) == [first]
        assert completed(command, *words, "x") == []

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (run_instance, ["--persistent-disk"]),
            (attach_volume, ["-i", "0"]),
            (detach_volume, ["-i0"]),
            (update_volume, ["--tag", "x"]),
            (describe_volumes, []),
            (delete_volume, []),
        ],
        ids=lambda value: getattr(value, "name", ""),
    )
    def test_of_disks(
        self, command: click.Command, words: list[str], site: Sandbox, cloud: Cloud
    ) -> None:
        (volume,) = cloud.volumes()
        words = ["--conf", str(site.config_path), *words]
        assert completed(command, *words, volume.id[:2]) == [(volume.id, "mine")]
        assert completed(command, *words, "x") == []

    def test_of_the_machine_of_a_disk(self, site: Sandbox, cloud: Cloud) -> None:
        words = ["-c", str(site.config_path), "-i"]
        ids = {machine.id for machine in cloud.machines()}
        assert set(dict(completed(attach_volume, *words, ""))) == ids

    def test_of_the_section_and_the_login_that_the_line_names(
        self, site: Sandbox, cloud: Cloud, tmp_path: Path
    ) -> None:
        file = tmp_path / "my.cfg"
        text = site.config_path.read_text().replace("sandbox", "mine")
        file.write_text(text.replace("selected_section", "unused"))
        file.chmod(0o600)
        assert len(completed(kill_instance, "-c", str(file), "-S", "mine", "")) == 2
        assert completed(kill_instance, "-c", str(file), "-S", "mine", "-p", "wrong", "") == []
        assert completed(kill_instance, "-c", str(file), "-S", "yours", "") == []

    def test_a_name_cannot_command_the_terminal(
        self, site: Sandbox, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine = cloud.machines()[0]._replace(name="a\n\x1b[31m")
        monkeypatch.setattr(type(cloud), "machines", lambda *_: [machine])
        words = ["-c", str(site.config_path), ""]
        assert completed(kill_instance, *words) == [(machine.id, "a [31m Running")]


class TestNothing:
    """No error, no question, and no waiting."""

    def test_without_a_configuration(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert completed(kill_instance, "") == []
        assert completed(kill_instance, "-c", "/no/such/file", "") == []
        assert completed(kill_instance, "--endpoint", "h.invalid", "-u", "jane", "") == []
        assert capsys.readouterr() == ("", "")

    def test_a_warning_is_not_shown(
        self,
        site: Sandbox,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        file = tmp_path / "open.cfg"
        file.write_text(site.config_path.read_text())
        file.chmod(0o666)
        shown: list[str] = []

        def show(message: Warning | str, *_: object) -> None:
            shown.append(str(message))
            print(message, file=sys.stderr)

        with warnings.catch_warnings():
            warnings.simplefilter("default")
            monkeypatch.setattr(warnings, "showwarning", show)
            completed(kill_instance, "-c", str(file), "")
        assert "everybody on this machine can read" in shown[0]
        assert capsys.readouterr() == ("", "")

    def test_a_cloud_that_does_not_answer_is_not_waited_for(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/one-proxy/xmlrpc"
            began = time.monotonic()
            assert completed(kill_instance, "--endpoint", url, "-u", "a", "-p", "b", "") == []
        assert time.monotonic() - began < 20  # of half a second
        assert capsys.readouterr() == ("", "")


class TestOptions:
    def test_long_ones(self) -> None:
        found = dict(completed(run_instance, "--vm-n"))
        assert set(found) == {"--vm-name", "--vm-network-model"}

    @pytest.mark.parametrize("words", [["-c"], ["--pem-cert"], ["--key"], ["--context-file"]])
    def test_files(self, words: list[str]) -> None:
        asked = ShellComplete(run_instance, {}, "stratus-run-instance", "_COMPLETE")
        (item,) = asked.get_completions(words, "my")
        assert (item.type, item.value) == ("file", "my")

    @pytest.mark.parametrize("word", ["--vm", "--version", "--save", "--nothing", "--vnc-listen=x"])
    def test_after_what_is_wrong_or_unfinished(
        self, word: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "--vnc-port" in dict(completed(run_instance, word, "--vnc-p"))
        assert capsys.readouterr() == ("", "")


class TestScript:
    def test_bash_completes_with_it(self) -> None:
        folder = Path(sys.executable).parent
        shell = (
            'eval "$(stratus-completion bash)"\n'
            "COMP_WORDS=(stratus-run-instance --persis) COMP_CWORD=1\n"
            "complete -p stratus-run-instance\n"
            "_stratus_run_instance_completion stratus-run-instance\n"
            'echo "${COMPREPLY[@]}"\n'
        )
        ran = subprocess.run(
            ["bash", "--norc", "-c", shell],
            env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        begun, shown = ran.stdout.splitlines()
        assert begun.endswith("-F _stratus_run_instance_completion stratus-run-instance")
        assert shown == "--persistent-disk"

    @pytest.mark.parametrize(
        ("shell", "line"),
        [
            ("bash", "complete -o nosort -F _{}_completion {}"),
            ("zsh", "compdef _{}_completion {}"),
            ("fish", 'complete --no-files --command {1} --arguments "(_{0}_completion)";'),
        ],
    )
    def test_every_command_is_in_it(self, shell: str, line: str) -> None:
        result = CliRunner().invoke(script, [shell])
        assert (result.exit_code, result.stderr) == (0, "")
        lines = {text.strip() for text in result.stdout.splitlines()}
        assert lines >= {line.format(name.replace("-", "_"), name) for name in COMMANDS}
        assert "stratus-sandbox" in COMMANDS

    def test_of_no_other_shell(self) -> None:
        for words in ([], ["csh"]):
            result = CliRunner().invoke(script, words)
            assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
