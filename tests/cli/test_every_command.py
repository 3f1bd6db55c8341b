"""What all commands that log in to a cloud promise: no secret is shown, every error is one line."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from canned import Canned
from click.testing import CliRunner, Result

from stratuslab_libcloud import Cloud, connect
from stratuslab_libcloud.cli.connect import connect_instance
from stratuslab_libcloud.cli.creation import create_image
from stratuslab_libcloud.cli.instances import (
    describe_instance,
    kill_instance,
    shutdown_instance,
)
from stratuslab_libcloud.cli.mounts import attach_volume, detach_volume
from stratuslab_libcloud.cli.options import Command
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.cli.volumes import (
    create_volume,
    delete_volume,
    describe_volumes,
    update_volume,
)
from stratuslab_libcloud.sandbox.site import Sandbox

USER, SECRET, WRONG = "jane", "Geheim-007", "Falsch-008"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK jane@example.org"
UUID = "1e8e9104-681c-4269-8aae-e513c6723ac6"
OF_MACHINES = {
    run_instance: ["IMAGE"],
    create_image: [
        *("--vm-ping-timeout=0", "--title=t", "--comment=c", "--author=a"),
        *("--author-email=a@example.org", "IMAGE"),
    ],
    describe_instance: [],
    kill_instance: ["777"],
    shutdown_instance: ["777"],
    connect_instance: ["--timeout=0", "777"],
    attach_volume: ["-i777", UUID],
}
OF_DISKS = {
    create_volume: ["-s1"],
    describe_volumes: [],
    update_volume: ["--public", UUID],
    delete_volume: [UUID],
    detach_volume: ["-i777", UUID],
}
ALL = OF_MACHINES | OF_DISKS


@pytest.fixture(scope="module")
def users() -> dict[str, str]:
    return {USER: SECRET}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("tls") / "site", tls=True) as site:
        yield site


@pytest.fixture(params=ALL, ids=lambda command: command.name)
def command(request: pytest.FixtureRequest) -> Command:
    found: Command = request.param
    return found


@pytest.fixture
def words(command: Command, image: str) -> list[str]:
    """What the command needs beside options about the cloud."""
    return [image if word == "IMAGE" else word for word in ALL[command]]


def configured(folder: Path, site: Sandbox, **values: str) -> str:
    """A file with the site's endpoints, a key pair and these options."""
    (folder / "key").touch()
    (folder / "key.pub").write_text(f"{KEY}\n")
    values = {
        "user_public_key_file": str(folder / "key.pub"),
        "endpoint": f"{site.url}/one-proxy/xmlrpc",
        "marketplace_endpoint": f"{site.url}/marketplace",
        **values,
    }
    path = folder / "my.cfg"
    path.touch(0o600)
    path.write_text("".join(["[default]\n", *(f"{k} = {v}\n" for k, v in values.items())]))
    return str(path)


def refused(result: Result) -> str:
    """The one line of a command to which the cloud or the configuration said no."""
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = (line for line in result.stderr.splitlines() if "[WARNING]" not in line)
    assert line.startswith("  [ERROR] ")
    return line


class TestSecrets:
    @pytest.mark.parametrize("secret", [SECRET, WRONG], ids=["right", "wrong"])
    @pytest.mark.parametrize("way", ["option", "variable", "file", "prompt", "endpoint"])
    def test_a_password_is_not_shown(
        self,
        site: Sandbox,
        cloud: Cloud,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        command: Command,
        words: list[str],
        way: str,
        secret: str,
    ) -> None:
        values, options = {"username": USER}, []
        if way == "option":
            options = ["-p", secret]
        elif way == "variable":
            monkeypatch.setenv("STRATUSLAB_PASSWORD", secret)
        elif way == "file":
            values["password"] = secret
        elif way == "endpoint":
            url = f"{site.url}/one-proxy/xmlrpc".replace("://", f"://{USER}:{secret}@")
            values["endpoint"] = url
        monkeypatch.setattr("stratuslab_libcloud.cli.options._interactive", lambda: way == "prompt")
        file = configured(tmp_path, site, **values)
        result = CliRunner().invoke(
            command, ["-vvv", "-c", file, *options, *words], input=f"{secret}\n"
        )
        assert ("check user name and password" in result.stderr) == (secret == WRONG)
        assert ("password:" in result.stderr) == (way == "prompt")
        assert secret not in result.output
        for machine in cloud.machines():
            cloud.kill_machine(machine.id)

    @pytest.mark.parametrize("way", ["options", "variables", "file"])
    def test_nor_is_that_of_the_disk_service(
        self,
        site: Sandbox,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        command: Command,
        words: list[str],
        way: str,
    ) -> None:
        login = {"pdisk_username": USER, "pdisk_password": WRONG}
        values, options = {"username": USER, "password": SECRET}, []
        if way == "options" and command in (OF_DISKS.keys() | {attach_volume, run_instance}):
            options = ["--pdisk-username", USER, "--pdisk-password", WRONG]
        elif way == "variables":
            for key, value in login.items():
                monkeypatch.setenv(f"STRATUSLAB_{key.upper()}", value)
        else:
            values |= login
        file = configured(tmp_path, site, **values)
        result = CliRunner().invoke(command, ["-vvv", "-c", file, *options, *words])
        assert SECRET not in result.output
        assert WRONG not in result.output
        if command in OF_DISKS:
            assert "check user name and password" in result.stderr

    def test_ssh_gets_none(
        self,
        site: Sandbox,
        cloud: Cloud,
        image: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        called: list[str] = []
        monkeypatch.setattr(os, "execvp", lambda _name, words: called.extend(words))
        monkeypatch.setattr("stratuslab_libcloud.cli.waiting._greets", lambda *_: True)
        options = ["-c", configured(tmp_path, site, username=USER), "-p", SECRET]
        started = CliRunner().invoke(run_instance, ["-q", *options, image])
        vm_id = started.stdout.partition(",")[0]
        result = CliRunner().invoke(connect_instance, ["-v", *options, vm_id, "--", "uname"])
        cloud.kill_machine(vm_id)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith("Calling: ssh ")
        assert (called[0], called[-1]) == ("ssh", "uname")
        assert SECRET not in " ".join(called) + result.stderr

    def test_wrong_words_are_not_repeated_with_it(self, command: Command) -> None:
        for words in (["--p", SECRET], [f"--passwort={SECRET}"], ["--pass", SECRET, "--n=x"]):
            result = CliRunner().invoke(command, words)
            assert (result.exit_code, result.stdout) == (2, "")
            assert result.stderr.startswith("  [ERROR] ")
            assert SECRET not in result.stderr

    @pytest.mark.parametrize("endpoint", ["h:x", "h:99999/xmlrpc", "h /xmlrpc"])
    def test_an_endpoint_that_is_none(
        self, site: Sandbox, tmp_path: Path, command: Command, words: list[str], endpoint: str
    ) -> None:
        file = configured(tmp_path, site, endpoint=f"https://{USER}:{SECRET}@{endpoint}")
        line = refused(CliRunner().invoke(command, ["-c", file, *words]))
        assert f"{file}: [default] endpoint " in line
        assert SECRET not in line

    def test_a_site_of_several(self, site: Sandbox, tmp_path: Path) -> None:
        url = f"{site.url}/one-proxy/xmlrpc".replace("://", f"://{USER}:{SECRET}@")
        file = configured(tmp_path, site, endpoints=f"{url} {USER} {SECRET}")
        result = CliRunner().invoke(describe_instance, ["-m", "-c", file])
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith(f"::: {site.url}/one-proxy/xmlrpc : {USER} :::\n")
        assert SECRET not in result.output


class TestErrors:
    def test_a_wrong_password(
        self, site: Sandbox, tmp_path: Path, command: Command, words: list[str]
    ) -> None:
        file = configured(tmp_path, site, username=USER, password=WRONG)
        result = CliRunner().invoke(command, ["-c", file, *words])
        assert result.exit_code == 1
        line = result.stderr.splitlines()[-1]
        assert line.startswith("  [ERROR] ")
        assert f"{site.url}/" in line
        assert line.endswith("HTTP 401 Unauthorized; check user name and password")

    def test_no_password(
        self, site: Sandbox, tmp_path: Path, command: Command, words: list[str]
    ) -> None:
        file = configured(tmp_path, site, username=USER)
        result = CliRunner().invoke(command, ["-c", file, *words])
        assert result.exit_code == 1
        assert "password" in result.stderr.splitlines()[-1]

    def test_no_network(
        self, site: Sandbox, tmp_path: Path, command: Command, words: list[str]
    ) -> None:
        with Canned([]) as server:
            url = server.url
        more = {"endpoint": f"{url}/one-proxy/xmlrpc", "pdisk_endpoint": f"{url}/pdisk"}
        file = configured(tmp_path, site, username=USER, password=SECRET, **more)
        result = CliRunner().invoke(command, ["-c", file, *words])
        assert result.exit_code == 1
        line = result.stderr.splitlines()[-1]
        service = "pdisk" if command in OF_DISKS else "one-proxy/xmlrpc"
        assert line.startswith("  [ERROR] ")
        assert f"{url}/{service}: the connection was refused" in line

    def test_no_endpoint(self, tmp_path: Path, command: Command, words: list[str]) -> None:
        file = tmp_path / "my.cfg"
        file.write_text("[default]\nusername = jane\n")
        line = refused(CliRunner().invoke(command, ["-c", str(file), *words]))
        if command in OF_DISKS:
            assert "Missing persistent disk endpoint. Please provide --pdisk-endpoint" in line
        else:
            assert "Missing cloud endpoint. Please provide --endpoint" in line

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            ("[default]\nselected_section = b\n[a]\n", "there is no section [b], which [default]"),
            ("endpoint = h\n", "line 1"),
            ("[default]\nendpoint\n", "line 2"),
            ("[default]\nssh_port = many\n", "[default] ssh_port must be a whole number"),
            ("", "there is no [default] section"),
            (None, "there is no such configuration file"),
        ],
        ids=["section", "no-header", "no-value", "value", "empty", "absent"],
    )
    def test_a_file_that_is_wrong(
        self, tmp_path: Path, command: Command, words: list[str], content: str | None, text: str
    ) -> None:
        file = tmp_path / "my.cfg"
        if content is not None:
            file.write_text(content)
        line = refused(CliRunner().invoke(command, ["-c", str(file), *words]))
        assert f"{file}: " in line
        assert text in line

    @pytest.mark.parametrize(
        ("command", "words", "status"),
        [
            (describe_instance, ["x"], 1),
            (kill_instance, ["x"], 1),
            (shutdown_instance, ["x"], 1),
            (connect_instance, ["x"], 1),
            (attach_volume, ["-ix", UUID], 2),
            (detach_volume, ["-ix", UUID], 2),
        ],
        ids=lambda value: value.name if isinstance(value, Command) else "",
    )
    def test_an_id_that_is_no_number(
        self, site: Sandbox, tmp_path: Path, command: Command, words: list[str], status: int
    ) -> None:
        file = configured(tmp_path, site, username=USER, password=SECRET)
        result = CliRunner().invoke(command, ["-c", file, *words])
        assert (result.exit_code, result.stdout) == (status, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("  [ERROR] ")
        assert "'x' is not " in line


class TestChapter4:
    """The values of the guide's chapter 4, by each of its means (4.5)."""

    @pytest.fixture
    def file(self, site: Sandbox, tmp_path: Path) -> str:
        """The file of 4.10, for the sandbox."""
        file = tmp_path / "favourite.cfg"
        file.touch(0o600)
        file.write_text(
            "[default]\n"
            "endpoint = cloud.invalid\n"
            "username = clouduser\n"
            "password = cloudpass\n"
            f"marketplace_endpoint = {site.url}/marketplace\n"
            "[fav-cloud]\n"
            f"endpoint = {site.url}/one-proxy/xmlrpc\n"
            f"username = {USER}\n"
            f"password = {SECRET}\n"
            f"user_public_key_file = {tmp_path}/id_rsa-favcloud.pub\n"
        )
        (tmp_path / "id_rsa-favcloud.pub").write_text(f"{KEY}\n")
        return str(file)

    def keys(self, cloud: Cloud, result: Result) -> str:
        """What the machine lets in that was started, which is ended."""
        assert (result.exit_code, result.stderr) == (0, "")
        vm_id = result.stdout.partition(",")[0]
        said = dict(cloud.machine_attributes(vm_id))
        cloud.kill_machine(vm_id)
        return said["template_context_public_key"]

    @pytest.mark.parametrize("way", ["-S", "--user-config-section", "variable", "file"])
    def test_a_section_of_ones_own(
        self, cloud: Cloud, image: str, file: str, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = [way, "fav-cloud"] if way.startswith("-") else []
        if way == "variable":
            monkeypatch.setenv("STRATUSLAB_USER_CONFIG_SECTION", "fav-cloud")
        elif way == "file":
            text = Path(file).read_text()
            Path(file).write_text(
                text.replace("[default]\n", "[default]\nselected_section = fav-cloud\n")
            )
        result = CliRunner().invoke(run_instance, ["-q", "-c", file, *options, image])
        assert self.keys(cloud, result) == KEY

    @pytest.mark.parametrize("way", ["options", "variables"])
    def test_all_without_a_file(
        self,
        site: Sandbox,
        cloud: Cloud,
        image: str,
        tmp_path: Path,
        way: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "id.pub").write_text(f"{KEY}\n")
        disk = cloud.create_volume(1, "mine").id
        given = {
            "endpoint": f"{site.url}/one-proxy/xmlrpc",
            "username": USER,
            "password": SECRET,
            "pdisk-endpoint": f"{site.url}/pdisk",
            "pdisk-username": USER,
            "pdisk-password": SECRET,
            "marketplace-endpoint": f"{site.url}/marketplace",
            "key": str(tmp_path / "id.pub"),
        }
        options = [f"--{name}={value}" for name, value in given.items()]
        if way == "variables":
            options = []
            for name, value in given.items():
                monkeypatch.setenv(f"STRATUSLAB_{name.upper().replace('-', '_')}", value)
        words = ["-q", *options, f"--persistent-disk={disk}", image]
        assert self.keys(cloud, CliRunner().invoke(run_instance, words)) == KEY
        cloud.delete_volume(disk)

    @pytest.mark.parametrize("way", ["options", "variables", "file"])
    def test_a_certificate_counts_more_than_a_password(
        self, tls: Sandbox, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = connect(tls.config_path, "certificate").settings
        login = {
            "pem_certificate": getattr(settings.credentials, "certificate", ""),
            "pem_key": getattr(settings.credentials, "key", ""),
        }
        values = {"ca_certificate": settings.options.ca_certificate}
        options, warned = [], way != "options"  # one who gives options has chosen
        if way == "options":
            options = ["--pem-cert", login["pem_certificate"], "--pem-key", login["pem_key"]]
        elif way == "variables":
            for key, value in login.items():
                monkeypatch.setenv(f"STRATUSLAB_{key.upper()}", value)
        else:
            values |= login
        file = configured(tmp_path, tls, username="nobody", password=WRONG, **values)
        for command in (describe_instance, describe_volumes):
            result = CliRunner().invoke(command, ["-c", file, *options])
            assert result.exit_code == 0, result.output
            assert ("the certificate is used (User's Guide 4.9.2)" in result.stderr) == warned
