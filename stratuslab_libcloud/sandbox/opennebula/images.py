"""The rules about images, machine images and volumes alike (modern 4)."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.opennebula import quotas
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.documents import image_document
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image, owned
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    ALLOCATE,
    API,
    AUTHORIZATION,
    INTERNAL,
    NO_EXISTS,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.rights import (
    bad_name,
    chmod,
    demand,
    may,
    obtain,
    pool,
    taken,
)
from stratuslab_libcloud.sandbox.opennebula.states import IMAGE_STATES
from stratuslab_libcloud.sandbox.opennebula.templates import flat, parse
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import TemplateError

__all__ = ["FREE_MIB", "TYPES", "made", "new_name", "permit", "reserve", "settle", "spoil"]

READY, USED, DISABLED, LOCKED, ERROR, CLONE, DELETE, USED_PERS = range(1, 9)
LOCKED_USED, LOCKED_USED_PERS = 9, 10
TYPES = ("OS", "CDROM", "DATABLOCK", "KERNEL", "RAMDISK", "CONTEXT")
FREE_MIB = 1 << 20
_DATASTORES = (0, 1, 2)
_NEW = "Error allocating a new image. "
_OWN = ("NAME", "TYPE", "SIZE", "PERSISTENT", "FORMAT", "PATH")


def allocate(core: Core, account: Account, text: str, datastore: int, check: bool = True) -> int:
    """Make an image, empty or of a path."""
    try:
        values = flat(parse(text, strip=core.is_new))
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None
    if datastore < 0:
        raise RefusedError("Error getting datastore Pool.", NO_EXISTS)
    if datastore not in _DATASTORES:
        raise RefusedError(f"Error getting datastore [{datastore}].", NO_EXISTS, datastore)
    if "SOURCE" in values:
        raise RefusedError("Template includes a restricted attribute SOURCE.", AUTHORIZATION)
    kind = values.get("TYPE", "OS").upper()
    size = _size(account, values)
    with core.changing() as book:
        name = new_name(book, account, values.get("NAME", ""))
        _check_kind(kind, datastore)
        quotas.check(book, account, {"IMAGES 1": 1, "SIZE 1": size})
        if size > FREE_MIB:
            raise RefusedError("Not enough space in datastore", ACTION)
        image = Image(
            **owned(account),  # type: ignore[arg-type]
            name=name,
            type=TYPES.index(kind),
            persistent=values.get("PERSISTENT", "").upper() == "YES",
            size=size,
            format=values.get("FORMAT") or "raw",
            datastore=datastore,
            template={"DEV_PREFIX": "sd"} | {k: v for k, v in values.items() if k not in _OWN},
        )
        book.add(image)
        book.then.append(lambda: core.step(lambda: made(core, image.id)))
    return image.id


def _size(account: Account, values: dict[str, str]) -> int:
    text = values.get("SIZE", "").strip()
    if "PATH" in values or "FROM_APP" in values:
        if "FROM_APP" in values:
            raise RefusedError("Cannot determine image SIZE.", INTERNAL)
        reason = "the sandbox makes no images of a PATH"
        raise RefusedError(f"Cannot parse image SIZE: {reason}", INTERNAL)
    if not text.removeprefix("-").isdecimal():
        wrong = "Cannot parse image SIZE: Wrong number or missing SIZE attribute."
        raise RefusedError(wrong, INTERNAL)
    if int(text) < 0:
        wrong = f"user [{account.uid}] Image size must be a positive integer value."
        raise RefusedError(wrong, AUTHORIZATION)
    return int(text)


def _check_kind(kind: str, datastore: int) -> None:
    if datastore == 0:
        only = "New images can only be allocated in a files or image datastore."
        raise RefusedError(_NEW + only, ALLOCATE)
    if kind not in TYPES:
        raise RefusedError(f"{_NEW}Unknown type ", ALLOCATE)
    if datastore == 2 and kind not in ("KERNEL", "RAMDISK", "CONTEXT"):
        only = "Only IMAGES of type KERNEL, RAMDISK and CONTEXT can be registered in a FILE_DS"
        raise RefusedError(f"{_NEW}{only} datastore", ALLOCATE)


def new_name(book: Book, account: Account, name: str) -> str:
    """
    Return the name of a new image, without blanks around it.

    :raises RefusedError: it is not a name, or an image of the account has it.
    """
    name = name.strip()
    if wrong := bad_name(name) or taken(book, Image, account.uid, name):
        raise RefusedError(_NEW + wrong, ALLOCATE)
    return name


def made(core: Core, number: int, fill: Callable[[str], object] | None = None) -> None:
    """
    Finish an image that is LOCKED: make its file, and use it.

    :param fill: called with the name of its file, to fill it; an empty one stays empty.
    """
    with core.reading() as book:
        image = book.find(Image, number)
    if image is None:
        return
    reason = core.failure("image")
    try:
        if reason:
            raise MachineError(reason)
        name = core.files.create(image.size)
        if fill:
            fill(name)
    except MachineError as error:
        reason = str(error)
    with core.changing() as book:
        image = book.find(Image, number)
        if image is None:
            return
        if image.cloning_id >= 0 and (original := book.find(Image, image.cloning_id)):
            original.cloning -= 1
            settle(original)
            book.put(original)
        image.cloning_id = -1
        if reason:
            spoil(image, reason)
        else:
            image.source, image.state = name, READY
            settle(image)
        book.put(image)
        waiting = list(image.vms)
        book.then.append(lambda: core.image_settled(waiting))


def spoil(image: Image, reason: str) -> None:
    """Record that an image could not be made."""
    image.state = ERROR
    text = f"Error copying image in the datastore: {reason}"
    image.template["ERROR"] = f"{time.ctime()} : {text}"


def settle(image: Image) -> None:
    """Give an image the state that follows from what uses it."""
    image.prev_state = image.state
    if image.state in (DISABLED, ERROR, DELETE):
        return
    if image.state in (LOCKED, LOCKED_USED, LOCKED_USED_PERS) and not image.source:
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
    if image.state in (LOCKED, LOCKED_USED, LOCKED_USED_PERS) and not locked_too:
        raise RefusedError(f"{cannot}it is locked", ACTION)
    if image.state in (DISABLED, ERROR, CLONE, DELETE):
        raise RefusedError(f"{cannot}it is in state: {IMAGE_STATES[image.state]}", ACTION)
    if image.persistent and image.vms and not shareable:
        raise RefusedError(f"{cannot}it is persistent and already in use", ACTION)
    image.vms.append(vm_id)
    settle(image)
    book.put(image)


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


def clone(core: Core, account: Account, number: int, name: str, datastore: int = -1) -> int:
    """Copy an image, which needs the right to use it only."""
    with core.changing() as book:
        image = obtain(book, account, Image, number, "USE")
        name = new_name(book, account, name)
        if image.state not in (READY, USED, CLONE):
            shown = "USED" if image.state == USED_PERS else IMAGE_STATES[image.state]
            raise RefusedError(f"{_NEW}Cannot clone image in state: {shown}", ALLOCATE)
        quotas.check(book, account, {"IMAGES 1": 1, "SIZE 1": image.size})
        copy = replace(
            image,
            **owned(account),  # type: ignore[arg-type]
            name=name,
            permissions="110000000",
            locked=0,
            born=int(time.time()),
            state=LOCKED,
            source="",
            cloning_id=number,
            cloning=0,
            vms=[],
            snapshots=[],
            template=dict(image.template),
        )
        book.add(copy)
        image.cloning += 1
        settle(image)
        book.put(image)
        source = image.source
        book.then.append(
            lambda: core.step(lambda: made(core, copy.id, partial(core.files.fill, source=source)))
        )
    return copy.id


def rename(core: Core, account: Account, number: int, name: str) -> int:
    """Rename an image; machines that have it keep showing the old name."""
    with core.changing() as book:
        image = obtain(book, account, Image, number, "MANAGE")
        name = name.strip()
        if wrong := bad_name(name):
            raise RefusedError(wrong, ACTION)
        other = book.named(Image, image.uid, name)
        if other and other.id != number:
            text = f"image cannot be renamed to {name} because it collides with image {other.id}"
            raise RefusedError(text, ACTION)
        image.name = name
        book.put(image)
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
        image = obtain(book, account, Image, number, "USE")
        chmod(account, image, bits)
        book.put(image)
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
            raise RefusedError("Unknown type ", INTERNAL)
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
        image = obtain(book, account, Image, number, "USE")
        image.locked = 0
        if not may(account, image, "MANAGE"):
            demand(account, image, "MANAGE")
        book.put(image)
    return number


def snapshot_delete(core: Core, account: Account, number: int, snapshot: int) -> int:
    """Delete a snapshot that a machine's disk left in its image."""
    return _with_snapshot(core, account, number, snapshot, "delete")


def snapshot_revert(core: Core, account: Account, number: int, snapshot: int) -> int:
    """Take an image back to a snapshot."""
    return _with_snapshot(core, account, number, snapshot, "revert to")


def snapshot_flatten(core: Core, account: Account, number: int, snapshot: int) -> int:
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
