"""Waiting until nodes run, and deploying to them."""

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
_LAST_LOOK = 1.0  # seconds that the looks may take once the time is over


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
        with self._asking(create_node_kwargs.get("location")) as cloud:
            arguments.check_interface(ssh_interface)
            if ssh_key is None and auth is None:
                ssh_key, auth = self._configured_pair(cloud.settings, ssh_key_password)
            elif ssh_key is not None:
                given = [ssh_key] if isinstance(ssh_key, (str, os.PathLike)) else ssh_key
                paths = [arguments.key_path(path) for path in given if path]
                if not paths:
                    raise InvalidValueError("ssh_key names no private key")
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

    def _look_at(
        self, node: Node, interface: str, force_ipv4: bool, timeout: float
    ) -> tuple[Node, list[str]]:
        """A waiting caller's node, with addresses once it runs."""
        with self._asking_for(node) as cloud:
            machine = cloud.machine(str(node.id), min(timeout, self._timeout))
            current = self._to_node(machine, cloud)
            if current.state in (NodeState.ERROR, NodeState.TERMINATED):
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
        self, nodes: list[Node], trouble: list[StratusLabError], what: str
    ) -> NodeNotReadyError:
        met = "; ".join(dict.fromkeys(map(str, trouble)))
        names = ", ".join(str(node.id) for node in nodes)
        error = NodeNotReadyError(f"{what}: {names}" + (f" ({met})" if met else ""), driver=self)
        error.__cause__ = trouble[-1] if trouble else None
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
            raise NodeNotReadyError(
                "Could not connect to the remote SSH server "
                f"{ssh_client.hostname}:{ssh_client.port} as {ssh_client.username} within "
                f"{timeout:g} seconds" + (f": {reason}" if reason else ""),
                driver=self,
            ) from reason

    def _configured_pair(
        self, settings: Settings, passphrase: str | None
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
