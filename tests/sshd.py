"""Real SSH servers on a simulated node's address, run by the current user."""

import contextlib
import functools
import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import paramiko
import pytest

__all__ = [
    "AT_COMMAND",
    "AT_LOGIN",
    "FLAVOURS",
    "KINDS",
    "FaultySshd",
    "Greeter",
    "Sshd",
    "free_port",
    "make_key",
    "needed",
]

FLAVOURS = ["with SFTP", "without SFTP", "Dropbear"]
"""OpenSSH with and without SFTP, and what small images have."""
KINDS = ["rsa", "ecdsa", "ed25519"]
"""Of keys."""

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
    """
    Make a key pair; of RSA it is the same each time, as that takes long to find.

    :return: the public key.
    """
    public = path.with_name(path.name + ".pub")
    command = ["ssh-keygen", "-q", "-N", passphrase, "-a", "1", "-f", str(path), *options]
    if kind == "rsa":
        path.touch(mode=0o600)
        for file, content in zip((path, public), _rsa_pair(), strict=True):
            file.write_text(content)
        command += ["-p", "-P", ""]  # written again, in another format or with a passphrase
    else:
        command += ["-t", kind]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return public.read_text()


@functools.cache
def _rsa_pair() -> tuple[str, str]:
    """The private and the public key."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "key")
        # 2048 bits, as more take seconds to find
        command = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True)
        return path.read_text(), path.with_name("key.pub").read_text()


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
        for _ in range(1200):
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
        self._process.kill()  # Dropbear does not notice SIGTERM just before it waits for clients
        self._process.wait()


AT_LOGIN = [
    "mute before its banner",
    "greeting for ever",
    "mute before the key exchange",
    "mute while logging in",
]
AT_COMMAND = [
    "mute before a channel is open",
    "mute before a command begins",
    "mute while a command runs",
    "mute in a new key exchange",
    "flooding output",
    "flooding standard error",
]
"""Where an SSH server may stop, or not stop."""


class FaultySshd:
    """
    Lets everybody in, and goes wrong at one point.

    Its threads end when the client hangs up, or with the ``with`` block.

    :ivar on_banner: called when a client has said who it is, and hears nothing.
    """

    def __init__(self, address: str, port: int, point: str) -> None:
        self._point = point
        self._key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server((address, port))
        self.port = self._listener.getsockname()[1]
        self._over = threading.Event()
        self._held: list[Any] = []
        self.on_banner: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> "FaultySshd":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes up who accepts
        self._thread.join()
        self._listener.close()
        for each in self._held:
            each.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._held.append(connection)
            if self._point == "mute before its banner":
                with contextlib.suppress(OSError):
                    connection.recv(1)
                self.on_banner()
                continue
            if self._point == "greeting for ever":
                threading.Thread(target=self._greet, args=(connection,)).start()
            elif self._point == "mute before the key exchange":
                connection.sendall(b"SSH-2.0-mute\r\n")
            else:
                transport = paramiko.Transport(connection)
                transport.add_server_key(self._key)
                self._held.append(transport)
                transport.start_server(threading.Event(), _Session(self._point, self._over))

    def _greet(self, connection: socket.socket) -> None:
        while not self._over.wait(0.1):
            try:
                connection.sendall(b"welcome\r\n")
            except OSError:
                return


class _Session(paramiko.ServerInterface):
    """Called by a transport's thread: while that waits here, nothing else is answered."""

    def __init__(self, point: str, over: threading.Event) -> None:
        self._point = point
        self._over = over

    def _stop_at(self, point: str) -> None:
        if self._point == point:
            self._over.wait()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._stop_at("mute while logging in")
        return int(paramiko.common.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self._stop_at("mute before a channel is open")
        return int(paramiko.common.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._stop_at("mute before a command begins")
        transport: Any = channel.get_transport()
        if self._point == "mute in a new key exchange":
            message = paramiko.common.MSG_KEXINIT
            stop = {message: lambda *_: self._over.wait()}
            transport._handler_table = {**transport._handler_table, **stop}
            transport._send_kex_init()
        if self._point.startswith("flooding"):
            send = channel.sendall if "output" in self._point else channel.sendall_stderr
            threading.Thread(target=self._flood, args=(send,)).start()
        return True

    def _flood(self, send: Any) -> None:
        while not self._over.is_set():
            try:
                send(b"x" * 100_000)
                time.sleep(0.01)  # or it would take a whole processor
            except (OSError, EOFError):
                return


class Greeter:
    """Whatever says that it speaks SSH at an address."""

    def __init__(self, address: str, port: int) -> None:
        self._listener = socket.create_server((address, port))
        self._thread = threading.Thread(target=self._greet)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _greet(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.sendall(b"welcome\r\nSSH-2.0-test\r\n")
            connection.close()
