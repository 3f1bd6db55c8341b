"""
Debian packages as files: downloaded and unpacked by an ordinary user, and installed nowhere.

What the image is made *with* comes from them too, so that nothing but apt and dpkg has to be on
the machine, and the same packages make the same image.
"""

import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from stratuslab_libcloud.sandbox.errors import SandboxError

__all__ = ["EPOCH", "Packages", "fetch"]

_WANTED = (
    # In the image.
    "busybox-static",
    "dropbear-bin",
    "e2fsprogs",
    "linux-image-cloud-amd64",
    "openssh-sftp-server",
    # To make it with.
    "mtools",
    "syslinux",
    "syslinux-common",
)
EPOCH = 1404086400  # every time in an image: StratusLab 14.06
_HANG_SECONDS = 1800
_ARCHITECTURE = "x86_64-linux-gnu"


@dataclass(frozen=True)
class Packages:
    """
    Unpacked Debian packages.

    :ivar root: the folder that they are unpacked in, as if it were ``/``. Beside it there is room
        for what is made with them.
    """

    root: pathlib.Path

    def find(self, pattern: str) -> pathlib.Path:
        """
        The one file, or the first of them, with such a path, which may be below ``/usr``.

        :raises SandboxError: there is none.
        """
        for top in self.root, self.root / "usr":
            if found := sorted(top.glob(pattern)):
                return found[0]
        raise SandboxError(f"the Linux image cannot be built: no Debian package has {pattern}")

    def program(self, name: str) -> pathlib.Path:
        """
        A program, wherever programs are.

        :raises SandboxError: there is none of that name.
        """
        return self.find(f"*bin/{name}")

    def applets(self) -> list[str]:
        """The commands that busybox has."""
        return _run([str(self.program("busybox")), "--list"]).stdout.split()

    def libraries(self, program: pathlib.Path) -> list[pathlib.Path]:
        """
        The shared libraries that a program needs, its loader included.

        :raises SandboxError: some are missing.
        """
        listed = self._load("--list", program).stdout
        found = [self.root.parent / path for path in re.findall(r"=> (.*) \(0x", listed)]
        for path in found:
            if self.root not in path.parents:
                raise SandboxError(f"no Debian package has {path}, which {program.name} needs")
        return found

    def run(self, program: str, *arguments: str | pathlib.Path, stdin: str = "") -> str:
        """
        Run one of these programs, beside :attr:`root`.

        :param arguments: paths are of files there.
        :return: its version, perhaps, and what it complained about.
        :raises SandboxError: it failed.
        """
        return self._load(self.program(program), *arguments, stdin=stdin).stderr

    def _load(
        self, *arguments: str | pathlib.Path, stdin: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        # All paths are relative: colons and spaces in that of the cache would be misunderstood.
        here, root = self.root.parent, self.root.name
        folders = f"{root}/lib/{_ARCHITECTURE}:{root}/usr/lib/{_ARCHITECTURE}"
        loader = self.find(f"lib/{_ARCHITECTURE}/ld-linux-x86-64.so.2")
        words = [str(a.relative_to(here)) if isinstance(a, pathlib.Path) else a for a in arguments]
        environment = {  # nothing of this user's
            "E2FSPROGS_FAKE_TIME": str(EPOCH),
            "HOME": root,
            "MKE2FS_CONFIG": f"{root}/etc/mke2fs.conf",
            "PATH": f"{root}/bin:{root}/usr/bin:/usr/bin:/bin",  # syslinux runs mtools
            "SOURCE_DATE_EPOCH": str(EPOCH),
            "TZ": "UTC",
        }
        command = [str(loader), "--inhibit-cache", "--library-path", folders, *words]
        return _run(command, here, environment, stdin)


def fetch(folder: pathlib.Path) -> Packages:
    """
    Download and unpack what the image needs, as this machine's apt would install it.

    :param folder: where; an existing one.
    :raises SandboxError: this is not Debian, or the packages cannot be had.
    """
    for tool in "apt-get", "dpkg-deb":
        if not shutil.which(tool):
            raise SandboxError(f"the Linux image can only be built on Debian: there is no {tool}")
    archives, root, nothing = folder / "archives", folder / "packages", folder / "nothing"
    (archives / "partial").mkdir(parents=True)
    nothing.touch()
    settings = {
        "Dir::State::status": nothing,  # nothing is installed: all that they depend on comes too
        "Dir::Cache::archives": archives,
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Debug::NoLocking": "true",
        "APT::Architecture": "amd64",
        "APT::Install-Recommends": "false",
    }
    options = [f"--option={name}={value}" for name, value in settings.items()]
    try:
        _run(["apt-get", "-qq", "--yes", "--download-only", *options, "install", *_WANTED])
    except SandboxError as error:
        raise SandboxError(
            f"{error} (this needs Debian for amd64, a recent `apt-get update`, and the network)"
        ) from error
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(root)])
    shutil.rmtree(archives)
    return Packages(root)


def _run(
    command: list[str],
    folder: pathlib.Path | None = None,
    environment: Mapping[str, str] = os.environ,
    stdin: str = "",
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
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.splitlines() or [f"exit status {error.returncode}"]
        said = next((line for line in lines if not line.startswith("W: ")), lines[0])
        raise SandboxError(f"the Linux image cannot be built: {said}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxError(f"the Linux image cannot be built: {error}") from error
