"""Images that are made: empty ones, and copies of others (modern 4)."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.opennebula import quotas, sources
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.image_uses import (
    CLONE,
    ERROR,
    LOCKED,
    READY,
    USED,
    USED_PERS,
    settle,
)
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image, owned
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    ALLOCATE,
    AUTHORIZATION,
    INTERNAL,
    NO_EXISTS,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.rights import bad_name, obtain, taken
from stratuslab_libcloud.sandbox.opennebula.sources import Source
from stratuslab_libcloud.sandbox.opennebula.states import IMAGE_STATES
from stratuslab_libcloud.sandbox.opennebula.templates import flat, parse, whole
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import TemplateError

__all__ = ["FREE_MIB", "TYPES", "allocate", "clone", "made", "new_name", "spoil"]

TYPES = ("OS", "CDROM", "DATABLOCK", "KERNEL", "RAMDISK", "CONTEXT")
FREE_MIB = 1 << 20
_DATASTORES = (0, 1, 2)
_NEW = "Error allocating a new image. "
_OWN = ("NAME", "TYPE", "SIZE", "PERSISTENT", "FORMAT", "PATH", "FROM_APP")


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
    source = _source(core, account, values)
    size = source.size
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
        book.then.append(lambda: core.step(lambda: made(core, image.id, source.fill)))
    return image.id


def _source(core: Core, account: Account, values: dict[str, str]) -> Source:
    """Find where the content comes from; a SIZE beside that is ignored."""
    if number := values.get("FROM_APP"):
        return sources.of_app(core, number)
    if path := values.get("PATH"):
        return sources.of_path(core, path)
    text = values.get("SIZE", "").strip()
    size = whole(text.removeprefix("-"))
    if size is None:
        wrong = "Cannot parse image SIZE: Wrong number or missing SIZE attribute."
        raise RefusedError(wrong, INTERNAL)
    if text.startswith("-") and size:
        wrong = f"user [{account.uid}] Image size must be a positive integer value."
        raise RefusedError(wrong, AUTHORIZATION)
    return Source(size)


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


def made(core: Core, number: int, fill: Callable[[str], object] | None = None) -> None:
    """
    Finish an image that is LOCKED: make its file, and use it.

    :param fill: called with the name of its file, to fill it; an empty one stays empty.
    """
    with core.reading() as book:
        image = book.find(Image, number)
    if image is None:
        return
    reason, name = core.failure("image"), ""
    try:
        if reason:
            raise MachineError(reason)
        name = core.files.create(image.size)
        if fill:
            fill(name)
    except MachineError as error:
        reason = str(error)
        core.files.delete(name)
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
