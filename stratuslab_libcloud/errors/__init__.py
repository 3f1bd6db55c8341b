"""
The errors of this package, in one tree.

    LibcloudError
     +- StratusLabError                 everything below; str() is one plain line
         +- ConfigurationError          (ValueError) the configuration cannot be used
         |   +- MissingCredentialsError (InvalidCredsError)
         +- InvalidValueError           (ValueError) refused before anything was sent
         +- UntrustedImageError         an image's entry is not signed as the configuration requires
         +- ConnectionFailedError       no connection, or no whole answer in time
         |   +- LostAnswerError         sent once, no answer: it may have been carried out
         +- MalformedAnswerError        (MalformedResponseError) an answer that cannot be read, or
         |                              is about something that was not asked about
         +- ServiceError                (ProviderError) the service refused, or failed
         |   +- CredentialsError        (InvalidCredsError)
         |   +- NotPermittedError
         |   |   +- QuotaExceededError  a limit of the account
         |   +- NotFoundError
         |   +- ConflictError           wrong state, in use, already there
         |   +- NotSupportedError       (NotImplementedError) this service has no such operation
         |   +- UnavailableError        (ServiceUnavailableError) its own fault, perhaps temporary
         +- NodeFailedError             a node that was waited for has failed or ended
         +- NodeNotReadyError           time ran out before a node was ready
         +- PartialListError            some locations answered, others did not

The classes derive from Libcloud's, and Libcloud takes long to load, which happens when the first of
them is used. A module that must load fast imports ``errors`` (``from stratuslab_libcloud import
errors``) and writes ``errors.ConfigurationError`` where it raises or catches one.
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
        QuotaExceededError,
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
    "QuotaExceededError",
    "ServiceError",
    "StratusLabError",
    "UnavailableError",
    "UntrustedImageError",
]


if not TYPE_CHECKING:  # otherwise mypy would accept any name

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        tree = vars(import_module(f"{__name__}.tree"))
        globals().update({known: tree[known] for known in __all__})
        return tree[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
