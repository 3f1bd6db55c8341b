"""``stratus-prepare-context`` (config-and-cli 3.24)."""

import base64
import gzip
import json
import random
import stat
from email import message_from_bytes
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stratuslab_libcloud import connect
from stratuslab_libcloud.cli.context import prepare_context
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.sandbox.site import Sandbox

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK jane@example.org"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBoK joe@example.org"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with files."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\necho hello\n")
    (folder / "cloud.cfg").write_text("#cloud-config\n# grün\n")
    (folder / "id.pub").write_text(f"Comment: mine\n{KEY}\n")
    (folder / "other.pub").write_text(f"{OTHER}\n")
    (folder / "raw").write_bytes(b"\x00raw")
    monkeypatch.chdir(folder)
    return folder


def run(*words: str) -> Result:
    return CliRunner().invoke(prepare_context, words)


def written(*words: str) -> list[str]:
    """The lines that it writes, when it works and says nothing."""
    result = run(*words)
    assert (result.exit_code, result.output) == (0, "")
    text = Path("cloud-init.txt").read_text()
    assert text.endswith("\n")
    return text[:-1].split("\n")


def keys(line: str) -> str:
    name, _, value = line.partition("=")
    assert name == "CLOUD_INIT_AUTHORIZED_KEYS"
    return base64.b64decode(value, validate=True).decode()


def data(line: str) -> bytes:
    name, _, value = line.partition("=")
    assert name == "CLOUD_INIT_USER_DATA"
    return gzip.decompress(base64.b64decode(value, validate=True))


def test_without_files_it_is_the_method_alone(folder: Path) -> None:
    assert written() == ["CONTEXT_METHOD=cloud-init"]


def test_keys_and_parts(folder: Path) -> None:
    method, first, second, empty = written(
        *("ssh,id.pub", "x-shellscript,run.sh", "ssh,other.pub", "cloud-config,cloud.cfg")
    )
    assert (method, empty) == ("CONTEXT_METHOD=cloud-init", "")
    assert keys(first) == f"{KEY}\n{OTHER}\n"
    message = message_from_bytes(data(second))
    assert message.get_content_type() == "multipart/mixed"
    parts = list(message.walk())[1:]
    assert [
        (part.get_content_type(), part.get_content_disposition(), part.get_filename())
        for part in parts
    ] == [
        ("text/x-shellscript", "attachment", "run.sh"),
        ("text/cloud-config", "attachment", "cloud.cfg"),
    ]
    contents = [part.get_payload(decode=True) for part in parts]
    assert contents == [(folder / name).read_bytes() for name in ("run.sh", "cloud.cfg")]


def test_keys_alone(folder: Path) -> None:
    _, line = written("ssh,id.pub")
    assert keys(line) == f"{KEY}\n"


def test_the_first_none_is_all_of_the_data(folder: Path) -> None:
    _, line, empty = written("x-shellscript,run.sh", "none,raw", "none,cloud.cfg")
    assert (data(line), empty) == (b"\x00raw", "")


def test_it_is_overwritten_and_nobody_elses_to_read(folder: Path) -> None:
    file = folder / "cloud-init.txt"
    file.write_text("something longer than what comes" * 20)
    file.chmod(0o644)
    assert written() == ["CONTEXT_METHOD=cloud-init"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_it_is_the_same_each_time(folder: Path) -> None:
    assert written("none,raw") == written("none,raw")


@pytest.mark.parametrize(
    ("status", "words", "text"),
    [
        (1, ["foo"], "invalid CloudInit mimetype pair: 'foo'"),
        (1, ["x-shellscript,"], "invalid CloudInit mimetype pair: 'x-shellscript,'"),
        (1, ["x-shellscript,no.sh"], "no.sh: No such file or directory"),
        (1, ["ssh,no.pub"], "no.pub cannot be read"),
        (1, ["none,random"], "the user data is too large: "),
        (1, ["x-shellscript,raw.bin"], "raw.bin is not text"),
        (2, ["--file", "x"], "No such option '--file'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused(folder: Path, status: int, words: list[str], text: str) -> None:
    (folder / "random").write_bytes(random.Random(1).randbytes(20000))
    (folder / "raw.bin").write_bytes(b"\xff\xfe")
    result = run(*words)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (status, "", 1)
    assert result.stderr.startswith("  [ERROR] ")
    assert text in result.stderr
    assert not (folder / "cloud-init.txt").exists()


def test_a_directory_that_cannot_be_written(folder: Path) -> None:
    (folder / "cloud-init.txt").mkdir()
    result = run()
    assert (result.exit_code, result.stderr) == (1, "  [ERROR] cloud-init.txt: Is a directory\n")


def test_a_machine_gets_it(folder: Path) -> None:
    written("ssh,other.pub", "x-shellscript,run.sh")
    with Sandbox() as site:
        cloud = connect(site.config_path)
        words = ["-c", str(site.config_path), "--json", "--context-file", "cloud-init.txt"]
        result = CliRunner().invoke(run_instance, [*words, cloud.images()[0].id])
        (machine,) = json.loads(result.stdout)
        said = dict(cloud.machine_attributes(machine["id"]))
        cloud.close()
    assert said["template_context_context_method"] == "cloud-init"
    key, value = "template_context_cloud_init_authorized_keys", f"{OTHER}\n"
    assert base64.b64decode(said[key]).decode() == value
    for line in Path("cloud-init.txt").read_text().splitlines():
        name, _, value = line.partition("=")
        assert not name or said[f"template_context_{name.lower()}"] == value
