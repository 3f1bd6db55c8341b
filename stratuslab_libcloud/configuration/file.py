"""
The user configuration file: sections, precedence, instance types.

The file is an INI file (guide 4.4 to 4.10; config-and-cli 1 and 2). :func:`read` reads it once;
:meth:`UserConfig.settings` then resolves the settings of one location.
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

from stratuslab_libcloud import errors
from stratuslab_libcloud.configuration import environment, ini, instance_types
from stratuslab_libcloud.configuration.instance_types import InstanceType
from stratuslab_libcloud.configuration.location import BASE, resolve
from stratuslab_libcloud.configuration.options import KNOWN, TABLE
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password, Settings
from stratuslab_libcloud.configuration.values import unquoted
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

_OF_STORAGE = ("pdisk_endpoint", "pdisk_username", "pdisk_password")

# In 2014 the driver ignored its first argument, and StratusLab's own examples gave this one.
_MEANINGLESS = ("unused-key", "")


@dataclass(frozen=True)
class UserConfig:
    """
    A configuration file, and the environment, as they were when the file was read.

    :ivar source: its path, for messages.
    :ivar base: the interpolated options of ``[default]``.
    :ivar sections: the interpolated options of each other section by its name, in file order,
        without ``[instance_types]``.
    :ivar environment: the options that variables set for the default location.
    :ivar instance_types: the standard types, and those of the file.
    :ivar default_location: id of the location to use when none is named.
    :ivar place: the path to read it from again; ``""`` stands for the default place or the
        environment; ``None``: it cannot be read again, as it was not a file on a disk.
    """

    source: str
    base: Mapping[str, str] = field(repr=False)
    sections: Mapping[str, Mapping[str, str]] = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    instance_types: tuple[InstanceType, ...]
    default_location: str
    place: str | None = None

    def locations(self) -> list[str]:
        """List the ids of the locations, the default one first, the others in file order."""
        names = [name for name in self.sections if name != self.default_location]
        chosen_is_real = self.default_location != BASE or bool(self._texts(BASE).get("endpoint"))
        return [self.default_location, *names] if chosen_is_real else names

    def settings(self, location: str, overrides: Mapping[str, str] | None = None) -> Settings:
        """
        Resolve one location: arguments, environment, section, ``[default]``, defaults.

        :param overrides: options given as arguments; used for the default location only.
        :raises ConfigurationError: names the file, the section and the key.
        """
        given = overrides if overrides and location == self.default_location else {}
        own, texts = self._own(location), self._texts(location, given)
        settings = resolve(self.source, location, own, texts, given)
        return replace(settings, instance_types=self.instance_types)

    def display(self, location: str) -> tuple[str, str]:
        """Return the name and country of a location, from its own section only."""
        own = self._own(location)
        name, country = (unquoted(own.get(key, "")) for key in ("name", "country"))
        return name or location, country or "unknown"

    def _own(self, location: str) -> Mapping[str, str]:
        return self.base if location == BASE else self.sections[location]

    def _texts(self, location: str, given: Mapping[str, str] | None = None) -> Mapping[str, str]:
        own = self._own(location)
        inherited = {
            key: text for key, text in self.base.items() if key not in TABLE or TABLE[key].inherited
        }
        from_environment = self.environment if location == self.default_location else {}
        return _over(_over(given or {}, from_environment), {**inherited, **own})


def default_path() -> Path:
    """
    Return the default path of the configuration file (guide 4.4.2).

    :raises ConfigurationError: there is no home directory.
    """
    try:
        home = expanded("~")
    except ValueError:
        raise errors.ConfigurationError(
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
    needed: bool = True,
) -> UserConfig:
    """
    Read a configuration file, once.

    :param file: path or open file; ``None``: the default path, where the file may be missing if
        ``STRATUSLAB_ENDPOINT`` is set.
    :param location: the section of the default location; ``"default"`` means ``[default]``.
    :param preferred: likewise, but ``"default"`` leaves the choice to the environment and to
        ``selected_section``. So do, with a warning, ``"unused-key"`` and ``""``, unless a section
        has that name.
    :param needed: whether it is an error if there is neither that variable nor a file.
    :raises ConfigurationError: names the file.
    """
    source, content, exposed = _load(file, needed)
    sections = ini.parse(source, content, standalone=(instance_types.SECTION,))
    if BASE not in sections:
        raise errors.ConfigurationError(
            f"{source}: there is no [default] section, which is mandatory"
        )
    base, types = sections.pop(BASE), sections.pop(instance_types.SECTION, {})
    if preferred in _MEANINGLESS and preferred not in sections:
        warnings.warn(
            f"{preferred!r} names no section of {source}: the default location is used; leave the "
            "argument out, or name the section to use",
            stacklevel=3,
        )
        preferred = None
    selected = _selected(source, base, sections, location, preferred)
    _warn_of_slips(source, {BASE: base, **sections})
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
        environment.of_default_location(),
        instance_types.all_types(source, types),
        selected or BASE,
        _place(file),
    )
    only = config.locations()
    if not selected and len(only) == 1:
        # [default] only holds shared values, and there is just one cloud that uses them.
        return replace(config, default_location=only[0])
    return config


# -- the file ----------------------------------------------------------------------------------


def _load(
    file: str | os.PathLike[str] | IO[str] | IO[bytes] | None, needed: bool
) -> tuple[str, str | bytes, bool]:
    """
    Return the name to show, the content, and whether everybody can read the file.

    A missing default file counts as an empty ``[default]``.
    """
    if file is not None and not isinstance(file, (str, os.PathLike)):
        if not hasattr(file, "read"):
            raise errors.ConfigurationError(
                f"the configuration must be a path or an open file, not {file!r}"
            )
        return str(getattr(file, "name", "configuration file")), file.read(), False
    if file is not None and not os.fspath(file):
        raise errors.ConfigurationError("the path of the configuration file is empty")
    try:
        path = default_path() if file is None else expanded(os.fspath(file))
    except ValueError as error:
        if file is None and (not needed or environment.value("endpoint")):
            return "the environment", f"[{BASE}]\n", False
        if file is None:
            raise
        raise errors.ConfigurationError(f"the path {file} of the configuration {error}") from None
    try:
        with path.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            exposed = os.name != "nt" and bool(mode & stat.S_IROTH)
            return str(path), opened.read(), exposed
    except FileNotFoundError:
        if file is None and (not needed or environment.value("endpoint")):
            return "the environment", f"[{BASE}]\n", False
        raise errors.ConfigurationError(
            f"{path}: there is no such configuration file; put one in place with "
            "stratus-copy-config and edit it"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise errors.ConfigurationError(f"{path}: cannot be read: {reason}") from error


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
    """Return the section that was chosen, if one was."""
    choices = {
        "the argument": location or (preferred if preferred != BASE else None),
        TABLE["selected_section"].variable: environment.value("selected_section"),
        "[default] selected_section": base.get("selected_section"),
    }
    for origin, name in choices.items():
        if name and name != BASE and name not in sections:
            known = [BASE, *sections]
            raise errors.ConfigurationError(
                f"{source}: there is no section [{name}], which {origin} names; known: "
                f"{', '.join(known)}{suggestion(name, known)}"
            )
        if name:
            return name
    return None


def suggestion(name: str, known: Iterable[str]) -> str:
    """Complete a message about an unknown name with the known name that may be meant."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _over(upper: Mapping[str, str], lower: Mapping[str, str]) -> Mapping[str, str]:
    """
    Lay options over those that count less.

    Where the upper ones name another cloud, what the lower ones say of storage is not about that
    cloud, whose password must not be sent there: the guide's fallback (4.7) is used instead.
    """
    cloud, other = upper.get("endpoint"), lower.get("endpoint")
    if cloud and other and cloud != other:
        lower = {key: text for key, text in lower.items() if key not in _OF_STORAGE}
    return {**lower, **upper}


def _warn_of_slips(source: str, sections: Mapping[str, Mapping[str, str]]) -> None:
    """Warn of unknown keys, which are ignored, if they look like misspelt known ones."""
    for section, options in sections.items():
        for key in options.keys() - KNOWN:
            meant = difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.85)
            if meant:
                warnings.warn(
                    f"{source}: [{section}] {key} is ignored; did you mean {meant[0]}?",
                    stacklevel=2,
                )


def _has_password(options: Mapping[str, str]) -> bool:
    """Whether a section contains a password, perhaps in its endpoint."""
    named = any(text for key, text in options.items() if key.endswith("password"))
    return named or "@" in options.get("endpoint", "")
