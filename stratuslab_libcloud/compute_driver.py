"""
The Apache Libcloud compute driver for StratusLab clouds (User's Guide 13.05, chapter 9.1).

Libcloud's words to the client's and back; how services are talked to is in ``client``.
"""

import logging
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, TypeVar

from libcloud.common.types import LibcloudError
from libcloud.compute.base import (
    Node,
    NodeAuthPassword,
    NodeAuthSSHKey,
    NodeDriver,
    NodeImage,
    NodeLocation,
    NodeSize,
    StorageVolume,
    VolumeSnapshot,
)
from libcloud.compute.deployment import Deployment
from libcloud.compute.ssh import BaseSSHClient
from libcloud.compute.types import NodeState, StorageVolumeState
from libcloud.utils.networking import is_valid_ip_address

from stratuslab_libcloud import portable
from stratuslab_libcloud.client.cloud import BootDisk, Machine, NewMachine
from stratuslab_libcloud.client.stratuslab.cloud import Site
from stratuslab_libcloud.client.stratuslab.pdisk import Disk, is_uuid
from stratuslab_libcloud.client.stratuslab.template import render
from stratuslab_libcloud.configuration import endpoints, file
from stratuslab_libcloud.configuration.instance_types import STANDARD_TYPES, InstanceType
from stratuslab_libcloud.configuration.location import direct
from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.connection import Connection
from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import (
    NODE_STATES,
    StratusLabNode,
    new_node,
    to_image,
    to_location,
    to_node,
    to_size,
    to_volume,
    whole_size,
)
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    InvalidValueError,
    NodeFailedError,
    NodeNotReadyError,
    NotFoundError,
    PartialListError,
    StratusLabError,
)
from stratuslab_libcloud.parallel import ask_all
from stratuslab_libcloud.ssh import files
from stratuslab_libcloud.ssh import keys as ssh_keys

__all__ = ["StratusLabNode", "StratusLabNodeDriver"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE = 0.25  # seconds between two looks at a node that is waited for
_LAST_LOOK = 1.0  # seconds that the looks may take once the time is over


class StratusLabNodeDriver(NodeDriver):
    """
    StratusLab clouds, as locations: the sections of the user configuration file (guide 9.1).

    >>> driver = StratusLabNodeDriver("default")  # or with the name of a section
    >>> node = driver.create_node("mine", driver.list_sizes()[0], driver.list_images()[0])

    Every error is a :class:`.StratusLabError`, and so a ``LibcloudError``, whose text is one line;
    the tree is in ``stratuslab_libcloud.errors``. Whatever asks a cloud may raise
    :class:`.CredentialsError`, :class:`.ConnectionFailedError`, :class:`.MalformedAnswerError` and
    :class:`.UnavailableError`, besides what the methods name.

    An interrupt (Ctrl-C) of a call that creates something goes on as it is, with two attributes:
    ``created``, the list of the nodes and volumes that exist, and ``may_exist``, a list of
    sentences about what was asked for and not yet answered. One line in the log says the same.

    One driver may be shared by threads: each service has as many connections as there were calls
    of it at the same time. After a fork each process opens connections of its own.

    A driver can be pickled and copied, as can everything that it hands out and every error. It
    arrives with all that it was made of, so that a pickled driver has the passwords in it, and
    without connections. What it hands out leaves the secrets behind: a node finds its driver again
    in a process that has it or a copy of it. Elsewhere its driver reads the configuration file
    again, or, where there is none, says so in one line when it is used. Libcloud's own ``Node`` and
    the like, which callers make around a driver, are pickled with all of it.

    Errors and the names of images can be printed as they are: they have no control characters.
    Names of nodes and volumes, and ``extra``, are as the cloud tells them.
    """

    type = "stratuslab"
    api_name = "stratuslab"
    name = "StratusLab"
    website = "http://stratuslab.eu/"
    features = {"create_node": ["ssh_key"]}  # noqa: RUF012 - Libcloud's own attribute
    NODE_STATE_MAP = NODE_STATES

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
        self._sites: dict[str, Site] = {}
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
            self._make_direct(key, secret, secure, host, port)
        elif host is not None or port is not None:
            raise InvalidValueError("host and port need key and secret: user name and password")
        else:
            self._loaded = file.read(
                stratuslab_user_config, location=stratuslab_default_location, preferred=key
            )
            self._again = self._loaded.place, self._loaded.default_location
        portable.enlist(self, self._identity)

    def _make_direct(
        self, key: str | None, secret: str, secure: bool, host: str | None, port: int | None
    ) -> None:
        if not key or not secret or not host:
            raise InvalidValueError(
                "key, secret and host are needed: user name, password, endpoint"
            )
        settings = direct(
            key,
            secret,
            host,
            port,
            secure=secure,
            pdisk_endpoint=self._overrides.get("pdisk_endpoint"),
            marketplace_endpoint=self._overrides.get("marketplace_endpoint"),
        )
        self._sites[settings.location] = self._new_site(settings)

    # -- across processes ----------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        own = ("_sites", "connection", "_reference")  # connections are a process's own
        state = {name: value for name, value in self.__dict__.items() if name not in own}
        return {**state, "_proxy_url": self.connection.proxy_url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        proxy_url = self.__dict__.pop("_proxy_url")
        self.connection = Connection(proxy_url, self._set_proxy)  # type: ignore[assignment]
        self._sites, self._reference = {}, None
        if self.secret is not None:
            self._make_direct(self.key, self.secret, self.secure, self.host, self.port)
        if "_loaded" in state:
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
    def _config(self) -> file.UserConfig | None:
        """The configuration; a driver that a reference made reads it when it is first needed."""
        if "_loaded" not in self.__dict__:
            place, location = self._again
            if place is None:
                raise ConfigurationError(
                    "this came from another process without its driver, whose password or "
                    "configuration is in no file: make or unpickle a driver here, and call its "
                    "methods"
                )
            self._loaded = file.read(place or None, location=location)
        return self._loaded

    # -- what there is -------------------------------------------------------------------------

    def list_locations(self) -> list[NodeLocation]:
        """
        The sections of the configuration file (guide 4.10), the default one first; no request.

        :rtype: ``list`` of :class:`.NodeLocation`
        """
        return [to_location(name, *self._display(name), self) for name in self._location_ids()]

    def list_sizes(self, location: NodeLocation | None = None) -> list[NodeSize]:
        """
        The standard instance types and those of the configuration file; no request.

        ``ram`` is in MiB; ``disk`` is 0, as images bring their own; ``extra`` has ``cpus`` and
        ``swap`` (MiB).

        :param location: ignored, all have the same.
        :rtype: ``list`` of :class:`.NodeSize`
        """
        return [to_size(kind, self) for kind in self._types]

    def list_images(self, location: NodeLocation | None = None) -> list[NodeImage]:
        """
        Every current image of the location's Marketplace (marketplace-rest 3); one request.

        ``extra`` has what the listing tells of the newest endorsement (``os``, ``os_version``,
        ``os_arch``, ``kind``, ``description``, ``endorser``, ``endorsed``, ``locations`` and, where
        the Marketplace lists whole entries, all of :meth:`get_image`), and ``endorsers``, everybody
        who currently endorses the image.

        :param location: default: the default location.
        :rtype: ``list`` of :class:`.NodeImage`
        """
        with self._asking(location) as site:
            return [to_image(found, self) for found in site.marketplace.images()]

    def get_image(self, image_id: str) -> NodeImage:
        """
        One image of the default location's Marketplace with its whole entry (marketplace-rest 4);
        one request.

        ``extra`` has ``title``, ``description``, ``os``, ``os_version``, ``os_arch``, ``version``,
        ``kind``, ``type``, ``format``, ``compression``, ``size`` (bytes, uncompressed),
        ``checksums``, ``locations``, ``disks_bus``, ``inbound_ports``, ``hypervisor``, ``creator``,
        ``publisher``, ``created``, ``valid``, ``tag``, ``deprecated``, ``endorser``, ``endorsed``,
        ``subject``, ``issuer`` and ``endorsers``.

        :param image_id: 27 characters.
        :raises NotFoundError: unknown, expired or deprecated.
        :rtype: :class:`.NodeImage`
        """
        with self._asking(None) as site:
            return to_image(site.marketplace.get(image_id), self)

    # -- nodes ---------------------------------------------------------------------------------

    def list_nodes(self) -> list[Node]:
        """
        The nodes of all locations, which are asked at the same time; one request each.

        ``extra`` has ``location`` (id), ``endpoint``, ``host``, ``vm_state`` and ``lcm_state``
        (numbers), ``cpu_percent`` (of one core), ``memory_kib``, ``owner``, ``disks`` (dictionaries
        with ``id``, ``target``, ``source``, ``size`` in MiB, ``type``), ``error`` (the cloud's
        text, or ``None``) and, when it is not 22, ``ssh_port``.

        :raises PartialListError: some locations failed; has what the others answered.
        :rtype: ``list`` of :class:`.Node`
        """
        return self._ask_all("nodes", _compute_account, self._nodes_of)

    def ex_list_nodes(self, location: NodeLocation | None = None) -> list[Node]:
        """
        The nodes of one location; one request.

        :param location: default: the default location.
        :rtype: ``list`` of :class:`.Node`
        """
        with self._asking(location) as site:
            return self._nodes_of(site, None)

    def ex_get_node(self, node_id: str, location: NodeLocation | None = None) -> Node:
        """
        One node, in whatever state, also when it has ended; one request.

        :param node_id: a number, as text.
        :param location: default: the default location.
        :raises NotFoundError: there is no such node.
        :raises NotPermittedError: it is somebody else's.
        :rtype: :class:`.Node`
        """
        with self._asking(location) as site:
            return self._to_node(site.compute.info(node_id), site)

    def create_node(
        self,
        name: str | None = None,
        size: NodeSize | None = None,
        image: NodeImage | None = None,
        location: NodeLocation | None = None,
        auth: NodeAuthSSHKey | NodeAuthPassword | None = None,
        *,
        ex_volumes: Sequence[StorageVolume] = (),
        ex_readonly_images: Sequence[NodeImage] = (),
        ex_context: Mapping[str, str] | None = None,
        ex_user_data: str | bytes | None = None,
        ex_context_method: str | None = None,
        ex_network: str | None = None,
    ) -> Node:
        """
        Start a node (guide 6.1.1, 7.3.1), without waiting for it; at most three requests.

        :param name: 128 bytes at most; empty or ``None``: the cloud chooses one.
        :param size: its ``ram`` in MiB, ``extra["cpus"]`` (default 1), ``extra["swap"]`` in MiB;
            what is missing in one that was rebuilt from its id is as :meth:`list_sizes` has it.
        :param image: from the Marketplace, or with the UUID of a bootable volume as its id; no more
            than its id is needed.
        :param location: default: the default location.
        :param auth: public key to let in; default: the configured one, or the first of
            ``~/.ssh/id_{rsa,ed25519,ecdsa}.pub`` that is there.
        :param ex_volumes: volumes of the same location to attach from the start.
        :param ex_readonly_images: images to attach for reading.
        :param ex_context: further values for the guest's context (compute-xmlrpc 4.6).
        :param ex_user_data: for cloud-init, 16 KiB at most once compressed.
        :param ex_context_method: ``one`` or ``cloud-init``; default: the location's, or
            ``cloud-init`` when there is user data.
        :param ex_network: ``public``, the default, ``local`` or ``private``.
        :return: the node, PENDING as a rule; without addresses if they could not be asked for.
        :raises InvalidValueError: the cloud would not take it, or not give it back as it is.
        :raises NotFoundError: there is no such image.
        :raises LostAnswerError: the node may exist.
        :rtype: :class:`.Node`
        """
        with creating() as created, self._asking(location) as site:
            image = arguments.expected(image, NodeImage, "image")
            size = whole_size(arguments.expected(size, NodeSize, "size"), self._types, self)
            keys = self._public_keys(site.settings, auth)
            machine = NewMachine(
                boot=self._boot_disk(site, image),
                **arguments.numbers_of(size),
                name="" if name is None else name,
                network="public" if ex_network is None else ex_network,
                volumes=[
                    self._volume_uri(site, v) for v in arguments.all_of(ex_volumes, StorageVolume)
                ],
                readonly_images=[
                    site.marketplace.url(i.id)
                    for i in arguments.all_of(ex_readonly_images, NodeImage)
                ],
                public_keys=keys,
                context=arguments.expected(ex_context or {}, Mapping, "ex_context"),  # type: ignore[type-abstract]
                user_data=arguments.as_bytes(ex_user_data),
                context_method=ex_context_method
                or ("cloud-init" if ex_user_data else site.settings.options.default_context_method),
            )
            template = render(machine)
            with created.asking(
                f"a node named {machine.name!r} may have been created: look for it with "
                "list_nodes()"
            ):
                node_id = site.compute.allocate(template, machine.name)
                node = new_node(node_id, machine.name or f"one-{node_id}", site.settings, self)
                created.things.append(node)
            try:
                node = self._to_node(site.compute.info(node_id), site)
                created.things[-1] = node
            except StratusLabError as error:
                # It runs, or will: an exception would lose it.
                _LOG.warning("node %s was created, but cannot be looked at: %s", node_id, error)
            node.size, node.image = size, image
            return node

    def destroy_node(self, node: Node) -> bool:
        """
        End a node at once (guide 6.1.3); nothing but persistent volumes is kept. One request.

        :param node: of this driver; one that has ended already is no error.
        :raises NotFoundError: there is no such node.
        :rtype: ``bool``
        """
        with self._asking_for(node) as site:
            site.compute.kill(str(node.id))
            return True

    def ex_shutdown_node(self, node: Node) -> bool:
        """
        Ask a running node to shut down; it ends by itself (compute-xmlrpc 2.6). One request.

        :param node: of this driver.
        :raises ConflictError: it does not run.
        :rtype: ``bool``
        """
        with self._asking_for(node) as site:
            site.compute.shutdown(str(node.id))
            return True

    def deploy_node(
        self,
        deploy: Deployment,
        ssh_username: str = "root",
        ssh_alternate_usernames: list[str] | None = None,
        ssh_port: int | None = None,
        ssh_timeout: int = 10,
        ssh_key: str | list[str] | None = None,
        ssh_key_password: str | None = None,
        auth: NodeAuthSSHKey | NodeAuthPassword | None = None,
        timeout: int = 300,
        max_tries: int = 3,
        ssh_interface: str = "public_ips",
        at_exit_func: Callable[..., Any] | None = None,
        wait_period: int = 5,
        **create_node_kwargs: Any,
    ) -> Node:
        """
        Start a node and run a deployment on it, as :class:`NodeDriver` does (guide 9.1.4).

        The other parameters are as there. Keys are checked before anything is created. Images need
        no SFTP server, only a shell. A script that ends with a status other than 0 is no error: its
        step in ``deploy`` has ``exit_status``, ``stdout`` and ``stderr``. Its standard input is
        empty.

        :param ssh_port: default: the location's ``ssh_port``.
        :param ssh_key: path or paths of private keys. Without ``auth`` the first one's public
            half is installed; with neither, the configured pair is used.
        :param timeout: seconds; each of these may take as long: waiting until the node runs;
            logging in, with each user name; each try of a script that has no time-out of its own
            (``ScriptDeployment(timeout=...)``); of a file, each 256 KiB.
        :param ssh_timeout: seconds that the connection for one attempt to log in may take.
        :param wait_period: seconds between two looks at the node at most, see
            :meth:`wait_until_running`.
        :raises DeploymentError: the node was created, and is in ``error.node``, but did not run or
            could not be deployed to; ``error.original_error`` is why: :class:`.NodeFailedError`,
            :class:`.NodeNotReadyError` (it does not run yet, or lets nobody in), or Libcloud's
            ``SSHCommandTimeoutError``, among others.
        :rtype: :class:`.Node`
        """
        with self._asking(create_node_kwargs.get("location")) as site:
            arguments.check_interface(ssh_interface)
            if ssh_key is None and auth is None:
                ssh_key, auth = self._configured_pair(site.settings, ssh_key_password)
            elif ssh_key is not None:
                given = [ssh_key] if isinstance(ssh_key, (str, os.PathLike)) else ssh_key
                paths = [arguments.key_path(path) for path in given if path]
                if not paths:
                    raise InvalidValueError("ssh_key names no private key")
                halves = [ssh_keys.public_half(path, ssh_key_password) for path in paths]
                auth = auth or NodeAuthSSHKey(halves[0])
                ssh_key = paths[0] if len(paths) == 1 else paths
            port = ssh_port or site.settings.options.ssh_port
        with creating(), files.without_sftp(deploy) as deployment:
            return super().deploy_node(
                deployment,
                ssh_username=ssh_username,
                ssh_alternate_usernames=ssh_alternate_usernames,
                ssh_port=port,
                ssh_timeout=ssh_timeout,
                ssh_key=ssh_key,
                ssh_key_password=ssh_key_password,
                auth=auth,
                timeout=timeout,
                max_tries=max_tries,
                ssh_interface=ssh_interface,
                at_exit_func=at_exit_func,
                wait_period=wait_period,
                **create_node_kwargs,
            )

    def wait_until_running(
        self,
        nodes: list[Node],
        wait_period: float = 5,
        timeout: float = 600,
        ssh_interface: str = "public_ips",
        force_ipv4: bool = True,
        ex_list_nodes_kwargs: dict[str, Any] | None = None,
    ) -> list[tuple[Node, list[str]]]:
        """
        Wait until nodes run and have an address; each is asked for at its own location.

        They are looked at now, a quarter of a second later, and then ever less often. A fault that
        may pass, such as a service that is overloaded, does not end the waiting.

        :param wait_period: seconds between two looks at most.
        :param timeout: seconds to wait.
        :param ex_list_nodes_kwargs: ignored.
        :return: each node as it is now, with its addresses.
        :raises NodeFailedError: at once when a node failed or was ended.
        :raises NodeNotReadyError: time ran out; with the trouble that was met, if there was any.
        :rtype: ``list`` of ``tuple``
        """
        arguments.check_interface(ssh_interface)
        end = time.monotonic() + timeout
        found: dict[int, tuple[Node, list[str]]] = {}
        trouble: dict[int, StratusLabError] = {}
        pause = _FIRST_PAUSE
        while True:
            for number, node in enumerate(nodes):
                left = end + _LAST_LOOK - time.monotonic()
                if number in found or left <= 0:
                    continue
                try:
                    current, addresses = self._look_at(node, ssh_interface, force_ipv4, left)
                except StratusLabError as error:
                    if not error.passing:
                        raise
                    _LOG.warning("still waiting for node %s: %s", node.id, error)
                    # That nothing came in the little time that was left says less than what did.
                    cut_short = isinstance(error, ConnectionFailedError) and left < self._timeout
                    if number not in trouble or not cut_short:
                        trouble[number] = error
                    continue
                trouble.pop(number, None)
                if addresses:
                    found[number] = (current, addresses)
            if len(found) == len(nodes):
                return [found[number] for number in sorted(found)]
            if time.monotonic() >= end:
                raise self._not_running(
                    [node for number, node in enumerate(nodes) if number not in found],
                    list(trouble.values()),
                    f"after {timeout} seconds these nodes do not run yet, or have no address in "
                    f"{ssh_interface}",
                )
            time.sleep(min(pause, wait_period, max(0.0, end - time.monotonic())))
            pause *= 1.5

    def _not_running(
        self, nodes: list[Node], trouble: list[StratusLabError], what: str
    ) -> NodeNotReadyError:
        met = "; ".join(dict.fromkeys(map(str, trouble)))
        names = ", ".join(str(node.id) for node in nodes)
        error = NodeNotReadyError(f"{what}: {names}" + (f" ({met})" if met else ""))
        error.__cause__ = trouble[-1] if trouble else None
        self._tagged(error)
        return error

    def _ssh_client_connect(
        self, ssh_client: BaseSSHClient, wait_period: float = 1.5, timeout: int = 300
    ) -> BaseSSHClient:
        """As Libcloud's, which ``deploy_node`` calls; but it ends in time, and says why."""
        if not isinstance(ssh_client, files.ChannelClient):  # or it is to log in once more
            ssh_client = files.ChannelClient(ssh_client, timeout)
        ssh_client.log_in_by(time.monotonic() + timeout)
        try:
            return super()._ssh_client_connect(ssh_client, wait_period, timeout)
        except LibcloudError:
            reason = ssh_client.trouble
            raise self._tagged(
                NodeNotReadyError(
                    "Could not connect to the remote SSH server "
                    f"{ssh_client.hostname}:{ssh_client.port} as {ssh_client.username} within "
                    f"{timeout:g} seconds" + (f": {reason}" if reason else "")
                )
            ) from reason

    # -- volumes -------------------------------------------------------------------------------

    def list_volumes(self, ex_location: NodeLocation | None = None) -> list[StorageVolume]:
        """
        The volumes of all locations, or of one (guide 7.2); one request each.

        ``extra`` has ``location`` (id), ``endpoint``, ``device`` and ``node`` (id), both ``None``
        unless just attached, ``owner``, ``visibility``, ``users`` (number of nodes that have it),
        ``type``, ``identifier``, ``created``; what the service does not tell is ``None``.

        :raises PartialListError: some locations failed; has what the others answered.
        :rtype: ``list`` of :class:`.StorageVolume`
        """
        if ex_location is not None:
            with self._asking(ex_location) as site:
                return self._volumes_of(site, None)
        return self._ask_all("volumes", _storage_account, self._volumes_of)

    def create_volume(
        self,
        size: int,
        name: str,
        location: NodeLocation | None = None,
        snapshot: VolumeSnapshot | None = None,
        ex_visibility: str = "private",
    ) -> StorageVolume:
        """
        Create a persistent disk (guide 7.1); one request.

        :param size: GiB, 1 to 1024.
        :param name: 40 characters at most.
        :param snapshot: not available.
        :param location: default: the default location.
        :param ex_visibility: ``private`` or ``public``.
        :raises InvalidValueError: of size, name or visibility; nothing was sent.
        :raises LostAnswerError: the volume may exist.
        :rtype: :class:`.StorageVolume`
        """
        if snapshot is not None:
            raise InvalidValueError("a volume cannot be made from a snapshot on a StratusLab cloud")
        with creating() as created, self._asking(location) as site:
            with created.asking(
                f"a volume named {name or ''!r} may have been created: look for it with "
                "list_volumes()"
            ):
                disk_id = site.storage.create(size, name or "", ex_visibility)
                disk = Disk(disk_id, name or "", size, users=0, visibility=ex_visibility)
                volume = to_volume(disk, site.settings, self)
                created.things.append(volume)
            return volume

    def attach_volume(self, node: Node, volume: StorageVolume, device: str | None = None) -> bool:
        """
        Plug a volume into a running node (guide 7.4); two requests.

        The cloud chooses the device: it is in ``volume.extra["device"]`` then, and the node's id in
        ``volume.extra["node"]``.

        :param node: of the volume's location.
        :param device: ignored.
        :raises ConflictError: the node does not run, or another one has the volume.
        :raises LostAnswerError: it may be attached.
        :rtype: ``bool``
        """
        with (
            creating() as created,
            self._asking_for(node) as site,
            self._asking_for(volume) as storing,
        ):
            self._check_same_storage(node, storing)
            machine = site.compute.info(str(node.id))
            if not machine.running or not machine.host:
                raise ConflictError(
                    f"node {node.id} does not run (it is {machine.summary}), so nothing can be "
                    "attached to it"
                )
            with created.asking(
                f"volume {volume.id} may have been attached to node {node.id} all the same"
            ):
                mount = storing.storage.mount(volume.id, machine.id, machine.host)
                _count_users(volume, +1, device=f"/dev/{mount.device}", node=machine.id)
            return True

    def detach_volume(self, volume: StorageVolume, ex_node: Node | None = None) -> bool:
        """
        Unplug a volume (guide 7.4); unmount it in the node first. One request; two if neither the
        caller nor ``volume.extra["node"]`` says which node has it, and the service has to be asked.

        :param ex_node: the node that has it.
        :raises NotFoundError: it is not attached, or not to that node: no other one loses it.
        :raises ConflictError: it was attached when the node started, or several nodes have it.
        :rtype: ``bool``
        """
        with self._asking_for(volume) as site:
            if ex_node is not None:
                self._check_same_storage(ex_node, site)
                node_id = str(ex_node.id)
            else:
                node_id = (volume.extra or {}).get("node") or self._only_mount(site, volume)
            try:
                site.storage.unmount(volume.id, node_id)
            except NotFoundError as error:
                # It may have come into another node since: nobody asked to unplug it there.
                error.advice = (
                    f"it is not attached to node {node_id}; one from list_volumes() is detached "
                    "from whichever node has it"
                )
                raise
        _count_users(volume, -1, device=None, node=None)
        return True

    def destroy_volume(self, volume: StorageVolume) -> bool:
        """
        Delete a volume and its contents (guide 7.5); one request.

        :raises ConflictError: a node has it.
        :raises NotPermittedError: it is somebody else's.
        :rtype: ``bool``
        """
        with self._asking_for(volume) as site:
            site.storage.delete(volume.id)
            return True

    def ex_update_volume(
        self, volume: StorageVolume, name: str | None = None, visibility: str | None = None
    ) -> bool:
        """
        Rename a volume, or make it private or public (guide 7.1); one request.

        :param name: 40 characters at most.
        :param visibility: ``private`` or ``public``.
        :rtype: ``bool``
        """
        with self._asking_for(volume) as site:
            site.storage.update(volume.id, tag=name, visibility=visibility)
        if name is not None:
            volume.name = name
        if visibility is not None:
            volume.extra = {**(volume.extra or {}), "visibility": visibility}
        return True

    def ex_close(self) -> None:
        """Close the connections; a later call opens new ones. Garbage collection does it too."""
        for site in list(self._sites.values()):
            site.close()

    # -- sites ---------------------------------------------------------------------------------

    def _location_ids(self) -> list[str]:
        return self._config.locations() if self._config else list(self._sites)

    def _display(self, location_id: str) -> tuple[str, str]:
        return self._config.display(location_id) if self._config else (location_id, "unknown")

    @property
    def _types(self) -> tuple[InstanceType, ...]:
        return self._config.instance_types if self._config else STANDARD_TYPES

    def _default_location(self) -> str:
        return self._config.default_location if self._config else next(iter(self._sites))

    def _site(self, location_id: str) -> Site:
        site = self._sites.get(location_id)
        if site is None:
            if self._config is None or (
                location_id not in self._config.locations()
                and location_id != self._config.default_location
            ):
                known = self._location_ids()
                raise InvalidValueError(
                    f"there is no location {location_id!r}; known: {', '.join(known)}"
                    f"{file.suggestion(location_id, known)}"
                )
            settings = self._config.settings(location_id, self._overrides)
            # Not with a lock, which a fork could copy: threads that meet here take the same one.
            site = self._sites.setdefault(location_id, self._new_site(settings))
        return site

    def _new_site(self, settings: file.Settings) -> Site:
        return Site(settings, timeout=self._timeout, proxy_url=self.connection.proxy_url)

    def _set_proxy(self, proxy_url: str | None) -> None:
        self._reference = None
        sites = list(self._sites.items())
        self._sites = {name: self._new_site(site.settings) for name, site in sites}
        for _, site in sites:
            site.close()

    @contextmanager
    def _asking(self, location: NodeLocation | str | None) -> Iterator[Site]:
        """The one place where an error learns of driver and location."""
        chosen = self._default_location() if location is None else location
        location_id = str(getattr(chosen, "id", chosen))
        try:
            yield self._site(location_id)
        except StratusLabError as error:
            error.location = error.location or location_id
            self._tagged(error)
            raise

    def _tagged(self, error: StratusLabError) -> StratusLabError:
        error.driver = error.driver or self
        return error

    @contextmanager
    def _asking_for(self, thing: Node | StorageVolume) -> Iterator[Site]:
        """The site that a node or volume is of; no doubt is possible where there is only one."""
        extra = thing.extra or {}
        what = f"{type(thing).__name__} {thing.id}"
        location_id = extra.get("location")
        if location_id is None:
            location_id = self._only_location(thing, what)
        with self._asking(location_id) as site:
            settings = site.settings
            if extra.get("endpoint") not in (None, settings.endpoint, settings.pdisk_endpoint):
                # Ids are small numbers of each cloud: it could be somebody else's there.
                raise InvalidValueError(f"{what} is of {extra['endpoint']}, not of this location")
            yield site

    def _only_location(self, thing: Node | StorageVolume, what: str) -> str:
        """Where something is that was rebuilt from its id."""
        if thing.driver is not None and getattr(thing.driver, "_identity", None) != self._identity:
            raise self._tagged(
                InvalidValueError(f"{what} is not of this driver: it has no location")
            )
        known = self._location_ids()
        if len(known) > 1:
            raise self._tagged(
                InvalidValueError(
                    f"{what} does not say which location it is in: set its extra['location'] to "
                    f"one of: {', '.join(known)}"
                )
            )
        return known[0] if known else self._default_location()

    def _check_same_storage(self, thing: Node | StorageVolume, other: Site) -> None:
        """Disks and machines come together within one storage service's account only."""
        with self._asking_for(thing) as site:
            if _storage_account(site) != _storage_account(other):
                raise InvalidValueError(
                    f"{type(thing).__name__} {thing.id} is in location {site.settings.location}, "
                    f"the other in {other.settings.location}: they must be in the same"
                )

    def _ask_all(
        self,
        what: str,
        account: Callable[[Site], object],
        ask: Callable[[Site, float | None], list[T]],
    ) -> list[T]:
        """Ask every location, and each account once: its things are the first location's."""
        names = self._location_ids()
        if len(names) < 2:
            with self._asking(names[0] if names else None) as site:
                return ask(site, None)

        def question(name: str) -> list[T]:
            with self._asking(name) as site:
                return ask(site, site.settings.options.endpoint_timeout)

        failures: dict[str, Exception] = {}
        first: dict[object, str] = {}
        for name in names:
            try:
                with self._asking(name) as site:
                    first.setdefault(account(site), name)
            except StratusLabError as error:
                failures[name] = error
        found, failed = ask_all({name: partial(question, name) for name in first.values()})
        failures |= failed
        items = [item for name in names for item in found.get(name, [])]
        if failures:
            reasons = "; ".join(str(failures[name]) for name in names if name in failures)
            raise self._tagged(
                PartialListError(
                    f"{len(failures)} of {len(names)} locations could not list their {what}: "
                    f"{reasons}",
                    items,
                    failures,
                )
            )
        return items

    def _nodes_of(self, site: Site, timeout: float | None) -> list[Node]:
        machines = site.compute.machines(timeout)
        machines.reverse()
        # Each is let go of before the next, lest the garbage collector has to see all of both.
        return [self._to_node(machines.pop(), site) for _ in range(len(machines))]

    def _volumes_of(self, site: Site, timeout: float | None) -> list[StorageVolume]:
        return [to_volume(disk, site.settings, self) for disk in site.storage.disks(timeout)]

    # -- parts of the work ---------------------------------------------------------------------

    def _boot_disk(self, site: Site, image: NodeImage) -> BootDisk:
        if is_uuid(str(image.id)):
            return BootDisk(site.storage.uri(image.id))
        entry = site.marketplace.newest(image.id)
        if not entry.locations:
            raise ConflictError(f"image {image.id} has no location that it could be fetched from")
        return BootDisk(
            site.marketplace.url(image.id),
            driver=(entry.format or "").strip(),
            bus=(entry.disks_bus or "").strip() or "ide",
            inbound_ports=entry.inbound_ports,
        )

    def _volume_uri(self, site: Site, volume: StorageVolume) -> str:
        self._check_same_storage(volume, site)
        return site.storage.uri(volume.id)

    def _public_keys(
        self, settings: file.Settings, auth: NodeAuthSSHKey | NodeAuthPassword | None
    ) -> list[str]:
        if auth is not None:
            if not isinstance(auth, NodeAuthSSHKey):
                raise InvalidValueError("a StratusLab node lets in SSH keys, not passwords")
            return ssh_keys.public_lines(auth.pubkey, "auth")
        pair = settings.default_key_pair()
        if pair is None:
            warnings.warn(
                f"there is no user_public_key_file in {settings.where}, and no key in ~/.ssh: "
                "nobody will be able to log in to the node",
                stacklevel=4,
            )
            return []
        return ssh_keys.read_public(pair[0])

    def _configured_pair(
        self, settings: file.Settings, passphrase: str | None
    ) -> tuple[str, NodeAuthSSHKey]:
        """The configured key pair, whose halves belong together."""
        pair = settings.default_key_pair()
        if pair is None:
            raise ConfigurationError(
                f"there is no user_public_key_file in {settings.where}, and no key in ~/.ssh; "
                "make a pair with ssh-keygen, or give ssh_key"
            )
        public, private = pair
        lines = ssh_keys.read_public(public)
        half = ssh_keys.public_half(str(private), passphrase)
        if not any(half in line for line in lines):
            raise ConfigurationError(f"{private} is not the private key of {public}")
        return str(private), NodeAuthSSHKey("\n".join(lines))

    def _only_mount(self, site: Site, volume: StorageVolume) -> str:
        mounts = site.storage.mounts(volume.id)
        if not mounts:
            raise NotFoundError(f"volume {volume.id} is not attached to any node", http_code=404)
        if len(mounts) > 1:
            nodes = ", ".join(mount.machine_id for mount in mounts)
            raise ConflictError(f"volume {volume.id} is attached to nodes {nodes}: give ex_node")
        if not mounts[0].hot_plugged:
            raise ConflictError(
                f"volume {volume.id} was attached when node {mounts[0].machine_id} started: it "
                "can be detached by ending the node"
            )
        return mounts[0].machine_id

    def _look_at(
        self, node: Node, interface: str, force_ipv4: bool, timeout: float
    ) -> tuple[Node, list[str]]:
        """A waiting caller's node, with addresses once it runs."""
        with self._asking_for(node) as site:
            machine = site.compute.info(str(node.id), min(timeout, self._timeout))
            current = self._to_node(machine, site)
            if current.state in (NodeState.ERROR, NodeState.TERMINATED):
                reason = machine.error or "the cloud gives no reason"
                failure = NodeFailedError(f"node {node.id} is {machine.summary}: {reason}")
                failure.endpoint = site.settings.endpoint
                raise failure
        if current.state != NodeState.RUNNING:
            return current, []
        found = getattr(current, interface)
        return current, [a for a in found if not force_ipv4 or is_valid_ip_address(a)]  # type: ignore[no-untyped-call]

    def _to_node(self, machine: Machine, site: Site) -> StratusLabNode:
        return to_node(machine, site.settings, self._types, self)


def _compute_account(site: Site) -> object:
    """What tells clouds apart in listings; a location without endpoint is like no other."""
    settings = site.settings
    return settings.endpoint or settings.location, settings.credentials


def _storage_account(site: Site) -> object:
    settings = site.settings
    return settings.pdisk_endpoint or settings.location, settings.storage_credentials


def _count_users(volume: StorageVolume, change: int, device: str | None, node: str | None) -> None:
    """
    Keep a volume's description up to date when it was attached or detached.

    The node is remembered only where it is the only one: otherwise callers have to name it.
    """
    extra = volume.extra or {}
    users = max(0, (extra.get("users") or 0) + change)
    volume.extra = {**extra, "users": users, "device": device, "node": node if users == 1 else None}
    volume.state = StorageVolumeState.INUSE if users else StorageVolumeState.AVAILABLE
