"""Remember what a call has created, so that nothing is lost whatever ends it, even Ctrl-C."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from libcloud.compute.base import Node, StorageVolume, VolumeSnapshot
from libcloud.compute.types import DeploymentError

from stratuslab_libcloud.errors import StratusLabError

__all__ = ["Created", "creating"]

_LOG = logging.getLogger(__name__)


class Created:
    """
    The things that a call has created so far.

    :ivar things: nodes, volumes and snapshots that exist.
    :ivar doubts: a sentence for each request without an answer yet: something more may exist.
    """

    def __init__(self) -> None:
        self.things: list[Node | StorageVolume | VolumeSnapshot] = []
        self.doubts: list[str] = []
        self.open = False

    @contextmanager
    def asking(self, doubt: str) -> Iterator[Callable[[], None]]:
        """
        Enclose a request that creates something, and the line that adds it to ``things``.

        :param doubt: what may have happened if the answer never arrives.
        :return: a function to call immediately before the request is sent, when doubt begins.
        """
        begun = len(self.doubts)
        try:
            yield lambda: self.doubts.append(doubt)
        except StratusLabError:  # its text says so if there is doubt
            del self.doubts[begun:]
            raise
        del self.doubts[begun:]

    def announce(self, error: BaseException) -> None:
        """Attach all this to the exception that ends the call, and log it."""
        error.created = list(self.things)  # type: ignore[attr-defined]
        error.may_exist = list(self.doubts)  # type: ignore[attr-defined]
        known = [f"{_named(thing)} exists" for thing in self.things]
        if known or self.doubts:
            _LOG.warning("%s: %s", type(error).__name__, "; ".join(known + self.doubts))


def _named(thing: Node | StorageVolume | VolumeSnapshot) -> str:
    kinds = {Node: "node", StorageVolume: "volume", VolumeSnapshot: "snapshot"}
    kind = next(name for kind, name in kinds.items() if isinstance(thing, kind))
    return f"{kind} {thing.id} of location {(thing.extra or {}).get('location')}"


# Deploying creates a node, and its steps may create more.
_UNDER_WAY: ContextVar[Created | None] = ContextVar("under_way", default=None)


@contextmanager
def creating() -> Iterator[Created]:
    """
    Enclose a call that creates something; a call inside it adds to the same list.

    An interrupt, or any other exception, passes through with the two lists of :class:`Created` as
    its attributes ``created`` and ``may_exist``, and one line is logged. ``StratusLabError`` and
    ``DeploymentError`` are left alone: they say themselves what exists.
    """
    outer = _UNDER_WAY.get()
    if outer and outer.open:
        yield outer
        return
    created = Created()
    _UNDER_WAY.set(created)
    try:
        try:
            created.open = True
            yield created
        finally:
            created.open = False
            _UNDER_WAY.set(None)
    except (StratusLabError, DeploymentError):
        raise
    except BaseException as error:
        created.announce(error)
        raise
