"""The engine's states, and what each of them allows (modern 4 to 7): one table for each kind."""

from stratuslab_libcloud.client.data import Machine

__all__ = ["IMAGE_STATES", "VOLUME_STATES", "changing", "gone", "plugging", "stopping"]

LOCKED, ERROR, DELETE = 4, 5, 7

IMAGE_STATES = {
    0: "INIT",
    1: "READY",
    2: "USED",
    3: "DISABLED",
    LOCKED: "LOCKED",  # it is being made
    ERROR: "ERROR",
    6: "CLONE",  # it is being copied
    DELETE: "DELETE",
    8: "USED_PERS",
    9: "LOCKED_USED",  # machines wait until it has been made
    10: "LOCKED_USED_PERS",
}

VOLUME_STATES = {
    0: "creating",
    LOCKED: "creating",
    ERROR: "error",
    DELETE: "deleting",
    9: "creating",
    10: "creating",
}
"""Volumes in another state can be used, or are."""

_ACTIVE, _DONE = 3, 6
# LCM_STATE of an active machine to which nothing more will happen by itself: RUNNING, UNKNOWN, and
# the failures. In any other the engine is at work, and refuses most actions until it is done.
_AT_REST = {3, 16, *range(36, 43), 44, *range(46, 51), 61}
_ENDING = {11, 12, 23}  # EPILOG, SHUTDOWN, CLEANUP_DELETE
_STOPPING = {5, 6, 10, 18, 29, 30}  # on its way to STOPPED, SUSPENDED, POWEROFF or UNDEPLOYED
_PLUGGING = {17, 25, 33, 34, 65}  # a disk or a network card comes or goes


def changing(machine: Machine) -> bool:
    """Whether the engine is at work on a machine."""
    return machine.state == 0 or (machine.state == _ACTIVE and machine.lcm_state not in _AT_REST)


def gone(machine: Machine) -> bool:
    """Whether a machine has ended, or is about to and nothing can keep it from that."""
    return machine.state == _DONE or (machine.state == _ACTIVE and machine.lcm_state in _ENDING)


def stopping(machine: Machine) -> bool:
    """Whether a machine will soon rest, and can be started again then."""
    return machine.state == _ACTIVE and machine.lcm_state in _STOPPING


def plugging(machine: Machine) -> bool:
    """Whether a disk is being attached or detached."""
    return machine.state == _ACTIVE and machine.lcm_state in _PLUGGING
