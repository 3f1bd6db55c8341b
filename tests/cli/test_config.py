"""stratus-copy-config (guide 9.1.2, config-and-cli 4)."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stratuslab_libcloud.cli.config import copy_config
from stratuslab_libcloud.configuration import file


def run(*arguments: str) -> Result:
    return CliRunner().invoke(copy_config, arguments)


def test_it_prints_where_it_put_the_file(home: Path) -> None:
    path = home / ".stratuslab" / "stratuslab-user.cfg"
    result = run()
    assert (result.exit_code, result.stdout) == (0, f"wrote configuration file: {path}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_file_can_be_read(home: Path) -> None:
    run()
    assert file.read().display("my-cloud") == ("My StratusLab Cloud", "Earth")
    settings = file.read().settings("my-cloud")
    assert settings.endpoint == "https://cloud.example.com/one-proxy/xmlrpc"


def test_it_does_not_overwrite(home: Path) -> None:
    path = home / "mine.cfg"
    path.write_text("precious")
    result = run("-c", str(path))
    assert result.exit_code == 1
    assert f"won't overwrite file ({path}); use --force to overwrite" in result.stderr
    assert path.read_text() == "precious"
    assert os.listdir(home) == ["mine.cfg"]


def test_unless_it_is_told_to(home: Path) -> None:
    path = home / "mine.cfg"
    path.write_text("[broken")
    path.chmod(0o644)
    assert run("-c", str(path), "--force").exit_code == 0
    assert "[default]" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_path_is_made(home: Path) -> None:
    path = home / "some" / "where" / "my.cfg"
    assert run("-c", str(path), "-q").stdout == ""
    assert path.exists()


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_what_cannot_be_written_is_one_line(home: Path, options: tuple[str, ...]) -> None:
    (home / "file").touch()
    result = run("-c", str(home / "file" / "my.cfg"), *options)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "[ERROR] cannot" in result.stderr


def test_a_path_that_is_none_is_refused(home: Path) -> None:
    for path in ("", str(home)):
        result = run("-c", path, "--force")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert os.listdir(home) == []


@pytest.mark.parametrize("options", [(), ("-c", "~/my.cfg"), ("-c", "~no-such-user/my.cfg")])
def test_without_a_home_directory_it_is_one_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.chdir(home)
    result = run(*options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "home directory" in result.stderr
    assert os.listdir(home) == []


def test_help_imports_neither_libcloud_nor_paramiko() -> None:
    code = (
        "import sys\n"
        "from stratuslab_libcloud.cli.config import copy_config\n"
        "copy_config.main(['--help'], standalone_mode=False)\n"
        "sys.exit(any(name in sys.modules for name in ('libcloud', 'paramiko', 'requests')))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
