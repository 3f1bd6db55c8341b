"""Errors of the sandbox: for the user who starts it, and for the owners of machines."""

import contextlib
from collections.abc import Iterator

__all__ = ["MachineError", "SandboxError", "UnsettledError", "failing"]


class SandboxError(Exception):
    """The sandbox cannot do what its user asked. The text is one line."""


class MachineError(Exception):
    """A machine cannot do what its owner asked. The text is one line."""


class UnsettledError(MachineError):
    """The request may have taken effect all the same, or may take effect later."""


@contextlib.contextmanager
def failing(what: str) -> Iterator[None]:
    """Begin the text of errors in the block as the engine does (compute-xmlrpc 5.1)."""
    try:
        yield
    except MachineError as error:
        raise MachineError(f"{what}: {error}") from error
