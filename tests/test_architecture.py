"""The rules of the house (design, section 2): who may use whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import stratuslab_libcloud

ROOT = Path(stratuslab_libcloud.__file__).parent
NAME = "stratuslab_libcloud"

# A part of the package, and what it must not use.
FORBIDDEN = {
    "sandbox": (
        "client",
        "config",
        "compute_driver",
        "entities",
        "endpoints",
        "ini",
        "ssh_files",
        "ssh_keys",
        "cli",
    ),
    "client": ("config", "compute_driver", "cli", "sandbox", "ssh_files", "ssh_keys"),
    "config": ("compute_driver", "cli", "sandbox", "metadata", "client.transport"),
    "metadata": ("client", "config", "compute_driver", "cli", "sandbox"),
    "ini": ("client.transport", "config", "compute_driver", "cli", "sandbox", "metadata"),
    "arguments": ("config", "compute_driver", "cli", "sandbox", "metadata", "client.transport"),
    "creation": ("config", "compute_driver", "cli", "sandbox", "metadata", "client.transport"),
    "settings": ("client", "config", "compute_driver", "cli", "sandbox", "metadata"),
    "portable": ("client", "config", "compute_driver", "cli", "sandbox", "metadata"),
    "printable": ("client", "config", "compute_driver", "cli", "sandbox", "metadata"),
    "parallel": ("client", "config", "compute_driver", "cli", "sandbox", "metadata"),
    "safe_xml": ("client", "config", "compute_driver", "cli", "sandbox", "metadata"),
    "endpoints": ("client", "config", "compute_driver", "cli", "sandbox", "metadata"),
    "ssh_files": ("config", "compute_driver", "cli", "sandbox", "metadata", "client.transport"),
    "ssh_keys": ("config", "compute_driver", "cli", "sandbox", "metadata", "client.transport"),
    "compute_driver": ("cli", "sandbox"),
    "connection": ("config", "compute_driver", "cli", "sandbox", "metadata", "client.transport"),
    "entities": ("compute_driver", "cli", "sandbox", "endpoints", "ssh_files", "ssh_keys"),
    "__init__": ("cli", "sandbox", "client", "config", "metadata"),
    "stratuslab_alias": ("cli", "sandbox", "client", "config", "metadata"),
}


def imports(path: Path) -> set[str]:
    """Our modules that a file imports, without the package's name."""
    found = set()
    for item in ast.walk(ast.parse(path.read_text())):
        if isinstance(item, ast.Import):
            found |= {alias.name for alias in item.names}
        elif isinstance(item, ast.ImportFrom) and item.module:
            assert item.level == 0, f"{path}: relative import"
            found |= {item.module} | {f"{item.module}.{alias.name}" for alias in item.names}
    return {name.removeprefix(f"{NAME}.") for name in found if name.startswith(f"{NAME}.")}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_only_go_down(path: Path) -> None:
    for name in imports(path):
        for forbidden in FORBIDDEN.get(part(path), ()):
            assert name != forbidden
            assert not name.startswith(f"{forbidden}.")


def test_every_part_has_its_rule() -> None:
    found = {part(path) for path in ROOT.rglob("*.py")}
    found.add("stratuslab_alias")  # which is elsewhere in a wheel
    assert found - {"cli"} == set(FORBIDDEN)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        f"import sys, {NAME}\n"
        "heavy = {'libcloud', 'requests', 'lxml', 'paramiko', 'click'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
