"""What the parts of an OpenNebula cloud share: its engine, and waiting for its images."""

from stratuslab_libcloud.client.http.processes import Services, once_per_process
from stratuslab_libcloud.client.opennebula.documents import EngineImage
from stratuslab_libcloud.client.opennebula.engine import Engine
from stratuslab_libcloud.client.opennebula.states import ERROR, LOCKED
from stratuslab_libcloud.client.opennebula.waiting import wait_until
from stratuslab_libcloud.configuration.settings import Settings
from stratuslab_libcloud.errors import (
    ConfigurationError,
    MissingCredentialsError,
    NotFoundError,
    ServiceError,
)

__all__ = ["Connected"]

_WAITS = 5  # times the time-out: how long a call may wait for what the engine does meanwhile


class Connected(Services):
    """The part of the cloud that the others build on."""

    def __init__(
        self, settings: Settings, *, timeout: float = 60.0, proxy_url: str | None = None
    ) -> None:
        """See :class:`.Services`."""
        super().__init__(settings, timeout=timeout, proxy_url=proxy_url)
        self._patience = _WAITS * timeout
        self._failed: dict[str, list[str]] = {}  # ids of the images of failed machines

    @once_per_process
    def engine(self) -> Engine:
        """The engine."""
        settings = self.settings
        if not settings.endpoint:
            raise ConfigurationError(
                f"there is no endpoint in {settings.where}; set it there, or use another location"
            )
        if settings.credentials is None:
            raise MissingCredentialsError(
                f"there are no complete credentials in {settings.where}; set username and password"
            )
        return Engine(settings.endpoint, settings.credentials, self._options())

    @property
    def volume_account(self) -> object:
        """The same: an engine keeps machines and volumes."""
        return self.machine_account

    def _finished(self, image_id: str, what: str, patience: float | None = None) -> EngineImage:
        """
        Wait until an image has been made, which the engine does after it has answered.

        :param what: what it is, for messages.
        :param patience: seconds; default: five times the time-out.
        :raises ServiceError: it could not be made; the text has the engine's reason.
        :raises UnavailableError: it takes too long.
        """
        found = self._unlocked(image_id, what, patience)
        if found.state == ERROR:
            reason = found.error or "the cloud gives no reason"
            raise ServiceError(
                f"{what} {image_id} could not be made: {reason}",
                advice=f"{what} {image_id} exists all the same",
            )
        return found

    def _unlocked(self, image_id: str, what: str, patience: float | None = None) -> EngineImage:
        """Wait until an image has been made, or has not."""
        return wait_until(
            lambda image: image.state not in (0, LOCKED),
            lambda: self.engine.image(image_id),
            self._patience if patience is None else patience,
            f"making {what} {image_id}",
            f"{what} {image_id} exists all the same",
        )

    def _delete(self, image_id: str, what: str) -> None:
        """Delete an image, and wait until it is gone: only then its name is free again."""
        number = int(image_id)
        try:
            self.engine.change("one.image.delete", number)
        except NotFoundError as error:
            if not error.retried:
                raise
            return
        except ServiceError as error:
            if "mage locked" not in error.value:
                raise
            self._unlocked(image_id, what)
            self.engine.change("one.image.delete", number)
        left = wait_until(
            lambda image: image is None or image.state == ERROR,
            lambda: self._remaining(image_id),
            self._patience,
            f"deleting {what} {image_id}",
            "it goes on all the same",
        )
        if left is not None:
            reason = left.error or "the cloud gives no reason"
            raise ServiceError(
                f"{what} {image_id} could not be deleted: {reason}", advice="delete it again"
            )

    def _remaining(self, image_id: str) -> EngineImage | None:
        try:
            return self.engine.image(image_id)
        except NotFoundError:
            return None
