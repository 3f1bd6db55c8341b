"""That KVM works is believed when a guest was seen to boot with it."""

import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from stratuslab_libcloud.sandbox.guest import GuestImage
from stratuslab_libcloud.sandbox.machines import acceleration
from stratuslab_libcloud.sandbox.machines.command import PROGRAM

Pretend: TypeAlias = Callable[..., Path]

READY = "echo 'sandbox guest: ready' >serial; exec sleep 600"


@pytest.fixture
def image(tmp_path: Path) -> GuestImage:
    file = tmp_path / "image.gz"
    file.write_bytes(gzip.compress(b"a disk"))
    return GuestImage(file, 6, {})


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Put a QEMU in place that does this, on a host that seems to have KVM."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(acceleration, "_DEVICE", tmp_path)

    def install(what: str, version: str = "7.2") -> Path:
        program = programs / PROGRAM
        lines = ["#!/bin/sh", f'[ "$1" = --version ] && {{ echo {version}; exit; }}']
        lines += [f"echo >>{programs}/booted", "cat disk >/dev/null || exit 1", what]
        program.write_text("\n".join(lines) + "\n")
        program.chmod(0o755)
        return programs / "booted"

    return install


def test_a_guest_that_boots_proves_kvm(pretend: Pretend, image: GuestImage, tmp_path: Path) -> None:
    pretend(READY)
    assert acceleration.accelerator(image, tmp_path) == "kvm"


def test_a_qemu_that_aborts_does_not(pretend: Pretend, image: GuestImage, tmp_path: Path) -> None:
    pretend("exit 134")
    assert acceleration.accelerator(image, tmp_path) == "tcg"


def test_a_guest_that_hangs_does_not(
    pretend: Pretend, image: GuestImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "_BOOT_SECONDS", 0.5)
    pretend("echo Booting >serial; exec sleep 600")
    begun = time.monotonic()
    assert acceleration.accelerator(image, tmp_path) == "tcg"
    assert time.monotonic() - begun < 60


def test_without_the_device_nothing_is_tried(
    pretend: Pretend, image: GuestImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted = pretend(READY)
    monkeypatch.setattr(acceleration, "_DEVICE", tmp_path / "missing")
    assert acceleration.accelerator(image, tmp_path) == "tcg"
    assert not booted.exists()


def test_the_result_is_remembered_for_this_qemu(
    pretend: Pretend, image: GuestImage, tmp_path: Path
) -> None:
    booted = pretend(READY)
    for _ in range(3):
        assert acceleration.accelerator(image, tmp_path) == "kvm"
    assert len(booted.read_text()) == 1
    pretend("exit 1", version="8.0")
    assert acceleration.accelerator(image, tmp_path) == "tcg"
    assert len(booted.read_text()) == 2
