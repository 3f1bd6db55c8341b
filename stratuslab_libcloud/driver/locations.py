"""What a driver is made of, its locations, and how the other parts ask their clouds."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeVar

from libcloud.compute.base import Node, NodeDriver, NodeLocation, NodeSize, StorageVolume

from stratuslab_libcloud import portable
from stratuslab_libcloud.client.cloud import Cloud
from stratuslab_libcloud.configuration import endpoints, file
from stratuslab_libcloud.configuration.location import direct
from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.connection import Connection
from stratuslab_libcloud.driver.entities import to_location, to_size
from stratuslab_libcloud.errors import ConfigurationError, InvalidValueError
from stratuslab_libcloud.errors.asked import asking
from stratuslab_libcloud.locations import Locations

__all__ = ["LocationMethods"]

T = TypeVar("T")


class LocationMethods(NodeDriver):
    """The part of the driver that the others stand on."""

    def __init__(
        self,
        key: str | None = None,
        secret: str | None = None,
        secure: bool = True,
        host: str | None = None,
        port: int | None = None,
        *,
        stratuslab_user_config: str | os.PathLike[str] | IO[str] | IO[bytes] | None = None,
        stratuslab_default_location: str | None = None,
        ex_pdisk_endpoint: str | None = None,
        ex_marketplace_endpoint: str | None = None,
        timeout: float = 60,
        proxy_url: str | None = None,
    ) -> None:
        """
        Take in a configuration file (guide 9.1.2), or user name, password and endpoint.

        Nothing is sent and no key is read here.

        :param key: without ``secret``: the default location's id, where ``"default"`` leaves the
            choice to the file (guide 9.1.3), and so does the ``"unused-key"`` of scripts of 2013.
            With ``secret``: a user name.
        :param secret: a password. Then the configuration file is not read, and there is one
            location, ``default``, at ``host``.
        :param secure: ``False``: http for a ``host`` that is no URL.
        :param host: with ``secret``: the cloud endpoint, a host name or URL.
        :param port: with ``secret``: its port.
        :param stratuslab_user_config: path or open file; default: the guide's place (4.4.2).
        :param stratuslab_default_location: id of the location to use when none is given;
            ``"default"`` is the section of that name.
        :param ex_pdisk_endpoint: the default location's persistent disk service.
        :param ex_marketplace_endpoint: the default location's Marketplace.
        :param timeout: seconds that each request of a call may take, its repetitions included;
            large listings may take longer while they bring a KiB a second.
        :param proxy_url: an HTTP proxy for all requests; ``connection.set_http_proxy()`` sets
            another one.
        :raises ConfigurationError: naming the file, the section and the key.
        """
        # Not super(): it would build a connection that is never used.
        self.key = key
        self.secret = secret
        self.secure = secure
        self.host = host
        self.port = port  # type: ignore[assignment] # Libcloud's annotation forgets None
        self.api_version = None
        self.region = None
        self._timeout = arguments.checked_timeout(timeout)
        self.connection = Connection(proxy_url, self._set_proxy)  # type: ignore[assignment]
        self._overrides = {
            name: text
            for name, text in (
                ("pdisk_endpoint", ex_pdisk_endpoint),
                ("marketplace_endpoint", ex_marketplace_endpoint),
            )
            if text
        }
        self._identity = uuid.uuid4().hex
        self._reference: portable.Reference | None = None
        self._loaded: file.UserConfig | None = None
        self._again: tuple[str | None, str | None] = (None, None)
        if secret is not None:
            if stratuslab_user_config or stratuslab_default_location:
                raise InvalidValueError(
                    "key and secret are an account of their own: give them, or a configuration "
                    "file and location"
                )
        elif host is not None or port is not None:
            raise InvalidValueError("host and port need key and secret: user name and password")
        else:
            self._loaded = file.read(
                stratuslab_user_config, location=stratuslab_default_location, preferred=key
            )
            self._again = self._loaded.place, self._loaded.default_location
        self._made = self._make_locations()
        portable.enlist(self, self._identity)

    def __getstate__(self) -> dict[str, Any]:
        own = ("_made", "connection", "_reference")  # connections are a process's own
        state = {name: value for name, value in self.__dict__.items() if name not in own}
        return {**state, "_proxy_url": self.connection.proxy_url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        proxy_url = self.__dict__.pop("_proxy_url")
        self.connection = Connection(proxy_url, self._set_proxy)  # type: ignore[assignment]
        self._reference = None
        if "_loaded" in state:
            self._made = self._make_locations()
            portable.enlist(self, self._identity)

    def _refer(self) -> portable.Reference:
        """A reference to this driver, without secrets, for pickles of its nodes and the like."""
        if "_loaded" in self.__dict__:
            portable.enlist(self, self._identity)
        if self._reference is None:
            state = self.__getstate__()
            state.pop("_loaded", None)
            state |= {
                "secret": None,
                "host": self.host and endpoints.without_login(self.host),
                "_proxy_url": self.connection.proxy_url
                and endpoints.without_login(self.connection.proxy_url),
                "_overrides": {
                    name: endpoints.without_login(text) for name, text in self._overrides.items()
                },
            }
            self._reference = portable.Reference(type(self), self._identity, state)
        return self._reference

    @property
    def _config(self) -> file.UserConfig:
        """The configuration; a driver that a reference made reads it when it is first needed."""
        loaded: file.UserConfig | None = self.__dict__.get("_loaded")
        if loaded is None:
            place, location = self._again
            if place is None:
                raise ConfigurationError(
                    "this came from another process without its driver, whose password or "
                    "configuration is in no file: make or unpickle a driver here, and call its "
                    "methods"
                )
            self._loaded = loaded = file.read(place or None, location=location)
        return loaded

    def list_locations(self) -> list[NodeLocation]:
        """
        The sections of the configuration file (guide 4.10), the default one first; no request.

        :rtype: ``list`` of :class:`.NodeLocation`
        """
        return [
            to_location(name, *self._locations.display(name), self) for name in self._locations.ids
        ]

    def list_sizes(self, location: NodeLocation | None = None) -> list[NodeSize]:
        """
        The standard instance types and those of the configuration file; no request.

        ``ram`` is in MiB; ``disk`` is 0, as images bring their own; ``extra`` has ``cpus`` and
        ``swap`` (MiB).

        :param location: ignored, all have the same.
        :rtype: ``list`` of :class:`.NodeSize`
        """
        return [to_size(kind, self) for kind in self._locations.instance_types]

    def ex_close(self) -> None:
        """Close the connections; a later call opens new ones. Garbage collection does it too."""
        self._locations.close()

    # -- asking clouds -------------------------------------------------------------------------

    @property
    def _locations(self) -> Locations:
        """The clouds; a driver that a reference made has them when they are first needed."""
        made: Locations | None = self.__dict__.get("_made")
        # Not with a lock, which a fork could copy: threads that meet here take the same ones.
        return made or self.__dict__.setdefault("_made", self._make_locations())

    def _make_locations(self) -> Locations:
        known: file.UserConfig | file.Settings
        if self.secret is None:
            known = self._config
        elif not self.key or not self.secret or not self.host:
            raise InvalidValueError(
                "key, secret and host are needed: user name, password, endpoint"
            )
        else:
            known = direct(
                self.key,
                self.secret,
                self.host,
                self.port,
                secure=self.secure,
                pdisk_endpoint=self._overrides.get("pdisk_endpoint"),
                marketplace_endpoint=self._overrides.get("marketplace_endpoint"),
            )
        proxy_url = self.connection.proxy_url
        return Locations(known, self._overrides, timeout=self._timeout, proxy_url=proxy_url)

    def _set_proxy(self, proxy_url: str | None) -> None:
        self._reference = None
        if "_made" in self.__dict__:
            self._made.use_proxy(proxy_url)

    @contextmanager
    def _asking(self, location: NodeLocation | str | None) -> Iterator[Cloud]:
        """The cloud of a location, or of the default one."""
        location_id = None if location is None else str(getattr(location, "id", location))
        with asking(driver=self), self._locations.asking(location_id) as cloud:
            yield cloud

    def _ask_all(
        self,
        what: str,
        account: Callable[[Cloud], object],
        ask: Callable[[Cloud, float | None], list[T]],
    ) -> list[T]:
        with asking(driver=self):
            return self._locations.ask_all(what, account, ask)

    @contextmanager
    def _asking_for(self, thing: Node | StorageVolume) -> Iterator[Cloud]:
        """The cloud that a node or volume is of; no doubt is possible where there is only one."""
        extra = thing.extra or {}
        what = f"{type(thing).__name__} {thing.id}"
        location_id = extra.get("location")
        if location_id is None:
            location_id = self._only_location(thing, what)
        with self._asking(location_id) as cloud:
            settings = cloud.settings
            if extra.get("endpoint") not in (None, settings.endpoint, settings.pdisk_endpoint):
                # Ids are small numbers of each cloud: it could be somebody else's there.
                raise InvalidValueError(f"{what} is of {extra['endpoint']}, not of this location")
            yield cloud

    def _only_location(self, thing: Node | StorageVolume, what: str) -> str:
        """Where something is that was rebuilt from its id."""
        if thing.driver is not None and getattr(thing.driver, "_identity", None) != self._identity:
            raise InvalidValueError(
                f"{what} is not of this driver: it has no location", driver=self
            )
        known = self._locations.ids
        if len(known) > 1:
            raise InvalidValueError(
                f"{what} does not say which location it is in: set its extra['location'] to "
                f"one of: {', '.join(known)}",
                driver=self,
            )
        return known[0] if known else self._locations.default

    def _check_same_storage(self, thing: Node | StorageVolume, other: Cloud) -> None:
        """Disks and machines come together within one storage service's account only."""
        with self._asking_for(thing) as cloud:
            if cloud.volume_account != other.volume_account:
                raise InvalidValueError(
                    f"{type(thing).__name__} {thing.id} is in location {cloud.settings.location}, "
                    f"the other in {other.settings.location}: they must be in the same"
                )
