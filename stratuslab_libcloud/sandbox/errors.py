"""Errors of the sandbox: for the user who starts it, and for the owners of machines."""

__all__ = ["MachineError", "SandboxError", "UnsettledError"]


class SandboxError(Exception):
    """The sandbox cannot do what its user asked. The text is one line."""


class MachineError(Exception):
    """A machine cannot do what its owner asked. The text is one line."""


class UnsettledError(MachineError):
    """The request may have taken effect all the same, or may take effect later."""
