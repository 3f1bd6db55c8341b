"""Make :class:`.settings.Settings` of the options of one location, or of the driver's arguments."""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratuslab_libcloud import errors
from stratuslab_libcloud.configuration import endpoints, environment
from stratuslab_libcloud.configuration.options import Options, parse
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password, Settings
from stratuslab_libcloud.paths import expanded, in_home, private_of

__all__ = ["BASE", "direct", "resolve"]

BASE = "default"  # the section that the others inherit from, and the location without a name


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
    Make the settings of one location, ``default``, from arguments.

    No file is read, and ``STRATUSLAB_KEY`` is the only variable that is used.

    :param host: the cloud endpoint: a host name or a URL.
    :param secure: ``False``: use http if ``host`` is not a URL.
    :raises ConfigurationError: names the argument.
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
        raise errors.ConfigurationError(f"{where}: {key} {error}") from None
    credentials = Password(username, password)
    public = environment.public_key()
    return Settings(
        location=BASE,
        where=where,
        endpoint=compute.url,
        pdisk_endpoint=storage,
        marketplace_endpoint=market,
        credentials=credentials,
        storage_credentials=credentials,
        public_key=public,
    )


def resolve(
    source: str,
    location: str,
    own: Mapping[str, str],
    texts: Mapping[str, str],
    given: Mapping[str, str],
) -> Settings:
    """
    Make the settings of one location from its options.

    :param source: the file's name, for messages.
    :param own: the options in the section itself.
    :param texts: all its options: its own, the inherited ones, and those from the environment.
    :param given: the options among a caller's arguments, which take precedence.
    :raises ConfigurationError: names the file, the section and the key.
    """
    texts = {**texts, **_key_pair(own, given), **given}
    try:
        options = parse(texts)
    except ValueError as error:
        raise errors.ConfigurationError(f"{source}: [{location}] {error}") from None
    return _Resolver(f"{source}: [{location}]", location, texts, options).settings()


def _key_pair(own: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the options that replace the SSH keys of a section, or those that it inherits."""
    if "user_public_key_file" in given:
        return {"user_private_key_file": ""}
    chosen = environment.public_key()
    if chosen:
        return {"user_public_key_file": str(chosen), "user_private_key_file": ""}
    if "user_public_key_file" in own and "user_private_key_file" not in own:
        return {
            "user_private_key_file": ""
        }  # [default]'s would not match this section's public key
    return {}


@dataclass(frozen=True, repr=False)  # its options contain passwords
class _Resolver:
    where: str
    location: str
    texts: Mapping[str, str]
    options: Options

    def settings(self) -> Settings:
        compute = self._endpoint()
        login = self._login(compute)
        public, private = self._key_files()
        if not self.options.verify_tls:
            self._warn(
                "verify_tls = no: anybody on the network path can read and change all traffic, "
                "passwords included; set ca_certificate instead"
            )
        return Settings(
            location=self.location,
            where=self.where,
            endpoint=compute.url,
            pdisk_endpoint=self._storage_endpoint(),
            marketplace_endpoint=self._marketplace(),
            credentials=login,
            storage_credentials=self._storage_login(login),
            public_key=public,
            private_key=private,
            options=self.options,
        )

    def _error(self, key: str, problem: object) -> "errors.ConfigurationError":
        return errors.ConfigurationError(f"{self.where} {key} {problem}")

    def _warn(self, text: str) -> None:
        warnings.warn(f"{self.where} {text}", stacklevel=3)

    def _endpoint(self) -> endpoints.CloudEndpoint:
        if not self.options.endpoint:
            return endpoints.CloudEndpoint("")
        try:
            return endpoints.cloud(self.options.endpoint)
        except ValueError as error:
            raise self._error("endpoint", error) from None

    def _storage_endpoint(self) -> str | None:
        protocol, port = self.options.pdisk_protocol, self.options.pdisk_port
        explicit, beside = self.options.pdisk_endpoint, self.options.endpoint
        try:
            if explicit:
                return endpoints.storage(explicit, scheme=protocol, port=port)
            return endpoints.storage_beside(beside, scheme=protocol, port=port) if beside else None
        except ValueError as error:
            raise self._error("pdisk_endpoint" if explicit else "endpoint", error) from None

    def _marketplace(self) -> str:
        try:
            return endpoints.marketplace(
                self.options.marketplace_endpoint or endpoints.PUBLIC_MARKETPLACE
            )
        except ValueError as error:
            raise self._error("marketplace_endpoint", error) from None

    def _login(self, compute: endpoints.CloudEndpoint) -> Credentials | None:
        """Choose the PEM certificate if one is configured (guide 4.9.2), else a password."""
        certificate, key = self.options.pem_certificate, self.options.pem_key
        username = self.options.username or compute.username
        password = self.options.password or compute.password
        if certificate or key:
            if username and password:
                self._warn(
                    "has a PEM certificate and a password; the certificate is used "
                    "(User's Guide 4.9.2)"
                )
            return Certificate(
                certificate or self._in_globus("pem_certificate", "usercert.pem"),
                key or self._in_globus("pem_key", "userkey.pem"),
            )
        if username and password:
            return Password(username, password)
        return None if username else self._globus()

    def _in_globus(self, key: str, name: str) -> str:
        try:
            return str(expanded(f"~/.globus/{name}"))
        except ValueError as error:
            raise self._error(key, error) from None

    def _globus(self) -> Certificate | None:
        """Find the default certificate; an option that is present but empty disables it."""
        if any(key in self.texts for key in ("pem_certificate", "pem_key")):
            return None
        pair = in_home(".globus/usercert.pem", ".globus/userkey.pem")
        if pair and all(map(os.path.isfile, pair)):
            return Certificate(*map(str, pair))
        return None

    def _storage_login(self, login: Credentials | None) -> Credentials | None:
        """Complete the storage login with the cloud's (guide 4.7), unless that is a certificate."""
        username, password = self.options.pdisk_username, self.options.pdisk_password
        if not isinstance(login, Certificate):
            username = username or self.options.username or (login.username if login else "")
            password = password or self.options.password or (login.password if login else "")
        return Password(username, password) if username and password else login

    def _key_files(self) -> tuple[Path | None, Path | None]:
        """Return the public key file, and the private one that belongs to it."""
        public, private = self.options.user_public_key_file, self.options.user_private_key_file
        if public:
            return Path(public), Path(private) if private else private_of(Path(public))
        if private:
            return Path(f"{private}.pub"), Path(private)
        return None, None
