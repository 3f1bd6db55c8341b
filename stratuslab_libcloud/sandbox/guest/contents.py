"""The contents of the image: our own files, and files from Debian's packages."""

import pathlib
from collections.abc import Iterable

from stratuslab_libcloud.sandbox.guest.filesystem import (
    Files,
    cpio,
    folder,
    regular,
    symlink,
)
from stratuslab_libcloud.sandbox.guest.kernel import Kernel
from stratuslab_libcloud.sandbox.guest.packages import Packages

__all__ = ["boot", "root"]

_OUR_FILES = pathlib.Path(__file__).parent
_BOOT_COMMANDS = ("modprobe", "mount", "reboot", "sh", "sleep", "switch_root")
_PROGRAMS = ("dropbear", "mke2fs")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
# Programs and libraries are found in every usual folder.
_LAYOUT: Files = {
    "bin": symlink("usr/bin"),
    "lib": symlink("usr/lib"),
    "lib64": symlink(_LIBRARIES),
    "sbin": symlink("usr/bin"),
    "usr/sbin": symlink("bin"),
}
_EMPTY = ("dev", "etc/dropbear", "mnt", "proc", "run", "sys", "var/lib", "var/log")


def boot(packages: Packages, kernel: Kernel) -> dict[str, bytes]:
    """Return the files of the boot loader, by name."""
    first: Files = {
        **_LAYOUT,
        **{name: folder() for name in ("dev", "proc", "root", "sys")},
        **_busybox(packages, _BOOT_COMMANDS),
        **kernel.modules(boot=True),
        **_ours("initramfs"),
    }
    configuration = (_OUR_FILES / "boot" / "syslinux.cfg").read_bytes()
    # Not compressed, since the bytes would depend on Python's zlib.
    return {"vmlinuz": kernel.image, "initrd": cpio(first), "syslinux.cfg": configuration}


def root(packages: Packages, kernel: Kernel, has_sftp: bool) -> Files:
    """Return the files of the root file system."""
    files: Files = {
        **_LAYOUT,
        **{name: folder() for name in _EMPTY},
        "root": folder(0o700),
        "tmp": folder(0o1777),
        **_busybox(packages, packages.applets()),
        **{f"usr/bin/mkfs.ext{version}": symlink("mke2fs") for version in (2, 3, 4)},
        "etc/mke2fs.conf": regular((packages.root / "etc/mke2fs.conf").read_bytes()),
        **kernel.modules(boot=False),
        **_ours("root"),
    }
    programs = {f"usr/bin/{name}": packages.program(name) for name in _PROGRAMS}
    if has_sftp:
        # The path that dropbear uses.
        programs["usr/lib/sftp-server"] = packages.find("lib/openssh/sftp-server")
    for place, program in programs.items():
        files[place] = regular(program.read_bytes())
        for library in packages.libraries(program):
            files[f"{_LIBRARIES}/{library.name}"] = regular(library.read_bytes())
    return files


def _busybox(packages: Packages, commands: Iterable[str]) -> Files:
    links = {f"usr/bin/{name}": symlink("busybox") for name in commands}
    return links | {"usr/bin/busybox": regular(packages.program("busybox").read_bytes())}


def _ours(name: str) -> Files:
    """Return our own files in the folder of this name."""
    top = _OUR_FILES / name
    return {
        str(path.relative_to(top)): regular(path.read_bytes())
        for path in top.rglob("*")
        if path.is_file()
    }
