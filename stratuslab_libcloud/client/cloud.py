"""
What the driver and the commands ask of any cloud, in plain data with ids.

Callers need to understand no URL, no ``pdisk:`` URI and nothing of Libcloud: each dialect does what
it needs behind :class:`Cloud`. A method that a dialect cannot offer raises
:class:`.NotSupportedError`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypedDict

from stratuslab_libcloud.configuration.settings import Settings

__all__ = ["Cloud", "Image", "Machine", "MachineDisk", "Mount", "NewMachine", "Nic", "Volume"]

_ACTIVE, _DONE = 3, 6
_ENDING = (11, 12, 13, 15, 23)
_FAILED, _FAILURES = (7, 11), (14, *range(36, 43), 44, *range(46, 51), 61)
_STATES = ("Init", "Pending", "Hold", "Active", "Stopped", "Suspended", "Done", "Failed")
_ACTIVE_STATES = (
    "Init",
    "Prolog",
    "Boot",
    "Running",
    "Migrate",
    "Save_Stop",
    "Save_Suspend",
    "Save_Migrate",
    "Prolog_Migrate",
    "Prolog_Resume",
    "Epilog_Stop",
    "Epilog",
    "Shutdown",
    "Cancel",
    "Failure",
    "Delete",
    "Unknown",
)


class Nic(TypedDict):
    """A network card; ``network`` is the name of its network."""

    ip: str | None
    network: str | None


class MachineDisk(TypedDict):
    """
    A disk in a machine.

    ``source`` is its origin, as the cloud writes it; ``size`` is in MiB.
    """

    id: str | None
    target: str | None
    source: str | None
    size: int | None
    type: str | None


class Machine(NamedTuple):
    """
    A machine, as the cloud describes it.

    :ivar id: a small number of its cloud, as text.
    :ivar name: what it was called, or what the cloud calls it.
    :ivar owner: the user name of its account.
    :ivar state: ``STATE``; -1 where it is missing.
    :ivar lcm_state: ``LCM_STATE``, which matters while the state is 3.
    :ivar nics: its network cards, each a :class:`Nic`.
    :ivar disks: its disks, each a :class:`MachineDisk`.
    :ivar host: name of the host that it runs on (the latest record).
    :ivar cpus: cores.
    :ivar memory: MiB, as requested.
    :ivar memory_kib: KiB in use, as measured.
    :ivar cpu_percent: per cent of one core, as measured.
    :ivar started: UNIX seconds.
    :ivar error: the cloud's own text, or ``None``.
    :ivar image: id of the image or bootable volume that it started from.
    """

    id: str
    name: str
    owner: str | None
    state: int
    lcm_state: int
    nics: list[Nic]
    disks: list[MachineDisk]
    host: str | None
    cpus: int | None
    memory: int | None
    memory_kib: int | None
    cpu_percent: float | None
    started: int | None
    error: str | None
    image: str | None = None

    @property
    def summary(self) -> str:
        """The state in a word, as the commands show it (compute-xmlrpc 3.4)."""
        labels, number = (
            (_ACTIVE_STATES, self.lcm_state) if self.state == _ACTIVE else (_STATES, self.state)
        )
        return labels[number] if 0 <= number < len(labels) else f"{self.state}/{self.lcm_state}"

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return (self.state, self.lcm_state) == (_ACTIVE, 3)

    @property
    def ending(self) -> bool:
        """Whether it has ended, or is about to (compute-xmlrpc 3.2, 3.3)."""
        return self.state == _DONE or (self.state == _ACTIVE and self.lcm_state in _ENDING)

    @property
    def failed(self) -> bool:
        """Whether it will not run, for want of something (compute-xmlrpc 3.5)."""
        return self.state in _FAILED or (self.state == _ACTIVE and self.lcm_state in _FAILURES)

    @property
    def address(self) -> str | None:
        """The address of its first network card that has one."""
        return next((nic["ip"] for nic in self.nics if nic["ip"]), None)


@dataclass(frozen=True)
class NewMachine:
    """
    An order for a machine.

    :ivar image: id of the image or bootable volume to start from.
    :ivar cpus: cores.
    :ivar ram: MiB.
    :ivar swap: MiB; 0 for none.
    :ivar name: ``""`` lets the cloud choose one.
    :ivar network: ``public``, ``local`` or ``private``.
    :ivar volumes: ids of the volumes to attach from the start.
    :ivar readonly_images: ids of the images to attach for reading.
    :ivar public_keys: lines of an ``authorized_keys`` file.
    :ivar context: further values for the guest.
    :ivar context_method: ``one`` or ``cloud-init``.
    :ivar user_data: for cloud-init only.
    :ivar volatile_disk: GiB of a disk that is gone with the machine; 0 for none.
    :ivar address: the IP address to have in its network; ``""``: any that is free.
    :ivar network_model: of its network card, such as ``virtio``; ``""``: the cloud's.
    :ivar disks_bus: ``ide``, ``scsi`` or ``virtio``; ``""``: as its image says.
    :ivar requirements: what its host must be like, such as ``CLUSTER = "test"``.
    :ivar cpu_amount: share of its host's processors, 0.5 for half of one; ``None``: all ``cpus``.
    :ivar use_host_cpu: whether it sees all features of its host's processor.
    :ivar vnc_port: TCP port of its screen on its host; -1: the cloud chooses one.
    :ivar vnc_listen: the host's IP address that the screen is at; ``""``: the cloud's choice.
    :ivar keymap: of the screen's keyboard.
    """

    image: str
    cpus: int
    ram: int
    swap: int
    name: str = ""
    network: str = "public"
    volumes: Sequence[str] = ()
    readonly_images: Sequence[str] = ()
    public_keys: Sequence[str] = ()
    context: Mapping[str, str] = field(default_factory=dict)
    context_method: str = "one"
    user_data: bytes = b""
    volatile_disk: int = 0
    address: str = ""
    network_model: str = ""
    disks_bus: str = ""
    requirements: str = ""
    cpu_amount: float | None = None
    use_host_cpu: bool = False
    vnc_port: int = -1
    vnc_listen: str = ""
    keymap: str = "en-us"


class Volume(NamedTuple):
    """
    A persistent disk. ``None`` stands for what a cloud does not report.

    :ivar id: a UUID, on StratusLab clouds.
    :ivar name: its tag.
    :ivar owner: a user name.
    :ivar size: GiB.
    :ivar users: number of machines that it is attached to.
    :ivar visibility: ``private`` or ``public``.
    :ivar quarantine: since when it has been waiting to be deleted.
    """

    id: str
    name: str
    size: int | None
    owner: str | None = None
    users: int | None = None
    visibility: str | None = None
    type: str | None = None
    identifier: str | None = None
    created: str | None = None
    quarantine: str | None = None

    @property
    def is_snapshot(self) -> bool:
        """Whether it is known to be what :meth:`.Cloud.create_snapshot` makes."""
        copied = (self.identifier or "").startswith("snapshot:")
        return copied and self.type == "MACHINE_IMAGE_ORIGIN"


class Mount(NamedTuple):
    """
    A disk in a machine.

    :ivar device: such as ``vdc``; ``static`` if the disk was attached when the machine started.
    """

    machine_id: str
    device: str

    @property
    def hot_plugged(self) -> bool:
        return self.device != "static"


class Image(Protocol):
    """An image that machines can start from."""

    @property
    def id(self) -> str:
        """Its id, as :class:`NewMachine` takes it."""

    @property
    def name(self) -> str:
        """Its name: one printable line."""

    def details(self) -> dict[str, Any]:
        """Return all fields that the cloud reports, by name; a new dictionary at each call."""


class Cloud(Protocol):
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

    def images(self, whole: bool = False) -> Sequence[Image]:
        """
        List the current images.

        :param whole: with everything that is known about them, which takes longer.
        """

    def image(self, image_id: str) -> Image:
        """
        Look up one image, with everything that is known about it.

        :raises NotFoundError: there is no image with that id.
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
        :raises LostAnswerError: the machine may exist.
        """

    def kill_machine(self, machine_id: str) -> None:
        """End a machine at once; it is no error if it has already ended."""

    def shut_down_machine(self, machine_id: str) -> None:
        """
        Ask a running machine to shut down.

        :raises ConflictError: it is not running.
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
