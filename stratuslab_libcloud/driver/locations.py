"""How a driver is made, its locations, and how its other parts ask their clouds."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeAlias, TypeVar

from libcloud.compute.base import (
    Node,
    NodeDriver,
    NodeLocation,
    NodeSize,
    StorageVolume,
    VolumeSnapshot,
)

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
Thing: TypeAlias = Node | StorageVolume | VolumeSnapshot


class LocationMethods(NodeDriver):
    """The part of the driver that the others build on."""

    def __init__(
        self,
        key: str | None = None,
        secret: str | None = None,
        secure: bool | str = True,
        host: str | None = None,
        port: int | str | None = None,
        *,
        stratuslab_user_config: str | os.PathLike[str] | IO[str] | IO[bytes] | None = None,
        stratuslab_default_location: str | None = None,
        ex_pdisk_endpoint: str | None = None,
        ex_marketplace_endpoint: str | None = None,
        timeout: float = 60,
        proxy_url: str | None = None,
    ) -> None:
        """
        Read a configuration file (guide 9.1.2), or take a user name, a password and an endpoint.

        No request is sent and no key is read.

        >>> driver = StratusLabNodeDriver("default")
        >>> driver = StratusLabNodeDriver(stratuslab_user_config="clouds.cfg")
        >>> driver = StratusLabNodeDriver("jane", "secret", host="cloud.example.org")

        :param key: Without ``secret``, the id of the default location (optional). ``"default"``
            leaves the choice to the file (guide 9.1.3), and so does ``"unused-key"``, which scripts
            of 2013 pass. With ``secret``, a user name.
        :param secret: A password (optional). If given, no configuration file is read, and there is
            one location, ``default``, at ``host``.
        :param secure: ``False`` to speak plain HTTP with a ``host`` that is not a URL (optional).
        :param host: The cloud endpoint, a host name or a URL (required with ``secret``).
        :param port: The port of the cloud endpoint (optional, only with ``secret``). 2633 is that
            of an OpenNebula engine.
        :param stratuslab_user_config: A path or an open file (optional); the guide's place (4.4.2)
            if not given.
        :param stratuslab_default_location: The id of the default location (optional). Here
            ``"default"`` is the section of that name.
        :param ex_pdisk_endpoint: The persistent disk service of the default location (optional).
        :param ex_marketplace_endpoint: The Marketplace of the default location (optional).
        :param timeout: Seconds that each request of a call may take, with all attempts;
            ten times as many where the service copies or packs a whole disk (optional).
            Large listings may take longer as long as they deliver 1 KiB a second.
        :param proxy_url: An HTTP proxy for all requests (optional);
            ``driver.connection.set_http_proxy()`` changes it.
        :raises ConfigurationError: The configuration cannot be used; the text names the file, the
            section and the key.
        :raises InvalidValueError: The arguments contradict each other, or one of them is not valid.
        """
        # Not super(): it would build a connection that is never used.
        self.key = key
        self.secret = secret
        self.secure = arguments.as_truth(secure)
        self.host = host
        self.port = arguments.as_number(port)  # type: ignore[assignment] # Libcloud's annotation forgets None
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
                    "key and secret name an account of their own: give either them, or a "
                    "configuration file and location"
                )
        elif host is not None or port is not None:
            raise InvalidValueError("host and port need key and secret, a user name and a password")
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
        """Return a reference to this driver, without secrets, for pickles of nodes and others."""
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
        """The configuration; a driver made from a reference reads it when it is first needed."""
        loaded: file.UserConfig | None = self.__dict__.get("_loaded")
        if loaded is None:
            place, location = self._again
            if place is None:
                raise ConfigurationError(
                    "this was unpickled without its driver, whose password or configuration is "
                    "not in a file: make or unpickle a driver in this process and call its methods"
                )
            self._loaded = loaded = file.read(place or None, location=location)
        return loaded

    def list_locations(self) -> list[NodeLocation]:
        """
        List the locations: sections of the configuration file, the default one first. No request.

        ``id`` is the name of the section; ``name`` and ``country`` are what it says.

        Source: guide 4.10, 9.1.4.

        >>> [location.id for location in driver.list_locations()]
        ['sandbox']

        :rtype: ``list`` of :class:`.NodeLocation`
        """
        return [
            to_location(name, *self._locations.display(name), self) for name in self._locations.ids
        ]

    def list_sizes(self, location: NodeLocation | None = None) -> list[NodeSize]:
        """
        List the standard instance types and those of the configuration file. No request.

        ``ram`` is in MiB. ``disk`` is 0, as images bring their own; ``bandwidth`` is ``None`` and
        ``price`` 0.0. ``extra`` has ``cpus`` and ``swap`` (MiB).

        Source: guide 9.1.4.

        >>> size = driver.list_sizes()[0]
        >>> size.id, size.ram, size.extra
        ('t1.micro', 512, {'cpus': 1, 'swap': 512})

        :param location: Ignored: all locations have the same sizes.
        :rtype: ``list`` of :class:`.NodeSize`
        """
        return [to_size(kind, self) for kind in self._locations.instance_types]

    def ex_close(self) -> None:
        """
        Close the connections. No request.

        A later call opens new ones. Garbage collection closes them, too.

        >>> driver.ex_close()
        """
        self._locations.close()

    # -- asking clouds -------------------------------------------------------------------------

    @property
    def _locations(self) -> Locations:
        """The clouds; a driver made from a reference connects them when they are first needed."""
        made: Locations | None = self.__dict__.get("_made")
        # Not with a lock, which a fork could copy while it is held; setdefault is atomic.
        return made or self.__dict__.setdefault("_made", self._make_locations())

    def _make_locations(self) -> Locations:
        known: file.UserConfig | file.Settings
        if self.secret is None:
            known = self._config
        elif not self.key or not self.secret or not self.host:
            raise InvalidValueError(
                "key, secret and host must be given: a user name, a password and an endpoint"
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
        """Give the cloud of a location, or of the default one."""
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
    def _asking_for(self, thing: Thing, kind: type[Thing]) -> Iterator[Cloud]:
        """
        Give the cloud of a thing, the only one if the thing names none.

        :param kind: what it must be: the ids of nodes, say, are those of volumes, too.
        """
        if not isinstance(thing, kind):
            raise InvalidValueError(f"{thing!r} is not a {kind.__name__}", driver=self)
        extra = thing.extra or {}
        what = f"{type(thing).__name__} {thing.id}"
        location_id = extra.get("location")
        if location_id is None:
            location_id = self._only_location(thing, what)
        with self._asking(location_id) as cloud:
            settings = cloud.settings
            if extra.get("endpoint") not in (None, settings.endpoint, settings.pdisk_endpoint):
                # Ids are small numbers of each cloud: here the id may be somebody else's node.
                raise InvalidValueError(
                    f"{what} belongs to {extra['endpoint']}, not to this location"
                )
            yield cloud

    def _only_location(self, thing: Node | StorageVolume | VolumeSnapshot, what: str) -> str:
        """Find the location of a thing that was rebuilt from its id."""
        if thing.driver is not None and getattr(thing.driver, "_identity", None) != self._identity:
            raise InvalidValueError(
                f"{what} belongs to another driver and has no location: call that driver, or set "
                "extra['location']",
                driver=self,
            )
        first, *others = self._locations.ids or [self._locations.default]
        if others:
            raise InvalidValueError(
                f"{what} does not say which location it is in: set its extra['location'] to "
                f"one of: {', '.join(self._locations.ids)}",
                driver=self,
            )
        return first

    def _check_same_storage(self, thing: Node | StorageVolume, other: Cloud) -> None:
        """Refuse to combine disks and machines of different accounts of storage services."""
        with self._asking_for(thing, type(thing)) as cloud:
            if cloud.volume_account != other.volume_account:
                raise InvalidValueError(
                    f"{type(thing).__name__} {thing.id} is in location {cloud.settings.location}, "
                    f"the other in {other.settings.location}: they must be in the same location"
                )
