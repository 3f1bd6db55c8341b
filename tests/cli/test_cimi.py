"""``stratus-cimi serve``, and the page about it."""

import base64
import doctest
import os
import re
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import without
from forked import Forked, start
from present import present

from stratuslab_libcloud import __version__
from stratuslab_libcloud.cli import cimi
from stratuslab_libcloud.sandbox.site import Sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "cimi.md").read_text()
COMMAND = "from stratuslab_libcloud.cli.cimi import main; main(prog_name='stratus-cimi')"
DONE = "-- done --"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_serves_by_tls_until_it_is_told_to_stop(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    with Sandbox() as site:
        folder = tmp_path / "kept"
        options = ["serve", "-c", str(site.config_path), "--dir", str(folder), "--port", "0"]
        with start(COMMAND, *options, "--tls", anew=number == signal.SIGTERM) as process:
            try:
                ready = re.fullmatch(
                    r"ready: (https://127\.0\.0\.1:\d+/cimi)\n", present(process.stdout).readline()
                )
                assert ready, present(process.stderr).read()
                context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
                with urllib.request.urlopen(ready[1], context=context, timeout=60) as answer:
                    assert f'"baseURI": "{ready[1]}/"'.encode() in answer.read()
                with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
                    urllib.request.urlopen(ready[1], timeout=60)
                process.send_signal(number)
                assert process.communicate(timeout=120) == ("", "")
                assert process.returncode == status
            finally:
                process.kill()
        assert (folder.stat().st_mode & 0o777, (folder / "kept.db").stat().st_mode & 0o777) == (
            0o700,
            0o600,
        )


def test_no_login_of_the_configuration_is_used_or_kept(tmp_path: Path) -> None:
    """Not even one that the caller only leaves out in part."""
    with Sandbox(users={"jane": "her-password"}) as site:
        with cimi.serving(tmp_path / "kept", site.config_path) as url:
            for login in ("jane:", ":her-password", "jane:wrong", "", "jane"):
                request = urllib.request.Request(f"{url}/machines")
                if login:
                    coded = base64.b64encode(login.encode()).decode()
                    request.add_header("Authorization", f"Basic {coded}")
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(request, timeout=60)
                assert refused.value.code == 401
                assert b"her-password" not in refused.value.read()
                refused.value.close()
        for path in (tmp_path / "kept").iterdir():
            assert b"her-password" not in path.read_bytes()


def test_what_cannot_be_served_is_one_line(tmp_path: Path) -> None:
    runner = CliRunner()
    for options, reason in (
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
        (["-c", str(tmp_path / "missing")], "missing"),
        (["--dir", "/dev/null/x"], "/dev/null"),
    ):
        words = ["serve", "--port", "0", "--dir", str(tmp_path), *options]
        result = runner.invoke(cimi.main, words)
        assert result.exit_code == 1
        assert reason in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("package", ["cheroot", "pyparsing", "trustme", "werkzeug"])
def test_without_the_extra_it_says_how_to_get_it(package: str) -> None:
    with Forked(f"{without(package)}\n{COMMAND}", "serve") as process:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (1, "")
    assert f"pip install 'stratuslab-libcloud-drivers[cimi]=={__version__}'" in err
    assert err.count("\n") == 1


def test_the_lines_of_the_page_do_what_it_shows(home: Path, tmp_path: Path) -> None:
    shown = "\n".join(
        block for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.M | re.S) if "$ " in block
    )
    parts = re.split(r"^\$ ", shown, flags=re.M)[1:]
    commands, expected = [], []
    for part in parts:
        command, _, rest = part.partition("\n")
        lines = rest.splitlines(keepends=True)
        more = [line[2:] for line in lines if line.startswith("> ")]
        commands.append("\n".join([command, "".join(more)]))
        expected.append("".join(line for line in lines if not line.startswith("> ")).rstrip("\n"))
    with Sandbox(users={"jane": "not-this-one"}) as site:
        with cimi.serving(tmp_path / "kept", site.config_path) as url:
            netrc = home / ".netrc"
            netrc.write_text("machine 127.0.0.1 login jane password not-this-one\n")
            netrc.chmod(0o600)
            script = f"\necho; echo '{DONE}'\n".join([*commands, ""])
            there = url.partition("/cimi")[0]
            ran = subprocess.run(
                ["bash", "-c", script.replace("http://127.0.0.1:8446", there)],
                capture_output=True,
                text=True,
                env={"PATH": os.environ["PATH"], "HOME": str(home)},
                timeout=120,
            )
    answers = ran.stdout.replace(there, "http://127.0.0.1:8446").split(f"{DONE}\n")
    assert ran.stderr == ""
    assert len(answers) == len(commands) + 1 > 15
    for command, want, got in zip(commands, expected, answers[:-1], strict=True):
        matches = doctest.OutputChecker().check_output(
            want.strip() + "\n", got.strip() + "\n", doctest.ELLIPSIS
        )
        assert matches, f"{command}\n{got}"
