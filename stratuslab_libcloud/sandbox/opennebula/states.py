"""The states of machines and images, and what may be asked of a machine in each (modern 4, 6)."""

from typing import NamedTuple

__all__ = [
    "ACTIONS",
    "BOOT_FAILURE",
    "CLONING",
    "CLONING_FAILURE",
    "DONE",
    "EPILOG_FAILURE",
    "FAILURES",
    "FOLLOWING",
    "HOLD",
    "HOTPLUG",
    "IMAGE_STATES",
    "KNOWN",
    "PENDING",
    "POWEROFF",
    "PROLOG_FAILURE",
    "RUNNING",
    "STEPS",
    "STOPPED",
    "SUSPENDED",
    "UNDEPLOYED",
    "Now",
    "Request",
    "state_name",
]

Now = tuple[int, int]

PENDING, HOLD, RUNNING, HOTPLUG = (1, 0), (2, 0), (3, 3), (3, 17)
STOPPED, SUSPENDED, DONE, POWEROFF, UNDEPLOYED = (4, 0), (5, 0), (6, 0), (8, 0), (9, 0)
CLONING, CLONING_FAILURE = (10, 0), (11, 0)
BOOT_FAILURE, PROLOG_FAILURE, EPILOG_FAILURE = (3, 36), (3, 39), (3, 40)
FAILURES = {BOOT_FAILURE, PROLOG_FAILURE, EPILOG_FAILURE}

IMAGE_STATES = (
    *("INIT", "READY", "USED", "DISABLED", "LOCKED", "ERROR", "CLONE", "DELETE", "USED_PERS"),
    *("LOCKED_USED", "LOCKED_USED_PERS"),
)
_STATES = (
    *("INIT", "PENDING", "HOLD", "ACTIVE", "STOPPED", "SUSPENDED", "DONE", "FAILED", "POWEROFF"),
    *("UNDEPLOYED", "CLONING", "CLONING_FAILURE"),
)
_LCM_STATES = {
    0: "LCM_INIT",
    1: "PROLOG",
    2: "BOOT",
    3: "RUNNING",
    5: "SAVE_STOP",
    6: "SAVE_SUSPEND",
    9: "PROLOG_RESUME",
    10: "EPILOG_STOP",
    11: "EPILOG",
    12: "SHUTDOWN",
    16: "UNKNOWN",
    17: "HOTPLUG",
    18: "SHUTDOWN_POWEROFF",
    19: "BOOT_UNKNOWN",
    20: "BOOT_POWEROFF",
    21: "BOOT_SUSPENDED",
    22: "BOOT_STOPPED",
    23: "CLEANUP_DELETE",
    24: "HOTPLUG_SNAPSHOT",
    26: "HOTPLUG_SAVEAS",
    27: "HOTPLUG_SAVEAS_POWEROFF",
    28: "HOTPLUG_SAVEAS_SUSPENDED",
    29: "SHUTDOWN_UNDEPLOY",
    30: "EPILOG_UNDEPLOY",
    31: "PROLOG_UNDEPLOY",
    32: "BOOT_UNDEPLOY",
    33: "HOTPLUG_PROLOG_POWEROFF",
    34: "HOTPLUG_EPILOG_POWEROFF",
    36: "BOOT_FAILURE",
    39: "PROLOG_FAILURE",
    40: "EPILOG_FAILURE",
    51: "DISK_SNAPSHOT_POWEROFF",
    52: "DISK_SNAPSHOT_REVERT_POWEROFF",
    53: "DISK_SNAPSHOT_DELETE_POWEROFF",
    54: "DISK_SNAPSHOT_SUSPENDED",
    57: "DISK_SNAPSHOT",
    59: "DISK_SNAPSHOT_DELETE",
    62: "DISK_RESIZE",
    63: "DISK_RESIZE_POWEROFF",
    66: "HOTPLUG_RESIZE",
}


def state_name(now: Now) -> str:
    """Return the engine's word for a state."""
    return _LCM_STATES.get(now[1], str(now[1])) if now[0] == 3 else _STATES[now[0]]


# What a machine is doing, to the states that it goes through as the machinery reports phases. A
# phase that is not here changes nothing that anybody sees.
STEPS: dict[str, dict[str, Now]] = {
    "deploy": {"PROLOG": (3, 1), "BOOT": (3, 2), "RUNNING": RUNNING},
    "from POWEROFF": {"PROLOG": (3, 20), "BOOT": (3, 20), "RUNNING": RUNNING},
    "from UNDEPLOYED": {"PROLOG": (3, 31), "BOOT": (3, 32), "RUNNING": RUNNING},
    "from UNKNOWN": {"PROLOG": (3, 19), "BOOT": (3, 19), "RUNNING": RUNNING},
    "run": {"RUNNING": RUNNING, "EPILOG": RUNNING, "DONE": POWEROFF},
    "reboot": {"RUNNING": RUNNING, "PROLOG": RUNNING},
    "terminate": {"RUNNING": RUNNING, "EPILOG": (3, 11), "DONE": DONE},
    "poweroff": {"RUNNING": RUNNING, "DONE": POWEROFF},
    "undeploy": {"RUNNING": RUNNING, "EPILOG": (3, 30), "DONE": UNDEPLOYED},
}


class Request(NamedTuple):
    """What an accepted action does."""

    first: Now  #: the state that the machine enters at once
    task: str = ""  #: what it is doing then; empty if that does not change
    ask: str = ""  #: of the machinery: a phase to enter, ``pause`` or ``go on``
    last: Now | None = None  #: the state that follows, where the machinery reports none
    between: Now | None = None


def _both(action: str, soft: Request, hard: Request | None = None) -> dict[str, Request]:
    return {action: soft, f"{action}-hard": hard or soft}


_END = Request(DONE)
_KILL = Request((3, 11), "terminate", "CLEANUP")
_CLEANUP = Request((3, 23), "terminate", "CLEANUP")
_RUNNING = {
    **_both(
        "terminate",
        Request((3, 12), "terminate", "SHUTDOWN"),
        Request((3, 12), "terminate", "CLEANUP"),
    ),
    **_both(
        "poweroff",
        Request((3, 18), "poweroff", "SHUTDOWN"),
        Request((3, 18), "poweroff", "CLEANUP"),
    ),
    **_both(
        "undeploy",
        Request((3, 29), "undeploy", "SHUTDOWN"),
        Request((3, 29), "undeploy", "CLEANUP"),
    ),
    **_both(
        "reboot", Request(RUNNING, "reboot", "SHUTDOWN"), Request(RUNNING, "reboot", "CLEANUP")
    ),
    "suspend": Request((3, 6), "", "pause", SUSPENDED),
    "stop": Request((3, 5), "", "pause", STOPPED, (3, 10)),
}
_RESTART = Request(PENDING, "from UNDEPLOYED", "PENDING")

# By the name of the state: the actions that are accepted (modern 6). All others are refused.
ACTIONS: dict[str, dict[str, Request]] = {
    "PENDING": {**_both("terminate", _END), "hold": Request(HOLD)},
    "HOLD": {**_both("terminate", _END), "release": Request(PENDING, "deploy", "PENDING")},
    "CLONING": {"terminate-hard": _END},
    "CLONING_FAILURE": {"terminate": _END, "terminate-hard": _END},
    "RUNNING": _RUNNING,
    "SHUTDOWN": {"terminate-hard": Request((3, 12), "terminate", "CLEANUP")},
    "SHUTDOWN_POWEROFF": {"poweroff-hard": Request((3, 18), "poweroff", "CLEANUP")},
    "UNKNOWN": {
        **_both("terminate", Request((3, 12), "terminate", "CLEANUP")),
        **_both("poweroff", Request((3, 18), "poweroff", "CLEANUP")),
        **_both("undeploy", Request((3, 29), "undeploy", "CLEANUP")),
        "resume": Request((3, 19), "from UNKNOWN", "PENDING"),
    },
    "BOOT_FAILURE": _both("terminate", _CLEANUP),
    "PROLOG_FAILURE": _both("terminate", _CLEANUP),
    "EPILOG_FAILURE": _both("terminate", _CLEANUP),
    "POWEROFF": {
        **_both("terminate", _KILL),
        **_both("undeploy", Request((3, 30), "", "", UNDEPLOYED)),
        "resume": Request((3, 20), "from POWEROFF", "PENDING"),
    },
    "SUSPENDED": {
        **_both("terminate", _KILL),
        "resume": Request((3, 21), "", "go on", RUNNING),
        "stop": Request((3, 10), "", "", STOPPED),
    },
    "STOPPED": {
        **_both("terminate", _KILL),
        "resume": Request(PENDING, "", "go on", RUNNING, (3, 22)),
    },
    "UNDEPLOYED": {**_both("terminate", _KILL), "resume": _RESTART},
    "DONE": _both("terminate", Request(DONE)),
}

# The state that follows one in which the machinery reports nothing, for machines that are adopted.
FOLLOWING: dict[Now, Now] = {
    request.first: request.last
    for actions in ACTIONS.values()
    for request in actions.values()
    if request.last
}

KNOWN = {action for actions in ACTIONS.values() for action in actions}
