"""What all commands have in common (config-and-cli 3.1 to 3.3, guide 4.5)."""

import io
import os
import sys
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from stratuslab_libcloud import __version__, errors
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.options import (
    ENDPOINT,
    JSON,
    LOGIN,
    PAT,
    STORAGE,
    Given,
    command,
    pass_given,
)

FILE = """\
[default]
selected_section = a
[a]
endpoint = a.example.org
username = jane
password = from-file
[b]
endpoint = b.example.org
username = jane
"""


@command(
    "stratus-try",
    *(ENDPOINT, LOGIN, STORAGE, PAT, JSON),
    examples=("stratus-try 1", "stratus-try --number=2 1 2"),
)
@click.option("-n", "--number", type=int, default=1)
@click.option("--list-types", "--list-type", "-l", is_flag=True)
@click.option("--private/--public", default=None)
@click.option("--fail")
@click.argument("words", nargs=-1)
@pass_given
def tried(
    given: Given,
    number: int,
    list_types: bool,
    private: bool | None,
    fail: str | None,
    words: tuple[str, ...],
) -> int | None:
    """Try it."""
    given.say("a detail")
    if fail:
        return failing(fail)
    settings = given.cloud().settings
    click.echo(f"{settings.endpoint} {settings.credentials!r}")
    click.echo(f"{number} {list_types} {private} {words} {given.json}")
    return None


def failing(how: str) -> int:
    if how == "cloud":
        raise errors.NotFoundError("there is no such thing\nat all", endpoint="https://h")
    if how == "file":
        (Path("/no/such") / "file").read_text()
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "bug":
        raise ZeroDivisionError
    if how == "warning":
        warnings.warn("this is not well", stacklevel=1)
        return 0

    def act(one: str) -> None:
        if one == "2":
            raise errors.ConflictError("it does not run")
        click.echo(f"done {one}")

    return output.each(["1", "2", "3"], act)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "my.cfg"
    path.write_text(FILE)
    path.chmod(0o600)
    return str(path)


def run(*words: str) -> Result:
    return CliRunner().invoke(tried, words, prog_name="stratus-try")


def said(result: Result) -> str:
    """The one line that a command which failed says."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("  [ERROR] ")
    return result.stderr.removeprefix("  [ERROR] ").rstrip("\n")


class TestCommandLine:
    @pytest.mark.parametrize(
        ("words", "seen"),
        [
            (["1", "--number", "2", "3"], "2 False None ('1', '3') False"),
            (["--num=2", "x"], "2 False None ('x',) False"),
            (["--num", "-2"], "-2 False None () False"),
            (["--number=-2"], "-2 False None () False"),
            (["-n-2"], "-2 False None () False"),
            (["-ln2", "x"], "2 True None ('x',) False"),
            (["-ln", "-2", "--json"], "-2 True None () True"),
            (["--list"], "1 True None () False"),
            (["--list-type"], "1 True None () False"),
            (["--pub"], "1 False False () False"),
            (["--publ", "--priv"], "1 False True () False"),
            (["--", "--num", "2"], "1 False None ('--num', '2') False"),
            (["x", "--", "-n"], "1 False None ('x', '-n') False"),
            (["--usern", "--num"], "1 False None () False"),
            (["--pat-e"], "1 False None () False"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_words_are_read_as_ever(self, file: str, words: list[str], seen: str) -> None:
        result = run("-c", file, *words)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[1] == seen

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["--p"], "ambiguous option: --p (--password?, --pat-enable?, "),
            (["--user"], "ambiguous option: --user (--user-config-section?, --username?)"),
            (["--nothing"], "o such option"),
            (["--number=two"], "'two' is not a valid integer"),
            (["--number"], "requires an argument"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else "",
    )
    def test_wrong_usage_is_one_line_and_2(self, words: list[str], text: str) -> None:
        result = run(*words)
        assert result.exit_code == 2
        line = said(result)
        assert text in line
        assert line.endswith("(see stratus-try --help)")

    def test_version_and_help(self) -> None:
        assert run("--version").stdout == f"{__version__}\n"
        for word in ("-h", "--help", "--he"):
            shown = run(word)
            assert (shown.exit_code, shown.stderr) == (0, "")
            assert shown.stdout.startswith("Usage: stratus-try [options] [WORDS]...\n")
            assert "  $ stratus-try --number=2 1 2\n" in shown.stdout
        assert "better in the file" in " ".join(shown.stdout.split())
        assert "STRATUSLAB_PASSWORD" in shown.stdout


class TestPrecedence:
    def test_option_environment_file(self, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert run("-c", file).stdout.startswith("https://a.example.org:2634/")
        monkeypatch.setenv("STRATUSLAB_ENDPOINT", "environment.example.org")
        assert run("-c", file).stdout.startswith("https://environment.example.org:2634/")
        result = run("-c", file, "--endpoint", "https://option.example.org/x")
        assert result.stdout.startswith("https://option.example.org/x ")
        assert run("-c", file, "--endpoint=").stdout.startswith("https://environment")

    def test_the_section(self, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
        result = run("-c", file, "-S", "b", "-p", "x")
        assert result.stdout.startswith("https://b.example.org")
        monkeypatch.setenv("STRATUSLAB_USER_CONFIG_SECTION", "b")
        assert run("-c", file, "-p", "x").stdout.startswith("https://b.example.org")
        assert run("-c", file, "-S", "a").stdout.startswith("https://a.example.org")
        result = run("-c", file, "-S", "c")
        assert result.exit_code == 1
        assert "there is no section [c]" in said(result)

    def test_no_secret_is_shown(self, file: str) -> None:
        result = run("-vvv", "-c", file, "-p", "geheim", "--pdisk-password", "geheim")
        assert result.exit_code == 0
        assert "geheim" not in result.output
        assert "from-file" not in result.output

    def test_without_an_endpoint(self) -> None:
        result = run("-u", "x")
        assert result.exit_code == 1
        assert said(result).startswith("Missing cloud endpoint. Please provide --endpoint")

    def test_a_file_that_is_not_there(self) -> None:
        result = run("-c", "/no/such/file")
        assert result.exit_code == 1
        assert "/no/such/file: there is no such configuration file" in said(result)


class TestPassword:
    def test_it_is_asked_for_on_a_terminal(
        self, file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("stratuslab_libcloud.cli.options._interactive", lambda: True)
        words = ["-c", file, "-S", "b"]
        result = CliRunner().invoke(tried, words, input="typed\n")
        assert result.exit_code == 0
        assert "'jane' at 'https://b.example.org:2634/xmlrpc' password:" in result.stderr
        assert "typed" not in result.output
        assert "username='jane'" in result.stdout

    def test_elsewhere_it_is_not(self, file: str) -> None:
        assert run("-c", file, "-S", "b").stdout.startswith(
            "https://b.example.org:2634/xmlrpc None"
        )


class TestEnds:
    def test_the_cloud_said_no(self) -> None:
        result = run("--fail=cloud")
        assert result.exit_code == 1
        assert said(result) == "https://h: there is no such thing at all"

    def test_a_file_cannot_be_read(self) -> None:
        result = run("--fail=file")
        assert result.exit_code == 1
        assert said(result) == "/no/such/file: No such file or directory"

    def test_an_interrupt(self) -> None:
        result = run("--fail=interrupt")
        assert (result.exit_code, result.stdout) == (130, "")
        assert result.stderr == "\n  [ERROR] interrupted\n"

    def test_a_bug_keeps_its_traceback(self) -> None:
        assert isinstance(run("--fail=bug").exception, ZeroDivisionError)

    def test_some_of_several(self) -> None:
        result = run("--fail=each")
        assert (result.exit_code, result.stdout) == (1, "done 1\ndone 3\n")
        assert result.stderr == "  [ERROR] 2: it does not run\n"

    def test_a_warning_is_a_line(self) -> None:
        result = run("--fail=warning")
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "  [WARNING] this is not well\n"

    def test_details(self) -> None:
        assert run("--fail=warning", "-v").stderr.startswith("a detail\n")
        assert "a detail" not in run("--fail=warning", "-v", "-q").stderr
        assert "Traceback" in run("--fail=cloud", "-vvv").stderr
        assert "Traceback" not in run("--fail=cloud", "-vv").stderr

    def test_port_translation_is_explained(self, file: str) -> None:
        result = run("-c", file, "--pat-enable", "--pat-service-host=x")
        assert result.exit_code == 0
        assert "port translation (PAT) is not supported" in result.stderr
        assert run("-c", file, "--pat-service-host=x").stderr == ""
        with open(file, "a") as opened:
            opened.write("port_translation = true\n[c]\nport_translation = yes\n")
        assert "(PAT) is not supported" in run("-c", file, "-S", "b", "-p", "x").stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestOutput:
    def test_colours_are_for_terminals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        assert output.paint("x", "red", io.StringIO()) == "x"
        assert output.paint("x", "red", Terminal()) == "\x1b[31mx\x1b[0m"
        monkeypatch.setenv("NO_COLOR", "1")
        assert output.paint("x", "red", Terminal()) == "x"

    def test_progress_leaves_nothing_behind(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(os, "get_terminal_size", lambda _number=0: os.terminal_size((20, 5)))
        monkeypatch.setattr(terminal, "fileno", lambda: 2)
        with output.Progress() as progress:
            progress.show("machine 1 is Pending\x1b[2J")
        lines = terminal.getvalue().split("\r\x1b[K")
        assert lines == ["", " :: machine 1 is Pe", ""]

    def test_progress_has_a_bar(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr("stratuslab_libcloud.cli.output.time.monotonic", lambda: 0.0)
        with output.Progress() as progress:
            for part in (0, 0.456, 1):
                progress.show("downloading", part)
        assert terminal.getvalue().split("\r\x1b[K")[1:] == [
            " :: [                    ]   0% downloading (0:00)",
            " :: [#########           ]  46% downloading (0:00)",
            " :: [####################] 100% downloading (0:00)",
            "",
        ]

    def test_progress_is_for_terminals(self, capsys: pytest.CaptureFixture[str]) -> None:
        with output.Progress() as progress:
            progress.show("machine 1 is Pending")
        assert capsys.readouterr() == ("", "")
