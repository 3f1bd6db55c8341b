"""The clouds of a configuration, by location: ask one, or all at once."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import IO, TypeVar

from stratuslab_libcloud.client import dialects
from stratuslab_libcloud.client.cloud import Cloud
from stratuslab_libcloud.configuration.file import UserConfig, read, suggestion
from stratuslab_libcloud.configuration.instance_types import STANDARD_TYPES, InstanceType
from stratuslab_libcloud.configuration.options import KNOWN
from stratuslab_libcloud.configuration.settings import Settings
from stratuslab_libcloud.errors import (
    InvalidValueError,
    PartialListError,
    StratusLabError,
)
from stratuslab_libcloud.errors.asked import asking
from stratuslab_libcloud.parallel import ask_all

__all__ = ["Locations", "connect"]

T = TypeVar("T")

_ACCOUNT, _CERTIFICATE = ("username", "password"), ("pem_certificate", "pem_key")


def connect(
    config: str | os.PathLike[str] | IO[str] | IO[bytes] | None,
    section: str | None,
    options: Mapping[str, str],
    *,
    timeout: float,
    proxy_url: str | None,
) -> Cloud:
    """See :func:`stratuslab_libcloud.connect`, which is this."""
    unknown = sorted(options.keys() - KNOWN)
    if unknown:
        raise InvalidValueError(
            f"there is no option {unknown[0]!r}{suggestion(unknown[0], sorted(KNOWN))}"
        )
    known = read(config, location=section, needed=False)
    given = _one_login({key: text for key, text in options.items() if text})
    locations = Locations(known, given, timeout=timeout, proxy_url=proxy_url)
    with locations.asking() as cloud:
        return cloud


def _one_login(options: Mapping[str, str]) -> dict[str, str]:
    """Whichever login is among the options is used, whatever the file has (config-and-cli 2.4)."""
    account, certificate = (
        any(key in options for key in kind) for kind in (_ACCOUNT, _CERTIFICATE)
    )
    unused: tuple[str, ...] = ()
    if account != certificate:
        unused = _CERTIFICATE if account else _ACCOUNT
    return {**dict.fromkeys(unused, ""), **options}


class Locations:
    """
    The clouds of a configuration, each made when it is first asked. Threads can share them.

    :ivar default: id of the location to ask when none is named.
    """

    def __init__(
        self,
        known: UserConfig | Settings,
        overrides: Mapping[str, str] | None = None,
        *,
        timeout: float = 60.0,
        proxy_url: str | None = None,
    ) -> None:
        """
        Prepare the clouds, without sending anything.

        :param known: a configuration file, or the settings of the only location.
        :param overrides: options of the default location that take precedence over the file.
        :param timeout: seconds that a whole call may take.
        :param proxy_url: an HTTP proxy to use.
        """
        self._overrides = overrides
        self._timeout = timeout
        self._proxy_url = proxy_url
        self._clouds: dict[str, Cloud] = {}
        self._config = known if isinstance(known, UserConfig) else None
        if isinstance(known, UserConfig):
            self.default = known.default_location
        else:
            self.default = known.location
            self._clouds[known.location] = self._new(known)

    @property
    def ids(self) -> list[str]:
        """The ids of all locations, the default one first."""
        return self._config.locations() if self._config else list(self._clouds)

    @property
    def instance_types(self) -> tuple[InstanceType, ...]:
        """The sizes of machines: the standard ones, and those of the configuration file."""
        return self._config.instance_types if self._config else STANDARD_TYPES

    def display(self, location_id: str) -> tuple[str, str]:
        """Return the name and country of a location, for people."""
        return self._config.display(location_id) if self._config else (location_id, "unknown")

    def cloud(self, location_id: str) -> Cloud:
        """
        Return the cloud of one location.

        :raises InvalidValueError: there is no such location.
        :raises ConfigurationError: its configuration cannot be used.
        """
        cloud = self._clouds.get(location_id)
        if cloud is None:
            known = self.ids
            if self._config is None or location_id not in (*known, self.default):
                raise InvalidValueError(
                    f"there is no location {location_id!r}; known: {', '.join(known)}"
                    f"{suggestion(location_id, known)}"
                )
            settings = self._config.settings(location_id, self._overrides)
            # No lock, as a fork could copy a held one: simultaneous threads get the same cloud.
            cloud = self._clouds.setdefault(location_id, self._new(settings))
        return cloud

    @contextmanager
    def asking(self, location_id: str | None = None) -> Iterator[Cloud]:
        """
        Ask one cloud; errors of the block name its location.

        :param location_id: default: the default location.
        """
        chosen = self.default if location_id is None else location_id
        with asking(location=chosen):
            yield self.cloud(chosen)

    def ask_all(
        self,
        what: str,
        account: Callable[[Cloud], object],
        ask: Callable[[Cloud, float | None], list[T]],
    ) -> list[T]:
        """
        Ask all clouds at once, but each account only once: its things belong to the first location.

        :param what: what is listed, in the plural, for the message.
        :param account: returns a value that is equal for two clouds with the same things.
        :param ask: lists the things of a cloud; gets the seconds that it may take.
        :raises PartialListError: some of several locations failed; has the answers of the others.
        """
        names = self.ids
        if len(names) < 2:
            with self.asking(names[0] if names else None) as cloud:
                return ask(cloud, None)

        def question(name: str) -> list[T]:
            with self.asking(name) as cloud:
                return ask(cloud, cloud.settings.options.endpoint_timeout)

        failures: dict[str, Exception] = {}
        first: dict[object, str] = {}
        for name in names:
            try:
                with self.asking(name) as cloud:
                    first.setdefault(account(cloud), name)
            except StratusLabError as error:
                failures[name] = error
        found, failed = ask_all({name: partial(question, name) for name in first.values()})
        failures |= failed
        items = [item for name in names for item in found.get(name, [])]
        if failures:
            reasons = "; ".join(str(failures[name]) for name in names if name in failures)
            raise PartialListError(
                f"{len(failures)} of {len(names)} locations could not list their {what}: {reasons}",
                items,
                failures,
            )
        return items

    def use_proxy(self, proxy_url: str | None) -> None:
        """Use another proxy for all clouds from now on; ``None``: the environment's."""
        self._proxy_url = proxy_url
        clouds = list(self._clouds.items())
        self._clouds = {name: self._new(cloud.settings) for name, cloud in clouds}
        for _, cloud in clouds:
            cloud.close()

    def close(self) -> None:
        """Close idle connections; a later call opens new ones."""
        for cloud in list(self._clouds.values()):
            cloud.close()

    def _new(self, settings: Settings) -> Cloud:
        return dialects.cloud(settings, timeout=self._timeout, proxy_url=self._proxy_url)
