"""
Write files and run commands on new machines, through the SSH channel, with time-outs (guide 9.1.4).

Images need no SFTP server, only a POSIX shell. SFTP is not used even where it exists: over SFTP
Libcloud's client starts relative paths where the previous file went, so that a script after a file
in ``/etc`` ends up in ``/etc`` and cannot be deleted.
"""

import errno
import io
import logging
import os
import pickle
import posixpath
import secrets
import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import IO, Any

from libcloud.compute.base import Node
from libcloud.compute.deployment import Deployment
from libcloud.compute.ssh import BaseSSHClient, SSHCommandTimeoutError
from libcloud.compute.types import DeploymentError

from stratuslab_libcloud.errors import InvalidValueError, StratusLabError
from stratuslab_libcloud.portable import Portable, reference
from stratuslab_libcloud.untrusted.text import one_line

__all__ = ["ChannelClient", "CommandTimeoutError", "without_sftp"]

# Until a new machine has booted, paramiko logs every attempt with a traceback. Programs that
# configure logging still get them; without this they would also appear on the terminal of others.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_BLOCK = 1 << 18  # bytes
_KEPT_IN_MEMORY = 1 << 22  # bytes
_MOST_KEPT = 1 << 26  # bytes of a command's output; what exceeds it is read and dropped
_LINGER = 2.0  # seconds to wait for output after the command has ended
_AGAIN = 0.1  # seconds until an expired connection is checked again
_REDIRECTIONS = {"w": ">", "a": ">>"}

# $1 is the file, with a / in it, $2 the name of a temporary file, $3 the size, $4 the permissions.
# A broken connection looks like the end of the input, so the size is compared. The file is written
# in place, as over SFTP, so that it keeps its permissions, and a link stays a link.
_WRITE = (
    'export LC_ALL=C; folder="${{1%/*}}/"; part="$folder$2"; '
    'mkdir -p "$folder" && (umask 077; cat > "$part") && [ "$(wc -c < "$part")" -eq "$3" ] && '
    'cat "$part" {redirection} "$1" && {{ [ -z "$4" ] || chmod "$4" "$1"; }}; '
    'status=$?; rm -f "$part"; pwd -P; exit $status'
)
_DELETE = 'export LC_ALL=C; rm "$1"'

# The failures that SFTP distinguishes.
_NUMBERS = {"No such file or directory": errno.ENOENT, "Permission denied": errno.EACCES}


@contextmanager
def without_sftp(deployment: Deployment) -> Iterator[Deployment]:
    """
    Wrap a deployment for ``deploy_node``.

    The steps keep what they record. Connections are closed at the end; Libcloud leaves them open
    when a step fails or is interrupted.

    :raises DeploymentError: as Libcloud raises it, without the traceback in its text.
    """
    wrapped = _ClosedDeployment(deployment)
    try:
        yield wrapped
    except DeploymentError as error:
        reason = error.original_error
        text, traceback, _ = str(getattr(reason, "value", "")).partition("\nTraceback")
        if traceback:
            reason.value = one_line(text)
        failure = _NotDeployedError(error.node, reason, error.driver)  # type: ignore[no-untyped-call]
        raise failure.with_traceback(error.__traceback__) from error.__context__
    finally:
        for client in wrapped.clients:
            client.close()


class _NotDeployedError(Portable, DeploymentError):  # type: ignore[misc]
    """A DeploymentError that can be pickled, so that the node is not lost between processes."""

    def __reduce__(self) -> tuple[Any, ...]:
        reason = self.original_error
        try:
            pickle.loads(pickle.dumps(reason))  # noqa: S301 - our own
        except Exception:  # of any kind; its text is kept
            reason = StratusLabError(str(reason))
        known = {**self.__dict__, "value": reason, "original_error": reason}
        return type(self), (self.node, reason), {**known, "driver": reference(self.driver)}


class _ClosedDeployment(Deployment):
    """:ivar clients: the SSH clients that it was run with."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.clients: list[BaseSSHClient] = []

    def run(self, node: Node, client: BaseSSHClient) -> Node:
        self.clients.append(client)
        return self._deployment.run(node, client)


class CommandTimeoutError(SSHCommandTimeoutError):
    """Libcloud's error, which ends ``deploy_node`` without a retry, with a text of one line."""

    def __str__(self) -> str:
        return one_line(f"{self.cmd} did not finish in {self.timeout:g} seconds")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cmd, self.timeout, self.stdout, self.stderr)


class ChannelClient(BaseSSHClient):
    """
    Libcloud's client, which writes files without an SFTP server, and in which every wait ends,
    whether the machine falls silent or never stops sending.

    Relative paths start in the home directory. If the machine refuses an operation, that is an
    ``OSError``, as with SFTP, and no temporary file is left behind. If an operation takes too long,
    that is a :class:`CommandTimeoutError`, and the connection is closed.

    :ivar trouble: the error of the last attempt to log in, or ``None``.
    """

    def __init__(self, client: BaseSSHClient, limit: float = 300) -> None:
        """
        :param limit: seconds that a command without a time-out of its own may take, and each
            256 KiB of a file.
        """
        self._client = client  # which has all the attributes of the base class
        self._limit = limit
        self._end = float("inf")
        self.timeout = client.timeout
        self.trouble: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def log_in_by(self, end: float) -> None:
        """
        Set when attempts to log in must end.

        :param end: by the monotonic clock.
        """
        self._end, self.trouble = end, None

    def connect(self) -> bool:
        """
        Log in, as Libcloud's client does.

        :raises OSError: it failed, and Libcloud may try again; other errors are possible.
        """
        begun = time.monotonic()
        left = min(self._limit, max(0.01, self._end - begun))
        self._client.timeout = min(self.timeout or left, left)  # for TCP and for the key exchange
        watch = _Watch(self._client, left)
        try:
            with watch:
                return bool(self._client.connect())
        except Exception as error:
            late = watch.expired or time.monotonic() >= begun + left
            trouble: Exception = error
            if late:
                trouble = TimeoutError("it does not answer")
            elif isinstance(error, EOFError):  # which would keep Libcloud from trying again
                trouble = ConnectionError("it closed the connection")
            if self.trouble is None or not late:
                self.trouble = trouble
            raise trouble from error.__cause__
        except BaseException:
            transport = self.client.get_transport()
            self._client.close()
            if transport:
                transport.sock.close()  # which a transport that has not started leaves open
            raise

    def run(self, cmd: str, timeout: float | None = None) -> tuple[str, str, int]:
        """
        Run a command, as Libcloud's client does, but with an empty standard input.

        :param timeout: seconds; default: the limit of this client.
        :return: output and error output (the first 64 MiB of each), and exit status.
        :raises CommandTimeoutError: it takes longer.
        """
        self.logger.debug("Executing command", extra={"_cmd": cmd})
        output, errors, status = self._feed(cmd, io.BytesIO(), cmd, timeout or self._limit)
        said = {"_status": status, "_stdout": output, "_stderr": errors}
        self.logger.debug("Command finished", extra=said)
        return output, errors, status

    def close(self) -> bool:
        """Close the connection."""
        return bool(self._client.close())

    def put(
        self,
        path: str,
        contents: str | bytes | None = None,
        chmod: int | None = None,
        mode: str = "w",
    ) -> str:
        """
        Write a file; missing directories are created.

        :param contents: text is sent as UTF-8.
        :param chmod: its permissions; default: its present ones, or those of a new file.
        :param mode: ``w``, or ``a`` to append.
        :return: its absolute path.
        :raises OSError: it cannot be written.
        """
        return self._write(path, io.BytesIO(_as_bytes(contents or b"")), chmod, mode)

    def putfo(self, path: str, fo: Any = None, chmod: int | None = None) -> str:
        """
        Write a file, as :meth:`put` does.

        :param fo: an open file, text or binary, whose rest is written.
        """
        # Its size must be known first, and not every file object knows it.
        with tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY) as whole:
            while block := fo.read(_BLOCK):
                whole.write(_as_bytes(block))
            return self._write(path, whole, chmod, "w")

    def delete(self, path: str) -> bool:
        """
        Remove a file.

        :raises OSError: it cannot be removed.
        """
        _, text, status = self.run(_command(_DELETE, _with_slash(path)))
        _check(status, text, f"{path} cannot be removed")
        return True

    def _write(self, path: str, contents: IO[bytes], chmod: int | None, mode: str) -> str:
        redirection = _REDIRECTIONS.get(mode.replace("b", ""))
        if redirection is None:
            raise InvalidValueError(f"the mode of a file must be 'w' or 'a', not {mode!r}")
        size = contents.seek(0, os.SEEK_END)
        contents.seek(0)
        command = _command(
            _WRITE.format(redirection=redirection),
            _with_slash(path),
            f".put-{secrets.token_hex(8)}",  # unpredictable, as the folder may be /tmp
            str(size),
            "" if chmod is None else format(chmod, "o"),
        )
        output, text, status = self._feed(command, contents, f"writing {path}", self._limit)
        _check(status, text, f"{path} cannot be written")
        home = output.splitlines()[-1]  # after any output of the user's profile
        return posixpath.join(home, path)

    def _feed(
        self, command: str, contents: IO[bytes], what: str, limit: float
    ) -> tuple[str, str, int]:
        """
        Run a command with contents on its standard input, which Libcloud's client leaves open.

        As arguments, the contents would need thousands of commands (Dropbear refuses a command of
        more than 9000 bytes), and would appear in the machine's process list and in Libcloud's
        debug log. Paramiko's client is a public attribute of Libcloud's.

        :param what: the subject of the error if it takes too long.
        """
        watch = _Watch(self._client, limit)
        result = "", "", -1
        try:
            with watch, ThreadPoolExecutor(2) as pool, self._opened(command) as channel:
                # Both at once: the machine stops writing one while nobody reads the other.
                streams = channel.recv, channel.recv_stderr
                reading = [pool.submit(_heard, stream) for stream in streams]
                while block := contents.read(_BLOCK):
                    try:
                        channel.sendall(block)
                    except OSError:  # it ended early; the exit status says why
                        break
                    watch.renew()
                channel.shutdown_write()
                status = channel.recv_exit_status()
                wait(reading, _LINGER)  # background processes may keep them open
                channel.close()
                result = reading[0].result(), reading[1].result(), status
        except Exception as error:
            if watch.expired:
                raise CommandTimeoutError(what, limit) from error
            raise
        if watch.expired:
            raise CommandTimeoutError(what, limit, *result[:2])
        return result

    @contextmanager
    def _opened(self, command: str) -> Iterator[Any]:
        """Start a command, and provide its channel."""
        transport = self.client.get_transport()
        try:
            files = self.client.exec_command(command)  # dropping the first would end the input
            channel = files[0].channel
            yield channel
        except BaseException:
            if transport:
                transport.close()  # closing or dropping only the channel might block
            raise
        channel.close()


class _Watch:
    """
    Closes a client's connection when time is up within a ``with`` block, which ends every wait.

    paramiko's own time-outs apply to some waits only, and start again with each piece that arrives.

    :ivar expired: whether time was up.
    """

    def __init__(self, client: Any, seconds: float) -> None:
        self.expired = False
        self._client = client.client
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.renew()

    def renew(self) -> None:
        """Start the time again."""
        self._end = time.monotonic() + self._seconds

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(max(self._end - time.monotonic(), _AGAIN)):
            if time.monotonic() >= self._end:
                self.expired = True
                transport = self._client.get_transport()
                if transport:  # during a login there may be none, or soon another
                    transport.close()


def _heard(receive: Callable[[int], bytes]) -> str:
    """Read one stream of a channel to its end."""
    kept = bytearray()
    while block := receive(_BLOCK):
        kept += block[: _MOST_KEPT - len(kept)]
    return kept.decode("utf-8", "replace")


def _as_bytes(contents: str | bytes) -> bytes:
    return contents.encode() if isinstance(contents, str) else contents


def _command(script: str, *arguments: str) -> str:
    """Write a script as one command, for any login shell."""
    return shlex.join(["sh", "-c", script, "sh", *arguments])


def _with_slash(path: str) -> str:
    """Write a path so that no program takes it for an option."""
    return path if path.startswith("/") else f"./{path}"


def _check(status: int, text: str, failure: str) -> None:
    """
    Check the outcome of a command.

    :raises OSError: it failed; with the message of the machine.
    """
    if status == 0:
        return
    ended = f"exit status {status}" if status > 0 else "the connection was lost"
    message = one_line(f"{failure}: {text.strip() or ended}")
    for known, number in _NUMBERS.items():
        if known in text:
            raise OSError(number, message)
    raise OSError(message)
