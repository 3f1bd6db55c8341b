"""SSH key files, as users have them and as they should not be (config-and-cli 5)."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import example, given
from hypothesis import strategies as st
from permissions import unreadable

from stratuslab_libcloud.client.data import NewMachine
from stratuslab_libcloud.client.stratuslab.template import BootDisk, render
from stratuslab_libcloud.errors import ConfigurationError, InvalidValueError
from stratuslab_libcloud.ssh import keys as ssh_keys

PAIR = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))  # in the tests' names, too
PUBLIC = PAIR.public_key().public_bytes(
    serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
)
PRIVATE = PAIR.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.OpenSSH,
    serialization.NoEncryption(),
)


def files(folder: Path) -> tuple[Path, Path]:
    public, private = folder / "key.pub", folder / "key"
    public.write_bytes(PUBLIC + b" jane@example.org\n")
    private.write_bytes(PRIVATE)
    return public, private


def test_a_pair_is_read(tmp_path: Path) -> None:
    public, private = files(tmp_path)
    assert ssh_keys.read_public(public) == [f"{PUBLIC.decode()} jane@example.org"]
    assert ssh_keys.public_half(str(private), None) == PUBLIC.decode()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no SSH public key"),
        (b"\n# only a comment\nComment: and another\n", "holds no SSH public key"),
        (b"rubbish\n", "holds no SSH public key"),
        (PUBLIC + b"\nrubbish\n", "holds no SSH public key"),
        (PRIVATE, "holds a private key; give the public one"),
        (PUBLIC + b"\n" + PRIVATE, "holds a private key; give the public one"),
        (b"\xff\xfe\x00", "cannot be read: it is not text"),
    ],
    ids=range(7),
)
def test_a_file_without_a_public_key_is_named(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    path = tmp_path / "key.pub"
    path.write_bytes(content)
    with pytest.raises((ConfigurationError, InvalidValueError)) as caught:
        ssh_keys.read_public(path)
    assert str(caught.value).endswith(f"{path} {complaint}")
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"rubbish", PUBLIC, PRIVATE[:80], b"\xff\0", None])
def test_a_file_without_a_private_key_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises((ConfigurationError, InvalidValueError), match="private key") as caught:
        ssh_keys.public_half(str(path), None)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


def test_what_may_not_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    public, private = files(tmp_path)
    with unreadable(public), pytest.raises(ConfigurationError, match="Permission denied") as caught:
        ssh_keys.read_public(public)
    assert str(public) in str(caught.value)
    with unreadable(private), pytest.raises(ConfigurationError, match="Permission") as caught:
        ssh_keys.public_half(str(private), None)
    assert str(private) in str(caught.value)


@pytest.mark.parametrize("name", ["", "none.pub", "x" * 300, "nul\0", "\ud800"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"SSH public key .* cannot be read"):
        ssh_keys.read_public(tmp_path / name)


LINES = st.lists(
    st.sampled_from(
        [
            *(
                "ssh-ed25519",
                "ssh-rsa",
                "ecdsa-sha2-nistp256",
                "ssh-",
                "AAAAC3NzaC1lZDI1NTE5",
                "A" * 99,
            ),
            *(
                " ",
                "\t",
                "\n",
                "\r",
                "\0",
                "=",
                "==",
                "#",
                "Comment:",
                'command="reboot"',
                "$(reboot)",
            ),
            *("`reboot`", '"', "\\", "\x1b[31m", "\u2028", "jane@example.org", "PRIVATE KEY", "ü"),
        ]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@given(LINES)
@example("ssh-rsa AAAA\u2028NIC=[]")
@example('ssh-rsa AAAA "\nNIC = [ NETWORK = "public" ]\nX = "')
def test_any_text_is_keys_that_a_template_can_carry_or_refused(text: str) -> None:
    boot = BootDisk("https://m/metadata/x")
    try:
        keys = ssh_keys.public_lines(text, "it")
        template = render(NewMachine("x", 1, 512, 0, public_keys=keys), boot)
    except InvalidValueError as error:
        assert str(error).isprintable()
    else:
        written = re.search('PUBLIC_KEY = "([^"]*)"', template)
        assert written is not None
        assert len(written[1].splitlines()) == len(keys) > 0
        assert not set("$`\\") & set(written[1])
