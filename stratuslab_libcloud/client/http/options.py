"""Options of the HTTP connections to a site."""

import os
import warnings
from dataclasses import dataclass, field

import libcloud.security

from stratuslab_libcloud.errors import ConfigurationError

__all__ = ["HTTPOptions"]


@dataclass(frozen=True)
class HTTPOptions:
    """
    Options of the HTTP connections to the services of a site.

    :ivar timeout: seconds that a whole call may take, retries included. One attempt may be silent
        for a third of that. A streamed answer may take longer as long as it brings 1 KiB a second.
    :ivar proxy_url: an HTTP proxy to go through.
    :ivar verify_tls: whether to verify certificates.
    :ivar ca_certificate: file of the CA certificates to trust; default: Libcloud's, or the usual.
    """

    timeout: float = 60.0
    proxy_url: str | None = field(default=None, repr=False)  # may contain a password
    verify_tls: bool = True
    ca_certificate: str | None = None

    def verify(self) -> bool | str:
        """
        Return what requests takes as ``verify``; Libcloud's own two settings are honoured, too.

        :raises ConfigurationError: ``libcloud.security.CA_CERTS_PATH`` is not a path.
        """
        if not (self.verify_tls and libcloud.security.VERIFY_SSL_CERT):
            return False
        if self.ca_certificate:
            return self.ca_certificate
        trusted = libcloud.security.CA_CERTS_PATH
        if isinstance(trusted, list) and trusted:  # as in Libcloud 0.x; 3.9 still accepts it
            warnings.warn(
                "libcloud.security.CA_CERTS_PATH is a list; only its first path is used",
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
