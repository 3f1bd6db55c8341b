"""
What can go wrong, in one tree.

    LibcloudError
     +- StratusLabError                 everything below; str() is one plain line
         +- ConfigurationError          (ValueError) the configuration cannot be used
         |   +- MissingCredentialsError (InvalidCredsError)
         +- InvalidValueError           (ValueError) refused before anything was sent
         +- UntrustedImageError         an image's entry is not signed as the configuration requires
         +- ConnectionFailedError       no connection, or no whole answer in time
         |   +- LostAnswerError         sent once, no answer: it may have been carried out
         +- MalformedAnswerError        (MalformedResponseError) an answer that cannot be read, or
         |                              that is about something else than was asked for
         +- ServiceError                (ProviderError) the service said no
         |   +- CredentialsError        (InvalidCredsError)
         |   +- NotPermittedError
         |   +- NotFoundError
         |   +- ConflictError           wrong state, in use, already there
         |   +- NotSupportedError       this service has no such operation
         |   +- UnavailableError        (ServiceUnavailableError) its own fault, perhaps passing
         +- NodeFailedError             a node that was waited for will not run
         +- NodeNotReadyError           a node that was waited for is not ready yet: time ran out
         +- PartialListError            some locations answered, others did not

The classes are Libcloud's, too, and Libcloud takes long to load: that happens when the first of
them is used. A module that must load fast says ``from stratuslab_libcloud import errors``, and
``errors.ConfigurationError`` where it raises or catches one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stratuslab_libcloud.errors.tree import (
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        CredentialsError,
        InvalidValueError,
        LostAnswerError,
        MalformedAnswerError,
        MissingCredentialsError,
        NodeFailedError,
        NodeNotReadyError,
        NotFoundError,
        NotPermittedError,
        NotSupportedError,
        PartialListError,
        ServiceError,
        StratusLabError,
        UnavailableError,
        UntrustedImageError,
    )

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "CredentialsError",
    "InvalidValueError",
    "LostAnswerError",
    "MalformedAnswerError",
    "MissingCredentialsError",
    "NodeFailedError",
    "NodeNotReadyError",
    "NotFoundError",
    "NotPermittedError",
    "NotSupportedError",
    "PartialListError",
    "ServiceError",
    "StratusLabError",
    "UnavailableError",
    "UntrustedImageError",
]


if not TYPE_CHECKING:  # which would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        tree = vars(import_module(f"{__name__}.tree"))
        globals().update({known: tree[known] for known in __all__})
        return tree[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
