"""
Debian packages as files: downloaded and unpacked by an ordinary user, but not installed.

The tools that build the image come from packages too. So the machine needs only apt and dpkg, and
the same packages make the same image.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from stratuslab_libcloud.sandbox.errors import SandboxError

__all__ = ["EPOCH", "Packages", "fetch"]

_PACKAGE_NAMES = (
    # In the image.
    "busybox-static",
    "dropbear-bin",
    "e2fsprogs",
    "linux-image-cloud-amd64",
    "openssh-sftp-server",
    # Tools that build it.
    "mtools",
    "syslinux",
    "syslinux-common",
)
EPOCH = 1404086400  # all times in an image: when StratusLab 14.06 appeared
_HANG_SECONDS = 1800
_REPORT_SECONDS = 5.0  # a process that apt has left behind may still hold the pipe
_ARCHITECTURE = "x86_64-linux-gnu"


@dataclass(frozen=True)
class Packages:
    """
    Unpacked Debian packages.

    :ivar root: the folder that stands for ``/``. Files made with the packages are written beside
        it.
    """

    root: pathlib.Path

    def find(self, pattern: str) -> pathlib.Path:
        """
        Find the first file whose path, in ``/`` or ``/usr``, matches a pattern.

        :raises SandboxError: there is none.
        """
        for top in self.root, self.root / "usr":
            if found := sorted(top.glob(pattern)):
                return found[0]
        raise SandboxError(f"the Linux image cannot be built: no Debian package has {pattern}")

    def program(self, name: str) -> pathlib.Path:
        """
        Find a program.

        :raises SandboxError: no package has it.
        """
        return self.find(f"*bin/{name}")

    def applets(self) -> list[str]:
        """List the commands of busybox."""
        return _run([str(self.program("busybox")), "--list"]).stdout.split()

    def libraries(self, program: pathlib.Path) -> list[pathlib.Path]:
        """
        Find the shared libraries that a program needs, including the loader.

        :raises SandboxError: one is missing.
        """
        listed = self._load("--list", program).stdout
        found = [self.root.parent / path for path in re.findall(r"=> (.*) \(0x", listed)]
        for path in found:
            if self.root not in path.parents:
                raise SandboxError(f"no Debian package has {path}, which {program.name} needs")
        return found

    def run(self, program: str, *arguments: str | pathlib.Path, stdin: str = "") -> str:
        """
        Run one of these programs in the folder that contains :attr:`root`.

        :param arguments: texts, or paths in that folder.
        :return: its standard error: perhaps its version, and complaints.
        :raises SandboxError: it failed.
        """
        return self._load(self.program(program), *arguments, stdin=stdin).stderr

    def _load(
        self, *arguments: str | pathlib.Path, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        # Relative paths, since colons and spaces in the path of the cache would be misunderstood.
        here, root = self.root.parent, self.root.name
        folders = f"{root}/lib/{_ARCHITECTURE}:{root}/usr/lib/{_ARCHITECTURE}"
        loader = self.find(f"lib/{_ARCHITECTURE}/ld-linux-x86-64.so.2")
        words = [str(a.relative_to(here)) if isinstance(a, pathlib.Path) else a for a in arguments]
        environment = {  # none of the user's variables
            "E2FSPROGS_FAKE_TIME": str(EPOCH),
            "HOME": root,
            "MKE2FS_CONFIG": f"{root}/etc/mke2fs.conf",
            "PATH": f"{root}/bin:{root}/usr/bin:/usr/bin:/bin",  # syslinux runs mtools
            "SOURCE_DATE_EPOCH": str(EPOCH),
            "TZ": "UTC",
        }
        command = [str(loader), "--inhibit-cache", "--library-path", folders, *words]
        return _run(command, here, environment, stdin)


def fetch(folder: pathlib.Path, report: Callable[[float], object]) -> Packages:
    """
    Download and unpack the packages for the image, as this machine's apt would install them.

    :param folder: an existing folder for them.
    :param report: called with the part of the download that is done.
    :raises SandboxError: this is not Debian, or the packages cannot be downloaded.
    """
    for tool in "apt-get", "dpkg-deb":
        if not shutil.which(tool):
            raise SandboxError(f"the Linux image can only be built on Debian: there is no {tool}")
    archives, root, nothing = folder / "archives", folder / "packages", folder / "nothing"
    (archives / "partial").mkdir(parents=True)
    nothing.touch()
    settings = {
        "Dir::State::status": nothing,  # as if nothing were installed: with all dependencies
        "Dir::Cache::archives": archives,
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Debug::NoLocking": "true",
        "APT::Architecture": "amd64",
        "APT::Install-Recommends": "false",
    }
    options = [f"--option={name}={value}" for name, value in settings.items()]
    try:
        with _apt_status(report) as status:
            options.append(f"--option=APT::Status-Fd={status}")
            command = ["apt-get", "-qq", "--yes", "--download-only", *options, "install"]
            _run([*command, *_PACKAGE_NAMES], descriptors=[status])
    except SandboxError as error:
        raise SandboxError(
            f"{error} (this needs Debian for amd64, a recent `apt-get update`, and the network)"
        ) from error
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(root)])
    shutil.rmtree(archives)
    return Packages(root)


@contextlib.contextmanager
def _apt_status(report: Callable[[float], object]) -> Iterator[int]:
    """Yield a descriptor for apt's own reports, whose percentages are passed on."""
    reading, writing = os.pipe()

    def read() -> None:
        with os.fdopen(reading) as lines:
            for line in lines:
                if found := re.match(r"dlstatus:[^:]*:([0-9.]+):", line):
                    report(float(found[1]) / 100)

    thread = threading.Thread(target=read, name="sandbox apt", daemon=True)
    thread.start()
    try:
        yield writing
    finally:
        os.close(writing)
        thread.join(_REPORT_SECONDS)


def _run(
    command: list[str],
    folder: pathlib.Path | None = None,
    environment: Mapping[str, str] = os.environ,
    stdin: str = "",
    descriptors: Collection[int] = (),
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            check=True,
            cwd=folder,
            env={**environment, "LC_ALL": "C"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_HANG_SECONDS,
            pass_fds=descriptors,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.splitlines() or [f"exit status {error.returncode}"]
        reason = next((line for line in lines if not line.startswith("W: ")), lines[0])
        raise SandboxError(f"the Linux image cannot be built: {reason}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"the Linux image cannot be built: {error}") from error
