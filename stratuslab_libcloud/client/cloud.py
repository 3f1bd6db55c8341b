"""
What the driver and the commands ask of any cloud, in plain data with ids.

Callers need to understand no URL, no ``pdisk:`` URI and nothing of Libcloud: each dialect does what
it needs behind :class:`Cloud`. A method that a dialect cannot offer raises
:class:`.NotSupportedError`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from stratuslab_libcloud.client.data import Endorsement, Image, Machine, Mount, NewMachine, Volume
from stratuslab_libcloud.client.verbs import Verbs
from stratuslab_libcloud.configuration.settings import Settings
from stratuslab_libcloud.metadata.keys import SigningKey

__all__ = ["Cloud"]


class Cloud(Verbs, Protocol):
    """
    One location. Threads can share it, and it survives a fork.

    Each method may raise :class:`.CredentialsError`, :class:`.ConnectionFailedError`,
    :class:`.MalformedAnswerError` and :class:`.UnavailableError`, and
    :class:`.ConfigurationError` if the configuration lacks something that it needs.
    """

    @property
    def settings(self) -> Settings:
        """The configuration of the location."""

    @property
    def machine_account(self) -> object:
        """A value that is equal for two locations with the same machines."""

    @property
    def volume_account(self) -> object:
        """A value that is equal for two locations with the same volumes."""

    @property
    def saves_as_it_ends(self) -> bool:
        """
        Whether a machine can only be saved as it ends, and says at its start that it will be.

        Otherwise it is saved at any time, and goes on as before.
        """

    @property
    def keeps_stopped_machines(self) -> bool:
        """
        Whether a machine that was stopped is still there, and can be started again.

        Such a cloud can also boot machines again, and rename them.
        """

    def images(self, whole: bool = False) -> Sequence[Image]:
        """
        List the current images. No signature is verified.

        :param whole: with everything that is known about them, which takes longer.
        """

    def image(self, image_id: str) -> Image:
        """
        Look up one image, with everything that is known about it.

        :raises NotFoundError: there is no image with that id.
        """

    def verify_image(self, image_id: str) -> Endorsement:
        """
        Verify the endorsement that a machine would start by, or be refused for.

        :raises NotFoundError: there is no image of that id.
        """

    def endorsements(self, image_id: str) -> list[Endorsement]:
        """
        List the latest endorsement of every endorser, the newest first, expired and deprecated
        ones included.

        :raises NotFoundError: nobody has endorsed an image of that id.
        """

    def upload_metadata(self, document: bytes) -> str:
        """
        Publish the signed metadata of an image.

        :return: the URL where it can be read.
        :raises InvalidValueError: the document is not the metadata of an image; nothing was sent.
        :raises ServiceError: the service refuses it; the text has the reason.
        :raises LostAnswerError: the metadata may have been published.
        """

    def deprecate_image(
        self,
        image_id: str,
        key: SigningKey | Callable[[], SigningKey],
        reason: str,
        *,
        email: str | None = None,
        created: str | None = None,
    ) -> str:
        """
        Withdraw the key owner's endorsement of an image, by publishing one that is deprecated.

        :param key: the endorser's, or what reads it; not read where nothing is endorsed.
        :param email: the endorser's address, if the certificate has none.
        :param created: date of the endorsement to repeat; default: the current one.
        :return: the URL of the new endorsement.
        :raises InvalidValueError: the certificate is somebody else's; nothing was sent.
        :raises NotFoundError: there is no such endorsement.
        :raises UntrustedImageError: its signature is not valid, so it is not signed again.
        """

    def machines(self, timeout: float | None = None) -> list[Machine]:
        """
        List the account's machines that have not ended.

        :param timeout: seconds; default: the cloud's own.
        """

    def machine(self, machine_id: str, timeout: float | None = None) -> Machine:
        """
        Look up one machine, in any state.

        :param timeout: seconds; default: the cloud's own.
        :raises NotFoundError: there is no machine with that id.
        """

    def machine_attributes(self, machine_id: str) -> list[tuple[str, str]]:
        """
        All that the cloud's document says of a machine, for people: names and values, in its order.

        A name is the path to the value, in lower case, such as ``template_nic_ip``; names repeat.

        :raises NotFoundError: there is none of that id.
        """

    def create_machine(self, new: NewMachine, sending: Callable[[], object] = lambda: None) -> str:
        """
        Start a machine, without waiting for it.

        :param sending: called immediately before the request that creates it.
        :return: its id.
        :raises InvalidValueError: the cloud would refuse a value, or not keep it as it is.
        :raises NotFoundError: there is no such image.
        :raises UntrustedImageError: it is not signed as the configuration requires.
        :raises LostAnswerError: the machine may exist.
        """

    def kill_machine(self, machine_id: str) -> None:
        """End a machine at once; it is no error if it has already ended."""

    def shut_down_machine(self, machine_id: str) -> None:
        """
        Ask a running machine to shut down.

        :raises ConflictError: it is not running.
        """

    def console_output(self, machine_id: str) -> str:
        """
        Return the end of what a machine has written to its console since its last boot.

        :return: printable lines; empty if there are none.
        :raises NotFoundError: there is no machine with that id.
        :raises NotPermittedError: it belongs to another user.
        :raises NotSupportedError: the cloud does not show consoles.
        """

    def save_image(
        self,
        machine_id: str,
        name: str,
        description: str | None = None,
        *,
        timeout: float,
        sending: Callable[[], object] = lambda: None,
        waiting: Callable[[str], object] = lambda state: None,
    ) -> Image:
        """
        Make an image of what is on a machine's first disk, and wait until it is there.

        Where a cloud can only do this as the machine ends, it is shut down. Asking again for one
        that has been asked for goes on waiting.

        :param description: default: what the cloud has for it.
        :param timeout: seconds to wait.
        :param sending: called immediately before the request that begins it.
        :param waiting: called with the state of the machine, again and again.
        :raises InvalidValueError: the image cannot be called or described so; nothing was sent.
        :raises ConflictError: the machine was not started to be saved, or does not run.
        :raises NodeFailedError: the cloud could not save it; where it keeps images itself it is a
            :class:`.ServiceError`.
        :raises NodeNotReadyError: time ran out; the image may still appear. Where the cloud keeps
            images itself it is an :class:`.UnavailableError`.
        :raises NotFoundError: it was saved, but there is no entry of it.
        :raises LostAnswerError: it may be shutting down, and be saved.
        """

    def volumes(self, timeout: float | None = None) -> list[Volume]:
        """
        List the account's volumes.

        :param timeout: seconds; default: the cloud's own.
        """

    def volume(self, volume_id: str) -> Volume:
        """
        One volume.

        :raises NotFoundError: there is none of that id.
        """

    def volume_url(self, volume_id: str) -> str:
        """Where the cloud's storage service has a volume, for people."""

    def volume_mounts(self, volume_id: str) -> list[Mount]:
        """
        List the machines that a volume is attached to.

        :raises NotFoundError: there is none of that id.
        """

    def create_volume(self, size: int, name: str, visibility: str = "private") -> Volume:
        """
        Create a volume.

        :param size: GiB.
        :param visibility: ``private`` or ``public``.
        :raises InvalidValueError: of size, name or visibility; nothing was sent.
        :raises LostAnswerError: the volume may exist.
        """

    def copy_volume(self, volume_id: str) -> Volume:
        """
        Copy an image on write.

        :raises ConflictError: the volume is not an image, or a machine has it; nothing was copied.
        :raises LostAnswerError: the copy may exist.
        """

    def rebase_volume(self, volume_id: str) -> Volume:
        """
        Make an image of a volume that machines start from.

        :return: the image, a volume of its own or, on some clouds, the same one.
        :raises ConflictError: it is no such volume, or a machine has it; nothing was made.
        :raises LostAnswerError: the image may exist.
        """

    def create_snapshot(self, volume_id: str, name: str) -> Volume:
        """
        Keep what is on a volume now, as a volume that nobody writes to.

        :raises InvalidValueError: of the name; nothing was sent.
        :raises ConflictError: a machine has the volume.
        :raises LostAnswerError: the snapshot may exist.
        """

    def snapshots(self, volume_id: str) -> list[Volume]:
        """List the snapshots of a volume."""

    def create_volume_from(
        self, snapshot_id: str, name: str, visibility: str = "private"
    ) -> Volume:
        """
        Create a volume with what is on a snapshot, and with its size.

        :raises InvalidValueError: of name or visibility; nothing was sent.
        :raises LostAnswerError: the volume may exist.
        """

    def upload_volume(
        self,
        path: Path,
        name: str,
        visibility: str = "private",
        kind: str | None = None,
        progress: Callable[[int, int | None], object] = lambda done, whole: None,
    ) -> Volume:
        """
        Create a volume from an image file, which may be in gzip.

        :param kind: its ``type``; default: the cloud's, data for reading.
        :param progress: called with the bytes that were sent, and with how many there are.
        :raises InvalidValueError: of the file, name, visibility or type; there is no volume.
        :raises ConflictError: there is a volume with that content already.
        :raises MalformedAnswerError: the content was damaged on its way; the volume was deleted.
        :raises LostAnswerError: the volume may exist.
        """

    def download_volume(
        self,
        volume_id: str,
        path: Path,
        progress: Callable[[int, int | None], object] = lambda done, whole: None,
    ) -> None:
        """
        Write what is on a volume to a file, which appears, or is replaced, when it is whole.

        :param path: in gzip if it ends in ``.gz``.
        :param progress: called with the bytes that have come, and with how many there are, if
            known.
        :raises InvalidValueError: the file cannot be written.
        :raises ConflictError: a machine has the volume.
        """

    def update_volume(
        self,
        volume_id: str,
        *,
        name: str | None = None,
        visibility: str | None = None,
        kind: str | None = None,
    ) -> None:
        """
        Change what is given.

        :param kind: its new ``type``.
        :raises InvalidValueError: a value is wrong, or nothing is given; nothing was sent.
        :raises NotPermittedError: it belongs to another user.
        """

    def delete_volume(self, volume_id: str) -> None:
        """
        Delete a volume and its contents.

        :raises ConflictError: it is attached to a machine.
        :raises NotPermittedError: it belongs to another user.
        """

    def attach_volume(
        self, volume_id: str, machine_id: str, sending: Callable[[], object] = lambda: None
    ) -> str:
        """
        Plug a volume into a running machine.

        :param sending: called immediately before the request that attaches it.
        :return: the device, such as ``vdc``.
        :raises ConflictError: the machine is not running, or the volume is attached to another.
        :raises LostAnswerError: the volume may be attached.
        """

    def detach_volume(self, volume_id: str, machine_id: str | None = None) -> str:
        """
        Unplug a volume from a machine.

        :param machine_id: default: the only machine that it is attached to.
        :return: the device that it was, such as ``vdc``; ``""`` if an answer was lost.
        :raises NotFoundError: it is not attached to that machine, or to any; nothing was detached.
        :raises ConflictError: it was attached when the machine started, or several have it.
        """

    def close(self) -> None:
        """Close idle connections; a later call opens new ones."""
