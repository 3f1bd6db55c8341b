"""Choose what machines run on: QEMU, if this host has everything that it needs."""

import shutil
from collections.abc import Callable

from stratuslab_libcloud.sandbox import addresses, guest
from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.images.offered import OfferedImages
from stratuslab_libcloud.sandbox.machines.acceleration import accelerator
from stratuslab_libcloud.sandbox.machines.command import PROGRAM, Host
from stratuslab_libcloud.sandbox.machines.drives import PATH
from stratuslab_libcloud.sandbox.progress import OnProgress
from stratuslab_libcloud.sandbox.store import Store

__all__ = ["KINDS", "find"]

KINDS = ("simulated", "qemu", "auto")
# Program to the Debian package that contains it.
_PROGRAMS = {
    PROGRAM: "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mkswap": "util-linux",
    "mke2fs": "e2fsprogs",
    "setpriv": "util-linux",
}

Notify = Callable[[str], object]


def find(
    kind: str,
    store: Store,
    images: OfferedImages,
    *,
    outbound: bool,
    throwaway: bool,
    notify: Notify,
    on_progress: OnProgress,
) -> Host | None:
    """
    Find out how to run machines. For real ones, offer the images that they can start from.

    :param kind: one of ``KINDS``.
    :param notify: called with each line that the user should see.
    :param on_progress: called while images are downloaded and built.
    :return: None for simulated machines.
    :raises SandboxError: real machines were required, but are not possible.
    """
    if kind == "simulated":
        return None
    try:
        _check_programs()
        acceleration = _offer_guests(images, notify, on_progress)
        port, reason = addresses.choose_ssh_port(store)
    except SandboxError as error:
        if kind == "qemu":
            raise
        notify(f"machines are simulated, they boot but run nothing: {error}")
        return None
    how = "KVM" if acceleration == "kvm" else "software emulation, as KVM does not work here"
    notify(f"machines are real: QEMU with {how}")
    if reason:
        notify(f"SSH of machines is on port {port}: {reason}")
    return Host(acceleration, port, outbound, throwaway)


def _check_programs() -> None:
    missing = {program for program in _PROGRAMS if not shutil.which(program, path=PATH)}
    if missing:
        packages = " ".join(sorted({_PROGRAMS[program] for program in missing}))
        raise SandboxError(
            f"real machines need {', '.join(sorted(missing))}: apt-get install {packages}"
        )


def _offer_guests(images: OfferedImages, notify: Notify, on_progress: OnProgress) -> str:
    """Offer our own images, which may fail if there are others; return the accelerator."""
    cache = guest.default_cache()
    try:
        built = {flavour: guest.build(flavour, cache, on_progress) for flavour in guest.FLAVOURS}
    except SandboxError as error:
        if not images:
            raise
        notify(f"the Marketplace does not have our own images: {error}")
        return "tcg"  # no image to test KVM with
    for flavour, image in built.items():
        images.offer_guest(flavour, image)
    return accelerator(built["standard"], cache)
