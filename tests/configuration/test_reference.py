"""What people read about the options: all of them, as they are."""

import io
import subprocess
import sys
from importlib.resources import files

import pytest

from stratuslab_libcloud.configuration import file
from stratuslab_libcloud.configuration.options import KNOWN, TABLE
from stratuslab_libcloud.configuration.reference import as_markdown, reference

FOR_COMMANDS = {
    *("instance_type", "endpoints", "port_translation"),
    *("pat_service_host", "pat_gateway_host"),
}
DOCUMENTED = sorted(KNOWN - FOR_COMMANDS)
MODULE = "stratuslab_libcloud.configuration.reference"


def test_the_stored_file_is_the_one_that_the_table_makes() -> None:
    stored = files("stratuslab_libcloud").joinpath("conf/stratuslab-user.cfg.ref").read_text()
    assert stored == reference(), f"python -m {MODULE} prints the right one"


def test_the_module_prints_it() -> None:
    command = [sys.executable, "-W", "error", "-m", MODULE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == reference()


def test_no_line_is_too_long() -> None:
    assert max(map(len, reference().splitlines())) < 100


@pytest.mark.parametrize("key", DOCUMENTED)
def test_every_key_that_is_read_is_documented(key: str) -> None:
    row = TABLE[key]
    assert row.doc.endswith(".")
    assert row.fallback
    lines = reference().splitlines()
    assert [line.removeprefix("# ") for line in lines].count(f"{key} = {row.example}") == 1
    assert f"* Example: `{key} = {row.example}`\n" in as_markdown()
    if row.variable:
        assert f"# Environment variable: {row.variable}" in reference()
        assert f"* Environment variable: `{row.variable}`" in as_markdown()
    assert as_markdown().count(f"### `{key}`\n") == 1


def test_the_reference_is_a_configuration_file() -> None:
    found = file.read(io.StringIO(reference()))
    assert found.locations() == ["my-cloud"]
    assert found.display("my-cloud") == ("My StratusLab Cloud", "Earth")
    assert found.settings("my-cloud").endpoint == "https://cloud.example.com/one-proxy/xmlrpc"


def test_so_it_is_with_every_example_in_use() -> None:
    lines = [
        line.removeprefix("# ") if line.startswith(tuple(f"# {key} = " for key in KNOWN)) else line
        for line in reference().splitlines()
    ]
    with pytest.warns(UserWarning, match="certificate is used"):
        settings = file.read(io.StringIO("\n".join(lines))).settings("my-cloud")
    assert settings.options.endpoint_timeout == 20
    for key in ("ssh_port", "verify_tls", "default_context_method", "pdisk_protocol", "pdisk_port"):
        assert getattr(settings.options, key) == getattr(type(settings.options), key), key
