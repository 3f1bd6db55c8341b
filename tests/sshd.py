"""Real SSH servers on a simulated node's address, run by the current user."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest

__all__ = ["FLAVOURS", "Sshd", "free_port", "make_key", "needed"]

FLAVOURS = ["with SFTP", "without SFTP", "Dropbear"]
"""OpenSSH with and without SFTP, and what small images have."""

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_PROGRAMS = {name: shutil.which(name, path=_PATH) for name in ("sshd", "ssh-keygen", "dropbear")}
# Gives the user a home directory of the tests' own.
_NSS_WRAPPER = next(Path("/usr/lib").glob("*/libnss_wrapper.so"), None)

_ABSENT = [name for name, path in {**_PROGRAMS, "libnss_wrapper": _NSS_WRAPPER}.items() if not path]
_REASON = f"not installed: {', '.join(_ABSENT)}"
if _ABSENT and os.environ.get("CI"):
    raise RuntimeError(_REASON)  # never skipped there
needed = pytest.mark.skipif(bool(_ABSENT), reason=_REASON)
"""The mark of tests that use this."""


def make_key(path: Path, kind: str, *options: str, passphrase: str = "") -> str:
    """Make a key pair; :return: the public key."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path), *options]
    subprocess.run(command, check=True)
    return path.with_name(path.name + ".pub").read_text()


def free_port(address: str) -> int:
    with socket.create_server((address, 0)) as listener:
        return int(listener.getsockname()[1])


class Sshd:
    """
    Lets in whoever has a key in ``authorized_keys``.

    :ivar username: the only account that it can serve.
    :ivar home: where that one begins.
    """

    def __init__(self, folder: Path, address: str, port: int, flavour: str = FLAVOURS[0]) -> None:
        self.username = getpass.getuser()
        self.home = folder / "account"
        self.authorized_keys = self.home / ".ssh" / "authorized_keys"
        self.address, self.port = address, port
        self._flavour = flavour
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        for made in (self.home, self.authorized_keys.parent):
            made.mkdir(mode=0o700)

    def __enter__(self) -> "Sshd":
        command = self._dropbear() if self._flavour == "Dropbear" else self._openssh()
        with (self._folder / "sshd.log").open("ab") as log:
            environment = os.environ | self._users()
            self._process = subprocess.Popen(command, stderr=log, env=environment)
        self._wait()
        return self

    def _users(self) -> dict[str, str]:
        """For the environment: users of whom one is at home here."""
        me = f"{self.username}:x:{os.getuid()}:{os.getgid()}::{self.home}:/bin/sh\n"
        others = [f"{u.pw_name}:x:{u.pw_uid}:{u.pw_gid}::/:/bin/false\n" for u in pwd.getpwall()]
        users = self._folder / "passwd"
        users.write_text("".join([me, *others]))
        return {
            "LD_PRELOAD": str(_NSS_WRAPPER),
            "NSS_WRAPPER_PASSWD": str(users),
            "NSS_WRAPPER_GROUP": "/etc/group",
        }

    def _dropbear(self) -> list[str]:
        host_key = self._folder / "host_key.dropbear"
        if not host_key.exists():
            subprocess.run(
                ["dropbearkey", "-t", "ed25519", "-f", str(host_key)],
                check=True,
                capture_output=True,
            )
        listen = ["-p", f"{self.address}:{self.port}", "-P", str(self._folder / "dropbear.pid")]
        return [str(_PROGRAMS["dropbear"]), "-F", "-E", "-m", "-s", "-r", str(host_key), *listen]

    def _openssh(self) -> list[str]:
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # where root's sshd separates privileges
        host_key = self._folder / "host_key"
        if not host_key.exists():
            make_key(host_key, "ed25519")
        settings = self._folder / "sshd_config"
        settings.write_text(
            f"ListenAddress {self.address}:{self.port}\n"
            f"HostKey {host_key}\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "UsePAM no\n"
            "StrictModes no\n"
            "PermitRootLogin yes\n"
            "PidFile none\n"
            + ("Subsystem sftp internal-sftp\n" if self._flavour == "with SFTP" else "")
        )
        return [str(_PROGRAMS["sshd"]), "-D", "-e", "-f", str(settings)]

    def _wait(self) -> None:
        for _ in range(100):
            try:
                socket.create_connection((self.address, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self._folder / "sshd.log").read_text())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait()
