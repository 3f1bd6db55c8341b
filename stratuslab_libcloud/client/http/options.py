"""How services are talked to."""

import os
import warnings
from dataclasses import dataclass, field

import libcloud.security

from stratuslab_libcloud.errors import ConfigurationError

__all__ = ["HTTPOptions"]


@dataclass(frozen=True)
class HTTPOptions:
    """
    How the services of a site are talked to.

    :ivar timeout: seconds that a whole call may take, retries included. An attempt may be silent
        for a third of it. Streamed answers may take longer while they bring a KiB a second.
    :ivar proxy_url: an HTTP proxy to go through.
    :ivar verify_tls: check certificates, against ``ca_certificate`` if that is given.
    """

    timeout: float = 60.0
    proxy_url: str | None = field(default=None, repr=False)  # may have a password in it
    verify_tls: bool = True
    ca_certificate: str | None = None

    def verify(self) -> bool | str:
        """
        For requests; Libcloud's own two settings are honoured at every request.

        :raises ConfigurationError: Libcloud's is no path.
        """
        if not (self.verify_tls and libcloud.security.VERIFY_SSL_CERT):
            return False
        if self.ca_certificate:
            return self.ca_certificate
        trusted = libcloud.security.CA_CERTS_PATH
        if isinstance(trusted, list) and trusted:  # of Libcloud 0.x, which 3.9 takes so, too
            warnings.warn(
                "libcloud.security.CA_CERTS_PATH is a list, of which only the first path is used",
                DeprecationWarning,
                stacklevel=2,
            )
            trusted = trusted[0]
        try:
            return os.fsdecode("" if trusted is None else trusted) or True
        except TypeError:
            raise ConfigurationError(
                f"libcloud.security.CA_CERTS_PATH is not the path of a file: {trusted!r}"
            ) from None
