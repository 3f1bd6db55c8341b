"""The pages about disks: one's own, and those that others have made public."""

from collections.abc import Callable, Mapping
from typing import Any

from werkzeug import Response

from stratuslab_libcloud.sandbox.machines import HOST
from stratuslab_libcloud.sandbox.pages.machines import running
from stratuslab_libcloud.sandbox.pages.visit import Visit
from stratuslab_libcloud.sandbox.storage.forms import MAX_GIB
from stratuslab_libcloud.sandbox.storage.records import RequestRefusedError
from stratuslab_libcloud.sandbox.storage.rest import STATUS, send_disk
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["ROWS"]

_NEW = {"tag": "", "size": "1", "visibility": "private"}


def _show_disks(visit: Visit, refused: RequestRefusedError | None = None) -> Response:
    """Show all disks; if one could not be created, the form as it was sent."""
    storage = visit.services.storage
    values = {
        "disks": storage.disks(visit.account),
        "mounts": storage.all_mounts(visit.account),
        "others": storage.others(visit.account),
        "new": {**_NEW, **visit.form} if refused else _NEW,
        "most": MAX_GIB,
    }
    return _show(visit, "storage.html", refused, values)


def _create(visit: Visit) -> Response:
    form = {name: visit.form[name] for name in _NEW if name in visit.form}
    try:
        disk = visit.services.storage.create(visit.account, form)
    except RequestRefusedError as refused:
        return _show_disks(visit, refused)
    return visit.go("storage", disk, done="created")


def _show_disk(
    visit: Visit, disk: str, refused: RequestRefusedError | None = None, tag: str | None = None
) -> Response:
    """
    Show a disk; if something could not be done with it, say so.

    :param tag: the name that it could not be given.
    """
    storage = visit.services.storage
    found = storage.disk(visit.account, disk)
    own = visit.account.is_super or found["owner"] == visit.account.name
    values = {
        "disk": found,
        "own": own,
        "mounts": storage.mounts(visit.account, disk) if own else [],
        "machines": running(visit) if own else [],
        "tag": found["tag"] if tag is None else tag,
    }
    return _show(visit, "disk.html", refused, values)


def _show(
    visit: Visit, template: str, refused: RequestRefusedError | None, values: Mapping[str, Any]
) -> Response:
    status, error = (STATUS[refused.kind], str(refused)) if refused else (200, "")
    return visit.show(template, status, error=error, **values)


def _change(
    visit: Visit,
    disk: str,
    change: Callable[[Account, str, Any], object],
    how: object,
    done: str,
    tag: str | None = None,
) -> Response:
    """Change a disk by one of the rules, and show it again."""
    try:
        change(visit.account, disk, how)
    except RequestRefusedError as refused:
        return _show_disk(visit, disk, refused, tag)
    return visit.go("storage", disk, done=done)


def _rename(visit: Visit, disk: str) -> Response:
    tag = visit.form.get("tag", "")
    return _change(visit, disk, visit.services.storage.update, {"tag": tag}, "renamed", tag)


def _change_visibility(visit: Visit, disk: str) -> Response:
    visibility = visit.form.get("visibility", "")
    how = {"visibility": visibility}
    return _change(visit, disk, visit.services.storage.update, how, visibility.lower())


def _attach(visit: Visit, disk: str) -> Response:
    form = {"node": HOST, "vm_id": visit.form.get("machine", "")}
    return _change(visit, disk, visit.services.storage.attach, form, "attached")


def _detach(visit: Visit, disk: str) -> Response:
    mount = f"{disk}_{visit.form.get('machine', '')}"
    return _change(visit, disk, visit.services.storage.detach, mount, "detached")


def _download(visit: Visit, disk: str) -> Response:
    try:
        return send_disk(visit.services.storage, visit.request, visit.account, disk)
    except RequestRefusedError as refused:
        return _show_disk(visit, disk, refused)


def _ask_delete(visit: Visit, disk: str) -> Response:
    found = visit.services.storage.disk(visit.account, disk)
    return visit.show(
        "confirm.html",
        place="storage",
        question=f"Delete the disk {found['tag'] or disk}?",
        consequence=f"Its {found['size']} GiB are lost for good. This cannot be undone.",
        verb="Delete this disk",
        action=visit.path("storage", disk, "delete"),
        back=visit.path("storage", disk),
    )


def _delete(visit: Visit, disk: str) -> Response:
    try:
        visit.services.storage.delete(visit.account, disk)
    except RequestRefusedError as refused:
        return _show_disk(visit, disk, refused)
    return visit.go("storage", done="deleted")


ROWS = (
    ("GET", "/storage", _show_disks),
    ("POST", "/storage", _create),
    ("GET", "/storage/<disk>", _show_disk),
    ("POST", "/storage/<disk>/tag", _rename),
    ("POST", "/storage/<disk>/visibility", _change_visibility),
    ("POST", "/storage/<disk>/attach", _attach),
    ("POST", "/storage/<disk>/detach", _detach),
    ("GET", "/storage/<disk>/download", _download),
    ("GET", "/storage/<disk>/delete", _ask_delete),
    ("POST", "/storage/<disk>/delete", _delete),
)
