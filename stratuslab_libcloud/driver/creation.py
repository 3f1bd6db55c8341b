"""What a call has created is never lost, whatever ends the call: Ctrl-C, too."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from libcloud.compute.base import Node, StorageVolume
from libcloud.compute.types import DeploymentError

from stratuslab_libcloud.errors import StratusLabError

__all__ = ["Created", "creating"]

_LOG = logging.getLogger(__name__)


class Created:
    """
    What a call has created so far.

    :ivar things: nodes and volumes that exist.
    :ivar doubts: what may exist besides: a sentence for each request without an answer yet.
    """

    def __init__(self) -> None:
        self.things: list[Node | StorageVolume] = []
        self.doubts: list[str] = []
        self.open = False

    @contextmanager
    def asking(self, doubt: str) -> Iterator[Callable[[], None]]:
        """
        Within this block something is asked for, and put into ``things`` when it is there.

        :param doubt: what may have happened if nobody hears of the answer.
        :return: a function; call it immediately before the request is sent: the doubt begins.
        """
        begun = len(self.doubts)
        try:
            yield lambda: self.doubts.append(doubt)
        except StratusLabError:  # which says so itself where there is doubt
            del self.doubts[begun:]
            raise
        del self.doubts[begun:]

    def announce(self, error: BaseException) -> None:
        """Put all this on the exception that ends the call, and into the log."""
        error.created = list(self.things)  # type: ignore[attr-defined]
        error.may_exist = list(self.doubts)  # type: ignore[attr-defined]
        known = [f"{_named(thing)} exists" for thing in self.things]
        if known or self.doubts:
            _LOG.warning("%s: %s", type(error).__name__, "; ".join(known + self.doubts))


def _named(thing: Node | StorageVolume) -> str:
    kind = "node" if isinstance(thing, Node) else "volume"
    return f"{kind} {thing.id} of location {(thing.extra or {}).get('location')}"


# Deploying creates a node, and its steps may create more.
_UNDER_WAY: ContextVar[Created | None] = ContextVar("under_way", default=None)


@contextmanager
def creating() -> Iterator[Created]:
    """
    A call that creates something; what another one within it creates is in the same list.

    An interrupt, or whatever else ends it, goes on, with the two lists of :class:`Created` as its
    attributes ``created`` and ``may_exist``, and one line in the log. Errors with words of their
    own for it do not need that: ``StratusLabError``, and ``DeploymentError`` with its ``node``.
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
