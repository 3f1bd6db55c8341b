"""The three services of a StratusLab site, made when they are first used."""

from stratuslab_libcloud.client.http import processes
from stratuslab_libcloud.client.http.processes import once_per_process
from stratuslab_libcloud.client.stratuslab.compute import ComputeClient
from stratuslab_libcloud.client.stratuslab.marketplace import MarketplaceClient
from stratuslab_libcloud.client.stratuslab.pdisk import StorageClient
from stratuslab_libcloud.client.stratuslab.trust import Trust
from stratuslab_libcloud.configuration.settings import Credentials
from stratuslab_libcloud.errors import ConfigurationError, MissingCredentialsError

__all__ = ["Services"]


class Services(processes.Services):
    """The three services of one location."""

    @once_per_process
    def compute(self) -> ComputeClient:
        """Machines."""
        if not self.settings.endpoint:
            raise ConfigurationError(
                f"there is no endpoint in {self.settings.where}; set it there, or use another "
                "location (selected_section names the one to use by default)"
            )
        credentials = self._required(self.settings.credentials)
        return ComputeClient(self.settings.endpoint, credentials, self._options())

    @once_per_process
    def storage(self) -> StorageClient:
        """Persistent disks."""
        if not self.settings.pdisk_endpoint:
            raise ConfigurationError(
                f"there is no pdisk_endpoint in {self.settings.where}, and none can be derived "
                "from the endpoint"
            )
        credentials = self._required(self.settings.storage_credentials)
        return StorageClient(self.settings.pdisk_endpoint, credentials, self._options())

    @once_per_process
    def marketplace(self) -> MarketplaceClient:
        """Image metadata; needs no login."""
        trust = Trust(self.settings.options, self.settings.where)
        return MarketplaceClient(self.settings.marketplace_endpoint, self._options(), trust)

    def _required(self, credentials: Credentials | None) -> Credentials:
        if credentials is None:
            raise MissingCredentialsError(
                f"there are no complete credentials in {self.settings.where}; set username and "
                "password, or pem_certificate and pem_key"
            )
        return credentials
