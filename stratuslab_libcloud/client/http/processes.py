"""The services of a location: each is made when it is first used, once in each process."""

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.configuration.settings import Settings

__all__ = ["Services", "once_per_process"]

S = TypeVar("S", bound="Services")
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


class once_per_process(Generic[S, T]):  # noqa: N801 - used like property
    """Makes one service per process, even if several threads ask for it at the same time."""

    def __init__(self, make: Callable[[S], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, services: S, owner: type[S]) -> T:
        process = services.process()
        name = self._make.__name__
        with process.lock:
            if name not in process.services:
                process.services[name] = self._make(services)
            service: T = process.services[name]
            return service


class Services:
    """
    The settings of one location, and what its services are made of.

    Threads share the services; processes share nothing but the settings. An incomplete
    configuration is an error only when a service that needs the missing option is used.
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

    @property
    def machine_account(self) -> object:
        """The endpoint and the account; a location without an endpoint equals no other."""
        return self.settings.endpoint or self.settings.location, self.settings.credentials

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

    def close(self) -> None:
        """Close idle connections; a later call opens new ones."""
        self.process().close()

    def _options(self) -> HTTPOptions:
        return HTTPOptions(
            timeout=self._timeout,
            proxy_url=self._proxy_url,
            verify_tls=self.settings.options.verify_tls,
            ca_certificate=self.settings.options.ca_certificate or None,
        )
