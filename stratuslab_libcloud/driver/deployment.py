"""The driver's methods that wait until nodes run and deploy to them."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from libcloud.common.types import LibcloudError
from libcloud.compute.base import Node, NodeAuthPassword, NodeAuthSSHKey
from libcloud.compute.deployment import Deployment
from libcloud.compute.ssh import BaseSSHClient
from libcloud.compute.types import NodeState
from libcloud.utils.networking import is_valid_ip_address

from stratuslab_libcloud.configuration.settings import Settings
from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.nodes import NodeMethods
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConnectionFailedError,
    InvalidValueError,
    NodeFailedError,
    NodeNotReadyError,
    StratusLabError,
)
from stratuslab_libcloud.ssh import files
from stratuslab_libcloud.ssh import keys as ssh_keys

__all__ = ["DeploymentMethods"]

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE = 0.25  # seconds between two looks at a node that is waited for
_LAST_LOOK = 1.0  # seconds that looks may still take after the time is up


class DeploymentMethods(NodeMethods):
    """The part of the driver that is about deploying to nodes."""

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
        wait_period: float = 5,
        **create_node_kwargs: Any,
    ) -> Node:
        """
        Start a node, wait until it runs and run a deployment on it. The requests of
        :meth:`create_node` and :meth:`wait_until_running`.

        The parameters are those of Libcloud's ``deploy_node``, and those of :meth:`create_node`.
        Keys are checked before anything is created. Images need a shell, but no SFTP server. Host
        keys of new machines are accepted unseen, as Libcloud does.

        A script that fails is not an error: its step in ``deploy`` has ``exit_status``, ``stdout``
        and ``stderr``. Scripts find their standard input at its end.

        Source: guide 9.1.4.

        >>> from libcloud.compute.deployment import ScriptDeployment
        >>> step = ScriptDeployment("echo hello")
        >>> node = driver.deploy_node(name="web", size=size, image=image, deploy=step)
        >>> step.exit_status, step.stdout
        (0, 'hello\\n')

        :param deploy: The step or steps to run (required).
        :param ssh_username: The user to log in as (optional).
        :param ssh_alternate_usernames: Users to try if that one is refused (optional).
        :param ssh_port: The port of the node's SSH server (optional); the location's ``ssh_port``
            if not given.
        :param ssh_timeout: Seconds that one attempt to connect may take (optional).
        :param ssh_key: The path or paths of private keys, RSA, ECDSA or Ed25519 (optional). Without
            ``auth`` the public half of the first is installed. With neither, the configured pair is
            used.
        :param ssh_key_password: The passphrase of the private key (optional).
        :param auth: The public key to install (optional).
        :param timeout: Seconds (optional). Each of these may take as long: waiting until the node
            runs; logging in, with each user name; each attempt at a script without a time-out of
            its own (``ScriptDeployment(timeout=...)``); each 256 KiB of a file.
        :param max_tries: How often to try each step (optional); steps must be idempotent.
        :param ssh_interface: ``public_ips`` (the default) or ``private_ips`` (optional).
        :param at_exit_func: Called with the node if the process ends meanwhile (optional).
        :param wait_period: Seconds between two looks at the node, at most (optional).
        :raises DeploymentError: The node was created, but does not run or cannot be deployed to. It
            is in ``error.node`` and still there. ``error.original_error`` is the reason:
            :class:`.NodeFailedError`, :class:`.NodeNotReadyError`, Libcloud's
            ``SSHCommandTimeoutError`` and others.
        :raises ConfigurationError: The configured key pair is missing or does not match. Nothing
            was sent.
        :raises InvalidValueError: ``ssh_key`` cannot be used. Nothing was sent.
        :rtype: :class:`.Node`
        """
        with self._asking(create_node_kwargs.get("location")) as cloud:
            arguments.check_interface(ssh_interface)
            if ssh_key is None and auth is None:
                ssh_key, auth = self._configured_pair(cloud.settings, ssh_key_password)
            elif ssh_key is not None:
                given = [ssh_key] if isinstance(ssh_key, (str, os.PathLike)) else ssh_key
                paths = [arguments.key_path(path) for path in given if path]
                if not paths:
                    raise InvalidValueError("ssh_key must name at least one private key file")
                halves = [ssh_keys.public_half(path, ssh_key_password) for path in paths]
                auth = auth or NodeAuthSSHKey(halves[0])
                ssh_key = paths[0] if len(paths) == 1 else paths
            port = ssh_port or cloud.settings.options.ssh_port
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
                wait_period=wait_period,  # type: ignore[arg-type] # ours, which waits, takes it
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
        Wait until nodes run and have an address. One request per node and look, to its location.

        Nodes are looked at immediately, again after a quarter of a second, and then less and less
        often. A failure that looks temporary, such as an overloaded service, does not end the wait.
        RUNNING says nothing about the guest, which may still be booting (compute-xmlrpc 3.2).

        Source: guide 9.1.4; compute-xmlrpc 3.

        >>> for current, addresses in driver.wait_until_running([node], timeout=60):
        ...     print(current.state, addresses)
        running ['127...']

        :param nodes: The nodes (required).
        :param wait_period: Seconds between two looks, at most (optional).
        :param timeout: Seconds to wait (optional).
        :param ssh_interface: ``public_ips`` (the default) or ``private_ips``: which addresses count
            (optional).
        :param force_ipv4: Whether only IPv4 addresses count (optional).
        :param ex_list_nodes_kwargs: Ignored.
        :return: Each node as it is now, with its addresses.
        :raises NodeFailedError: A node failed, or was ended, stopped, suspended or put on hold, so
            that it will not run; raised at once with the cloud's text.
        :raises NodeNotReadyError: Time ran out; the text has the trouble met meanwhile, if any, and
            what the cloud's scheduler says.
        :rtype: ``list`` of ``tuple``
        """
        arguments.check_interface(ssh_interface)
        end = time.monotonic() + timeout
        found: dict[int, tuple[Node, list[str]]] = {}
        trouble: dict[int, StratusLabError] = {}
        said: dict[int, str] = {}
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
                    # A last look that was cut short says less than an earlier failure.
                    cut_short = isinstance(error, ConnectionFailedError) and left < self._timeout
                    if number not in trouble or not cut_short:
                        trouble[number] = error
                    continue
                trouble.pop(number, None)
                said[number] = current.extra["scheduler"] or ""
                if addresses:
                    found[number] = (current, addresses)
            if len(found) == len(nodes):
                return [found[number] for number in sorted(found)]
            if time.monotonic() >= end:
                raise self._not_running(
                    [node for number, node in enumerate(nodes) if number not in found],
                    list(trouble.values()),
                    [text for number, text in said.items() if text and number not in found],
                    f"after {timeout} seconds these nodes do not run yet, or have no address in "
                    f"{ssh_interface}",
                )
            time.sleep(min(pause, wait_period, max(0.0, end - time.monotonic())))
            pause *= 1.5

    def _look_at(
        self, node: Node, interface: str, force_ipv4: bool, timeout: float
    ) -> tuple[Node, list[str]]:
        """Get a node as it is now, with its addresses if it runs."""
        with self._asking_for(node, Node) as cloud:
            machine = cloud.machine(str(node.id), min(timeout, self._timeout))
            current = self._to_node(machine, cloud)
            over = current.state in (NodeState.ERROR, NodeState.TERMINATED)
            if over or machine.resting:
                reason = machine.error or "the cloud gives no reason"
                raise NodeFailedError(
                    f"node {node.id} is {machine.summary}: {reason}",
                    endpoint=cloud.settings.endpoint,
                )
        if current.state != NodeState.RUNNING:
            return current, []
        found = getattr(current, interface)
        return current, [a for a in found if not force_ipv4 or is_valid_ip_address(a)]

    def _not_running(
        self, nodes: list[Node], trouble: list[StratusLabError], said: list[str], what: str
    ) -> NodeNotReadyError:
        met = "; ".join(dict.fromkeys([*map(str, trouble), *said]))
        names = ", ".join(str(node.id) for node in nodes)
        error = NodeNotReadyError(f"{what}: {names}" + (f" ({met})" if met else ""), driver=self)
        error.__cause__ = trouble[-1] if trouble else None
        return error

    def _ssh_client_connect(
        self, ssh_client: BaseSSHClient, wait_period: float = 1.5, timeout: int = 300
    ) -> BaseSSHClient:
        """Log in as Libcloud does for ``deploy_node``, but end in time and give the reason."""
        if not isinstance(ssh_client, files.ChannelClient):  # otherwise it logs in again
            ssh_client = files.ChannelClient(ssh_client, timeout)
        ssh_client.log_in_by(time.monotonic() + timeout)
        try:
            return super()._ssh_client_connect(ssh_client, wait_period, timeout)
        except LibcloudError:
            reason = ssh_client.trouble
            raise NodeNotReadyError(
                "Could not connect to the remote SSH server "
                f"{ssh_client.hostname}:{ssh_client.port} as {ssh_client.username} within "
                f"{timeout:g} seconds" + (f": {reason}" if reason else ""),
                driver=self,
            ) from reason

    def _configured_pair(
        self, settings: Settings, passphrase: str | None
    ) -> tuple[str, NodeAuthSSHKey]:
        """Read the configured key pair and check that its halves belong together."""
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
