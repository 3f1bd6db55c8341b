"""What the sandbox reports: to the user who starts it, and to the owners of machines."""

__all__ = ["MachineError", "SandboxError", "UnsettledError"]


class SandboxError(Exception):
    """The sandbox cannot be started so. One line, for the user."""


class MachineError(Exception):
    """A machine cannot do, or be, what is asked. One line, for its owner."""


class UnsettledError(MachineError):
    """What was asked for may have happened all the same, or may happen yet."""
