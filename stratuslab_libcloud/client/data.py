"""The plain data that a :class:`.Cloud` takes and gives: ids, texts and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypedDict

__all__ = [
    "Endorsement",
    "Image",
    "Machine",
    "MachineDisk",
    "MachineTemplate",
    "Mount",
    "Network",
    "NewImage",
    "NewMachine",
    "Nic",
    "Volume",
]

_ACTIVE, _DONE = 3, 6
_ENDING = (11, 12, 13, 15, 23)
_RESTING = (2, 4, 5, 8, 9)
_FAILED, _FAILURES = (7, 11), (14, *range(36, 43), 44, *range(46, 51), 61)
_STATES, _ACTIVE_STATES = map(
    str.split,
    (
        "Init Pending Hold Active Stopped Suspended Done Failed Poweroff Undeployed Cloning "
        "Cloning_Failure",
        # By LCM_STATE (compute-xmlrpc 3.3); the first 17 as StratusLab's own client shows them.
        "Init Prolog Boot Running Migrate Save_Stop Save_Suspend Save_Migrate Prolog_Migrate "
        "Prolog_Resume Epilog_Stop Epilog Shutdown Cancel Failure Delete Unknown "
        "Hotplug Shutdown_Poweroff Boot_Unknown Boot_Poweroff Boot_Suspended Boot_Stopped "
        "Cleanup_Delete Hotplug_Snapshot Hotplug_Nic Hotplug_Saveas Hotplug_Saveas_Poweroff "
        "Hotplug_Saveas_Suspended Shutdown_Undeploy Epilog_Undeploy Prolog_Undeploy Boot_Undeploy "
        "Hotplug_Prolog_Poweroff Hotplug_Epilog_Poweroff Boot_Migrate Boot_Failure "
        "Boot_Migrate_Failure Prolog_Migrate_Failure Prolog_Failure Epilog_Failure "
        "Epilog_Stop_Failure Epilog_Undeploy_Failure Prolog_Migrate_Poweroff "
        "Prolog_Migrate_Poweroff_Failure Prolog_Migrate_Suspend Prolog_Migrate_Suspend_Failure "
        "Boot_Undeploy_Failure Boot_Stopped_Failure Prolog_Resume_Failure Prolog_Undeploy_Failure "
        "Disk_Snapshot_Poweroff Disk_Snapshot_Revert_Poweroff Disk_Snapshot_Delete_Poweroff "
        "Disk_Snapshot_Suspended Disk_Snapshot_Revert_Suspended Disk_Snapshot_Delete_Suspended "
        "Disk_Snapshot Disk_Snapshot_Revert Disk_Snapshot_Delete Prolog_Migrate_Unknown "
        "Prolog_Migrate_Unknown_Failure Disk_Resize Disk_Resize_Poweroff Disk_Resize_Undeployed "
        "Hotplug_Nic_Poweroff Hotplug_Resize Hotplug_Saveas_Undeployed Hotplug_Saveas_Stopped "
        "Backup Backup_Poweroff Restore",
    ),
)


class Nic(TypedDict):
    """An address of a network card; ``network`` is the name of its network."""

    ip: str | None
    network: str | None


class MachineDisk(TypedDict):
    """
    A disk in a machine.

    ``source`` is its origin, as the cloud writes it; ``size`` is in MiB; ``image`` is the id of the
    image or volume that it is, or was made from.
    """

    id: str | None
    target: str | None
    source: str | None
    size: int | None
    type: str | None
    image: str | None


class Machine(NamedTuple):
    """
    A machine, as the cloud describes it.

    :ivar id: a small number of its cloud, as text.
    :ivar name: what it was called, or what the cloud calls it.
    :ivar owner: the user name of its account.
    :ivar state: ``STATE``; -1 where it is missing.
    :ivar lcm_state: ``LCM_STATE``, which matters while the state is 3.
    :ivar nics: its network cards, a :class:`Nic` for each address.
    :ivar disks: its disks, each a :class:`MachineDisk`.
    :ivar host: name of the host that it runs on (the latest record).
    :ivar cpus: cores.
    :ivar memory: MiB, as requested.
    :ivar memory_kib: KiB in use, as measured.
    :ivar cpu_percent: per cent of one core, as measured.
    :ivar started: UNIX seconds.
    :ivar error: the cloud's own text, or ``None``.
    :ivar image: id of the image or bootable volume that it started from.
    :ivar scheduler: why it has not been placed on a host, in the cloud's words.
    :ivar labels: words separated by commas, its :attr:`NewMachine.mark` among them.
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
    scheduler: str | None = None
    labels: str | None = None

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
    def resting(self) -> bool:
        """Whether nothing more will happen to it until somebody asks for it."""
        return self.state in _RESTING

    @property
    def failed(self) -> bool:
        """Whether it will not run, for want of something (compute-xmlrpc 3.5)."""
        return self.state in _FAILED or (self.state == _ACTIVE and self.lcm_state in _FAILURES)

    @property
    def address(self) -> str | None:
        """The address of its first network card that has one."""
        return next((nic["ip"] for nic in self.nics if nic["ip"]), None)


@dataclass(frozen=True)
class NewImage:
    """
    What a machine becomes when it is shut down, not killed: an image with what was written to it.

    :ivar title: of the image, and the name of the volume with it; 40 characters at most.
    :ivar comment: what is new in it, for people.
    :ivar author: who makes it: a name.
    :ivar email: the author's address.
    :ivar version: of the image; ``""``: the one after that of the image it is made from.
    :ivar marketplace: URL of the Marketplace to describe it in; ``""``: the location's.
    """

    title: str
    comment: str
    author: str
    email: str
    version: str = ""
    marketplace: str = ""


@dataclass(frozen=True)
class NewMachine:
    """
    An order for a machine.

    :ivar image: id of the image or bootable volume to start from; ``""``: the template's.
    :ivar cpus: cores; 0: the template's.
    :ivar ram: MiB; 0: the template's.
    :ivar swap: MiB; 0 for none.
    :ivar name: ``""`` lets the cloud choose one.
    :ivar network: on StratusLab clouds ``public``, ``local`` or ``private``; ``""``: the cloud's
        choice.
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
    :ivar template: id of the cloud's own template to start from; ``""``: none.
    :ivar disk_size: GiB that its first disk is enlarged to; 0: as its image.
    :ivar hold: whether it waits until somebody starts it.
    :ivar mark: a word by which its owner finds it again in a list; ``""``: none.
    :ivar save_as: the image that it becomes when it is shut down; ``None`` for none.
    """

    image: str
    cpus: int
    ram: int
    swap: int
    name: str = ""
    network: str = ""
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
    template: str = ""
    disk_size: int = 0
    hold: bool = False
    mark: str = ""
    save_as: NewImage | None = None


class Volume(NamedTuple):
    """
    A persistent disk. ``None`` stands for what a cloud does not report.

    :ivar id: a UUID on StratusLab clouds, a number on others.
    :ivar name: its tag.
    :ivar owner: a user name.
    :ivar size: GiB.
    :ivar users: number of machines that it is attached to.
    :ivar visibility: ``private`` or ``public``.
    :ivar quarantine: since when it has been waiting to be deleted.
    :ivar state: ``creating``, ``deleting`` or ``error``; ``None``: it can be used, or is.
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
    state: str | None = None

    @property
    def is_snapshot(self) -> bool:
        """Whether it is known to be what :meth:`.Cloud.create_snapshot` makes."""
        copied = (self.identifier or "").startswith("snapshot:")
        return copied and self.type == "MACHINE_IMAGE_ORIGIN"


class Network(NamedTuple):
    """
    A network that machines can be in.

    :ivar id: a small number of its cloud, as text.
    :ivar size: number of its addresses, or ``None``.
    :ivar used: number of those that machines have, or ``None``.
    :ivar gateway: an IP address, or ``None``.
    """

    id: str
    name: str
    owner: str | None = None
    size: int | None = None
    used: int | None = None
    gateway: str | None = None


class MachineTemplate(NamedTuple):
    """
    A template that the operators or users of a cloud keep, to start machines from.

    :ivar id: a small number of its cloud, as text.
    :ivar cpus: cores; ``None``: it does not say.
    :ivar ram: MiB; ``None``: it does not say.
    :ivar images: the ids of the images of its disks, or their names.
    :ivar networks: the ids of its networks, or their names.
    :ivar attributes: all that it says: names, and texts or lists of pairs.
    """

    id: str
    name: str
    owner: str | None
    cpus: int | None
    ram: int | None
    images: list[str]
    networks: list[str]
    attributes: list[tuple[str, str | list[tuple[str, str]]]]


class Mount(NamedTuple):
    """
    A disk in a machine.

    :ivar device: such as ``vdc``; ``static`` if the disk was attached when the machine started;
        empty if the machine is somebody else's.
    """

    machine_id: str
    device: str

    @property
    def hot_plugged(self) -> bool:
        return self.device not in ("", "static")


class Endorsement(NamedTuple):
    """
    An endorser's entry of an image, with the verdict on its signature.

    If the signature is missing or not valid, the fields after ``reasons`` are ``None``, and those
    before ``signed`` are mere claims.

    :ivar image: id of the image.
    :ivar endorser: e-mail address.
    :ivar endorsed: when, as ``YYYY-MM-DDThh:mm:ssZ``; ``expires`` likewise.
    :ivar deprecated: the reason, or ``None``.
    :ivar signed: whether the signature is valid.
    :ivar trusted: whether the configuration trusts the endorser.
    :ivar reasons: why no machine should be started by this entry; empty if one may be.
    :ivar subject: of the certificate; ``issuer`` likewise.
    :ivar fingerprint: SHA-256 of the certificate, in hexadecimal digits.
    :ivar certified: whether the certificate contains the address.
    :ivar in_force: whether the certificate was valid at the endorsement date.
    :ivar method: of the signature, such as ``rsa-sha1``.
    """

    image: str
    endorser: str | None
    endorsed: str | None
    title: str | None
    expires: str | None
    deprecated: str | None
    signed: bool
    trusted: bool
    reasons: list[str]
    subject: str | None = None
    issuer: str | None = None
    fingerprint: str | None = None
    certified: bool | None = None
    in_force: bool | None = None
    method: str | None = None


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
