"""The snapshots that machines' disks leave in their images (modern 7)."""

from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.image_uses import LOCKED, READY
from stratuslab_libcloud.sandbox.opennebula.records import Image
from stratuslab_libcloud.sandbox.opennebula.refusals import ACTION, RefusedError
from stratuslab_libcloud.sandbox.opennebula.rights import obtain
from stratuslab_libcloud.sandbox.opennebula.states import IMAGE_STATES
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["delete", "flatten", "revert"]


def delete(core: Core, account: Account, number: int, snapshot: int) -> int:
    """Delete a snapshot that a machine's disk left in its image."""
    return _with_snapshot(core, account, number, snapshot, "delete")


def revert(core: Core, account: Account, number: int, snapshot: int) -> int:
    """Take an image back to a snapshot."""
    return _with_snapshot(core, account, number, snapshot, "revert to")


def flatten(core: Core, account: Account, number: int, snapshot: int) -> int:
    """Take an image to a snapshot, and forget all of them."""
    return _with_snapshot(core, account, number, snapshot, "flatten")


def _with_snapshot(core: Core, account: Account, number: int, snapshot: int, what: str) -> int:
    with core.changing() as book:
        image = obtain(book, account, Image, number, "MANAGE")
        if image.state != READY:
            shown = IMAGE_STATES[image.state]
            raise RefusedError(f"Cannot {what} snapshot in state {shown}", ACTION)
        if not any(one["ID"] == str(snapshot) for one in image.snapshots):
            raise RefusedError("Snapshot does not exist", ACTION)
        image.state = LOCKED
        book.put(image)
        book.then.append(lambda: core.step(lambda: _snapshot_done(core, number, snapshot, what)))
    return number


def _snapshot_done(core: Core, number: int, snapshot: int, what: str) -> None:
    with core.changing() as book:
        image = book.find(Image, number)
        if image is None:
            return
        file = core.files.path(image.source)
        kept = core.files.path(f"{image.source}.{snapshot}")
        if what != "delete" and kept.exists():
            core.files.copy(kept, file)
        if what == "delete":
            image.snapshots = [one for one in image.snapshots if one["ID"] != str(snapshot)]
            kept.unlink(missing_ok=True)
        elif what == "flatten":
            image.snapshots = []
        else:
            for one in image.snapshots:
                one.pop("ACTIVE", None)
                if one["ID"] == str(snapshot):
                    one["ACTIVE"] = "YES"
        image.state = READY
        book.put(image)
