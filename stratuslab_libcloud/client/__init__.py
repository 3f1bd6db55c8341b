"""
One StratusLab site as Python calls: plain data in and out, no Libcloud entities.

Internal: scripts use the driver. Only the exceptions, in ``client.errors``, are for everybody.
"""

import threading
from functools import cached_property
from typing import Any, TypeVar

from stratuslab_libcloud.client.compute import Compute
from stratuslab_libcloud.client.errors import ConfigurationError, MissingCredentialsError
from stratuslab_libcloud.client.marketplace import Marketplace
from stratuslab_libcloud.client.storage import Storage
from stratuslab_libcloud.client.transport import HTTPOptions
from stratuslab_libcloud.settings import Credentials, Settings

__all__ = ["Site"]

T = TypeVar("T")


class _made_once(cached_property[T]):  # noqa: N801 - like the one that it is made of
    """One for all the threads that meet at the first use, as cached_property is up to 3.11 only."""

    def __get__(self, site: Any, owner: type[Any] | None = None) -> T:  # type: ignore[override]
        with site.lock:
            service: T = super().__get__(site, owner)
            return service


class Site:
    """
    The three services of one location, each made on first use, to be shared by threads.

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
        self.lock = threading.Lock()
        self._timeout = timeout
        self._proxy_url = proxy_url

    @_made_once
    def compute(self) -> Compute:
        """Machines."""
        if not self.settings.endpoint:
            raise ConfigurationError(
                f"{self.settings.where} has no endpoint; set it there, or use another location "
                "(selected_section names the one to use by default)"
            )
        credentials = self._required(self.settings.credentials)
        return Compute(self.settings.endpoint, credentials, self._options())

    @_made_once
    def storage(self) -> Storage:
        """Persistent disks."""
        if not self.settings.pdisk_endpoint:
            raise ConfigurationError(
                f"{self.settings.where} has no pdisk_endpoint, and none can be derived from its "
                "endpoint"
            )
        credentials = self._required(self.settings.storage_credentials)
        return Storage(self.settings.pdisk_endpoint, credentials, self._options())

    @_made_once
    def marketplace(self) -> Marketplace:
        """Image metadata; nobody logs in there."""
        return Marketplace(self.settings.marketplace_endpoint, self._options())

    def close(self) -> None:
        """Close idle connections."""
        for name in ("compute", "storage", "marketplace"):
            if name in self.__dict__:  # made, not merely makeable
                self.__dict__[name].close()

    def _required(self, credentials: Credentials | None) -> Credentials:
        if credentials is None:
            raise MissingCredentialsError(
                f"{self.settings.where} has no complete credentials; set username and password, "
                "or pem_certificate and pem_key"
            )
        return credentials

    def _options(self) -> HTTPOptions:
        return HTTPOptions(
            timeout=self._timeout,
            proxy_url=self._proxy_url,
            verify_tls=self.settings.verify_tls,
            ca_certificate=self.settings.ca_certificate,
        )
