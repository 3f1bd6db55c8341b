"""The further half of :class:`.Cloud`: what some clouds cannot do."""

from collections.abc import Callable
from typing import Any, Protocol

from stratuslab_libcloud.client.data import Image, MachineTemplate, Network

__all__ = ["Verbs"]


class Verbs(Protocol):
    """
    What a cloud can do besides.

    Each method may raise :class:`.NotSupportedError`, with a text that says what to do instead.
    """

    def delete_image(self, image_id: str) -> None:
        """
        Delete an image.

        :raises NotFoundError: there is none of that id.
        :raises ConflictError: machines have it.
        """

    def copy_image(
        self,
        image_id: str,
        name: str,
        description: str | None = None,
        *,
        timeout: float,
        sending: Callable[[], object] = lambda: None,
    ) -> Image:
        """
        Copy an image, and wait until machines can start from the copy.

        :param timeout: seconds to wait.
        :param sending: called immediately before the request that copies it.
        :raises ConflictError: there is an image of that name.
        :raises LostAnswerError: the copy may exist.
        """

    def stop_machine(self, machine_id: str) -> None:
        """
        Power a machine off; it keeps its disks and addresses.

        :raises ConflictError: it is not running.
        """

    def start_machine(self, machine_id: str) -> None:
        """
        Start a machine that was stopped, suspended or created on hold.

        :raises ConflictError: it is in another state.
        """

    def reboot_machine(self, machine_id: str) -> None:
        """
        Boot a machine again.

        :raises ConflictError: it is not running.
        """

    def suspend_machine(self, machine_id: str) -> None:
        """
        Save a machine with its memory.

        :raises ConflictError: it is not running.
        """

    def resume_machine(self, machine_id: str) -> None:
        """
        Let a machine go on.

        :raises ConflictError: it is not suspended.
        """

    def resize_machine(self, machine_id: str, cpus: int, ram: int) -> None:
        """
        Give a machine other numbers.

        :param cpus: cores.
        :param ram: MiB.
        :raises ConflictError: it is in a state in which that cannot be, or its host has no room.
        """

    def rename_machine(self, machine_id: str, name: str) -> None:
        """Give a machine another name."""

    def networks(self) -> list[Network]:
        """List the networks that machines can be in."""

    def templates(self) -> list[MachineTemplate]:
        """List the templates that machines can start from."""

    def public_keys(self) -> list[str]:
        """List the SSH keys that the cloud keeps for the account, a line each."""

    def set_public_keys(self, lines: list[str]) -> None:
        """Replace those keys."""

    def user(self) -> dict[str, Any]:
        """Describe the account, without its secrets."""

    def quota(self) -> dict[str, dict[str, float | None]]:
        """List what the account uses of what is limited: ``used`` and ``limit`` by name."""
