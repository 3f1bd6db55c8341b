"""Persistent disks over REST (pdisk-rest): list, create, change, delete, mount, unmount."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlencode

from stratuslab_libcloud.client.data import Mount, Volume
from stratuslab_libcloud.client.engine.ids import checked_id, is_id
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.client.stratuslab.pdisk_answers import (
    about,
    object_of,
    objects_of,
    optional,
    text,
    to_volume,
)
from stratuslab_libcloud.client.stratuslab.pdisk_fields import (
    IMAGE,
    LIVE,
    checked_fields,
    checked_size,
    checked_uuid,
    is_uuid,
)
from stratuslab_libcloud.client.stratuslab.transfers import (
    Download,
    Form,
    Progress,
    packed,
    received,
)
from stratuslab_libcloud.configuration.settings import Certificate, Credentials
from stratuslab_libcloud.errors import (
    ConflictError,
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    NotPermittedError,
    ServiceError,
    StratusLabError,
)

__all__ = ["StorageClient", "advise", "undoing"]

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_WHOLE_DISK = 10  # times the time-out, as the service copies or packs a disk before it answers
_MOST_DOWNLOADED = 1 << 41
_IF_NOT_FOUND = "is pdisk_endpoint right?"


class StorageClient:
    """The persistent disk service of one site."""

    def __init__(self, endpoint: str, credentials: Credentials, options: HTTPOptions) -> None:
        self.endpoint = endpoint
        way = "cert" if isinstance(credentials, Certificate) else "pswd"
        self._url = f"{endpoint}/{way}"
        self._whole_disk = options.timeout * _WHOLE_DISK
        self._service = Service(endpoint, credentials, options, url=self._url)

    def close(self) -> None:
        """Close idle connections."""
        self._service.close()

    def url(self, uuid: str) -> str:
        """Where a disk is (pdisk-rest 2.2)."""
        return f"{self._url}/disks/{checked_uuid(uuid)}"

    def uri(self, uuid: str) -> str:
        """Write the name of a disk for a machine's template (pdisk-rest 6)."""
        return f"pdisk:{self.endpoint}/{checked_uuid(uuid)}"

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
            f"/disks/{checked_uuid(uuid)}/",
            lambda a: to_volume(about(object_of(a), uuid=uuid)),
            accept=_JSON,
        )

    def create(self, size: int, tag: str, visibility: str = "private") -> str:
        """
        Create a disk.

        :param size: GiB, 1 to 1024.
        :return: the new disk's UUID.
        """
        fields = {"size": str(checked_size(size)), **checked_fields(tag, visibility)}
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

    def copy(self, uuid: str) -> Volume:
        """
        Copy an image disk on write (pdisk-rest 2.2.3); one request, which is sent once.

        :raises ConflictError: the disk is not an image, or a machine has it.
        """
        copied = self._copy(uuid, identifier=f"snapshot:{checked_uuid(uuid)}", type=LIVE)
        if not copied.owner:
            raise NotPermittedError(
                f"disk {copied.id} is a copy of disk {uuid}, but belongs to nobody: on this site "
                "only the operator can copy disks"
            )
        return copied

    def rebase(self, uuid: str) -> Volume:
        """
        Make an image disk of a machine's disk (pdisk-rest 2.2.3); one request, which is sent once.

        :return: the image; some services turn the same disk into one.
        :raises ConflictError: the disk is not one that a machine can start from, or one has it.
        """
        return self._copy(uuid, type=IMAGE)

    def _copy(self, uuid: str, **asked: str) -> Volume:
        return self._service.send(
            "POST",
            f"/disks/{checked_uuid(uuid)}",
            lambda a: to_volume(about(object_of(a), **asked)),
            accept=_JSON,
            body=b"",
            content_type=_FORM,
            if_lost=f"disk {uuid} may have been copied: look for the copy in the list of volumes",
            timeout=self._whole_disk,
        )

    def upload(self, path: Path, progress: Progress) -> Volume:
        """
        Make a disk of an image file, in gzip or not; two requests, the first of which is sent once.

        :raises MalformedAnswerError: the disk has another checksum than the file; it was deleted.
        """
        with packed(path) as (image, identify):
            try:
                uuid = self._send_image(path, Form(image, progress))
            except ServiceError as error:
                if error.http_code == 400:
                    identify()  # fails if it is the file that is damaged
                raise
            with self.deleting(uuid):
                made, expected = self.get(uuid), identify()
                if made.identifier not in (None, expected):
                    raise MalformedAnswerError(
                        f"stored the image {path} with the identifier {made.identifier}, not "
                        f"{expected}: it was damaged on its way",
                        passing=False,
                    )
        return made

    def _send_image(self, path: Path, form: Form) -> str:
        return self._service.send(
            "POST",
            "/disks/",
            _read_uploaded,
            accept=_JSON,
            body=cast(IO[bytes], form),
            content_type=form.content_type,
            if_not_found=_IF_NOT_FOUND,
            if_lost=f"a disk may have been made of {path}: look for one without a name in the list "
            "of volumes",
            timeout=self._whole_disk,
        )

    def download(self, uuid: str, path: Path, progress: Progress) -> None:
        """
        Write a disk to a file, which appears when it is whole; two requests.

        :param path: in gzip if it ends in ``.gz``, else as it is on the disk.
        """
        size = self.get(uuid).size

        def receive(file: IO[bytes]) -> None:
            download = Download(
                file,
                keep=path.suffix == ".gz",
                largest=None if size is None else size << 30,
                progress=progress,
            )
            self._service.send(
                "GET",
                f"/disks/{checked_uuid(uuid)}/",
                download.read,
                accept="application/x-gzip",
                headers=download.headers,
                streamed=True,
                largest=_MOST_DOWNLOADED,
                timeout=self._whole_disk,
            )

        received(path, receive)

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
        fields = checked_fields(tag, visibility, kind)
        if not fields:
            raise InvalidValueError("there is nothing to change about the volume")
        self._service.send(
            "PUT",
            f"/disks/{checked_uuid(uuid)}",
            partial(_read_update, uuid),
            accept=_JSON,
            body=urlencode(fields).encode("ascii"),
            content_type=_FORM,
        )

    def delete(self, uuid: str) -> None:
        """Delete a disk and its contents."""
        self._delete(f"/disks/{checked_uuid(uuid)}/", uuid=uuid)

    @contextmanager
    def deleting(self, uuid: str) -> Iterator[None]:
        """Delete a new disk again unless the block succeeds; if that fails, the error says so."""
        with undoing(lambda: self.delete(uuid), f"disk {uuid} was created, and may be left over"):
            yield

    def mounts(self, uuid: str) -> list[Mount]:
        """List the machines that the disk is attached to."""
        return self._service.send(
            "GET", f"/disks/{checked_uuid(uuid)}/mounts/", _read_mounts, accept=_JSON
        )

    def mount(self, uuid: str, machine_id: str, host: str) -> Mount:
        """
        Plug a disk into a running machine.

        :param host: name of the host that the machine runs on.
        """
        fields = {"node": host, "vm_id": machine_id}
        device = self._service.send(
            "POST",
            f"/disks/{checked_uuid(uuid)}/mounts/",
            lambda a: text(about(object_of(a), uuid=uuid, vm_id=machine_id), "target"),
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
        mount_id = f"{checked_uuid(uuid)}_{checked_id(machine_id)}"
        answer = self._delete(
            f"/disks/{uuid}/mounts/{mount_id}", mountId=mount_id, diskId=uuid, vmId=machine_id
        )
        if answer.get("target") == "static":
            # Old servers answer 200 and drop the mount, but the disk stays in the machine.
            raise ConflictError(
                f"disk {uuid} has not been hot-plugged; it stays in node {machine_id} until the "
                "node is stopped"
            )
        return optional(answer, "target") or ""

    def _delete(self, path: str, **asked: str) -> dict[str, Any]:
        try:
            return self._service.send(
                "DELETE", path, lambda a: about(object_of(a), **asked), accept=_JSON
            )
        except NotFoundError as error:
            if error.retried:
                return {}  # an earlier attempt succeeded
            raise


@contextmanager
def undoing(undo: Callable[[], object], otherwise: str) -> Iterator[None]:
    """
    Undo something unless the block succeeds.

    :param otherwise: what the error says if it cannot be undone.
    """
    try:
        yield
    except BaseException as error:
        try:
            undo()
        except StratusLabError:
            if isinstance(error, StratusLabError):
                advise(error, otherwise)
        raise


def advise(error: StratusLabError, advice: str) -> None:
    """Add to what an error says."""
    error.advice = "; ".join(filter(None, (error.advice, advice)))


# -- reading answers ---------------------------------------------------------------------------


def _read_created(answer: Answer) -> str:
    uuid = text(object_of(answer), "uuid")
    if not is_uuid(uuid):
        raise MalformedAnswerError("answered no UUID")
    return uuid


def _read_disks(answer: Answer) -> list[Volume]:
    return [to_volume(item) for item in objects_of(answer)]


def _read_uploaded(answer: Answer) -> str:
    """Read See Other, as usual, or the disk (pdisk-rest 2.1.3)."""
    if answer.status == 200:
        return _read_created(answer)
    uuid = answer.headers.get("Location", "").rstrip("/").rpartition("/")[2]
    if not is_uuid(uuid):
        raise MalformedAnswerError("answered no UUID")
    return uuid


def _read_update(uuid: str, answer: Answer) -> None:
    """Read See Other, as usual, or the disk, or nothing (pdisk-rest 2.2.4)."""
    if answer.status == 200:
        about(object_of(answer), uuid=uuid)
    elif is_uuid(seen := answer.headers.get("Location", "").rstrip("/").rpartition("/")[2]):
        about({"uuid": seen}, uuid=uuid)


def _read_mounts(answer: Answer) -> list[Mount]:
    mounts = [Mount(text(item, "vmId"), text(item, "device")) for item in objects_of(answer)]
    if not all(is_id(mount.machine_id) for mount in mounts):
        raise MalformedAnswerError("answered a mount with an invalid machine id")
    return mounts
