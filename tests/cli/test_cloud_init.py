"""What is told to machines (compute-xmlrpc 4.6)."""

import base64
import gzip
from email import message_from_bytes
from pathlib import Path

import click
import pytest

from stratuslab_libcloud.cli import cloud_init

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK jane@example.org"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho hello\n")
    (tmp_path / "cloud.cfg").write_text("#cloud-config\n# gr\u00fcn\n")
    (tmp_path / "id.pub").write_text(f"Comment: mine\n{KEY}\n")
    (tmp_path / "raw").write_bytes(b"\x00raw")
    return tmp_path


def test_pairs() -> None:
    assert cloud_init.context(["a=1", "", " b = x=y", "a=2"]) == {"a": "2", "b": " x=y"}
    with pytest.raises(click.ClickException, match="Syntax error in line `# no`"):
        cloud_init.context(["a=1", "# no"])


def test_files_become_parts_and_keys(folder: Path) -> None:
    found = cloud_init.of_files(
        [
            f"x-shellscript,{folder}/run.sh",
            f"ssh,{folder}/id.pub",
            f"cloud-config,{folder}/cloud.cfg",
        ]
    )
    assert found.keys == [KEY]
    parts = list(message_from_bytes(found.user_data).walk())
    assert [part.get_content_type() for part in parts] == [
        "multipart/mixed",
        "text/x-shellscript",
        "text/cloud-config",
    ]
    assert [part.get_filename() for part in parts[1:]] == ["run.sh", "cloud.cfg"]
    assert parts[1].get_payload() == "#!/bin/sh\necho hello\n"
    decoded = parts[2].get_payload(decode=True)
    assert isinstance(decoded, bytes)
    assert decoded.decode() == "#cloud-config\n# gr\u00fcn\n"


def test_the_first_none_is_all(folder: Path) -> None:
    items = [f"none,{folder}/raw", f"none,{folder}/run.sh", f"plain,{folder}/run.sh"]
    assert cloud_init.of_files(items).user_data == b"\x00raw"


@pytest.mark.parametrize("item", ["foo", "plain,a,b", "plain,", ",a"])
def test_what_is_no_pair(item: str) -> None:
    with pytest.raises(click.ClickException, match=f"invalid CloudInit mimetype pair: '{item}'"):
        cloud_init.of_files(["", item])


def test_what_prepare_context_writes_is_understood() -> None:
    data = base64.b64encode(gzip.compress(b"#!/bin/sh\n")).decode()
    keys = base64.b64encode(f"{KEY}\n".encode()).decode()
    given = {
        "CONTEXT_METHOD": "cloud-init",
        "CLOUD_INIT_AUTHORIZED_KEYS": keys,
        "CLOUD_INIT_USER_DATA": data,
        "a": "1",
    }
    found = cloud_init.of_context(given)
    assert found is not None
    assert (found.keys, found.user_data) == ([KEY], b"#!/bin/sh\n")
    assert given == {"a": "1"}
    assert cloud_init.of_context({"a": "1"}) is None
    with pytest.raises(click.ClickException, match="has not written"):
        cloud_init.of_context({"CONTEXT_METHOD": "cloud-init", "CLOUD_INIT_USER_DATA": "%%"})
