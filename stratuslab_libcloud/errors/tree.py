"""The classes that :mod:`stratuslab_libcloud.errors` shows; it has the tree of them."""

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
from stratuslab_libcloud.untrusted.text import one_line


class StratusLabError(LibcloudError):
    """
    The root of this package's errors.

    :ivar value: what happened.
    :ivar advice: what to do about it, or ``""``.
    :ivar location: id of the location that was asked, or ``""``.
    :ivar endpoint: URL of the service that was asked, or ``""``.
    :ivar driver: the driver that was called, or ``None``.
    :ivar http_code: status of the answer, where there was one.
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
    ) -> None:
        # Not super(): the Libcloud classes mixed in below take other arguments, and none is needed.
        Exception.__init__(self, value)
        self.value = value
        self.advice = advice
        self.http_code = http_code
        self.endpoint = endpoint
        self.location = location
        self.driver = driver
        self.body: str | None = None
        self.retried = retried

    def __str__(self) -> str:
        where = f"{self.location} ({self.endpoint})" if self.location else self.endpoint
        where = one_line(where if self.endpoint else self.location)
        what = one_line(self.value) + (f"; {one_line(self.advice)}" if self.advice else "")
        return f"{where}: {what}" if where else what

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # The driver has passwords; and what an error is about is in its text.
        return type(self), self.args, {**self.__dict__, "driver": None}


class ConfigurationError(StratusLabError, ValueError):
    """The configuration cannot be used; names the file, the section and the key."""

    def __str__(self) -> str:
        return one_line(self.value)  # which says where already


class InvalidValueError(StratusLabError, ValueError):
    """An argument that no service would accept; nothing was sent."""


class UntrustedImageError(StratusLabError):
    """
    An image's Marketplace entry is not signed as ``verify_images``, ``trusted_endorsers`` and
    ``trusted_ca`` require; nothing was sent to the compute service.
    """


class ConnectionFailedError(StratusLabError):
    """No connection, or no whole answer in time."""

    sent = True
    passing = True


class LostAnswerError(ConnectionFailedError):
    """A request that is sent only once got no answer: it may have been carried out."""


class MalformedAnswerError(StratusLabError, MalformedResponseError):
    """
    An answer that cannot be read, or believed: HTML, a truncated document, something too large, or
    about something else than was asked for.
    """

    passing = True


class ServiceError(StratusLabError, ProviderError):  # type: ignore[misc]
    """
    The service answered, and said no.

    :ivar refused: whether it is sure not to have done what it was asked to do.
    """

    refused = True


class CredentialsError(ServiceError, InvalidCredsError):  # type: ignore[misc]
    """User name, password or certificate were not accepted."""


class MissingCredentialsError(ConfigurationError, InvalidCredsError):  # type: ignore[misc]
    """The configuration holds no complete set of credentials."""


class NotPermittedError(ServiceError):
    """The account may not do this."""


class NotFoundError(ServiceError):
    """There is no such thing (any more)."""


class ConflictError(ServiceError):
    """The thing is not in a state in which this can be done."""


class NotSupportedError(ServiceError):
    """This service has no such operation."""


class UnavailableError(ServiceError, ServiceUnavailableError):  # type: ignore[misc]
    """
    The service failed, or is overloaded; trying again later may help.

    :ivar retry_after: seconds that it asked to be left alone for.
    """

    retry_after = 0.0
    passing = True
    refused = False


class NodeFailedError(StratusLabError):
    """A node that was waited for failed (with the cloud's text), or was ended."""


class NodeNotReadyError(StratusLabError):
    """
    A node that was waited for does not run yet, or lets nobody log in yet, and time ran out.

    Its text has the trouble that was met, if there was any, and ``__cause__`` that error.
    """

    passing = True


class PartialListError(StratusLabError):
    """
    Some locations could not be listed.

    :ivar found: what the other locations have.
    :ivar failures: location id to the error that it gave.
    """

    def __init__(
        self, value: str, found: Sequence[Any] = (), failures: Mapping[str, Exception] | None = None
    ) -> None:
        super().__init__(value)
        self.found = list(found)
        self.failures = dict(failures or {})


# Where users find them; pickles and tracebacks name them so.
for _name in errors.__all__:
    globals()[_name].__module__ = errors.__name__
