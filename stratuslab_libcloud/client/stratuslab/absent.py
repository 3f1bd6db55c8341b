"""What OpenNebula can do and StratusLab clouds cannot, with what to do instead."""

from collections.abc import Callable
from typing import Any, NoReturn

from stratuslab_libcloud.client.data import NewMachine
from stratuslab_libcloud.errors import NotSupportedError

__all__ = ["Absent"]


class Absent:
    """Methods of :class:`.Cloud` that only say why they cannot be offered; no request."""

    def check_offered(self, new: NewMachine) -> None:
        """Refuse orders for what only OpenNebula has."""
        if new.template:
            raise _unsupported("there are no templates", "give an image and a size")
        if new.disk_size:
            raise _unsupported("images cannot be enlarged", "give ex_volatile_disk or ex_volumes")
        if new.hold:
            raise _unsupported("nodes cannot be held", "create the node later")

    def copy_image(
        self,
        image_id: str,
        name: str,
        description: str | None = None,
        *,
        timeout: float,
        sending: Callable[[], object] = lambda: None,
    ) -> NoReturn:
        """Images are files that anybody may copy."""
        raise _unsupported("images cannot be copied", "start nodes from the image itself")

    def stop_machine(self, machine_id: str) -> NoReturn:
        """Machines that do not run have ended."""
        raise _unsupported("nodes cannot be stopped", "end the node; its volumes stay")

    def start_machine(self, machine_id: str) -> NoReturn:
        """Machines that do not run have ended."""
        raise _unsupported("nodes cannot be started again", "create another with create_node()")

    def reboot_machine(self, machine_id: str) -> NoReturn:
        """Guide 9.1.4."""
        raise _unsupported("nodes cannot be rebooted", "do it in the node, by SSH")

    def suspend_machine(self, machine_id: str) -> NoReturn:
        """Machines that do not run have ended."""
        raise _unsupported("nodes cannot be suspended", "end the node; its volumes stay")

    def resume_machine(self, machine_id: str) -> NoReturn:
        """Machines that do not run have ended."""
        raise _unsupported("nodes cannot be resumed", "create another with create_node()")

    def resize_machine(self, machine_id: str, cpus: int, ram: int) -> NoReturn:
        """Sizes are for life."""
        raise _unsupported("nodes cannot be resized", "create another of that size")

    def rename_machine(self, machine_id: str, name: str) -> NoReturn:
        """So are names."""
        raise _unsupported("nodes cannot be renamed", "create another of that name")

    def networks(self) -> NoReturn:
        """The guide names them (6.1.1)."""
        raise _unsupported("networks are not listed", "they are public, local and private")

    def templates(self) -> NoReturn:
        """Images and sizes are all that there is."""
        raise _unsupported("there are no templates", "use list_images() and list_sizes()")

    def public_keys(self) -> NoReturn:
        """Keys are files of the user's."""
        raise _no_keys()

    def set_public_keys(self, lines: list[str]) -> NoReturn:
        """Keys are files of the user's."""
        raise _no_keys()

    def user(self) -> dict[str, Any]:
        """Nobody says."""
        raise _unsupported("accounts are not described", "ask the operator of the cloud")

    def quota(self) -> NoReturn:
        """Nobody says."""
        raise _unsupported("limits are not listed", "ask the operator of the cloud")


def _no_keys() -> NotSupportedError:
    return _unsupported(
        "the cloud keeps no keys", "set user_public_key_file, or give auth to create_node()"
    )


def _unsupported(what: str, instead: str) -> NotSupportedError:
    return NotSupportedError(f"this cloud speaks StratusLab's dialect: {what}", advice=instead)
