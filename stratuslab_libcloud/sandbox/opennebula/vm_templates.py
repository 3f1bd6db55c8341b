"""The templates that machines are made of (modern 6)."""

import time
from dataclasses import replace

from stratuslab_libcloud.sandbox.opennebula import machines, rights
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.documents import template_document
from stratuslab_libcloud.sandbox.opennebula.records import Book, Image, VmTemplate, owned
from stratuslab_libcloud.sandbox.opennebula.refusals import (
    ACTION,
    ALLOCATE,
    API,
    AUTHORIZATION,
    INTERNAL,
    RefusedError,
)
from stratuslab_libcloud.sandbox.opennebula.rights import bad_name, obtain, pool, taken
from stratuslab_libcloud.sandbox.opennebula.templates import merge, parse, restricted
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Template, TemplateError, Vector

__all__ = ["allocate", "clone", "delete", "info", "instantiate", "listing"]

_NEW = "Error allocating a new virtual machine template. "


def _parsed(core: Core, text: str) -> Template:
    try:
        return parse(text, strip=core.is_new)
    except TemplateError as error:
        raise RefusedError(str(error), INTERNAL) from None


def allocate(core: Core, account: Account, text: str) -> int:
    """Register a template."""
    template = _parsed(core, text)
    with core.changing() as book:
        name = _new_name(book, account, template.text("NAME"))
        kept = [(key, value) for key, value in template.attributes if key != "NAME"]
        new = VmTemplate(**owned(account), name=name, template=Template(kept))  # type: ignore[arg-type]
        return book.add(new)


def _new_name(book: Book, account: Account, name: str) -> str:
    name = name.strip()
    if wrong := bad_name(name) or taken(book, VmTemplate, account.uid, name):
        raise RefusedError(wrong, INTERNAL)
    return name


def info(core: Core, account: Account, number: int, extended: bool = False) -> str:
    """Return the document of a template."""
    with core.reading() as book:
        return template_document(obtain(book, account, VmTemplate, number, "USE"))


def listing(core: Core, account: Account, flag: int, start: int, end: int) -> str:
    """Return the documents of a part of the pool."""
    with core.reading() as book:
        found = pool(book, account, VmTemplate, flag, start, end)
    return f"<VMTEMPLATE_POOL>{''.join(map(template_document, found))}</VMTEMPLATE_POOL>"


def instantiate(
    core: Core,
    account: Account,
    number: int,
    name: str,
    hold: bool = False,
    text: str = "",
    persistent: bool = False,
) -> int:
    """
    Start a machine from a template.

    :param text: replaces whole attributes of it.
    """
    extra = _parsed(core, text) if text.strip() else Template([])
    with core.changing() as book:
        found = obtain(book, account, VmTemplate, number, "USE")
        if persistent:
            raise RefusedError("Failed to clone images: the sandbox does not", ACTION)
        _check_restricted(found.template, extra)
        whole = merge(found.template, extra)
        whole.set("NAME", name)
        whole.set("TEMPLATE_ID", str(number))
        try:
            machine = machines.register(core, book, account, whole, hold=hold)
        except RefusedError as refused:
            if refused.code != INTERNAL:
                raise
            if not core.is_new and str(refused).startswith("CPU"):
                raise RefusedError(f"user [{account.uid}] {refused}", AUTHORIZATION) from None
            raise RefusedError(f"{_NEW}{refused}", ALLOCATE) from None
        if not name.strip():
            machine.name = f"{found.name}-{machine.id}"
            book.put(machine)
    return machine.id


def _check_restricted(base: Template, extra: Template) -> None:
    """Refuse to replace what an administrator restricted (modern 6)."""
    for name in {name for name, _ in extra.attributes}:
        same = Template([(key, value) for key, value in base.attributes if key == name])
        if restricted(same):
            text = f"User Template includes a restricted attribute {name}."
            raise RefusedError(text, AUTHORIZATION)


def clone(core: Core, account: Account, number: int, name: str, images: bool = False) -> int:
    """Copy a template."""
    with core.changing() as book:
        found = obtain(book, account, VmTemplate, number, "USE")
        name = _new_name(book, account, name)
        whose = owned(account)
        born = int(time.time())
        copy = replace(found, **whose, name=name, born=born, permissions="110000000")  # type: ignore[arg-type]
        return book.add(copy)


def delete(core: Core, account: Account, number: int, images: bool = False) -> int:
    """Delete a template; its images stay."""
    with core.changing() as book:
        book.drop(obtain(book, account, VmTemplate, number, "MANAGE"))
    return number


def rename(core: Core, account: Account, number: int, name: str) -> int:
    """Rename a template."""
    with core.changing() as book:
        rights.rename(book, account, VmTemplate, number, name, "template")
    return number


def update(core: Core, account: Account, number: int, text: str, mode: int = 0) -> int:
    """Replace (0) or add to (1) a template."""
    if mode not in (0, 1):
        raise RefusedError("Wrong update type", API)
    extra = _parsed(core, text) if text.strip() else Template([])
    with core.changing() as book:
        found = obtain(book, account, VmTemplate, number, "MANAGE")
        found.template = merge(found.template, extra) if mode else extra
        book.put(found)
    return number


def permit(core: Core, account: Account, number: int, *bits: int) -> int:
    """Change permissions."""
    with core.changing() as book:
        rights.permit(book, account, VmTemplate, number, bits[:9])
    return number


def offered_template(image: Image) -> VmTemplate:
    """Make the template that starts an image which the site offers."""
    attributes: list[tuple[str, str | Vector]] = [
        ("CPU", "1"),
        ("VCPU", "1"),
        ("MEMORY", "512"),
        ("DISK", {"IMAGE_ID": str(image.id)}),
        ("NIC", {"NETWORK": "public", "NETWORK_UNAME": "oneadmin"}),
        ("CONTEXT", {"NETWORK": "YES", "SSH_PUBLIC_KEY": "$USER[SSH_PUBLIC_KEY]"}),
    ]
    template = Template(attributes)
    return VmTemplate(name=image.name, permissions="110000100", template=template)
