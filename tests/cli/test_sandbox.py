import configparser
import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest
import requests

from stratuslab_libcloud import __version__

COMMAND = "from stratuslab_libcloud.cli.sandbox import main; main(prog_name='stratus-sandbox')"
SIMULATED = ("--machines", "simulated")


def run(*arguments, before=""):
    return subprocess.run(
        [sys.executable, "-c", f"{before}\n{COMMAND}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


@contextlib.contextmanager
def up(directory, *options):
    """The process of a sandbox that is up, and its URL."""
    command = [sys.executable, "-c", COMMAND, "up", "--dir", str(directory), "--port", "0"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            match = re.fullmatch(r"ready: (\S+), configuration (.*)\n", process.stdout.readline())
            assert match, process.stderr.read()
            assert match[2] == f"{directory}/stratuslab-user.cfg"
            yield process, match[1]
        finally:
            process.kill()


def ends(process, number):
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def get(url, auth=None):
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, auth=auth, timeout=60)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_serves_until_it_is_told_to_stop(tmp_path, number, code):
    with up(tmp_path, "--user", "jane:s3:cret", *SIMULATED) as (process, url):
        assert get(f"{url}/pdisk/pswd/disks", ("jane", "s3:cret")).json() == []
        assert ends(process, number) == (code, "", "")
        with pytest.raises(requests.ConnectionError):
            get(url)


def test_the_configuration_is_there_when_it_is_ready(tmp_path):
    with up(tmp_path, *SIMULATED) as (_, url):
        parser = configparser.ConfigParser()
        parser.read(tmp_path / "stratuslab-user.cfg")
        section = parser["sandbox"]
        assert section["pdisk_endpoint"] == f"{url}/pdisk"
        auth = (section["username"], section["password"])
        assert get(f"{url}/pdisk/pswd/disks", auth).status_code == 200


def test_auto_says_that_machines_are_simulated(tmp_path):
    with up(tmp_path) as (process, _):
        code, _, err = ends(process, signal.SIGTERM)
        assert code == 0
        assert err == "machines are simulated: they boot, but run nothing\n"


def test_a_second_one_on_the_same_directory_is_refused(tmp_path):
    with up(tmp_path, *SIMULATED):
        result = run("up", "--dir", str(tmp_path), "--port", "0")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: another sandbox is running on {tmp_path}\n"


def test_the_default_directory_is_in_the_home_directory(home):
    result = run("up", "--host", "192.0.2.1")  # nobody's address
    assert result.returncode == 1
    assert os.listdir(home / ".stratuslab") == ["sandbox"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--host", "192.0.2.1", "--port", "8445"], 1, "cannot listen on 192.0.2.1:8445"),
        (["--machines", "qemu"], 1, "machines cannot be 'qemu' yet"),
        (["--user", "pdisk:x"], 1, "a user cannot be called 'pdisk'"),
        (["--dir", "/dev/null"], 1, "cannot use /dev/null as directory"),
    ],
)
def test_an_error_is_one_line(arguments, code, text):
    result = run("up", *arguments)
    assert result.returncode == code
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {text}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--user", "nocolon"], ["--port", "70000"], ["--boot-seconds", "-1"], ["--what"]]
)
def test_wrong_usage_is_exit_2(arguments):
    assert run("up", *arguments).returncode == 2


@pytest.mark.parametrize("package", ["cheroot", "trustme", "werkzeug"])
def test_without_the_extra_it_says_how_to_get_it(package):
    result = run("up", before=f"import sys; sys.modules[{package!r}] = None")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: the sandbox needs more packages: "
        f"pip install 'stratuslab-libcloud-drivers[sandbox]=={__version__}'\n"
    )


def test_help_imports_neither_libcloud_nor_a_web_server():
    code = (
        "import atexit, sys\n"
        "heavy = ('libcloud', 'werkzeug', 'cheroot', 'lxml', 'cryptography')\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules]))"
    )
    result = run("--help", before=code)
    assert result.returncode == 0
    assert "A StratusLab site" in result.stdout
    assert result.stdout.endswith("[]\n")
