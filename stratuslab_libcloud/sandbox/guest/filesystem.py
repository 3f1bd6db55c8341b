"""
The files of the image, and the two file systems that they are written to.

All files belong to root, have the same time, and are written in the order of their names. So the
same files make the same bytes, and no privileges are needed.
"""

import pathlib
import stat
from dataclasses import dataclass

from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.guest.packages import EPOCH, Packages

__all__ = ["Files", "Inode", "cpio", "ext4", "folder", "regular", "symlink"]

_LABEL = "sandbox"
_UUID = "5374726b-7573-4c61-6214-060000000000"
_BLOCK = 4096


@dataclass(frozen=True)
class Inode:
    """
    A file, folder or symbolic link.

    :ivar mode: kind and permissions, as in ``st_mode``.
    :ivar content: the content of a file, or the target of a link.
    """

    mode: int
    content: bytes = b""


Files = dict[str, Inode]  # by their paths, without leading slash


def regular(content: bytes) -> Inode:
    """Make a file, executable if it is a program or a script."""
    is_program = content.startswith((b"\x7fELF", b"#!"))
    return Inode(stat.S_IFREG | (0o755 if is_program else 0o644), content)


def symlink(target: str) -> Inode:
    """Make a symbolic link."""
    return Inode(stat.S_IFLNK | 0o777, target.encode())


def folder(mode: int = 0o755) -> Inode:
    """Make an empty folder. Parents of other files need not be listed."""
    return Inode(stat.S_IFDIR | mode)


def _sorted(files: Files) -> list[tuple[str, Inode]]:
    """Add all parents, and sort every folder before its contents."""
    parents = {str(parent) for path in files for parent in pathlib.PurePosixPath(path).parents}
    return sorted(({path: folder() for path in parents - {"."}} | files).items())


def cpio(files: Files) -> bytes:
    """Write the files as an archive, which the kernel unpacks as its first file system."""
    archive = bytearray()
    for inode, (path, node) in enumerate([*_sorted(files), ("TRAILER!!!", Inode(0))], 1):
        name = path.encode() + b"\0"
        fields = (inode, node.mode, 0, 0, 1, EPOCH, len(node.content), 0, 0, 0, 0, len(name), 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        archive += b"\0" * (-len(archive) % 4) + node.content
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)


def ext4(files: Files, image: pathlib.Path, size: int, packages: Packages) -> None:
    """
    Make an ext4 file system with these files.

    :param image: the file to make; temporary files are written beside it.
    :param size: in bytes.
    :raises SandboxError: they do not fit.
    """
    extended = f"hash_seed={_UUID},lazy_itable_init=0,lazy_journal_init=0"
    options = ["-q", "-t", "ext4", "-b", str(_BLOCK), "-I", "256", "-m", "0", "-L", _LABEL]
    packages.run("mke2fs", *options, "-U", _UUID, "-E", extended, image, str(size // _BLOCK))
    commands = [f"set_current_time @{EPOCH}"]
    sources = image.with_name(f"{image.name}.files")
    sources.mkdir()
    for number, (path, node) in enumerate(_sorted(files)):
        parent, _, name = path.rpartition("/")
        commands.append(f"cd /{parent}")
        if stat.S_ISDIR(node.mode):
            commands.append(f"mkdir {name}")
        elif stat.S_ISLNK(node.mode):
            commands.append(f"symlink {name} {node.content.decode()}")
        else:
            (sources / str(number)).write_bytes(node.content)
            commands.append(f"write {sources.name}/{number} {name}")
        commands.append(f"set_inode_field {name} mode 0{node.mode:o}")
    output = packages.run("debugfs", "-w", "-f", "/dev/stdin", image, stdin="\n".join(commands))
    if errors := output.splitlines()[1:]:  # after the version
        raise SandboxError(f"the Linux image cannot be built: debugfs: {errors[0]}")
