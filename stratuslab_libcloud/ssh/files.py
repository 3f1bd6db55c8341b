"""
Files and commands for new machines, through the SSH channel itself, and within time (guide 9.1.4).

Images need no SFTP server for it, only a POSIX shell. It is done so on those that have one, too:
over SFTP Libcloud's client begins relative paths where the file before went, so that a script that
follows a file to ``/etc`` lands in ``/etc`` and cannot be deleted.
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

# Until a new machine has booted paramiko logs every attempt, with a traceback. Who has configured
# logging still sees them; on the terminal of others they have no place.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_BLOCK = 1 << 18  # bytes
_KEPT_IN_MEMORY = 1 << 22  # bytes
_MOST_KEPT = 1 << 26  # bytes of what a command says; more of it is read, and not kept
_LINGER = 2.0  # seconds that output may come after the command has ended
_AGAIN = 0.1  # seconds until an expired connection is looked for again
_REDIRECTIONS = {"w": ">", "a": ">>"}

# $1 is the file, with a / in it, $2 the name of a temporary one, $3 the size, $4 the permissions.
# A connection that breaks looks like the end of the input, so it is the size that tells. The file
# is written in place, as SFTP does it: it stays what it was, a link or nobody else's to read.
_WRITE = (
    'export LC_ALL=C; folder="${{1%/*}}/"; part="$folder$2"; '
    'mkdir -p "$folder" && (umask 077; cat > "$part") && [ "$(wc -c < "$part")" -eq "$3" ] && '
    'cat "$part" {redirection} "$1" && {{ [ -z "$4" ] || chmod "$4" "$1"; }}; '
    'status=$?; rm -f "$part"; pwd -P; exit $status'
)
_DELETE = 'export LC_ALL=C; rm "$1"'

# What SFTP tells apart.
_NUMBERS = {"No such file or directory": errno.ENOENT, "Permission denied": errno.EACCES}


@contextmanager
def without_sftp(deployment: Deployment) -> Iterator[Deployment]:
    """
    A deployment as ``deploy_node`` is to run it.

    What steps record stays with them. Connections are closed at the end, which Libcloud does not do
    when a step fails or is interrupted.

    :raises DeploymentError: as Libcloud has it, without the traceback in its text.
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
    """Libcloud's own cannot be pickled: the node would be lost between processes."""

    def __reduce__(self) -> tuple[Any, ...]:
        reason = self.original_error
        try:
            pickle.loads(pickle.dumps(reason))  # noqa: S301 - our own
        except Exception:  # whatever it is, its text is what counts
            reason = StratusLabError(str(reason))
        known = {**self.__dict__, "value": reason, "original_error": reason}
        return type(self), (self.node, reason), {**known, "driver": reference(self.driver)}


class _ClosedDeployment(Deployment):
    """:ivar clients: that it was run with."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.clients: list[BaseSSHClient] = []

    def run(self, node: Node, client: BaseSSHClient) -> Node:
        self.clients.append(client)
        return self._deployment.run(node, client)


class CommandTimeoutError(SSHCommandTimeoutError):
    """Libcloud's, which ends ``deploy_node`` without another try, with a text of one plain line."""

    def __str__(self) -> str:
        return one_line(f"{self.cmd} did not finish in {self.timeout:g} seconds")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cmd, self.timeout, self.stdout, self.stderr)


class ChannelClient(BaseSSHClient):
    """
    Libcloud's client, but for files, which need no SFTP server, and for time: nothing waits for
    ever, however the machine falls silent, or does not.

    Relative paths begin in the home directory. What the machine refuses is an ``OSError``, as with
    SFTP, and leaves no temporary file behind. What takes too long is a
    :class:`CommandTimeoutError`, and the connection is closed then.

    :ivar trouble: why nobody could log in, the last time that it was tried.
    """

    def __init__(self, client: BaseSSHClient, limit: float = 300) -> None:
        """
        :param limit: seconds that a command may take that has no time-out of its own; of a file,
            each 256 KiB.
        """
        self._client = client  # has all that the base class would keep
        self._limit = limit
        self._end = float("inf")
        self.timeout = client.timeout
        self.trouble: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def log_in_by(self, end: float) -> None:
        """
        Set when attempts to log in have to end.

        :param end: by the monotonic clock.
        """
        self._end, self.trouble = end, None

    def connect(self) -> bool:
        """
        As Libcloud's.

        :raises OSError: among others; Libcloud tries again then.
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
            elif isinstance(error, EOFError):  # for which Libcloud would not try again
                trouble = ConnectionError("it closed the connection")
            if self.trouble is None or not late:
                self.trouble = trouble
            raise trouble from error.__cause__
        except BaseException:
            transport = self.client.get_transport()
            self._client.close()
            if transport:
                transport.sock.close()  # which one that has not begun to work leaves open
            raise

    def run(self, cmd: str, timeout: float | None = None) -> tuple[str, str, int]:
        """
        Run a command, as Libcloud's does; but its standard input is empty, not open for ever.

        :param timeout: seconds.
        :return: output, error output (of each the first 64 MiB), exit status.
        :raises CommandTimeoutError: it takes longer.
        """
        self.logger.debug("Executing command", extra={"_cmd": cmd})
        output, errors, status = self._feed(cmd, io.BytesIO(), cmd, timeout or self._limit)
        said = {"_status": status, "_stdout": output, "_stderr": errors}
        self.logger.debug("Command finished", extra=said)
        return output, errors, status

    def close(self) -> bool:
        """As Libcloud's."""
        return bool(self._client.close())

    def put(
        self,
        path: str,
        contents: str | bytes | None = None,
        chmod: int | None = None,
        mode: str = "w",
    ) -> str:
        """
        Write a file; missing directories are made.

        :param contents: text is sent as UTF-8.
        :param chmod: its permissions; default: those that it has, or that new files get.
        :param mode: ``w``, or ``a`` to append.
        :return: its absolute path.
        :raises OSError: it cannot be written.
        """
        return self._write(path, io.BytesIO(_as_bytes(contents or b"")), chmod, mode)

    def putfo(self, path: str, fo: Any = None, chmod: int | None = None) -> str:
        """
        Write a file, as :meth:`put` does.

        :param fo: what to write: the rest of an open file, of text or of bytes.
        """
        # Its size has to be known first, and not every file object can tell.
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
            raise InvalidValueError(f"files are written with mode 'w' or 'a', not {mode!r}")
        size = contents.seek(0, os.SEEK_END)
        contents.seek(0)
        command = _command(
            _WRITE.format(redirection=redirection),
            _with_slash(path),
            f".put-{secrets.token_hex(8)}",  # that nobody can foresee, in a folder such as /tmp
            str(size),
            "" if chmod is None else format(chmod, "o"),
        )
        output, text, status = self._feed(command, contents, f"writing {path}", self._limit)
        _check(status, text, f"{path} cannot be written")
        home = output.splitlines()[-1]  # after what a profile may have said
        return posixpath.join(home, path)

    def _feed(
        self, command: str, contents: IO[bytes], what: str, limit: float
    ) -> tuple[str, str, int]:
        """
        Run a command with contents on its standard input, which Libcloud's client leaves open.

        As arguments they would come in thousands of pieces (Dropbear hangs up on a command of more
        than 9000 bytes), and be seen in the machine's process list and in Libcloud's debug log.
        Libcloud's client has paramiko's as a public attribute.

        :param what: takes too long, if it does.
        """
        watch = _Watch(self._client, limit)
        result = "", "", -1
        try:
            with watch, ThreadPoolExecutor(2) as pool, self._opened(command) as channel:
                # Both at once: the machine waits with the one while nobody reads the other.
                streams = channel.recv, channel.recv_stderr
                reading = [pool.submit(_heard, stream) for stream in streams]
                while block := contents.read(_BLOCK):
                    try:
                        channel.sendall(block)
                    except OSError:  # it ended early; below is why
                        break
                    watch.renew()
                channel.shutdown_write()
                status = channel.recv_exit_status()
                wait(reading, _LINGER)  # what goes on in the background may keep them open
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
        """The channel of a command that was begun."""
        transport = self.client.get_transport()
        try:
            files = self.client.exec_command(command)  # to let go of the first would end the input
            channel = files[0].channel
            yield channel
        except BaseException:
            if transport:
                transport.close()  # a channel that is closed, or let go of, might wait for its turn
            raise
        channel.close()


class _Watch:
    """
    Within a ``with`` block, closes a client's connection once time is up: that ends every wait.

    paramiko's own time-outs are for some waits only, and begin anew with each piece that comes.

    :ivar expired: time was up.
    """

    def __init__(self, client: Any, seconds: float) -> None:
        self.expired = False
        self._client = client.client
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.renew()

    def renew(self) -> None:
        """Begin to count anew."""
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
                if transport:  # while a client logs in there may be none, or soon another one
                    transport.close()


def _heard(receive: Callable[[int], bytes]) -> str:
    """What comes through one stream of a channel, until its end."""
    kept = bytearray()
    while block := receive(_BLOCK):
        kept += block[: _MOST_KEPT - len(kept)]
    return kept.decode("utf-8", "replace")


def _as_bytes(contents: str | bytes) -> bytes:
    return contents.encode() if isinstance(contents, str) else contents


def _command(script: str, *arguments: str) -> str:
    """A script on one line, for any shell that somebody may log in with."""
    return shlex.join(["sh", "-c", script, "sh", *arguments])


def _with_slash(path: str) -> str:
    """The path as no program will take it for an option."""
    return path if path.startswith("/") else f"./{path}"


def _check(status: int, text: str, failure: str) -> None:
    """:raises OSError: with what the machine said, if it said no."""
    if status == 0:
        return
    ended = f"exit status {status}" if status > 0 else "the connection was lost"
    message = one_line(f"{failure}: {text.strip() or ended}")
    for known, number in _NUMBERS.items():
        if known in text:
            raise OSError(number, message)
    raise OSError(message)
