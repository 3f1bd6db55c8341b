"""Volumes: persistent datablocks (modern 4), and their snapshots, which are copies."""

import uuid
from collections.abc import Sequence

from stratuslab_libcloud.client.data import Mount, Volume
from stratuslab_libcloud.client.engine.ids import checked_id
from stratuslab_libcloud.client.engine.template import single
from stratuslab_libcloud.client.opennebula.documents import SNAPSHOT_OF, Datastore, EngineImage
from stratuslab_libcloud.client.opennebula.engine import MINE
from stratuslab_libcloud.client.opennebula.images import Images
from stratuslab_libcloud.client.opennebula.names import checked_name
from stratuslab_libcloud.client.opennebula.states import DELETE, ERROR
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
    NotPermittedError,
)

__all__ = ["Volumes"]

_LARGEST = 1024**2  # GiB; the engine itself takes any number, and then has no room
_MIB_IN_GIB = 1024
_FOR_IMAGES = 0  # TYPE of a datastore
_VISIBILITIES = ("private", "public")


class Volumes(Images):
    """The part of the cloud that is about volumes, as long as no machine is asked."""

    _datastore = ""  # looked up when it is first needed

    def volumes(self, timeout: float | None = None) -> list[Volume]:
        """List the account's volumes; one request."""
        found = self.engine.images(MINE, timeout)
        return [image.volume() for image in found if image.is_volume and image.state != DELETE]

    def volume(self, volume_id: str) -> Volume:
        """One volume; one request."""
        return self._volume(volume_id).volume()

    def volume_mounts(self, volume_id: str) -> list[Mount]:
        """The machines that a volume is attached to; one request, and one for each of them."""
        return [
            Mount(machine_id, self._device(machine_id, volume_id))
            for machine_id in self._volume(volume_id).machines
        ]

    def create_volume(self, size: int, name: str, visibility: str = "private") -> Volume:
        """Create a volume; two requests and more while it lasts, one more for the first."""
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= _LARGEST:
            raise InvalidValueError(f"a volume cannot have the size {size!r}: GiB, from 1")
        name = checked_name("volume", name)
        _check_visibility(visibility)
        lines = [
            single("NAME", name),
            single("TYPE", "DATABLOCK"),
            single("PERSISTENT", "YES"),  # any other word, even "true", would mean no
            single("SIZE", size * _MIB_IN_GIB),
            single("DEV_PREFIX", "vd"),
        ]
        if not self._datastore:
            self._datastore = self._choose_datastore()
        made = self.engine.create(
            "one.image.allocate",
            *("\n".join(lines), int(self._datastore)),
            if_lost=f"a volume named {name!r} may have been created: there can be only one image "
            "of that name; look for it in the list of volumes",
        )
        return self._made(made, visibility)

    def update_volume(
        self,
        volume_id: str,
        *,
        name: str | None = None,
        visibility: str | None = None,
        kind: str | None = None,
    ) -> None:
        """Change what is given; one request for each."""
        number = checked_id(volume_id, "volume")
        if kind is not None:
            raise InvalidValueError("volumes on OpenNebula have no type that could be changed")
        if name is None and visibility is None:
            raise InvalidValueError("nothing to change: give a name, or a visibility")
        if visibility is not None:
            _check_visibility(visibility)
        if name is not None:
            self.engine.change("one.image.rename", int(number), checked_name("volume", name))
        if visibility is not None:
            self.engine.show("image", number, visibility == "public")

    def delete_volume(self, volume_id: str) -> None:
        """Delete a volume or a snapshot; two requests and more while it lasts."""
        self._delete(checked_id(volume_id, "volume"), "volume")

    # -- snapshots -----------------------------------------------------------------------------

    def create_snapshot(self, volume_id: str, name: str) -> Volume:
        """
        Copy a volume, attached or not; five requests and more while it lasts.

        The engine's own snapshots belong to a disk of a machine: nothing can be made from one, and
        they are gone with the volume. So a snapshot is an image that is not persistent.
        """
        source = self._volume(volume_id)
        chosen = checked_name("snapshot", name, needed=False)
        chosen = chosen or f"snapshot of volume {source.id} {uuid.uuid4().hex[:8]}"
        if source.machines:
            copied = self._save_attached(source, chosen)
        else:
            if_lost = f"an image named {chosen!r} may have been created, a copy of the volume"
            copied = self.engine.create("one.image.clone", int(source.id), chosen, if_lost=if_lost)
        found = self._finished(copied, "snapshot")
        if found.persistent:
            self.engine.change("one.image.persistent", int(copied), False)
        self.engine.change("one.image.update", int(copied), single(SNAPSHOT_OF, source.id), 1)
        return found._replace(persistent=False).volume()

    def snapshots(self, volume_id: str) -> list[Volume]:
        """List the snapshots of a volume, the newest first; one request."""
        number = checked_id(volume_id, "volume")
        return [
            image.volume()
            for image in self.engine.images(MINE)
            if image.origin == number and not image.persistent and image.state != DELETE
        ]

    def create_volume_from(
        self, snapshot_id: str, name: str, visibility: str = "private"
    ) -> Volume:
        """Copy a snapshot; four requests and more while it lasts."""
        number = checked_id(snapshot_id, "snapshot")
        name = checked_name("volume", name)
        _check_visibility(visibility)
        if_lost = f"an image named {name!r} may have been created, a copy of the snapshot"
        made = self.engine.create("one.image.clone", int(number), name, if_lost=if_lost)
        self._finished(made, "volume")
        self.engine.change("one.image.persistent", int(made), True)
        # A replacement of all attributes would take its prefix, too.
        self.engine.change("one.image.update", int(made), single(SNAPSHOT_OF, "none"), 1)
        return self._made(made, visibility)

    # -- how ------------------------------------------------------------------------------------

    def _volume(self, volume_id: str) -> EngineImage:
        found = self.engine.image(volume_id, "volume")
        if found.bootable:
            raise NotFoundError(f"image {volume_id} is a system image, not a volume")
        return found

    def _made(self, image_id: str, visibility: str) -> Volume:
        found = self._finished(image_id, "volume")
        if visibility == "public":
            self.engine.show("image", image_id, to_public=True)
            found = found._replace(public=True)
        return found.volume()

    def _choose_datastore(self) -> str:
        wanted = self.settings.options.datastore
        known = [one for one in self.engine.datastores() if one.kind == _FOR_IMAGES]
        known.sort(key=lambda one: int(one.id))
        fitting = [one for one in known if not wanted or wanted in (one.id, one.name)]
        if not fitting:
            raise ConfigurationError(
                f"{self.settings.where} datastore: there is no datastore {wanted!r} for images; "
                f"there are: {', '.join(map(_shown, known)) or 'none'}"
                if wanted
                else f"{self.settings.endpoint} has no datastore for images"
            )
        return fitting[0].id

    def _save_attached(self, source: EngineImage, name: str) -> str:
        """Copy a volume that a machine has, which only the machine's own call does."""
        machine_id = source.machines[0]
        machine = self.engine.info(machine_id)
        for disk in machine.disks:
            if disk["image"] == source.id and disk["id"]:
                return self._save_disk(machine, disk["id"], name, "snapshot", self._patience)
        raise ConflictError(f"volume {source.id} is being attached or detached; try again")

    def _device(self, machine_id: str, volume_id: str) -> str:
        """The device of a volume in a machine; ``""`` if nobody says."""
        try:
            disks = self.engine.info(machine_id).disks
        except NotPermittedError:  # somebody else's
            return ""
        return next((disk["target"] or "" for disk in disks if disk["image"] == volume_id), "")

    def _mended(self, error: ConflictError, volumes: Sequence[str]) -> bool:
        """Whether volumes were in the state that a call was refused for, and can be used now."""
        if "state: ERROR" not in error.value:
            return False
        mended = [self._mend(one) for one in volumes]  # all of them: any may be the next to fail
        return any(mended)

    def _mend(self, volume_id: str) -> bool:
        """
        Make a volume usable that the engine spoilt when its machine had failed (modern 1).

        :return: whether it was in that state.
        """
        found = self.engine.image(volume_id, "volume")
        # With a text, its content is in doubt, or it was never made.
        if found.state != ERROR or found.error or found.machines:
            return False
        self.engine.change("one.image.enable", int(volume_id), True)
        return True


def _check_visibility(visibility: str) -> None:
    if visibility not in _VISIBILITIES:
        raise InvalidValueError(f"visibility must be private or public, not {visibility!r}")


def _shown(one: Datastore) -> str:
    return f"{one.name} ({one.id})"
