"""The driver's methods for nodes: list, start and end them."""

import logging
import warnings
from collections.abc import Mapping, Sequence

from libcloud.compute.base import (
    Node,
    NodeAuthPassword,
    NodeAuthSSHKey,
    NodeImage,
    NodeLocation,
    NodeSize,
    StorageVolume,
)

from stratuslab_libcloud.client.cloud import Cloud
from stratuslab_libcloud.client.data import Machine, MachineTemplate, NewImage, NewMachine
from stratuslab_libcloud.configuration.settings import Settings
from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import (
    StratusLabNode,
    new_node,
    origin_of,
    to_node,
    whole_size,
)
from stratuslab_libcloud.driver.locations import LocationMethods
from stratuslab_libcloud.errors import InvalidValueError, StratusLabError
from stratuslab_libcloud.ssh import keys as ssh_keys

__all__ = ["NodeMethods"]

_LOG = logging.getLogger(__name__)


class NodeMethods(LocationMethods):
    """The part of the driver that is about nodes."""

    def list_nodes(self) -> list[Node]:
        """
        List the nodes of all locations, which are asked at the same time. One request per location.

        ``size``, ``image`` and ``created_at`` are filled in where the cloud's description has them.
        ``extra`` has:

        * ``location``: the id of the location
        * ``endpoint``: the URL of its compute service
        * ``host``: the physical machine, or ``None``
        * ``vm_state``, ``lcm_state``: OpenNebula's numbers (compute-xmlrpc 3)
        * ``cpu_percent``: in use, of one core
        * ``memory_kib``: in use
        * ``owner``: the account
        * ``disks``: dictionaries with ``id``, ``target``, ``source``, ``size`` (MiB), ``type`` and
          ``image``, the id of the image or volume; on OpenNebula only :meth:`ex_get_node` fills
          ``target`` and ``source``
        * ``error``: the cloud's text, or ``None``
        * ``networks``: the names of its networks
        * ``scheduler``: why it has not been placed on a host, in the cloud's words, or ``None``
        * ``labels``: words separated by commas, or ``None``; on OpenNebula one of them is a mark
          that :meth:`create_node` makes, by which a node is found again when an answer is lost
        * ``ssh_port``: only if it is not 22

        Source: guide 9.1.4; compute-xmlrpc 5.

        >>> for node in driver.list_nodes():
        ...     print(node.name, node.state, node.extra["location"], node.public_ips)
        web running sandbox ['127...']

        :raises PartialListError: Some locations failed. ``error.found`` has the nodes of the
            others, ``error.failures`` the errors.
        :rtype: ``list`` of :class:`.Node`
        """
        return self._ask_all("nodes", lambda cloud: cloud.machine_account, self._nodes_of)

    def ex_list_nodes(self, location: NodeLocation | None = None) -> list[Node]:
        """
        List the nodes of one location. One request.

        >>> paris = driver.list_locations()[0]
        >>> [node.name for node in driver.ex_list_nodes(paris)]
        ['web']

        :param location: The location to ask (optional); the default location if not given.
        :return: As from :meth:`list_nodes`.
        :rtype: ``list`` of :class:`.Node`
        """
        with self._asking(location) as cloud:
            return self._nodes_of(cloud, None)

    def ex_get_node(self, node_id: str, location: NodeLocation | None = None) -> Node:
        """
        Get one node in whatever state, even after it has ended. One request.

        Use this to see the current state: ``node.state`` is the state when the node was returned.

        Source: compute-xmlrpc 2.4.

        >>> driver.ex_get_node(node.id).state
        running

        :param node_id: The id: digits, as text (required).
        :param location: Where it is (optional); the default location if not given.
        :return: As from :meth:`list_nodes`.
        :raises NotFoundError: There is no such node.
        :raises NotPermittedError: It belongs to somebody else.
        :rtype: :class:`.Node`
        """
        with self._asking(location) as cloud:
            return self._to_node(cloud.machine(node_id), cloud)

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
        ex_volatile_disk: int = 0,
        ex_address: str | None = None,
        ex_network_model: str | None = None,
        ex_disks_bus: str | None = None,
        ex_requirements: str | None = None,
        ex_cpu_amount: float | None = None,
        ex_use_host_cpu: bool = False,
        ex_vnc_port: int = -1,
        ex_vnc_listen: str | None = None,
        ex_keymap: str = "en-us",
        ex_template: MachineTemplate | str | None = None,
        ex_disk_size: int = 0,
        ex_hold: bool = False,
        ex_save_as: NewImage | None = None,
    ) -> Node:
        """
        Start a node without waiting until it runs. At most three requests; two if the image's
        entry is cached, as it is for five minutes. One more for each of ``ex_readonly_images`` with
        ``verify_images = require``.

        Before anything is sent to the compute service, the signature of the image's entry is
        verified, as ``verify_images`` says. With ``warn`` (the default) a warning has the image and
        the reason, once for each image: the signature is missing or not valid or, if
        ``trusted_endorsers`` or ``trusted_ca`` is set, its endorser is not trusted. With
        ``require`` such an image is refused, and the compute service gets the URL of the very entry
        that was verified. An entry that this driver knows to have been replaced or deprecated is
        never trusted again. Bootable volumes have no entry.

        On OpenNebula it is three requests: for the networks, which a network's id saves, for the
        node and for its description. One more with ``ex_template``.

        The request that starts the node is sent once. If only the last request, for the node's
        description, fails, the node is returned without addresses, and the log has a warning.

        Source: guide 6.1.1, 7.3.1, 9.1.4; compute-xmlrpc 2.3; marketplace-rest 6.

        >>> node = driver.create_node(name="db", size=size, image=image, ex_volumes=[volume])
        >>> _ = driver.wait_until_running([node])

        :param name: 128 bytes at most (optional); the cloud chooses one if not given.
        :param size: ``ram`` in MiB, ``extra["cpus"]`` (default 1) and ``extra["swap"]`` in MiB
            count (required without ``ex_template``). A size that was rebuilt from its id is
            completed from :meth:`list_sizes`.
        :param image: An image from :meth:`list_images`, or one with the id of a bootable volume
            (required without ``ex_template``). Nothing but the id is used.
        :param location: Where to start it (optional); the default location if not given.
        :param auth: The public key that the node lets in (optional); if not given, the configured
            key, or the first of ``~/.ssh/id_{rsa,ed25519,ecdsa}.pub`` that exists.
        :param ex_volumes: Volumes of the same location to attach from the start (optional); they
            stay attached until the node ends.
        :param ex_readonly_images: Images to attach for reading (optional).
        :param ex_context: Further values for the guest's context (optional, compute-xmlrpc 4.6).
        :param ex_user_data: Data for cloud-init (optional); on StratusLab clouds 16 KiB at most
            after compression.
        :param ex_context_method: ``one`` or ``cloud-init`` (optional); if not given, ``cloud-init``
            with user data and the location's method without.
        :param ex_network: ``public``, ``local`` or ``private``, on OpenNebula the name or id of any
            network (optional); if not given, the template's, or else the location's ``network``
            and, without that, ``public`` or, on OpenNebula, the only network that there is.
        :param ex_volatile_disk: GiB of a disk with an empty ext3 that is gone with the node
            (optional); 0, the default, for none.
        :param ex_address: The IP address to have, of that network (optional); refused if it is not
            free.
        :param ex_network_model: The model of the network card, such as ``virtio`` (optional).
        :param ex_disks_bus: ``ide``, ``scsi`` or ``virtio`` (optional); as the image says if not
            given.
        :param ex_requirements: What the host must be like, such as ``CLUSTER = "test"`` (optional).
        :param ex_cpu_amount: Share of the host's processors, 0.5 for half of one (optional); as
            many as the size has CPUs if not given.
        :param ex_use_host_cpu: Whether the node sees all features of the host's processor
            (optional).
        :param ex_vnc_port: TCP port of the node's screen on its host (optional); -1, the default,
            lets the cloud choose one.
        :param ex_vnc_listen: The host's IP address that the screen listens on (optional).
        :param ex_keymap: The screen's keyboard (optional).
        :param ex_template: A template from :meth:`ex_list_templates`, or its id (optional,
            OpenNebula only). What it says holds unless another argument replaces it; public keys
            are added to its own.
        :param ex_disk_size: GiB that the node's first disk is enlarged to (optional, OpenNebula
            only); 0, the default, leaves it as large as its image.
        :param ex_hold: Whether the node waits for :meth:`start_node` (optional, OpenNebula only).
        :param ex_save_as: The image that the node becomes when :meth:`create_image` or
            :meth:`ex_shutdown_node` shuts it down (optional).
        :return: The node, usually PENDING.
        :raises InvalidValueError: The cloud would refuse a value, or not return it unchanged.
            Nothing was sent.
        :raises ConfigurationError: The configured key cannot be read. Nothing was sent.
        :raises NotFoundError: There is no such image.
        :raises UntrustedImageError: The image is not signed as the configuration requires. Nothing
            was sent to the compute service.
        :raises LostAnswerError: The answer was lost; the node may exist.
        :raises QuotaExceededError: The account may not have that much.
        :rtype: :class:`.Node`
        """
        with creating() as created, self._asking(location) as cloud:
            template = arguments.template_id(ex_template)
            if not template or image is not None:
                image = arguments.expected(image, NodeImage, "image")
            if not template or size is not None:
                size = arguments.expected(size, NodeSize, "size")
                size = whole_size(size, self._locations.instance_types, self)
            volumes = arguments.all_of(ex_volumes, StorageVolume, "ex_volumes")
            for volume in volumes:
                self._check_same_storage(volume, cloud)
            readonly = arguments.all_of(ex_readonly_images, NodeImage, "ex_readonly_images")
            context = arguments.expected(ex_context or {}, Mapping, "ex_context")  # type: ignore[type-abstract]
            # A template says itself which networks its nodes are in.
            network = "" if template else cloud.settings.options.network
            order = NewMachine(
                image="" if image is None else str(image.id),
                **arguments.numbers_of(size),
                name="" if name is None else name,
                network=network if ex_network is None else arguments.network_name(ex_network),
                volumes=[volume.id for volume in volumes],
                readonly_images=[read.id for read in readonly],
                public_keys=self._public_keys(cloud.settings, auth, needed=not template),
                context=context,
                user_data=arguments.as_bytes(ex_user_data),
                context_method=ex_context_method
                or (
                    "cloud-init" if ex_user_data else cloud.settings.options.default_context_method
                ),
                volatile_disk=ex_volatile_disk,
                address=ex_address or "",
                network_model=ex_network_model or "",
                disks_bus=ex_disks_bus or "",
                requirements=ex_requirements or "",
                cpu_amount=ex_cpu_amount,
                use_host_cpu=ex_use_host_cpu,
                vnc_port=ex_vnc_port,
                vnc_listen=ex_vnc_listen or "",
                keymap=ex_keymap,
                template=template,
                disk_size=ex_disk_size,
                hold=arguments.expected(ex_hold, bool, "ex_hold"),
                save_as=ex_save_as,
            )
            with created.asking(
                f"a node named {order.name!r} may have been created: look for it with list_nodes()"
            ) as sending:
                node_id = cloud.create_machine(order, sending)
                node = new_node(node_id, order.name or f"one-{node_id}", cloud.settings, self)
                created.things.append(node)
            try:
                node = self._to_node(cloud.machine(node_id), cloud)
                created.things[-1] = node
            except StratusLabError as error:
                # The node exists: an exception would lose it.
                _LOG.warning("node %s was created, but looking it up failed: %s", node_id, error)
            node.size, node.image = size or node.size, image or node.image
            return node

    def destroy_node(self, node: Node) -> bool:
        """
        End a node at once. Everything but its persistent volumes is lost. One request; two on an
        old engine that does not know the usual word.

        A node that has ended already is not an error. On OpenNebula, where a node cannot be ended
        while it is being started or changed, that is waited for, five times ``timeout`` at most;
        and the volumes of a node that is known to have failed are made usable again, which takes
        four requests more.

        Source: guide 6.1.3; compute-xmlrpc 2.6.

        >>> driver.destroy_node(node)
        True

        :param node: A node of this driver (required).
        :raises NotFoundError: There is no such node.
        :return: ``True``.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            cloud.kill_machine(str(node.id))
            return True

    def ex_shutdown_node(self, node: Node) -> bool:
        """
        Ask a running node to shut down; it ends when its operating system has. One request. On
        OpenNebula a node that is stopped, suspended, pending or on hold ends at once.

        Source: compute-xmlrpc 2.6; opennebula-modern 6.

        >>> driver.ex_shutdown_node(node)
        True

        :param node: A node of this driver (required).
        :raises ConflictError: The node is not running, or is being changed.
        :return: ``True``.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            cloud.shut_down_machine(str(node.id))
            return True

    def ex_get_console_output(self, node: Node) -> str:
        """
        Get the end of what a node has written to its serial console since its last boot. One
        request.

        Only a sandbox shows consoles: neither StratusLab's services nor OpenNebula have a call for
        it. A sandbox keeps the last 128 KiB at least, until the node has ended; of a node that
        failed, until it is destroyed. Its simulated nodes run nothing, and say so.

        Source: sandbox, "The console of a machine".

        >>> print(driver.ex_get_console_output(node))
        This machine is simulated: ...

        :param node: A node of this driver (required).
        :return: Lines of printable text: without escape sequences, and with blanks for other
            control characters. Empty if there are none.
        :raises NotFoundError: There is no such node.
        :raises NotPermittedError: It belongs to somebody else.
        :raises NotSupportedError: The cloud is not a sandbox.
        :rtype: ``str``
        """
        with self._asking_for(node, Node) as cloud:
            return cloud.console_output(str(node.id))

    def _nodes_of(self, cloud: Cloud, timeout: float | None) -> list[Node]:
        machines = cloud.machines(timeout)
        machines.reverse()
        # Popped one by one, so that the garbage collector never has to scan two whole lists.
        origin = origin_of(cloud.settings, self._locations.instance_types)
        return [to_node(machines.pop(), origin, self) for _ in range(len(machines))]

    def _public_keys(
        self, settings: Settings, auth: NodeAuthSSHKey | NodeAuthPassword | None, needed: bool
    ) -> list[str]:
        if auth is not None:
            if not isinstance(auth, NodeAuthSSHKey):
                raise InvalidValueError(
                    "auth must be a NodeAuthSSHKey: nodes let in keys, not passwords"
                )
            return ssh_keys.public_lines(auth.pubkey, "auth")
        pair = settings.default_key_pair()
        if pair is None and not needed:
            return []
        if pair is None:
            warnings.warn(
                f"there is no user_public_key_file in {settings.where}, and no key in ~/.ssh: "
                "nobody will be able to log in to the node; set one, or give auth",
                stacklevel=3,
            )
            return []
        return ssh_keys.read_public(pair[0])

    def _to_node(self, machine: Machine, cloud: Cloud) -> StratusLabNode:
        return to_node(machine, origin_of(cloud.settings, self._locations.instance_types), self)
