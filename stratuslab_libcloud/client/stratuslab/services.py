"""The three services of a StratusLab site, made when they are first used."""

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.stratuslab.compute import ComputeClient
from stratuslab_libcloud.client.stratuslab.marketplace import MarketplaceClient
from stratuslab_libcloud.client.stratuslab.pdisk import StorageClient
from stratuslab_libcloud.client.stratuslab.trust import Trust
from stratuslab_libcloud.configuration.settings import Credentials, Settings
from stratuslab_libcloud.errors import ConfigurationError, MissingCredentialsError

__all__ = ["Services"]


T = TypeVar("T")


class _Process:
    """
    The services that one process uses.

    After a fork the child makes its own. On a shared connection one process would get the other's
    answers, and a lock that a thread of the parent holds would never be released.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.services: dict[str, Any] = {}

    def close(self) -> None:
        for service in list(self.services.values()):
            service.close()


class _once_per_process(Generic[T]):  # noqa: N801 - used like property
    """Makes one service per process, even if several threads ask for it at the same time."""

    def __init__(self, make: Callable[["Services"], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, services: "Services", owner: type["Services"]) -> T:
        process = services.process()
        name = self._make.__name__
        with process.lock:
            if name not in process.services:
                process.services[name] = self._make(services)
            service: T = process.services[name]
            return service


class Services:
    """
    The three services of one location, each made when it is first used.

    Threads share them; processes share nothing but the settings. An incomplete configuration is an
    error only when a service that needs the missing option is used.
    """

    def __init__(
        self, settings: Settings, *, timeout: float = 60.0, proxy_url: str | None = None
    ) -> None:
        """
        :param timeout: seconds that a whole call may take.
        :param proxy_url: an HTTP proxy to go through.
        """
        self.settings = settings
        self._timeout = timeout
        self._proxy_url = proxy_url
        self._processes: dict[int, _Process] = {}

    def process(self) -> _Process:
        """Return the services of this process; close its copies of those of its parent."""
        mine = self._processes.get(os.getpid())
        if mine is None:
            inherited = list(self._processes)
            mine = self._processes.setdefault(os.getpid(), _Process())
            for number in inherited:
                other = self._processes.pop(number, mine)
                if other is not mine:
                    other.close()
        return mine

    @_once_per_process
    def compute(self) -> ComputeClient:
        """Machines."""
        if not self.settings.endpoint:
            raise ConfigurationError(
                f"there is no endpoint in {self.settings.where}; set it there, or use another "
                "location (selected_section names the one to use by default)"
            )
        credentials = self._required(self.settings.credentials)
        return ComputeClient(self.settings.endpoint, credentials, self._options())

    @_once_per_process
    def storage(self) -> StorageClient:
        """Persistent disks."""
        if not self.settings.pdisk_endpoint:
            raise ConfigurationError(
                f"there is no pdisk_endpoint in {self.settings.where}, and none can be derived "
                "from the endpoint"
            )
        credentials = self._required(self.settings.storage_credentials)
        return StorageClient(self.settings.pdisk_endpoint, credentials, self._options())

    @_once_per_process
    def marketplace(self) -> MarketplaceClient:
        """Image metadata; needs no login."""
        trust = Trust(self.settings.options, self.settings.where)
        return MarketplaceClient(self.settings.marketplace_endpoint, self._options(), trust)

    def close(self) -> None:
        """Close idle connections; a later call opens new ones."""
        self.process().close()

    def _required(self, credentials: Credentials | None) -> Credentials:
        if credentials is None:
            raise MissingCredentialsError(
                f"there are no complete credentials in {self.settings.where}; set username and "
                "password, or pem_certificate and pem_key"
            )
        return credentials

    def _options(self) -> HTTPOptions:
        return HTTPOptions(
            timeout=self._timeout,
            proxy_url=self._proxy_url,
            verify_tls=self.settings.options.verify_tls,
            ca_certificate=self.settings.options.ca_certificate or None,
        )
