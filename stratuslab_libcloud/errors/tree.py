"""The classes that :mod:`stratuslab_libcloud.errors` exports, and whose tree it shows."""

from collections.abc import Mapping, Sequence
from typing import Any

from libcloud.common.types import (
    InvalidCredsError,
    LibcloudError,
    MalformedResponseError,
    ProviderError,
    ServiceUnavailableError,
)

from stratuslab_libcloud import errors
from stratuslab_libcloud.errors import asked
from stratuslab_libcloud.untrusted.text import one_line


class StratusLabError(LibcloudError):
    """
    The root of this package's errors.

    Details that are not given are taken from the current request: see :mod:`.errors.asked`.

    :ivar value: what happened.
    :ivar said: the words of the service about it, or ``""``.
    :ivar advice: what to do about it, or ``""``.
    :ivar location: id of the location that was asked, or ``""``.
    :ivar endpoint: URL of the service that was asked, or ``""``.
    :ivar driver: the driver that was called, or ``None``.
    :ivar http_code: status of the answer, or ``None`` where there was no answer.
    :ivar retried: whether an earlier attempt at the same request may have had its effect.
    :ivar passing: whether the same request may succeed later.
    :ivar sent: whether the request, or a part of it, may have reached the service.
    """

    passing = False
    sent = False

    def __init__(
        self,
        value: str,
        *,
        advice: str = "",
        location: str = "",
        endpoint: str = "",
        driver: Any = None,
        http_code: int | None = None,
        retried: bool = False,
        passing: bool | None = None,
        said: str = "",
    ) -> None:
        now = asked.current()
        if passing is not None:
            self.passing = passing
        if now.sent:
            self.sent = now.sent()
        self.value = now.text(value, passing=self.passing)
        # Not super(): the Libcloud classes mixed in below take other arguments.
        Exception.__init__(self, self.value)
        self.said = now.masking(said)
        self.advice = now.doubt if now.doubt and self.in_doubt else advice
        self.http_code = http_code
        self.endpoint = endpoint or now.endpoint
        self.location = location or now.location
        self.driver = driver or now.driver
        self.body: str | None = None
        self.retried = retried or now.retried

    @property
    def in_doubt(self) -> bool:
        """Whether the request may have had its effect all the same."""
        return self.sent

    def __str__(self) -> str:
        where = f"{self.location} ({self.endpoint})" if self.location else self.endpoint
        where = one_line(where if self.endpoint else self.location)
        what = one_line(self.value) + (f"; {one_line(self.advice)}" if self.advice else "")
        return f"{where}: {what}" if where else what

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the driver, which contains passwords.
        return type(self), self.args, {**self.__dict__, "driver": None}


class ConfigurationError(StratusLabError, ValueError):
    """The configuration cannot be used; the text names the file, the section and the key."""

    def __str__(self) -> str:
        return one_line(self.value)  # which already names the place


class InvalidValueError(StratusLabError, ValueError):
    """An argument was refused before anything was sent."""


class UntrustedImageError(StratusLabError):
    """
    An image's Marketplace entry is not signed as ``verify_images``, ``trusted_endorsers`` and
    ``trusted_ca`` require; nothing was sent to the compute service.
    """


class ConnectionFailedError(StratusLabError):
    """There was no connection, or no complete answer in time."""

    sent = True
    passing = True


class LostAnswerError(ConnectionFailedError):
    """A request that is sent only once got no answer; it may have been carried out."""


class MalformedAnswerError(StratusLabError, MalformedResponseError):
    """
    An answer cannot be used: it is HTML, truncated, too large, or about something that was not
    asked about.
    """

    passing = True


class ServiceError(StratusLabError, ProviderError):  # type: ignore[misc]
    """
    The service answered that it refused or failed.

    :ivar refused: whether it is certain that the service did not do what it was asked to do.
    """

    refused = True

    def __init__(self, value: str, *, refused: bool | None = None, **known: Any) -> None:
        if refused is not None:
            self.refused = refused
        super().__init__(value, **known)

    @property
    def in_doubt(self) -> bool:
        return self.sent and not self.refused


class CredentialsError(ServiceError, InvalidCredsError):  # type: ignore[misc]
    """The user name, password or certificate was not accepted."""


class MissingCredentialsError(ConfigurationError, InvalidCredsError):  # type: ignore[misc]
    """The configuration holds no complete set of credentials."""


class NotPermittedError(ServiceError):
    """The account may not do this."""


class QuotaExceededError(NotPermittedError):
    """The account has a limit, and this would exceed it; the text says which."""


class NotFoundError(ServiceError):
    """The thing does not exist, or no longer exists."""


class ConflictError(ServiceError):
    """The thing is in the wrong state, in use, or exists already."""


class NotSupportedError(ServiceError, NotImplementedError):  # type: ignore[misc]
    """This service has no such operation; Libcloud's drivers raise ``NotImplementedError`` then."""


class UnavailableError(ServiceError, ServiceUnavailableError):  # type: ignore[misc]
    """
    The service failed or is overloaded; retrying later may help.

    :ivar retry_after: seconds to wait before retrying (``Retry-After``).
    """

    passing = True
    refused = False

    def __init__(self, value: str, *, retry_after: float = 0.0, **known: Any) -> None:
        super().__init__(value, **known)
        self.retry_after = retry_after


class NodeFailedError(StratusLabError):
    """A node that was waited for has failed, for the reason that the cloud gives, or has ended."""


class NodeNotReadyError(StratusLabError):
    """
    Time ran out before a node was running, or before it accepted a login.

    If errors occurred while waiting, the text names them, and ``__cause__`` is the last.
    """

    passing = True


class PartialListError(StratusLabError):
    """
    Some locations could not be listed.

    :ivar found: the nodes or volumes of the other locations.
    :ivar failures: the error of each location that failed, by its id.
    """

    def __init__(
        self, value: str, found: Sequence[Any] = (), failures: Mapping[str, Exception] | None = None
    ) -> None:
        super().__init__(value)
        self.found = list(found)
        self.failures = dict(failures or {})


# Pickles and tracebacks name the classes by the module that users import.
for _name in errors.__all__:
    globals()[_name].__module__ = errors.__name__
