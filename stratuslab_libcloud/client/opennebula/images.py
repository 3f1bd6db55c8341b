"""Images that machines start from (modern 4 and 7)."""

import time
from collections.abc import Callable, Sequence

from stratuslab_libcloud.client.data import Image, Machine
from stratuslab_libcloud.client.engine.ids import checked_id
from stratuslab_libcloud.client.engine.orders import plain_text
from stratuslab_libcloud.client.engine.template import single
from stratuslab_libcloud.client.opennebula.connected import Connected
from stratuslab_libcloud.client.opennebula.engine import USABLE
from stratuslab_libcloud.client.opennebula.names import checked_name
from stratuslab_libcloud.client.opennebula.states import DELETE, changing
from stratuslab_libcloud.client.opennebula.waiting import wait_until
from stratuslab_libcloud.errors import ConflictError, NotFoundError, ServiceError

__all__ = ["Images"]

_SAME_TYPE, _NOW = "", -1


class Images(Connected):
    """The part of the cloud that is about images."""

    def images(self, whole: bool = False) -> Sequence[Image]:
        """List the images that the account may use, public ones included; one request."""
        found = self.engine.images(USABLE)
        return [image for image in found if image.bootable and image.state != DELETE]

    def image(self, image_id: str) -> Image:
        """Look up one image; one request."""
        found = self.engine.image(image_id)
        if found.is_volume:  # whoever took it for an image might delete it as one
            raise NotFoundError(f"image {image_id} is a volume, not a system image")
        return found

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
        Save the disk that a machine started from, running or not; four requests and more while it
        lasts, one more for a description.
        """
        name, more = checked_name("image", name), _described(description)
        machine = self.engine.info(machine_id)
        disk = _first_disk(machine)
        end = time.monotonic() + timeout
        sending()
        image_id = self._save_disk(machine, disk, name, "image", timeout, waiting)
        self._describe(image_id, more)
        found = self._finished(image_id, "image", max(0.0, end - time.monotonic()))
        return found._replace(description=description or found.description)

    def delete_image(self, image_id: str) -> None:
        """Delete an image; two requests and more while it lasts."""
        self._delete(checked_id(image_id, "image"), "image")

    def copy_image(
        self,
        image_id: str,
        name: str,
        description: str | None = None,
        *,
        timeout: float,
        sending: Callable[[], object] = lambda: None,
    ) -> Image:
        """Copy an image; two requests and more while it lasts, one more for a description."""
        number = int(checked_id(image_id, "image"))
        name, more = checked_name("image", name), _described(description)
        sending()
        copied = self.engine.create("one.image.clone", number, name, if_lost=_look_for(name))
        found = self._finished(copied, "image", timeout)
        self._describe(copied, more)
        return found._replace(description=description or found.description)

    def _describe(self, image_id: str, more: str) -> None:
        if more:
            self.engine.change("one.image.update", int(image_id), more, 1)

    def _save_disk(
        self,
        machine: Machine,
        disk: str,
        name: str,
        what: str,
        patience: float,
        waiting: Callable[[str], object] = lambda state: None,
    ) -> str:
        """Save a disk as a new image, and wait until its machine is as it was before."""

        def look() -> Machine:
            found = self.engine.info(machine.id)
            waiting(found.summary)
            return found

        saved = self.engine.create(
            "one.vm.disksaveas",
            *(int(machine.id), int(disk), name, _SAME_TYPE, _NOW),
            if_lost=_look_for(name),
        )
        known = f"{what} {saved} exists all the same"
        after = wait_until(
            lambda machine: not changing(machine),
            look,
            patience,
            f"saving disk {disk} of node {machine.id}",
            known,
        )
        # The text of an earlier failure stays for ever. The image may stay LOCKED for as long.
        if after.error and after.error != machine.error and not self.engine.image(saved).ready:
            raise ServiceError(f"{what} {saved} could not be made: {after.error}", advice=known)
        return saved


def _described(description: str | None) -> str:
    """Write a description before there is an image: nothing is made if it cannot be written."""
    text = plain_text("the description", description or "")
    return single("DESCRIPTION", text) if text else ""


def _look_for(name: str) -> str:
    """Advice when an answer is lost: the engine allows an account one image of each name."""
    return f"an image named {name!r} may have been created: there can be only one of that name"


def _first_disk(machine: Machine) -> str:
    for disk in machine.disks:
        if disk["id"] and disk["image"]:
            return disk["id"]
    raise ConflictError(f"node {machine.id} has no disk that was made from an image")
