"""
The user configuration file: sections, precedence, instance types.

The file is an INI file (guide 4.4 to 4.10; config-and-cli 1 and 2). :func:`read` takes it in once;
:meth:`UserConfig.settings` then resolves what holds for one location.
"""

import difflib
import os
import shlex
import stat
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from stratuslab_libcloud.configuration import ini
from stratuslab_libcloud.configuration.environment import (
    _FROM_ENVIRONMENT,
    _environment,
)
from stratuslab_libcloud.configuration.instance_types import _TYPES, InstanceType, _instance_types
from stratuslab_libcloud.configuration.location import _BASE, _Resolver, _unquoted
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password, Settings
from stratuslab_libcloud.errors import ConfigurationError
from stratuslab_libcloud.paths import expanded

__all__ = [
    "Certificate",
    "Credentials",
    "Password",
    "Settings",
    "UserConfig",
    "default_path",
    "read",
    "suggestion",
]

# In 2014 the driver ignored its first argument, and StratusLab's own examples gave this one.
_MEANINGLESS = ("unused-key", "")


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


# -- the environment ---------------------------------------------------------------------------


_KNOWN = {
    *_FROM_ENVIRONMENT,
    *("selected_section", "name", "country", "user_public_key_file", "user_private_key_file"),
    *("default_context_method", "default_instance_type", "instance_type", "endpoint_timeout"),
    *("ca_certificate", "verify_tls", "ssh_port", "p12_certificate", "p12_password", "endpoints"),
    *("port_translation", "pat_service_host", "pat_gateway_host"),
}


# -- one location ------------------------------------------------------------------------------
