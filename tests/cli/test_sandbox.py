import configparser
import contextlib
import fcntl
import io
import os
import re
import resource
import signal
import sys
import time
import xmlrpc.client
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from commands import SIMULATED, ends, run, start, up, without
from forked import Process, unloaded
from machines import still, wait_for

from stratuslab_libcloud import __version__
from stratuslab_libcloud.cli import sandbox

# The path that programs are looked for on is that of when it is loaded.
LOADED_ANEW = unloaded("stratuslab_libcloud")


def get(url: str, auth: tuple[str, str] | None = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, auth=auth, timeout=60)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_serves_until_it_is_told_to_stop(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    anew = number == signal.SIGTERM
    with up(tmp_path, "--user", "jane:s3:cret", *SIMULATED, anew=anew) as (process, url):
        assert get(f"{url}/pdisk/pswd/disks", ("jane", "s3:cret")).json() == []
        assert ends(process, number) == (code, "", "")
        with pytest.raises(requests.ConnectionError):
            get(url)


# A signal comes while the main thread holds a lock that its handler would want, too.
STRIKE = """
import os, signal, threading
enter = threading.Condition.__enter__
def struck(condition):
    held = enter(condition)
    if threading.get_ident() == threading.main_thread().ident:
        if getattr(signal.getsignal(signal.SIGTERM), "__name__", "") == "_stop":
            os.kill(os.getpid(), signal.SIGTERM)
    return held
threading.Condition.__enter__ = struck
"""


def test_it_stops_at_whatever_moment_it_is_told_to(tmp_path: Path) -> None:
    with up(tmp_path, *SIMULATED, before=STRIKE) as (process, _):
        assert ends(process, signal.SIGTERM) == (0, "", "")


def test_ctrl_c_is_obeyed_while_images_are_being_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built takes a minute; here it waits for somebody else who builds the same."""
    cache = tmp_path / "cache"
    cache.mkdir()
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        monkeypatch.setenv("STRATUSLAB_SANDBOX_CACHE", str(cache))
        options = ["--dir", str(tmp_path / "site"), "--port", "0", "--machines", "qemu"]
        with start("up", *options, anew=True) as process:
            wait_for((tmp_path / "site" / "images").exists, "it does not begin")
            time.sleep(0.5)
            assert ends(process, signal.SIGINT) == (130, "", "")


def test_the_configuration_is_there_when_it_is_ready(tmp_path: Path) -> None:
    with up(tmp_path, *SIMULATED) as (_, url):
        parser = configparser.ConfigParser()
        parser.read(tmp_path / "stratuslab-user.cfg")
        section = parser["sandbox"]
        assert section["pdisk_endpoint"] == f"{url}/pdisk"
        auth = (section["username"], section["password"])
        assert get(f"{url}/pdisk/pswd/disks", auth).status_code == 200


def test_auto_says_that_machines_are_simulated_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with up(tmp_path, before=LOADED_ANEW) as (process, _):
        code, _, err = ends(process, signal.SIGTERM)
        assert code == 0
        assert err.startswith("machines are simulated, they boot but run nothing: real machines ")
        assert "qemu-system-x86_64" in err
        assert err.count("\n") == 1


def test_a_second_one_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with up(tmp_path, *SIMULATED):
        result = run("up", "--dir", str(tmp_path), "--port", "0")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == f"Error: another sandbox is running on {tmp_path}\n"


def test_the_default_directory_is_in_the_home_directory(home: Path) -> None:
    result = run("up", "--host", "192.0.2.1")  # nobody's address
    assert result.returncode == 1
    assert os.listdir(home / ".stratuslab") == ["sandbox"]


NOBODY = """
import os, pwd
del os.environ["HOME"]
def nobody(number):
    raise KeyError(number)
pwd.getpwuid = nobody
"""


@pytest.mark.parametrize(
    "arguments", [("up", "--port", "0"), ("up", "--dir", "~/x"), ("add-image", "disk")]
)
def test_without_a_home_directory_it_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]
) -> None:
    monkeypatch.chdir(home)
    result = run(*arguments, before=NOBODY)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"Error: the directory ~/.* begins with ~, .*: set HOME.*\n", result.stderr)
    assert os.listdir(home) == []


def test_without_one_the_folder_for_images_has_to_be_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRATUSLAB_SANDBOX_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    code = f"{NOBODY}\nfrom stratuslab_libcloud.sandbox.machines import choice\n"
    code += "choice._check_programs = lambda: None"
    result = run("up", "--dir", str(tmp_path / "d"), "--machines", "qemu", before=code)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(
        r"Error: .*: set HOME.*; or set STRATUSLAB_SANDBOX_CACHE to .*\n", result.stderr
    )


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--host", "192.0.2.1", "--port", "8445"], 1, "cannot listen on 192.0.2.1:8445"),
        (["--user", "pdisk:x"], 1, "a user cannot be called 'pdisk'"),
        (["--dir", "/dev/null"], 1, "cannot use /dev/null as directory"),
    ],
)
def test_an_error_is_one_line(arguments: Sequence[str], code: int, text: str) -> None:
    result = run("up", *arguments)
    assert result.returncode == code
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {text}")
    assert result.stderr.count("\n") == 1


def test_real_machines_that_cannot_be_had_are_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    options = ["--dir", str(tmp_path), "--port", "0", "--machines", "qemu"]
    result = run("up", *options, before=LOADED_ANEW)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"Error: real machines need .*: apt-get install .*\n", result.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_being_ended_on_a_full_disk_is_told_in_one_line(
    tmp_path: Path, number: signal.Signals
) -> None:
    with up(tmp_path, "--user", "jane:s3cret", *SIMULATED) as (process, url):
        assert start_machine(url)
        full = (0, resource.RLIM_INFINITY)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, full)  # no file grows any more
        code, out, err = ends(process, number)
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"Error: {tmp_path}/sandbox\.db cannot be used: .+\n", err)
    with up(tmp_path, "--user", "jane:s3cret", *SIMULATED) as (process, _):
        assert ends(process, signal.SIGTERM) == (0, "", "")


def start_machine(url: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        call = xmlrpc.client.dumps(("s", "MEMORY=512"), "one.vm.allocate")
        answer = session.post(f"{url}/pswd/xmlrpc", data=call, auth=("jane", "s3cret"), timeout=60)
        result: Any = xmlrpc.client.loads(answer.content)[0][0]
        return result[0]


@pytest.mark.parametrize("name", ["passwords.json", "ca.pem"])
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    with up(tmp_path, "--tls", *SIMULATED) as (process, _):
        ends(process, signal.SIGTERM)
    (tmp_path / name).write_text("damaged")
    result = run("up", "--dir", str(tmp_path), "--port", "0", "--tls", *SIMULATED)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(rf"Error: {tmp_path}/{name} .*is damaged: remove it, .*\n", result.stderr)


# -- add-image


def entries(url: str) -> Any:
    return get(f"{url}/metadata?media=json").json()["aaData"]


def test_an_image_is_registered_while_the_sandbox_runs(tmp_path: Path) -> None:
    with up(tmp_path / "site", *SIMULATED) as (_, url):
        image = still(tmp_path)
        added = run(
            "add-image", "--dir", str(tmp_path / "site"), str(image), "--format", "raw",
            "--title", "Mine", "--os", "Plan 9", "--os-version", "4",
        )  # fmt: skip
        assert (added.returncode, added.stderr) == (0, "")
        (row,) = [row for row in entries(url) if row[10] == "Mine"]
        assert row[1:3] == ["Plan 9", "4"]
        assert row[7] == added.stdout.strip()
        assert get(row[8]).content == image.read_bytes()


def test_an_image_that_was_registered_before_is_offered_after_the_start(tmp_path: Path) -> None:
    image = still(tmp_path)
    for _ in range(2):  # again is harmless
        run("add-image", "--dir", str(tmp_path / "site"), str(image), "--format", "raw")
    for _ in range(2):  # wherever it listens
        with up(tmp_path / "site", *SIMULATED) as (_, url):
            (row,) = [row for row in entries(url) if row[10] == "still"]
            assert get(row[8]).content == image.read_bytes()


@contextlib.contextmanager
def adding(folder: Path) -> Iterator[Process]:
    """The process of add-image in the middle of its copying, which does not end by itself."""
    os.mkfifo(folder / "slow.raw")
    options = ["--dir", str(folder / "site"), str(folder / "slow.raw"), "--format", "raw"]
    with start("add-image", *options) as process:
        try:
            with (folder / "slow.raw").open("wb") as source:
                source.write(bytes(5 << 20))
                source.flush()
                wait_for(lambda: copies(folder), "it does not begin")
                yield process
        finally:
            process.kill()


def copies(folder: Path) -> list[Path]:
    return [*(folder / "site" / "images").glob("new-*/image")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_adding_that_is_ended_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with adding(tmp_path) as process:
        assert ends(process, number) == (128 + number, "", "")
    assert os.listdir(tmp_path / "site" / "images") == []


def test_what_adding_left_when_it_was_killed_is_removed_at_the_next_start(tmp_path: Path) -> None:
    with adding(tmp_path) as process:
        ends(process, signal.SIGKILL)
    images = tmp_path / "site" / "images"
    assert copies(tmp_path)
    (images / f"{'x' * 27}.qcow2").touch()  # as if it had been killed before it wrote the note
    (images / "somebody's.raw").touch()
    with up(tmp_path / "site", *SIMULATED):
        assert os.listdir(images) == ["somebody's.raw"]


def test_an_image_that_is_being_added_is_left_alone_by_a_start(tmp_path: Path) -> None:
    with adding(tmp_path) as process:
        with up(tmp_path / "site", *SIMULATED):
            assert copies(tmp_path)
        ends(process, signal.SIGTERM)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("missing.img", [], "missing.img cannot be copied: No such file or directory"),
        ("still.raw", [], "still.raw cannot be used: it is not in the format qcow2"),
        ("", [], "cannot be copied: Is a directory"),
        (
            "still.raw",
            ["--format", "raw", "--title", "\x1b[31m"],
            "still.raw cannot be described: dcterms:title has characters that XML cannot hold",
        ),
        ("\x1b[31m\u202e.img", [], "[31m .img cannot be copied: No such file or directory"),
    ],
)
def test_an_image_that_cannot_be_used_is_an_error_of_one_line(
    tmp_path: Path, name: str, options: list[str], reason: str
) -> None:
    still(tmp_path)
    result = run("add-image", "--dir", str(tmp_path / "site"), str(tmp_path / name), *options)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.endswith(f"{reason}\n")
    assert result.stderr[:-1].isprintable()
    assert os.listdir(tmp_path / "site" / "images") == []


@pytest.mark.parametrize(
    "arguments", [["--user", "nocolon"], ["--port", "70000"], ["--boot-seconds", "-1"], ["--what"]]
)
def test_wrong_usage_is_exit_2(arguments: Sequence[str]) -> None:
    assert run("up", *arguments).returncode == 2


@pytest.mark.parametrize("package", ["cheroot", "lxml", "pycdlib", "qemu", "trustme", "werkzeug"])
def test_without_the_extra_it_says_how_to_get_it(package: str) -> None:
    result = run("up", before=without(package))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: the sandbox needs more packages: "
        f"pip install 'stratuslab-libcloud-drivers[sandbox]=={__version__}'\n"
    )


def test_help_imports_neither_libcloud_nor_a_web_server() -> None:
    code = (
        "import atexit, sys\n"
        "heavy = ('libcloud', 'werkzeug', 'cheroot', 'lxml', 'cryptography')\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules]))"
    )
    result = run("--help", before=code, anew=True)
    assert result.returncode == 0
    assert "a StratusLab site" in result.stdout
    assert result.stdout.endswith("[]\n")


# -- long work


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(shown: sandbox._Shown) -> None:
    shown.work("downloading", 0.0)
    shown.work("downloading", 0.5)
    shown.notice("by the way")
    shown.work("downloading", 1.0)
    shown.work("building", 0.0)
    shown.work("building", 1.0)


def test_long_work_has_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    work(sandbox._Shown())
    lines = terminal.getvalue().split("\r\x1b[K")
    assert [line.partition(" (")[0] for line in lines] == [
        "",
        " :: [                    ]   0% downloading",
        " :: [##########          ]  50% downloading",
        "by the way\n",
        "",
        " :: [                    ]   0% building",
        "",
    ]


def test_long_work_is_a_line_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    work(sandbox._Shown())
    assert capsys.readouterr() == ("", "downloading\nby the way\nbuilding\n")
