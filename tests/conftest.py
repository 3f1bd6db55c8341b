"""What every test starts from: no environment, no home directory of anybody's."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from real import children

from stratuslab_libcloud.sandbox import guest

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")

# What takes a minute to build is built once, for whoever runs the tests.
os.environ["STRATUSLAB_SANDBOX_CACHE"] = str(guest.default_cache())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and none of the variables that configure us."""
    for name in set(os.environ) - {"STRATUSLAB_SANDBOX_CACHE"}:
        if name.startswith(("STRATUSLAB_", "LIBCLOUD_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture(scope="session", autouse=True)
def no_machine_is_left() -> Iterator[None]:
    """Whatever a test did, and however it ended: no QEMU process of ours lives on."""
    yield
    assert children() == []
