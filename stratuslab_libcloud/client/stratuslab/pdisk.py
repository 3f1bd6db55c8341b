"""Persistent disks over REST (pdisk-rest): list, create, change, delete, mount, unmount."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from stratuslab_libcloud.client.data import Volume
from stratuslab_libcloud.client.engine.ids import checked_id, is_id
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.listing import JSONText, bounded
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.configuration.settings import Certificate, Credentials
from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
)

__all__ = ["Mount", "StorageClient", "is_uuid"]

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_LARGEST = 1024  # GiB
_LONGEST_TAG = 40
_VISIBILITIES = ("private", "public")
_TYPES = (
    "MACHINE_IMAGE_ORIGIN",
    "MACHINE_IMAGE_LIVE",
    "DATA_IMAGE_ORIGIN",
    "DATA_IMAGE_LIVE",
    "DATA_IMAGE_RAW_READONLY",
    "DATA_IMAGE_RAW_READ_WRITE",
)
_GIB = 2**30
_DIGITS = re.compile("[0-9]+")
_BACKSLASH = re.compile(rb'\\(["\\/bfnrtu]?)')
_MOST_BACKSLASHES = 10_000_000
_IF_NOT_FOUND = "is pdisk_endpoint right?"


class Mount(NamedTuple):
    """
    A disk in a machine.

    :ivar device: such as ``vdc``; ``static`` if the disk was attached when the machine started.
    """

    machine_id: str
    device: str

    @property
    def hot_plugged(self) -> bool:
        return self.device != "static"


class StorageClient:
    """The persistent disk service of one site."""

    def __init__(self, endpoint: str, credentials: Credentials, options: HTTPOptions) -> None:
        self.endpoint = endpoint
        way = "cert" if isinstance(credentials, Certificate) else "pswd"
        self._service = Service(endpoint, credentials, options, url=f"{endpoint}/{way}")

    def close(self) -> None:
        """Close idle connections."""
        self._service.close()

    def uri(self, uuid: str) -> str:
        """Write the name of a disk for a machine's template (pdisk-rest 6)."""
        return f"pdisk:{self.endpoint}/{_checked_uuid(uuid)}"

    def disks(self, timeout: float | None = None) -> list[Volume]:
        """List the account's disks."""
        return self._service.send(
            "GET",
            "/disks/",
            _read_disks,
            accept=_JSON,
            if_not_found=_IF_NOT_FOUND,
            streamed=True,
            timeout=timeout,
        )

    def get(self, uuid: str) -> Volume:
        """Look up one disk, with everything that is known about it."""
        return self._service.send(
            "GET",
            f"/disks/{_checked_uuid(uuid)}/",
            lambda a: _to_volume(_about(_object(a), uuid=uuid)),
            accept=_JSON,
        )

    def create(self, size: int, tag: str, visibility: str = "private") -> str:
        """
        Create a disk.

        :param size: GiB, 1 to 1024.
        :return: the new disk's UUID.
        """
        fields = {"size": str(_checked_size(size)), **_checked_fields(tag, visibility)}
        return self._service.send(
            "POST",
            "/disks/",
            _read_created,
            accept=_JSON,
            body=urlencode(fields).encode("ascii"),
            content_type=_FORM,
            if_not_found=_IF_NOT_FOUND,
            if_lost=f"a disk tagged {tag!r} may have been created: look for it in the list of "
            "volumes",
        )

    def update(
        self,
        uuid: str,
        *,
        tag: str | None = None,
        visibility: str | None = None,
        kind: str | None = None,
    ) -> None:
        """
        Change what is given.

        :param kind: one of the types of pdisk-rest 3.2.
        """
        fields = _checked_fields(tag, visibility, kind)
        if not fields:
            raise InvalidValueError("there is nothing to change about the volume")
        self._service.send(
            "PUT",
            f"/disks/{_checked_uuid(uuid)}",
            partial(_read_update, uuid),
            accept=_JSON,
            body=urlencode(fields).encode("ascii"),
            content_type=_FORM,
        )

    def delete(self, uuid: str) -> None:
        """Delete a disk and its contents."""
        self._delete(f"/disks/{_checked_uuid(uuid)}/", uuid=uuid)

    def mounts(self, uuid: str) -> list[Mount]:
        """List the machines that the disk is attached to."""
        return self._service.send(
            "GET", f"/disks/{_checked_uuid(uuid)}/mounts/", _read_mounts, accept=_JSON
        )

    def mount(self, uuid: str, machine_id: str, host: str) -> Mount:
        """
        Plug a disk into a running machine.

        :param host: name of the host that the machine runs on.
        """
        fields = {"node": host, "vm_id": machine_id}
        device = self._service.send(
            "POST",
            f"/disks/{_checked_uuid(uuid)}/mounts/",
            lambda a: _text(_about(_object(a), uuid=uuid, vm_id=machine_id), "target"),
            accept=_JSON,
            body=urlencode(fields).encode("ascii"),
            content_type=_FORM,
            if_lost=f"disk {uuid} may have been attached to node {machine_id} all the same",
        )
        return Mount(machine_id, device)

    def unmount(self, uuid: str, machine_id: str) -> str:
        """
        Unplug a disk from a machine.

        :return: the device that it was; ``""`` if an earlier attempt had done it.
        :raises ConflictError: it was attached when the machine started, and stays attached.
        """
        mount_id = f"{_checked_uuid(uuid)}_{checked_id(machine_id)}"
        answer = self._delete(
            f"/disks/{uuid}/mounts/{mount_id}", mountId=mount_id, diskId=uuid, vmId=machine_id
        )
        if answer.get("target") == "static":
            # Old servers answer 200 and drop the mount, but the disk stays in the machine.
            raise ConflictError(
                f"disk {uuid} has not been hot-plugged; it stays in node {machine_id} until the "
                "node is stopped"
            )
        return _optional(answer, "target") or ""

    def _delete(self, path: str, **asked: str) -> dict[str, Any]:
        try:
            return self._service.send(
                "DELETE", path, lambda a: _about(_object(a), **asked), accept=_JSON
            )
        except NotFoundError as error:
            if error.retried:
                return {}  # an earlier attempt succeeded
            raise


def is_uuid(text: str) -> bool:
    """Whether a text has the form of a disk's UUID (lower case, as the servers write it)."""
    return bool(re.fullmatch("[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}", text))


# -- before sending ----------------------------------------------------------------------------


def _checked_uuid(uuid: str) -> str:
    if not isinstance(uuid, str) or not is_uuid(uuid):
        raise InvalidValueError(f"{uuid!r} is not the UUID of a disk")
    return uuid


def _checked_size(size: int) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _LARGEST:
        raise InvalidValueError(
            f"the size of a volume must be a whole number of GiB from 1 to {_LARGEST}, not {size!r}"
        )
    return size


def _checked_fields(
    tag: str | None, visibility: str | None, kind: str | None = None
) -> dict[str, str]:
    fields = {}
    if tag is not None:
        if not isinstance(tag, str):
            raise InvalidValueError(f"the name of a volume must be text, not {tag!r}")
        if len(tag) > _LONGEST_TAG:
            raise InvalidValueError(
                f"the name of a volume can have at most {_LONGEST_TAG} characters, not {len(tag)}"
            )
        try:
            tag.encode()
        except UnicodeEncodeError:
            raise InvalidValueError("the name of the volume is not valid Unicode") from None
        fields["tag"] = tag
    if visibility is not None:
        if visibility not in _VISIBILITIES:
            raise InvalidValueError(
                f"a volume must be {' or '.join(_VISIBILITIES)}, not {visibility!r}"
            )
        fields["visibility"] = visibility
    if kind is not None:
        if kind not in _TYPES:
            raise InvalidValueError(
                f"the type of a volume must be one of {', '.join(_TYPES)}, not {kind!r}"
            )
        fields["type"] = kind
    return fields


# -- reading answers ---------------------------------------------------------------------------


@contextmanager
def _json(answer: Answer) -> Iterator[JSONText]:
    """Parse the body of an answer, which the block must read to its end."""
    text = JSONText(_escaped(answer.pieces))
    try:
        yield text
        text.end()
    except (ValueError, RecursionError):
        kind = answer.content_type or "something unnamed"
        raise MalformedAnswerError(
            f"answered {kind} that is not JSON; is this the persistent disk service?"
        ) from None


def _escaped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Escape the backslashes that the original server leaves unescaped (pdisk-rest 1.8)."""
    kept = b""  # the backslashes at the end of a piece
    count = 0
    for piece in pieces:
        count += piece.count(b"\\")
        if count > _MOST_BACKSLASHES:
            raise ValueError("too many backslashes")
        whole = kept + piece
        end = len(whole.rstrip(b"\\"))
        yield _BACKSLASH.sub(_doubled, whole[:end])
        kept = whole[end:]
    yield kept


def _doubled(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape[1] else rb"\\"


def _object(answer: Answer) -> dict[str, Any]:
    with _json(answer) as text:
        document = text.value()
    if not isinstance(document, dict):
        raise MalformedAnswerError("answered JSON of an unexpected form")
    return document


def _objects(answer: Answer) -> Iterator[dict[str, Any]]:
    with _json(answer) as text:
        for item in bounded(text.array()):
            if not isinstance(item, dict):
                raise MalformedAnswerError("answered JSON of an unexpected form")
            yield item


def _about(document: dict[str, Any], **asked: str) -> dict[str, Any]:
    """
    Check that an answer is about the things that were asked about.

    :return: the answer.
    :raises MalformedAnswerError: it is about others; not repeated, as nobody knows what was done.
    """
    for key, wanted in asked.items():
        if key in document and _text(document, key) != wanted:
            raise MalformedAnswerError(
                f"was asked about {key} {wanted}, but answered about {_text(document, key)}",
                passing=False,
            )
    return document


def _read_created(answer: Answer) -> str:
    uuid = _text(_object(answer), "uuid")
    if not is_uuid(uuid):
        raise MalformedAnswerError("answered no UUID")
    return uuid


def _read_disks(answer: Answer) -> list[Volume]:
    return [_to_volume(item) for item in _objects(answer)]


def _read_update(uuid: str, answer: Answer) -> None:
    """Read See Other, as usual, or the disk, or nothing (pdisk-rest 2.2.4)."""
    if answer.status == 200:
        _about(_object(answer), uuid=uuid)
    elif is_uuid(seen := answer.headers.get("Location", "").rstrip("/").rpartition("/")[2]):
        _about({"uuid": seen}, uuid=uuid)


def _read_mounts(answer: Answer) -> list[Mount]:
    mounts = [Mount(_text(item, "vmId"), _text(item, "device")) for item in _objects(answer)]
    if not all(is_id(mount.machine_id) for mount in mounts):
        raise MalformedAnswerError("answered a mount with an invalid machine id")
    return mounts


def _to_volume(item: Mapping[str, Any]) -> Volume:
    """Read a disk, in any of the forms that servers write (pdisk-rest 4.4)."""
    size = _number(item.get("size"))
    if size is not None and size > _LARGEST:
        size = -(-size // _GIB)  # bytes, from a server that stores sizes as they were sent
    users = item.get("count", item.get("users"))
    visibility = _optional(item, "visibility")
    return Volume(
        id=_text(item, "uuid"),
        name=str(item.get("tag") or ""),
        size=size,
        owner=_optional(item, "owner"),
        users=_number(users),
        visibility=visibility and visibility.lower(),
        type=_optional(item, "type"),
        identifier=_optional(item, "identifier"),
        created=_optional(item, "created"),
        quarantine=_optional(item, "quarantine"),
    )


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    if isinstance(value, list) and value:
        value = value[0]
    text = str(value).strip() if isinstance(value, (str, int)) else ""
    if not text:
        raise MalformedAnswerError(f"answered JSON without {key!r}")
    return text


def _optional(item: Mapping[str, Any], key: str) -> str | None:
    value = item.get(key)
    return str(value).strip() or None if value else None


def _number(value: object) -> int | None:
    """Parse a number that may be formatted for people, such as ``1,024``."""
    digits = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    if not _DIGITS.fullmatch(digits):
        digits = re.sub("[^0-9]", "", digits)
    return int(digits) if 0 < len(digits) <= 18 else None
