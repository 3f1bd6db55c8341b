"""The rules about images, machine images and volumes alike (modern 4)."""

import time

from stratuslab_libcloud.sandbox.opennebula import rights
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.documents import image_document
from stratuslab_libcloud.sandbox.opennebula.image_uses import (
    DELETE,
    DISABLED,
    ERROR,
    LOCKED,
    READY,
    USED_PERS,
)
from stratuslab_libcloud.sandbox.opennebula.new_images import TYPES
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    API,
    AUTHORIZATION,
    INTERNAL,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.rights import obtain, pool
from stratuslab_libcloud.sandbox.opennebula.states import IMAGE_STATES
from stratuslab_libcloud.sandbox.opennebula.templates import flat, parse
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import TemplateError

__all__ = ["delete", "info", "listing", "permit", "rename", "update"]


def info(core: Core, account: Account, number: int, decrypt: bool = False) -> str:
    """Return the document of an image."""
    with core.reading() as book:
        return image_document(obtain(book, account, Image, number, "USE"), core.is_new)


def listing(core: Core, account: Account, flag: int, start: int, end: int) -> str:
    """Return the documents of a part of the pool."""
    with core.reading() as book:
        images = pool(book, account, Image, flag, start, end)
    documents = "".join(image_document(image, core.is_new) for image in images)
    return f"<IMAGE_POOL>{documents}</IMAGE_POOL>"


def delete(core: Core, account: Account, number: int, force: bool = False) -> int:
    """Delete an image that nothing uses."""
    with core.changing() as book:
        image = obtain(book, account, Image, number, "MANAGE")
        if image.state == DELETE:
            return number
        if image.vms or image.cloning:
            text = f"Cannot delete image. There are {len(image.vms)} VMs using it."
            raise RefusedError(text, ACTION)
        if image.state == LOCKED and not force:
            text = "Image locked, use --force flag to remove the image. "
            text += "Force delete may leave some files on Datastore"
            raise RefusedError(text, INTERNAL, number)
        image.state, image.prev_state = DELETE, image.state
        book.put(image)
        book.then.append(lambda: core.step(lambda: _deleted(core, image)))
    return number


def _deleted(core: Core, image: Image) -> None:
    reason = core.failure("delete")
    if not reason:
        core.files.delete(image.source)
    with core.changing() as book:
        if reason:
            image.state = ERROR
            text = "Error removing image from datastore. Retry the operation"
            image.template["ERROR"] = f"{time.ctime()} : {text}: {reason}"
            book.put(image)
        else:
            book.drop(image)


def rename(core: Core, account: Account, number: int, name: str) -> int:
    """Rename an image; machines that have it keep showing the old name."""
    with core.changing() as book:
        rights.rename(book, account, Image, number, name, "image")
    return number


def update(core: Core, account: Account, number: int, text: str, mode: int = 0) -> int:
    """Replace (0) or add (1) the image's own attributes."""
    if mode not in (0, 1):
        raise RefusedError("Wrong update type", API)
    try:
        values = flat(parse(text, strip=core.is_new)) if text.strip() else {}
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None
    if "SOURCE" in values:
        wrong = "Cannot update template. User Template includes a restricted attribute SOURCE"
        raise RefusedError(wrong, INTERNAL)
    with core.changing() as book:
        image = obtain(book, account, Image, number, "MANAGE")
        image.template = values if mode == 0 else image.template | values
        book.put(image)
    return number


def permit(core: Core, account: Account, number: int, *bits: int) -> int:
    """Change permissions."""
    with core.changing() as book:
        rights.permit(book, account, Image, number, bits)
    return number


def chown(core: Core, account: Account, number: int, uid: int, gid: int) -> int:
    """Refuse to give an image away, as the engine does for users."""
    with core.reading() as book:
        obtain(book, account, Image, number, "MANAGE")
    if uid not in (-1, account.uid):
        raise RefusedError(f"Not authorized to perform MANAGE USER [{uid}].", AUTHORIZATION)
    if gid not in (-1, 1):
        raise RefusedError(f"Not authorized to perform USE GROUP [{gid}].", AUTHORIZATION)
    return number


def persistent(core: Core, account: Account, number: int, on: bool) -> int:
    """Make an image persistent, or not."""
    what = f"make image {'' if on else 'non-'}persistent"
    with core.changing() as book:
        image = _at_rest(book, account, number, what)
        image.persistent = on
        book.put(image)
    return number


def enable(core: Core, account: Account, number: int, on: bool) -> int:
    """Enable an image, after an error too, or disable it."""
    with core.changing() as book:
        image = _at_rest(book, account, number, f"{'enable' if on else 'disable'} image")
        image.state = READY if on else DISABLED
        book.put(image)
    return number


def _at_rest(book: Book, account: Account, number: int, what: str) -> Image:
    image = obtain(book, account, Image, number, "MANAGE")
    if image.state not in (READY, DISABLED, ERROR):
        shown = "USED" if image.state == USED_PERS else IMAGE_STATES[image.state]
        raise RefusedError(f"Could not {what}: Image cannot be in state {shown}.", INTERNAL)
    return image


def chtype(core: Core, account: Account, number: int, kind: str) -> int:
    """Change the type of an image."""
    with core.changing() as book:
        image = obtain(book, account, Image, number, "MANAGE")
        if kind.upper() not in TYPES:
            raise RefusedError("known type ", INTERNAL)  # without its beginning, as recorded
        image.type = TYPES.index(kind.upper())
        book.put(image)
    return number


def lock(core: Core, account: Account, number: int, level: int, test: bool = False) -> int:
    """Keep everybody from changing an image."""
    with core.changing() as book:
        image = obtain(book, account, Image, number, "MANAGE")
        image.locked = int(time.time())
        book.put(image)
    return number


def unlock(core: Core, account: Account, number: int) -> int:
    """Let an image be changed again."""
    with core.changing() as book:
        rights.unlock(book, account, Image, number)
    return number
