"""
The user configuration file: sections, precedence, instance types.

The file is an INI file (guide 4.4 to 4.10; config-and-cli 1 and 2). :func:`read` takes it in once;
:meth:`UserConfig.settings` then resolves what holds for one location.
"""

import difflib
import os
import re
import shlex
import stat
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from stratuslab_libcloud.configuration import endpoints, ini
from stratuslab_libcloud.configuration.settings import (
    Certificate,
    Credentials,
    Password,
    Settings,
    expanded,
    in_home,
    private_of,
)
from stratuslab_libcloud.errors import ConfigurationError

__all__ = [
    "STANDARD_TYPES",
    "Certificate",
    "Credentials",
    "InstanceType",
    "Password",
    "Settings",
    "UserConfig",
    "default_path",
    "direct",
    "read",
    "suggestion",
]

_BASE = "default"
_TYPES = "instance_types"
# In 2014 the driver ignored its first argument, and StratusLab's own examples gave this one.
_MEANINGLESS = ("unused-key", "")


@dataclass(frozen=True)
class InstanceType:
    """
    A machine size (guide 9.1.4).

    :ivar ram: MiB.
    :ivar swap: MiB.
    """

    name: str
    cpus: int
    ram: int
    swap: int


STANDARD_TYPES = (
    InstanceType("t1.micro", 1, 512, 512),
    InstanceType("m1.small", 1, 1536, 1536),
    InstanceType("m1.medium", 1, 3072, 3072),
    InstanceType("m1.large", 2, 6144, 6144),
    InstanceType("m1.xlarge", 4, 8192, 8192),
    InstanceType("c1.medium", 2, 1536, 1536),
    InstanceType("c1.xlarge", 4, 6144, 6144),
)


@dataclass(frozen=True)
class UserConfig:
    """
    A configuration file as it was when it was read, and the environment of that moment.

    :ivar source: its path, for messages.
    :ivar sections: section name to its own, interpolated options, in file order; neither
        ``[default]`` nor ``[instance_types]`` is among them.
    :ivar default_location: id of the location to use when none is named.
    :ivar place: the path to read it from again; ``""`` for the default place, or the environment,
        and ``None`` where there is none, as it was no file on a disk.
    """

    source: str
    base: Mapping[str, str] = field(repr=False)
    sections: Mapping[str, Mapping[str, str]] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    instance_types: tuple[InstanceType, ...]
    default_location: str
    place: str | None = None

    def locations(self) -> list[str]:
        """Ids of the locations, the default one first, the others in file order."""
        names = [name for name in self.sections if name != self.default_location]
        chosen_is_real = self.default_location != _BASE or bool(
            self._options(_BASE).get("endpoint")
        )
        return [self.default_location, *names] if chosen_is_real else names

    def settings(self, location: str, overrides: Mapping[str, str] | None = None) -> Settings:
        """
        Resolve one location: arguments, environment, section, ``[default]``, defaults.

        :param overrides: options given as arguments; they concern the default location only.
        :raises ConfigurationError: naming the file, the section and the key.
        """
        options = self._options(location)
        if location == self.default_location:
            options.update(overrides or {})
        own = self.base if location == _BASE else self.sections[location]
        return _Resolver(self.source, location, own, options).settings()

    def display(self, location: str) -> tuple[str, str]:
        """Name and country of a location, from its own section only."""
        own = self.base if location == _BASE else self.sections[location]
        name, country = (_unquoted(own.get(key, "")) for key in ("name", "country"))
        return name or location, country or "unknown"

    def _options(self, location: str) -> dict[str, str]:
        options = {**self.base, **self.sections.get(location, {})}
        if location == self.default_location:
            # One cloud's password must never be sent to another: only the default location.
            options.update(self.environment)
        return options


def default_path() -> Path:
    """
    Where the configuration file is expected (guide 4.4.2).

    :raises ConfigurationError: there is no home directory.
    """
    try:
        home = expanded("~")
    except ValueError:
        raise ConfigurationError(
            "there is no home directory for the configuration file to be in: set HOME, or name the "
            "file"
        ) from None
    dotted = home / ".stratuslab" / "stratuslab-user.cfg"
    if os.name != "nt":
        return dotted
    plain = home / "stratuslab" / "stratuslab-user.cfg"
    return dotted if dotted.exists() and not plain.exists() else plain


def read(
    file: str | os.PathLike[str] | IO[str] | IO[bytes] | None = None,
    *,
    location: str | None = None,
    preferred: str | None = None,
) -> UserConfig:
    """
    Read a configuration file, once.

    :param file: path or open file; ``None``: the default place, where it may be absent if
        ``STRATUSLAB_ENDPOINT`` is set.
    :param location: the default location by explicit choice; ``"default"`` is ``[default]``.
    :param preferred: likewise, but ``"default"`` leaves the choice to the environment and to
        ``selected_section``. So do, with a warning, ``"unused-key"`` and ``""``, unless a section
        has that name.
    :raises ConfigurationError: naming the file.
    """
    source, content, exposed = _load(file)
    sections = ini.parse(source, content, standalone=(_TYPES,))
    if _BASE not in sections:
        raise ConfigurationError(f"{source}: there is no [default] section, which is mandatory")
    base, types = sections.pop(_BASE), sections.pop(_TYPES, {})
    if preferred in _MEANINGLESS and preferred not in sections:
        warnings.warn(
            f"{preferred!r} names no section of {source}: the default location is used; leave the "
            "argument out, or name the section to use",
            stacklevel=3,
        )
        preferred = None
    selected = _selected(source, base, sections, location, preferred)
    _warn_of_slips(source, {_BASE: base, **sections})
    if exposed and any(map(_has_password, (base, *sections.values()))):
        warnings.warn(
            f"{source}: everybody on this machine can read the passwords in it; "
            f"chmod 600 {shlex.quote(source)}",
            stacklevel=2,
        )
    config = UserConfig(
        source,
        base,
        sections,
        _environment(),
        _instance_types(source, types),
        selected or _BASE,
        _place(file),
    )
    only = config.locations()
    if not selected and len(only) == 1:
        # [default] merely holds shared values, and there is just one cloud to use them for.
        return replace(config, default_location=only[0])
    return config


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


# -- the file ----------------------------------------------------------------------------------


def _load(
    file: str | os.PathLike[str] | IO[str] | IO[bytes] | None,
) -> tuple[str, str | bytes, bool]:
    """
    The name to show, the content, and whether everybody can read it.

    An absent default file is an empty ``[default]``.
    """
    if file is not None and not isinstance(file, (str, os.PathLike)):
        if not hasattr(file, "read"):
            raise ConfigurationError(f"the configuration is to be a path or an open file: {file!r}")
        return str(getattr(file, "name", "configuration file")), file.read(), False
    if file is not None and not os.fspath(file):
        raise ConfigurationError("the path of the configuration file is empty")
    try:
        path = default_path() if file is None else expanded(os.fspath(file))
    except ValueError as error:
        if file is None and os.environ.get("STRATUSLAB_ENDPOINT"):
            return "the environment", f"[{_BASE}]\n", False
        if file is None:
            raise
        raise ConfigurationError(f"the path {file} of the configuration {error}") from None
    try:
        with path.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            exposed = os.name != "nt" and bool(mode & stat.S_IROTH)
            return str(path), opened.read(), exposed
    except FileNotFoundError:
        if file is None and os.environ.get("STRATUSLAB_ENDPOINT"):
            return "the environment", f"[{_BASE}]\n", False
        raise ConfigurationError(
            f"{path}: there is no such configuration file; put one in place with "
            "stratus-copy-config and edit it"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path}: cannot be read: {reason}") from error


def _place(file: str | os.PathLike[str] | IO[str] | IO[bytes] | None) -> str | None:
    if file is None:
        return ""
    if isinstance(file, (str, os.PathLike)):
        return os.path.abspath(expanded(os.fspath(file)))
    name = getattr(file, "name", None)
    return os.path.abspath(name) if isinstance(name, str) and os.path.isfile(name) else None


def _selected(
    source: str,
    base: Mapping[str, str],
    sections: Mapping[str, Mapping[str, str]],
    location: str | None,
    preferred: str | None,
) -> str | None:
    """The section that somebody chose, if anybody did."""
    choices = {
        "the argument": location or (preferred if preferred != _BASE else None),
        "STRATUSLAB_USER_CONFIG_SECTION": os.environ.get("STRATUSLAB_USER_CONFIG_SECTION"),
        "[default] selected_section": base.get("selected_section"),
    }
    for origin, name in choices.items():
        if name and name != _BASE and name not in sections:
            known = [_BASE, *sections]
            raise ConfigurationError(
                f"{source}: there is no section [{name}], which {origin} names; known are: "
                f"{', '.join(known)}{suggestion(name, known)}"
            )
        if name:
            return name
    return None


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: which one may be meant, if one is close."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; is {close[0]} meant?" if close else ""


def _warn_of_slips(source: str, sections: Mapping[str, Mapping[str, str]]) -> None:
    """Unknown keys are ignored, but one that looks like a known one was hardly meant so."""
    for section, options in sections.items():
        for key in options.keys() - _KNOWN:
            meant = difflib.get_close_matches(key, _KNOWN, n=1, cutoff=0.85)
            if meant:
                warnings.warn(
                    f"{source}: [{section}] {key} is ignored; is {meant[0]} meant?", stacklevel=2
                )


def _has_password(options: Mapping[str, str]) -> bool:
    """Whether a section has one, if only in its endpoint; a certificate is in another file."""
    named = any(text for key, text in options.items() if key.endswith("password"))
    return named or "@" in options.get("endpoint", "")


def _instance_types(source: str, lines: Mapping[str, str]) -> tuple[InstanceType, ...]:
    """The standard types, and the user's, which may replace them (config-and-cli 1.5)."""
    types = {kind.name: kind for kind in STANDARD_TYPES}
    for name, text in lines.items():
        kind = _instance_type(name, text)
        if kind:
            types[name] = kind
        else:
            warnings.warn(
                f"{source}: [{_TYPES}] {name} is ignored: it must be three numbers, "
                "'cpus, ram, swap', with at least one CPU and 1 MiB of RAM",
                stacklevel=2,
            )
    return tuple(types.values())


def _instance_type(name: str, text: str) -> InstanceType | None:
    numbers = re.findall(r"[0-9]+", text)
    if len(numbers) != 3 or any(len(number) > 9 for number in numbers):
        return None
    cpus, ram, swap = map(int, numbers)
    return InstanceType(name, cpus, ram, swap) if cpus and ram else None


# -- the environment ---------------------------------------------------------------------------

_FROM_ENVIRONMENT = (
    "endpoint",
    "username",
    "password",
    "pdisk_endpoint",
    "pdisk_protocol",
    "pdisk_port",
    "pdisk_username",
    "pdisk_password",
    "marketplace_endpoint",
    "pem_certificate",
    "pem_key",
)


_KNOWN = {
    *_FROM_ENVIRONMENT,
    *("selected_section", "name", "country", "user_public_key_file", "user_private_key_file"),
    *("default_context_method", "default_instance_type", "instance_type", "endpoint_timeout"),
    *("ca_certificate", "verify_tls", "ssh_port", "p12_certificate", "p12_password", "endpoints"),
    *("port_translation", "pat_service_host", "pat_gateway_host"),
}


def _environment() -> dict[str, str]:
    """The options that ``STRATUSLAB_*`` variables set; an empty variable counts as unset."""
    found = {key: os.environ.get(f"STRATUSLAB_{key.upper()}", "") for key in _FROM_ENVIRONMENT}
    return {key: text for key, text in found.items() if text}


def _environment_key() -> Path | None:
    text = os.environ.get("STRATUSLAB_KEY")
    try:
        return expanded(text) if text else None
    except ValueError as error:
        raise ConfigurationError(f"STRATUSLAB_KEY {error}") from None


# -- one location ------------------------------------------------------------------------------


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
