"""TODO."""

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.stratuslab.compute import Compute
from stratuslab_libcloud.client.stratuslab.marketplace import Marketplace
from stratuslab_libcloud.client.stratuslab.pdisk import Storage
from stratuslab_libcloud.configuration.settings import Credentials, Settings
from stratuslab_libcloud.errors import ConfigurationError, MissingCredentialsError

__all__ = ["Site", "T"]


T = TypeVar("T")


class _Process:
    """
    What one process has made of a site. After a fork the child makes its own: a connection that
    two of them used would bring one the other's answers, and a lock that a thread of the parent
    holds would never be released.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.services: dict[str, Any] = {}

    def close(self) -> None:
        for service in list(self.services.values()):
            service.close()


class _made_once(Generic[T]):  # noqa: N801 - used like property
    """One service for all the threads of a process, also for those that meet at the first use."""

    def __init__(self, make: Callable[["Site"], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, site: "Site", owner: type["Site"]) -> T:
        process = site.process()
        name = self._make.__name__
        with process.lock:
            if name not in process.services:
                process.services[name] = self._make(site)
            service: T = process.services[name]
            return service


class Site:
    """
    The three services of one location, each made on first use, to be shared by threads. Processes
    share nothing but the settings.

    What is missing in the configuration is an error of the service that needs it.
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
        """What this process has; whatever its parent had is closed, which the parent's is not."""
        mine = self._processes.get(os.getpid())
        if mine is None:
            inherited = list(self._processes)
            mine = self._processes.setdefault(os.getpid(), _Process())
            for number in inherited:
                other = self._processes.pop(number, mine)
                if other is not mine:
                    other.close()
        return mine

    @_made_once
    def compute(self) -> Compute:
        """Machines."""
        if not self.settings.endpoint:
            raise ConfigurationError(
                f"there is no endpoint in {self.settings.where}; set it there, or use another "
                "location (selected_section names the one to use by default)"
            )
        credentials = self._required(self.settings.credentials)
        return Compute(self.settings.endpoint, credentials, self._options())

    @_made_once
    def storage(self) -> Storage:
        """Persistent disks."""
        if not self.settings.pdisk_endpoint:
            raise ConfigurationError(
                f"there is no pdisk_endpoint in {self.settings.where}, and none can be derived "
                "from the endpoint"
            )
        credentials = self._required(self.settings.storage_credentials)
        return Storage(self.settings.pdisk_endpoint, credentials, self._options())

    @_made_once
    def marketplace(self) -> Marketplace:
        """Image metadata; nobody logs in there."""
        return Marketplace(self.settings.marketplace_endpoint, self._options())

    def close(self) -> None:
        """Close idle connections."""
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
