"""
Pickle and copy nodes, volumes, images, sizes and locations without their driver's secrets.

The pickle of one refers to its driver. The reference finds that driver, or a copy of it, if the
process has one; otherwise it makes a driver that reads the configuration file again.
"""

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

__all__ = ["Portable", "Reference", "enlist", "reference"]

# The drivers of this process by identity: those that callers made, and those made below.
_LIVING: WeakValueDictionary[str, Any] = WeakValueDictionary()
_MADE: WeakValueDictionary[str, Any] = WeakValueDictionary()


@dataclass(frozen=True)
class Reference:
    """
    Stands for a driver in the pickle of a node or the like.

    :ivar identity: the same for a driver and its copies, in any process.
    :ivar state: for making a driver if there is none; contains no secret.
    """

    kind: type[Any]
    identity: str
    state: dict[str, Any] = field(repr=False)

    def restored(self) -> Any:
        """Return the driver, or one like it."""
        for drivers in (_LIVING, _MADE):
            driver = drivers.get(self.identity)
            if driver is not None:
                return driver
        made: Any = object.__new__(self.kind)
        made.__setstate__(self.state)
        return _MADE.setdefault(self.identity, made)


class Portable:
    """Mixed into Libcloud's class of nodes, volumes, images, sizes or locations."""

    def __getstate__(self) -> dict[str, Any]:
        return _packed(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        _unpack(self, state)


@dataclass(frozen=True)
class _Plain:
    """Stands for a size or an image that a caller made, in the pickle of a node."""

    kind: type[Any]
    state: dict[str, Any]

    def restored(self) -> Any:
        thing: Any = object.__new__(self.kind)
        _unpack(thing, self.state)
        return thing


def _packed(thing: Any) -> dict[str, Any]:
    """Return the state of an object, with references in place of drivers."""
    state = dict(thing.__dict__)
    for name, value in state.items():
        state[name] = reference(value)
        if hasattr(getattr(value, "driver", None), "_refer") and not isinstance(value, Portable):
            state[name] = _Plain(type(value), _packed(value))
    return state


def _unpack(thing: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        restored = value.restored() if isinstance(value, (Reference, _Plain)) else value
        setattr(thing, name, restored)


def reference(driver: Any) -> Any:
    """Return a reference to a driver; return any other value unchanged."""
    return driver._refer() if hasattr(driver, "_refer") else driver


def enlist(driver: Any, identity: str) -> None:
    """Let references find a driver, as long as it exists."""
    _LIVING.setdefault(identity, driver)
