"""A StratusLab site: compute, persistent disks and Marketplace, as one cloud."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stratuslab_libcloud.client.data import Endorsement, Image, Machine, Mount, NewMachine, Volume
from stratuslab_libcloud.client.stratuslab import saving, snapshots
from stratuslab_libcloud.client.stratuslab.absent import Absent
from stratuslab_libcloud.client.stratuslab.pdisk_fields import (
    IMAGE,
    LIVE,
    checked_fields,
    is_uuid,
)
from stratuslab_libcloud.client.stratuslab.services import Services
from stratuslab_libcloud.client.stratuslab.template import BootDisk, render
from stratuslab_libcloud.client.stratuslab.transfers import Progress
from stratuslab_libcloud.configuration.signing import signing_key
from stratuslab_libcloud.errors import ConflictError, NotFoundError
from stratuslab_libcloud.metadata.keys import SigningKey

__all__ = ["StratusLabCloud"]

_WITHDRAWN = "This image has been deprecated"


class StratusLabCloud(Services, Absent):
    """The methods of :class:`.Cloud`, by the services of one location."""

    saves_as_it_ends = True
    keeps_stopped_machines = False

    # -- images --------------------------------------------------------------------------------

    def images(self, whole: bool = False) -> Sequence[Image]:
        """List the current images of the Marketplace; one request."""
        return self.marketplace.images(whole)

    def image(self, image_id: str) -> Image:
        """Look up an image of the Marketplace with its whole entry; one request."""
        return self.marketplace.get(image_id)

    def verify_image(self, image_id: str) -> Endorsement:
        """Verify the endorsement that a machine would start by; one request."""
        return self.marketplace.verified(image_id)

    def endorsements(self, image_id: str) -> list[Endorsement]:
        """List the latest endorsement of every endorser, the newest first; one request."""
        return self.marketplace.endorsements(image_id)

    def upload_metadata(self, document: bytes) -> str:
        """Publish signed metadata; one request."""
        return self.marketplace.upload(document)

    def deprecate_image(
        self,
        image_id: str,
        key: SigningKey | Callable[[], SigningKey],
        reason: str,
        *,
        email: str | None = None,
        created: str | None = None,
    ) -> str:
        """Withdraw the key owner's endorsement; two requests, as it is looked up first."""
        if not isinstance(key, SigningKey):
            key = key()
        return self.marketplace.deprecate(image_id, key, reason, email=email, created=created)

    def delete_image(self, image_id: str) -> None:
        """Withdraw the endorsement of the configured certificate; two requests."""
        options = self.settings.options
        key = signing_key(options.p12_certificate, options.p12_password)
        self.deprecate_image(image_id, key, _WITHDRAWN)

    # -- machines ------------------------------------------------------------------------------

    def machines(self, timeout: float | None = None) -> list[Machine]:
        """List the account's machines that have not ended; one request."""
        return self.compute.machines(timeout)

    def machine(self, machine_id: str, timeout: float | None = None) -> Machine:
        """Look up one machine, in any state; one request."""
        return self.compute.info(machine_id, timeout)

    def machine_attributes(self, machine_id: str) -> list[tuple[str, str]]:
        """All that a machine's document says; one request."""
        return self.compute.attributes(machine_id)

    def create_machine(self, new: NewMachine, sending: Callable[[], object] = lambda: None) -> str:
        """Start a machine; two requests, or one if the image was looked up within five minutes."""
        self.check_offered(new)
        new = saving.ordered(new, self.settings.marketplace_endpoint)
        template = render(
            new,
            self._boot_disk(new.image, new.disks_bus),
            volumes=[self.storage.uri(volume) for volume in new.volumes],
            readonly_images=[self.marketplace.attached(image) for image in new.readonly_images],
        )
        compute = self.compute
        sending()
        return compute.allocate(template, new.name)

    def kill_machine(self, machine_id: str) -> None:
        """End a machine at once; only its persistent disks are kept."""
        self.compute.kill(machine_id)

    def shut_down_machine(self, machine_id: str) -> None:
        """Ask a running machine to shut down."""
        self.compute.shutdown(machine_id)

    def console_output(self, machine_id: str) -> str:
        """Return what a machine has written to its console; one request, to a sandbox only."""
        return self.compute.console(machine_id)

    def _boot_disk(self, image_id: str, bus: str) -> BootDisk:
        """Find the disk for an identifier of the Marketplace, or the UUID of a bootable disk."""
        if is_uuid(image_id):
            return BootDisk(self.storage.uri(image_id), bus=bus or "ide")
        entry, url = self.marketplace.started(image_id)
        if not entry.locations:
            raise ConflictError(f"image {image_id} has no location to download it from")
        return BootDisk(
            url,
            driver=(entry.format or "").strip(),
            bus=bus or (entry.disks_bus or "").strip() or "ide",
            inbound_ports=entry.inbound_ports,
        )

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
        """Shut a machine down, which saves it; six requests, and one for each further look."""
        patience = saving.Patience(time.monotonic() + timeout, self._timeout, waiting)
        services = self.compute, self.storage
        disk = saving.save(*services, machine_id, name, description, sending, patience)
        return saving.described(self.marketplace, disk)

    # -- volumes -------------------------------------------------------------------------------

    @property
    def volume_account(self) -> object:
        """The service and the account; a location without storage equals no other."""
        settings = self.settings
        return settings.pdisk_endpoint or settings.location, settings.storage_credentials

    def volumes(self, timeout: float | None = None) -> list[Volume]:
        """List the account's persistent disks; one request."""
        return self.storage.disks(timeout)

    def volume(self, volume_id: str) -> Volume:
        """One persistent disk; one request."""
        return self.storage.get(volume_id)

    def volume_url(self, volume_id: str) -> str:
        """Where a persistent disk is, after login; no request."""
        return self.storage.url(volume_id)

    def volume_mounts(self, volume_id: str) -> list[Mount]:
        """The machines that a persistent disk is attached to; one request."""
        return self.storage.mounts(volume_id)

    def create_volume(self, size: int, name: str, visibility: str = "private") -> Volume:
        """Create a persistent disk; one request."""
        volume_id = self.storage.create(size, name, visibility)
        return Volume(volume_id, name, size, users=0, visibility=visibility)

    def copy_volume(self, volume_id: str) -> Volume:
        """Copy an image on write; two requests, as another type would mean a rebase."""
        self._check_type(volume_id, IMAGE, "cannot be copied on write")
        return self.storage.copy(volume_id)

    def rebase_volume(self, volume_id: str) -> Volume:
        """Make an image of a machine's disk; two requests, as another type would mean a copy."""
        self._check_type(volume_id, LIVE, "cannot be rebased")
        return self.storage.rebase(volume_id)

    def _check_type(self, volume_id: str, needed: str, otherwise: str) -> None:
        kind = self.storage.get(volume_id).type
        if kind not in (None, needed):
            raise ConflictError(f"disk {volume_id} has the type {kind}, not {needed}: {otherwise}")

    def create_snapshot(self, volume_id: str, name: str) -> Volume:
        """Keep what is on a persistent disk; five requests at most."""
        return snapshots.create(self.storage, volume_id, name)

    def snapshots(self, volume_id: str) -> list[Volume]:
        """List the snapshots of a persistent disk; one request, and one per copy if need be."""
        return snapshots.list_of(self.storage, volume_id)

    def create_volume_from(
        self, snapshot_id: str, name: str, visibility: str = "private"
    ) -> Volume:
        """Create a persistent disk from a snapshot; two requests."""
        return snapshots.restore(self.storage, snapshot_id, name, visibility)

    def upload_volume(
        self,
        path: Path,
        name: str,
        visibility: str = "private",
        kind: str | None = None,
        progress: Progress = lambda done, whole: None,
    ) -> Volume:
        """Create a persistent disk from an image file; three requests, two if nothing is given."""
        fields = checked_fields(name or None, None if visibility == "private" else visibility, kind)
        made = self.storage.upload(path, progress)
        if fields:
            with self.storage.deleting(made.id):
                self.storage.update(made.id, tag=name, visibility=visibility, kind=kind)
        return made._replace(name=name, visibility=visibility, type=kind or made.type)

    def download_volume(
        self, volume_id: str, path: Path, progress: Progress = lambda done, whole: None
    ) -> None:
        """Write a persistent disk to a file; two requests."""
        self.storage.download(volume_id, path, progress)

    def update_volume(
        self,
        volume_id: str,
        *,
        name: str | None = None,
        visibility: str | None = None,
        kind: str | None = None,
    ) -> None:
        """Change what is given; one request."""
        self.storage.update(volume_id, tag=name, visibility=visibility, kind=kind)

    def delete_volume(self, volume_id: str) -> None:
        """Delete a persistent disk and its contents; one request."""
        self.storage.delete(volume_id)

    def attach_volume(
        self, volume_id: str, machine_id: str, sending: Callable[[], object] = lambda: None
    ) -> str:
        """Plug a persistent disk into a machine; two requests, as its host is looked up first."""
        machine = self.compute.info(machine_id)
        if not machine.running or not machine.host:
            raise ConflictError(
                f"node {machine_id} is not running (it is {machine.summary}), so nothing can be "
                "attached to it"
            )
        storage = self.storage
        sending()
        return storage.mount(volume_id, machine.id, machine.host).device

    def detach_volume(self, volume_id: str, machine_id: str | None = None) -> str:
        """Unplug a persistent disk; one request, or two if its machine must be looked up first."""
        machine_id = machine_id or self._only_mount(volume_id)
        try:
            return self.storage.unmount(volume_id, machine_id)
        except NotFoundError as error:
            # It may be attached to another node by now, from which nobody asked to unplug it.
            raise NotFoundError(
                error.value,
                advice=f"it is not attached to node {machine_id}",
                said=error.said,
                endpoint=error.endpoint,
                http_code=error.http_code,
            ) from error

    def _only_mount(self, volume_id: str) -> str:
        mounts = self.storage.mounts(volume_id)
        if not mounts:
            raise NotFoundError(f"volume {volume_id} is not attached to any node", http_code=404)
        if len(mounts) > 1:
            nodes = ", ".join(mount.machine_id for mount in mounts)
            raise ConflictError(f"volume {volume_id} is attached to nodes {nodes}: say which")
        if not mounts[0].hot_plugged:
            raise ConflictError(
                f"volume {volume_id} was attached when node {mounts[0].machine_id} started; end "
                "the node to detach it"
            )
        return mounts[0].machine_id
