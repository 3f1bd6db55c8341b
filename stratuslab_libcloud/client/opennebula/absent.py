"""What StratusLab clouds can do and OpenNebula cannot, with what to do instead."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from stratuslab_libcloud.errors import NotSupportedError
from stratuslab_libcloud.metadata.keys import SigningKey

__all__ = ["Absent"]

_NOT_ENDORSED = (
    "its images have no endorsements",
    "list_images() and stratus-list-images have those that may be used",
)


class Absent:
    """Methods of :class:`.Cloud` that only say why they cannot be offered; no request."""

    def verify_image(self, image_id: str) -> NoReturn:
        """Only Marketplace entries are signed."""
        raise _unsupported(*_NOT_ENDORSED)

    def endorsements(self, image_id: str) -> NoReturn:
        """Only Marketplace entries are endorsed."""
        raise _unsupported(*_NOT_ENDORSED)

    def upload_metadata(self, document: bytes) -> NoReturn:
        """There is nowhere to publish it."""
        raise _unsupported(
            "there is no Marketplace to publish in",
            "make images with create_image(), copy_image() or stratus-create-image",
        )

    def deprecate_image(
        self,
        image_id: str,
        key: SigningKey | Callable[[], SigningKey],
        reason: str,
        *,
        email: str | None = None,
        created: str | None = None,
    ) -> NoReturn:
        """Only Marketplace entries are endorsed."""
        raise _unsupported(
            "its images have no endorsements",
            "delete an image of your own with delete_image() or stratus-delete-volume",
        )

    def console_output(self, machine_id: str) -> NoReturn:
        """The engine shows consoles as they are, through VNC."""
        raise _unsupported("consoles are not kept", "watch the node's console in Sunstone")

    def volume_url(self, volume_id: str) -> NoReturn:
        """Volumes have no page of their own."""
        raise _unsupported("volumes have no URL", "name them by their id")

    def copy_volume(self, volume_id: str) -> NoReturn:
        """The engine knows no copies on write that last."""
        raise _unsupported(
            "volumes cannot be copied on write", "make a snapshot, and a volume from that"
        )

    def rebase_volume(self, volume_id: str) -> NoReturn:
        """Nor what would be made of them."""
        raise _unsupported("volumes cannot be rebased", "save the node's disk with create_image()")

    def upload_volume(
        self,
        path: Path,
        name: str,
        visibility: str = "private",
        kind: str | None = None,
        progress: Callable[[int, int | None], object] = lambda done, whole: None,
    ) -> NoReturn:
        """The engine takes paths of its own host and URLs only."""
        raise _unsupported("files cannot be uploaded", "write to a volume from a node")

    def download_volume(
        self,
        volume_id: str,
        path: Path,
        progress: Callable[[int, int | None], object] = lambda done, whole: None,
    ) -> NoReturn:
        """The engine sends no content."""
        raise _unsupported("volumes cannot be downloaded", "read them in a node")


def _unsupported(what: str, instead: str) -> NotSupportedError:
    return NotSupportedError(f"this cloud speaks OpenNebula's dialect: {what}", advice=instead)
