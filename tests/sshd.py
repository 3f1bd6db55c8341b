"""A real OpenSSH server on a simulated node's address, run by the current user."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

__all__ = ["MISSING", "Sshd", "free_port", "make_key"]

_PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

MISSING = None if _PROGRAM and shutil.which("ssh-keygen") else "OpenSSH's sshd is not installed"
"""Why this cannot be used, if so."""


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
    """

    def __init__(self, folder: Path, address: str, port: int) -> None:
        self.username = getpass.getuser()
        self.authorized_keys = folder / "authorized_keys"
        self.address, self.port = address, port
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Sshd":
        if os.getuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)  # where root's sshd separates privileges
        host_key = self._folder / "host_key"
        if not host_key.exists():
            make_key(host_key, "ed25519")
        settings = self._folder / "sshd_config"
        settings.write_text(
            f"ListenAddress {self.address}:{self.port}\n"
            f"HostKey {host_key}\n"
            f"AuthorizedKeysFile {self.authorized_keys}\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "UsePAM no\n"
            "StrictModes no\n"
            "PermitRootLogin yes\n"
            "PidFile none\n"
            "Subsystem sftp internal-sftp\n"
        )
        assert _PROGRAM, MISSING
        log = (self._folder / "sshd.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [_PROGRAM, "-D", "-e", "-f", str(settings)], stderr=log
            )
        self._wait()
        return self

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
