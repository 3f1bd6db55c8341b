"""Choose the dialect that a location speaks."""

from typing import Any, cast

from stratuslab_libcloud.client.cloud import Cloud
from stratuslab_libcloud.client.opennebula.cloud import OpenNebulaCloud
from stratuslab_libcloud.client.stratuslab.cloud import StratusLabCloud
from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.configuration.settings import Settings
from stratuslab_libcloud.errors import ServiceError

__all__ = ["cloud", "dialect"]

_UNKNOWN_METHOD = "XML-RPC fault -506"


def dialect(settings: Settings) -> str:
    """
    Return the dialect of a location as far as its configuration says.

    :return: ``stratuslab``, ``opennebula``, or nothing for an engine that has to be asked.
    """
    if settings.options.dialect or endpoints.is_engine(settings.endpoint):
        return settings.options.dialect
    return "stratuslab"


def cloud(settings: Settings, *, timeout: float = 60.0, proxy_url: str | None = None) -> Cloud:
    """
    Make the cloud of one location, without sending anything.

    :param timeout: seconds that a whole call may take.
    :param proxy_url: an HTTP proxy to go through.
    """
    old = StratusLabCloud(settings, timeout=timeout, proxy_url=proxy_url)
    spoken = dialect(settings)
    if spoken == "stratuslab":
        return old
    modern = OpenNebulaCloud(settings, timeout=timeout, proxy_url=proxy_url)
    return modern if spoken else cast(Cloud, _Engine(old, modern))


class _Engine:
    """
    An engine of unknown generation, which is asked for its version when that first matters.

    OpenNebula 3.2 with StratusLab's patches does not know the question (engines 2).
    """

    def __init__(self, old: StratusLabCloud, modern: OpenNebulaCloud) -> None:
        self.settings = old.settings
        self.machine_account = old.machine_account
        # A storage service beside it is StratusLab's.
        self.volume_account = (old if old.settings.pdisk_endpoint else modern).volume_account
        # All generations list machines alike.
        self.machines, self.machine_attributes = modern.machines, modern.machine_attributes
        self.machine = modern.machine
        self._old, self._modern = old, modern
        self._chosen: StratusLabCloud | OpenNebulaCloud | None = None

    def close(self) -> None:
        """Close idle connections; a later call opens new ones."""
        self._old.close()
        self._modern.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._chosen is None:  # no lock: threads that ask at the same time get the same answer
            self._chosen = self._choose()
        return getattr(self._chosen, name)

    def _choose(self) -> StratusLabCloud | OpenNebulaCloud:
        try:
            self._modern.engine.version()
        except ServiceError as error:
            if not error.value.startswith(_UNKNOWN_METHOD):
                raise
            return self._old
        return self._modern
