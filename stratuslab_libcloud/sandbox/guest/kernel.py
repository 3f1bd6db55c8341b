"""The Linux kernel of the image, and the few modules that machines need."""

import lzma
import re

from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.guest.filesystem import Files, regular
from stratuslab_libcloud.sandbox.guest.packages import Packages

__all__ = ["Kernel"]

# Needed to reach the root file system.
_BOOT_MODULES = ("ata_piix", "edd", "ext4", "sd_mod", "virtio_blk", "virtio_pci", "virtio_scsi")
_MODULES = (
    *_BOOT_MODULES,
    "acpiphp",
    "button",
    "evdev",
    "isofs",
    "loop",
    "nls_ascii",
    "nls_cp437",
    "nls_utf8",
    "sr_mod",
    "vfat",
    "virtio_balloon",
    "virtio_net",
    "virtio_rng",
)


class Kernel:
    """
    The kernel among these packages.

    :ivar image: the file that the boot loader loads.
    """

    def __init__(self, packages: Packages) -> None:
        self.image = packages.find("boot/vmlinuz-*").read_bytes()
        builtin = packages.find("lib/modules/*/modules.builtin")
        self._folder = builtin.parent
        self._paths = {_name(path.name): path for path in self._folder.rglob("*.ko*")}
        # Newer kernels do not list all of them (not acpiphp), but describe their parameters.
        described = (self._folder / "modules.builtin.modinfo").read_text().split("\0")
        listed = [line.rpartition("/")[2] for line in builtin.read_text().splitlines()]
        self._builtin = {_name(text) for text in described + listed if text}

    def modules(self, boot: bool) -> Files:
        """
        Return the files of ``/usr/lib/modules``.

        :param boot: only those needed to reach the root file system.
        :raises SandboxError: the kernel lacks a module.
        """
        loading: list[str] = []
        for name in _BOOT_MODULES if boot else _MODULES:
            loading += [needed for needed in self._chain(name) if needed not in loading]
        found = {f"{name}.ko": self._content(name) for name in sorted(loading)}
        dependencies = aliases = ""
        for name in sorted(loading):
            # As depmod writes it: the last module of a line is loaded first.
            *needed, _ = [f"{other}.ko" for other in self._chain(name)]
            dependencies += f"{name}.ko: {' '.join(reversed(needed))}\n"
            for alias in _information(found[f"{name}.ko"], "alias"):
                aliases += f"alias {alias} {name}\n"
        found["modules.alias"] = aliases.encode()
        found["modules.builtin"] = "".join(f"{n}.ko\n" for n in sorted(self._builtin)).encode()
        found["modules.dep"] = dependencies.encode()
        folder = f"usr/lib/modules/{self._folder.name}"
        return {f"{folder}/{name}": regular(content) for name, content in found.items()}

    def _chain(self, name: str) -> list[str]:
        """Return a module and those it needs, in the order of loading; none if built in."""
        if name not in self._paths:
            if name in self._builtin:
                return []
            raise SandboxError(f"the Linux kernel {self._folder.name} has no module {name}")
        chain: list[str] = []
        for needed in _information(self._content(name), "depends"):
            for deeper in map(_name, filter(None, needed.split(","))):
                chain += [other for other in self._chain(deeper) if other not in chain]
        return [*chain, name]

    def _content(self, name: str) -> bytes:
        content = self._paths[name].read_bytes()
        return lzma.decompress(content) if self._paths[name].suffix == ".xz" else content


def _name(file_name: str) -> str:
    return file_name.partition(".")[0].replace("-", "_")


def _information(module: bytes, key: str) -> list[str]:
    """Return the values of a key of a module's ``.modinfo``, which are zero-terminated."""
    return [found.decode() for found in re.findall(rb"\0" + key.encode() + rb"=([^\0]*)", module)]
