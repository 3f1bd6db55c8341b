"""What machines find on their context CD."""

import base64
import gzip
import io
import subprocess
from pathlib import Path

import pycdlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.machines import context

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


def read_by_shell(script: str, *names: str) -> list[str]:
    """What a shell that sources it sees."""
    wanted = "".join(f'printf "%s\\0" "${{{name}-unset}}"; ' for name in names)
    done = subprocess.run(
        ["sh", "-c", f". /dev/stdin; {wanted}"],
        input=script.encode(),
        stdout=subprocess.PIPE,
        check=True,
        env={},
    )
    return done.stdout.decode().split("\0")[:-1]


@given(TEXTS)
def test_a_shell_reads_back_any_value(text: str) -> None:
    assert read_by_shell(context.script({"VALUE": text}), "VALUE") == [text]


def test_what_is_no_variable_is_left_out() -> None:
    assert context.script({"9LIVES": "x", "A-B": "y", "OK": "z"}) == "OK='z'\n"


def test_the_public_key_has_both_names() -> None:
    script = context.script({"PUBLIC_KEY": "ssh-rsa AAAA it's\n"})
    assert read_by_shell(script, "PUBLIC_KEY", "SSH_PUBLIC_KEY") == ["ssh-rsa AAAA it's\n"] * 2


def test_without_a_key_there_is_none() -> None:
    assert "SSH_PUBLIC_KEY" not in context.script({"A": "1"})


def cloud_init(user_data: bytes, keys: bytes = b"ssh-ed25519 BBBB\n") -> dict[str, str]:
    return {
        "PUBLIC_KEY": "ssh-rsa AAAA",
        "CONTEXT_METHOD": "cloud-init",
        "CLOUD_INIT_AUTHORIZED_KEYS": base64.b64encode(keys).decode(),
        "CLOUD_INIT_USER_DATA": base64.b64encode(gzip.compress(user_data)).decode(),
    }


def test_keys_and_user_data_of_the_cloud_init_method_are_decoded() -> None:
    data = b"#!/bin/sh\necho \xff 'quoted' $HOME\n"
    script = context.script(cloud_init(data))
    keys, packed, encoding = read_by_shell(
        script, "SSH_PUBLIC_KEY", "USER_DATA", "USERDATA_ENCODING"
    )
    assert keys == "ssh-ed25519 BBBB\n"
    assert base64.b64decode(packed) == data
    assert encoding == "base64"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("not base64!", "CLOUD_INIT_USER_DATA is not base64"),
        (base64.b64encode(b"not gzip").decode(), "CLOUD_INIT_USER_DATA is not gzip"),
        (base64.b64encode(gzip.compress(b"x" * 99)[:-9]).decode(), "is incomplete, or over 1 MiB"),
        (base64.b64encode(gzip.compress(bytes(2 << 20))).decode(), "is incomplete, or over 1 MiB"),
    ],
    ids=["not base64", "not gzip", "incomplete", "too long"],
)
def test_user_data_that_cannot_be_decoded_is_told(value: str, reason: str) -> None:
    with pytest.raises(MachineError, match=f"^the context's .*{reason}$"):
        context.script({**cloud_init(b""), "CLOUD_INIT_USER_DATA": value})


def test_the_cd_is_labelled_and_has_the_script(tmp_path: Path) -> None:
    path = tmp_path / "context.iso"
    context.burn({"PUBLIC_KEY": "ssh-rsa AAAA", "LONG": "é\n" * 5000}, path)
    disc = pycdlib.PyCdlib()
    disc.open(str(path))
    assert disc.pvd.volume_identifier.strip() == b"CONTEXT"
    for name in ({"rr_path": "/context.sh"}, {"joliet_path": "/context.sh"}):
        found = io.BytesIO()
        disc.get_file_from_iso_fp(found, **name)
        expected = context.script({"PUBLIC_KEY": "ssh-rsa AAAA", "LONG": "é\n" * 5000})
        assert found.getvalue().decode() == expected
    disc.close()
