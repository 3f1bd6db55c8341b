"""TODO."""

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.configuration.environment import _environment_key
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password, Settings
from stratuslab_libcloud.errors import ConfigurationError
from stratuslab_libcloud.paths import expanded, in_home, private_of

__all__ = ["direct"]


_BASE = "default"


def direct(
    username: str,
    password: str,
    host: str,
    port: int | None = None,
    *,
    secure: bool = True,
    pdisk_endpoint: str | None = None,
    marketplace_endpoint: str | None = None,
) -> Settings:
    """
    One location, ``default``, from arguments alone: no file, and of the environment only
    ``STRATUSLAB_KEY``.

    :param host: the cloud endpoint: a host name or a URL.
    :param secure: ``False``: http where it is not a URL.
    :raises ConfigurationError: naming the argument.
    """
    scheme = "https" if secure else "http"
    where = "the driver's arguments"
    try:
        key = "host"
        endpoint = endpoints.with_port(host, port) if port is not None else host
        compute = endpoints.cloud(endpoint, scheme=scheme, local_engine=False)
        beside = endpoints.storage_beside(endpoint, scheme=scheme)
        key = "ex_pdisk_endpoint"
        storage = endpoints.storage(pdisk_endpoint, scheme=scheme) if pdisk_endpoint else beside
        key = "ex_marketplace_endpoint"
        market = (
            endpoints.marketplace(marketplace_endpoint)
            if marketplace_endpoint
            else endpoints.marketplace_beside(compute.url)
        )
    except ValueError as error:
        raise ConfigurationError(f"{where}: {key} {error}") from None
    credentials = Password(username, password)
    public = _environment_key()
    return Settings(
        location=_BASE,
        where=where,
        endpoint=compute.url,
        pdisk_endpoint=storage,
        marketplace_endpoint=market,
        credentials=credentials,
        storage_credentials=credentials,
        public_key=public,
    )


@dataclass(frozen=True, repr=False)  # its options have passwords in them
class _Resolver:
    """Turns the options of one location into :class:`Settings`."""

    source: str
    location: str
    own: Mapping[str, str]
    options: Mapping[str, str]

    def settings(self) -> Settings:
        compute = self._endpoint()
        login = self._login(compute)
        public, private = self._key_pair()
        return Settings(
            location=self.location,
            where=f"{self.source}: [{self.location}]",
            endpoint=compute.url,
            pdisk_endpoint=self._storage_endpoint(),
            marketplace_endpoint=self._marketplace(),
            credentials=login,
            storage_credentials=self._storage_login(login),
            public_key=public,
            private_key=private,
            context_method=self._choice("default_context_method", ("one", "cloud-init")),
            ssh_port=self._number("ssh_port", 22, 65535),
            ca_certificate=self._file("ca_certificate") or None,
            verify_tls=self._verify_tls(),
            listing_timeout=self._number("endpoint_timeout", 0, 86400) or None,
        )

    def _get(self, key: str) -> str:
        return self.options.get(key, "")

    def _error(self, key: str, problem: object) -> ConfigurationError:
        return ConfigurationError(f"{self.source}: [{self.location}] {key} {problem}")

    def _endpoint(self) -> endpoints.CloudEndpoint:
        text = self._get("endpoint")
        if not text:
            return endpoints.CloudEndpoint("")
        try:
            return endpoints.cloud(text)
        except ValueError as error:
            raise self._error("endpoint", error) from None

    def _storage_endpoint(self) -> str | None:
        protocol = self._choice("pdisk_protocol", ("https", "http"))
        port = self._number("pdisk_port", 8445, 65535)
        explicit, beside = self._get("pdisk_endpoint"), self._get("endpoint")
        try:
            if explicit:
                return endpoints.storage(explicit, scheme=protocol, port=port)
            return endpoints.storage_beside(beside, scheme=protocol, port=port) if beside else None
        except ValueError as error:
            raise self._error("pdisk_endpoint" if explicit else "endpoint", error) from None

    def _marketplace(self) -> str:
        try:
            return endpoints.marketplace(
                self._get("marketplace_endpoint") or endpoints.PUBLIC_MARKETPLACE
            )
        except ValueError as error:
            raise self._error("marketplace_endpoint", error) from None

    def _login(self, compute: endpoints.CloudEndpoint) -> Credentials | None:
        """PEM when it was configured, as the guide says (4.9.2), else a password."""
        username = self._get("username") or compute.username
        password = self._get("password") or compute.password
        if self._get("pem_certificate") or self._get("pem_key"):
            if username and password:
                warnings.warn(
                    f"{self.source}: [{self.location}] has a PEM certificate and a password; "
                    "the certificate is used (User's Guide 4.9.2)",
                    stacklevel=2,
                )
            return Certificate(
                self._file("pem_certificate", "~/.globus/usercert.pem"),
                self._file("pem_key", "~/.globus/userkey.pem"),
            )
        if username and password:
            return Password(username, password)
        return None if username else self._globus()

    def _globus(self) -> Certificate | None:
        """The default pair, unless a present but empty key says not to look for it."""
        if any(key in self.options for key in ("pem_certificate", "pem_key")):
            return None
        pair = in_home(".globus/usercert.pem", ".globus/userkey.pem")
        if pair and all(map(os.path.isfile, pair)):
            return Certificate(*map(str, pair))
        return None

    def _storage_login(self, login: Credentials | None) -> Credentials | None:
        """Each half falls back to the cloud's (guide 4.7), unless that is a certificate."""
        username, password = self._get("pdisk_username"), self._get("pdisk_password")
        if not isinstance(login, Certificate):
            username = username or self._get("username") or (login.username if login else "")
            password = password or self._get("password") or (login.password if login else "")
        return Password(username, password) if username and password else login

    def _key_pair(self) -> tuple[Path | None, Path | None]:
        """The public key, and the private one that belongs to it."""
        chosen = _environment_key()
        if chosen:
            return chosen, private_of(chosen)
        public, private = self._file("user_public_key_file"), self._file("user_private_key_file")
        if "user_public_key_file" in self.own and "user_private_key_file" not in self.own:
            private = ""  # [default]'s would not fit this section's public key
        if public:
            return Path(public), Path(private) if private else private_of(Path(public))
        if private:
            return Path(f"{private}.pub"), Path(private)
        return None, None

    def _file(self, key: str, default: str = "") -> str:
        """A path, or ``""``."""
        text = self._get(key) or default
        try:
            return str(expanded(text)) if text else ""
        except ValueError as error:
            raise self._error(key, error) from None

    def _choice(self, key: str, choices: tuple[str, ...]) -> str:
        text = self._get(key).lower() or choices[0]
        if text not in choices:
            raise self._error(key, f"must be one of: {', '.join(choices)}")
        return text

    def _number(self, key: str, default: int, largest: int) -> int:
        text = self._get(key)
        if not text:
            return default
        if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) <= largest:
            raise self._error(key, f"must be a whole number from 1 to {largest}")
        return int(text)

    def _verify_tls(self) -> bool:
        text = self._get("verify_tls").lower()
        if text in ("", "true", "yes", "on", "1"):
            return True
        if text not in ("false", "no", "off", "0"):
            raise self._error("verify_tls", "must be yes or no")
        warnings.warn(
            f"{self.source}: [{self.location}] verify_tls = no: anybody on the way can read and "
            "change what is sent, passwords included; name a ca_certificate instead",
            stacklevel=2,
        )
        return False


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
