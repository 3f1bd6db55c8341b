"""The states of images, which follow from what uses them (modern 4)."""

from stratuslab_libcloud.sandbox.opennebula.records import Book, Image
from stratuslab_libcloud.sandbox.opennebula.refusals import ACTION, RefusedError
from stratuslab_libcloud.sandbox.opennebula.states import IMAGE_STATES

__all__ = [
    "CLONE",
    "DELETE",
    "DISABLED",
    "ERROR",
    "LOCKED",
    "READY",
    "USED",
    "USED_PERS",
    "WAITING",
    "reserve",
    "settle",
]

READY, USED, DISABLED, LOCKED, ERROR, CLONE, DELETE, USED_PERS = range(1, 9)
LOCKED_USED, LOCKED_USED_PERS = 9, 10
WAITING = (LOCKED, LOCKED_USED, LOCKED_USED_PERS)  # until they have been made


def settle(image: Image) -> None:
    """Give an image the state that follows from what uses it."""
    image.prev_state = image.state
    if image.state in (DISABLED, ERROR, DELETE):
        return
    if image.state in WAITING and not image.source:
        locked_used = LOCKED_USED_PERS if image.persistent else LOCKED_USED
        image.state = locked_used if image.vms else LOCKED
    elif image.cloning:
        image.state = CLONE if image.persistent else USED
    elif image.vms:
        image.state = USED_PERS if image.persistent else USED
    else:
        image.state = READY


def reserve(book: Book, image: Image, vm_id: int, *, locked_too: bool) -> None:
    """
    Let a machine use an image.

    :param locked_too: whether it may wait for one that is still being made.
    :raises RefusedError: it cannot be used now.
    """
    cannot = f"Cannot acquire image {image.id}, "
    shareable = image.template.get("PERSISTENT_TYPE", "").upper() == "SHAREABLE"
    if image.state in WAITING and not locked_too:
        raise RefusedError(f"{cannot}it is locked", ACTION)
    if image.state in (DISABLED, ERROR, CLONE, DELETE):
        raise RefusedError(f"{cannot}it is in state: {IMAGE_STATES[image.state]}", ACTION)
    if image.persistent and image.vms and not shareable:
        raise RefusedError(f"{cannot}it is persistent and already in use", ACTION)
    image.vms.append(vm_id)
    settle(image)
    book.put(image)
