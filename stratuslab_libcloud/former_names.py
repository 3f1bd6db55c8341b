"""
The modules that 15.0.0.dev0 had in other places, so that imports of them still work.

Nothing is loaded until somebody imports a former module. ``client.errors`` and ``metadata``, which
are still there, show their names themselves.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

__all__ = ["MOVED", "install"]

MOVED: dict[str, tuple[str, ...]] = {
    "arguments": ("driver.arguments",),
    "config": ("configuration.file", "configuration.instance_types", "configuration.location"),
    "endpoints": ("configuration.endpoints",),
    "entities": ("driver.entities",),
    "ini": ("configuration.ini",),
    "printable": ("untrusted.text",),
    "safe_xml": ("untrusted.xml",),
    "settings": ("configuration.settings", "paths"),
    "ssh_files": ("ssh.files",),
    "ssh_keys": ("ssh.keys",),
}
"""Former module to the modules that have its names now."""

_PACKAGE = "stratuslab_libcloud."


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        known = name.startswith(_PACKAGE) and name.removeprefix(_PACKAGE) in MOVED
        return spec_from_loader(name, self) if known else None

    def exec_module(self, module: ModuleType) -> None:
        for home in MOVED[module.__name__.removeprefix(_PACKAGE)]:
            found = import_module(_PACKAGE + home)
            vars(module).update({name: getattr(found, name) for name in found.__all__})


def install() -> None:
    """Let the import system find the former modules, after all others."""
    sys.meta_path.append(_Finder())
