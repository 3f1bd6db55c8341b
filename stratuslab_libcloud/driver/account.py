"""The driver's methods for what an account has and may have."""

from typing import Any

from libcloud.compute.base import NodeLocation

from stratuslab_libcloud.client.data import MachineTemplate, Network
from stratuslab_libcloud.driver.locations import LocationMethods

__all__ = ["AccountMethods"]


class AccountMethods(LocationMethods):
    """The part of the driver that is about the account; OpenNebula only."""

    def ex_list_networks(self, location: NodeLocation | None = None) -> list[Network]:
        """
        List the networks that nodes can be in (OpenNebula only). One request.

        Each is a named tuple with ``id``, ``name``, ``owner``, ``size`` and ``used`` (numbers of
        addresses) and ``gateway``.

        Source: opennebula-modern 3.

        >>> [network.name for network in one.ex_list_networks()]
        ['public']

        :param location: The location to ask (optional); the default location if not given.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``list`` of :class:`.Network`
        """
        with self._asking(location) as cloud:
            return cloud.networks()

    def ex_list_templates(self, location: NodeLocation | None = None) -> list[MachineTemplate]:
        """
        List the templates that nodes can start from (OpenNebula only). One request.

        Each is a named tuple with ``id``, ``name``, ``owner``, ``cpus``, ``ram`` (MiB), ``images``,
        ``networks`` and ``attributes``, all that it says. :meth:`create_node` takes one.

        Source: opennebula-modern 6.

        >>> template = one.ex_list_templates()[0]
        >>> node = one.create_node(name="from a template", ex_template=template)

        :param location: The location to ask (optional); the default location if not given.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``list`` of :class:`.MachineTemplate`
        """
        with self._asking(location) as cloud:
            return cloud.templates()

    def ex_get_quota(
        self, location: NodeLocation | None = None
    ) -> dict[str, dict[str, float | None]]:
        """
        List what the account uses of what the cloud counts (OpenNebula only). One request.

        The keys are such as ``vms``, ``cpu``, ``memory`` (MiB), ``datastore_1_size`` (MiB); each
        value has ``used`` and ``limit``, which is ``None`` where there is none of the account's
        own. Nothing is counted before it has first been limited or used.

        Source: opennebula-modern 8.

        >>> one.ex_get_quota()["vms"]
        {'used': 1.0, 'limit': None}

        :param location: The location to ask (optional); the default location if not given.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``dict``
        """
        with self._asking(location) as cloud:
            return cloud.quota()

    def ex_get_user(self, location: NodeLocation | None = None) -> dict[str, Any]:
        """
        Describe the account (OpenNebula only): ``id``, ``name``, ``group``, ``groups`` (ids),
        ``enabled`` and ``public_keys``. One request.

        Source: opennebula-modern 9.

        >>> one.ex_get_user()["group"]
        'users'

        :param location: The location to ask (optional); the default location if not given.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``dict``
        """
        with self._asking(location) as cloud:
            return cloud.user()
