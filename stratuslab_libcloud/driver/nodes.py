"""Nodes, as Libcloud has them: list, start, end."""

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

from stratuslab_libcloud.client.cloud import Cloud, Machine, NewMachine
from stratuslab_libcloud.configuration.settings import Settings
from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import StratusLabNode, new_node, to_node, whole_size
from stratuslab_libcloud.driver.locations import LocationMethods
from stratuslab_libcloud.errors import InvalidValueError, StratusLabError
from stratuslab_libcloud.ssh import keys as ssh_keys

__all__ = ["NodeMethods"]

_LOG = logging.getLogger(__name__)


class NodeMethods(LocationMethods):
    """The part of the driver that is about nodes."""

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
        return self._ask_all("nodes", lambda cloud: cloud.machine_account, self._nodes_of)

    def ex_list_nodes(self, location: NodeLocation | None = None) -> list[Node]:
        """
        The nodes of one location; one request.

        :param location: default: the default location.
        :rtype: ``list`` of :class:`.Node`
        """
        with self._asking(location) as cloud:
            return self._nodes_of(cloud, None)

    def ex_get_node(self, node_id: str, location: NodeLocation | None = None) -> Node:
        """
        One node, in whatever state, also when it has ended; one request.

        :param node_id: a number, as text.
        :param location: default: the default location.
        :raises NotFoundError: there is no such node.
        :raises NotPermittedError: it is somebody else's.
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
        :param ex_volatile_disk: GiB of a disk with an empty ext3 that is gone with the node; 0 for
            none.
        :param ex_address: the IP address to have, of that network; refused where it is not free.
        :param ex_network_model: of the network card, such as ``virtio``.
        :param ex_disks_bus: ``ide``, ``scsi`` or ``virtio``; default: as the image says.
        :param ex_requirements: what the host must be like, such as ``CLUSTER = "test"``.
        :param ex_cpu_amount: share of the host's processors, 0.5 for half of one; default: as many
            as the size has CPUs.
        :param ex_use_host_cpu: whether the node sees all features of the host's processor.
        :param ex_vnc_port: TCP port of the node's screen on its host; -1: the cloud chooses one.
        :param ex_vnc_listen: the host's IP address that the screen is at.
        :param ex_keymap: of the screen's keyboard.
        :return: the node, PENDING as a rule; without addresses if they could not be asked for.
        :raises InvalidValueError: the cloud would not take it, or not give it back as it is.
        :raises NotFoundError: there is no such image.
        :raises LostAnswerError: the node may exist.
        :rtype: :class:`.Node`
        """
        with creating() as created, self._asking(location) as cloud:
            image = arguments.expected(image, NodeImage, "image")
            size = arguments.expected(size, NodeSize, "size")
            size = whole_size(size, self._locations.instance_types, self)
            volumes = arguments.all_of(ex_volumes, StorageVolume)
            for volume in volumes:
                self._check_same_storage(volume, cloud)
            readonly = arguments.all_of(ex_readonly_images, NodeImage)
            context = arguments.expected(ex_context or {}, Mapping, "ex_context")  # type: ignore[type-abstract]
            order = NewMachine(
                image=str(image.id),
                **arguments.numbers_of(size),
                name="" if name is None else name,
                network="public" if ex_network is None else ex_network,
                volumes=[volume.id for volume in volumes],
                readonly_images=[read.id for read in readonly],
                public_keys=self._public_keys(cloud.settings, auth),
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
        with self._asking_for(node) as cloud:
            cloud.kill_machine(str(node.id))
            return True

    def ex_shutdown_node(self, node: Node) -> bool:
        """
        Ask a running node to shut down; it ends by itself (compute-xmlrpc 2.6). One request.

        :param node: of this driver.
        :raises ConflictError: it does not run.
        :rtype: ``bool``
        """
        with self._asking_for(node) as cloud:
            cloud.shut_down_machine(str(node.id))
            return True

    def _nodes_of(self, cloud: Cloud, timeout: float | None) -> list[Node]:
        machines = cloud.machines(timeout)
        machines.reverse()
        # Each is let go of before the next, lest the garbage collector has to see all of both.
        return [self._to_node(machines.pop(), cloud) for _ in range(len(machines))]

    def _public_keys(
        self, settings: Settings, auth: NodeAuthSSHKey | NodeAuthPassword | None
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

    def _to_node(self, machine: Machine, cloud: Cloud) -> StratusLabNode:
        return to_node(machine, cloud.settings, self._locations.instance_types, self)
