"""The driver's methods that stop nodes, start them again, and change them."""

from libcloud.compute.base import Node, NodeSize

from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.entities import whole_size
from stratuslab_libcloud.driver.nodes import NodeMethods

__all__ = ["PowerMethods"]


class PowerMethods(NodeMethods):
    """The part of the driver that is about nodes that exist; OpenNebula only."""

    def reboot_node(self, node: Node) -> bool:
        """
        Ask a running node to boot again (OpenNebula only). One request, which is sent once.

        Source: guide 9.1.4; opennebula-modern 6.

        >>> one.reboot_node(vm)
        True

        :param node: A node of this driver (required).
        :return: ``True``.
        :raises ConflictError: The node is not running, or is being changed.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            cloud.reboot_machine(str(node.id))
            return True

    def start_node(self, node: Node) -> bool:
        """
        Start a node that was stopped, suspended or created with ``ex_hold`` (OpenNebula only). Two
        requests; the first is sent once. More if the node is still stopping: that is waited for,
        five times ``timeout`` at most.

        Source: opennebula-modern 6.

        >>> one.stop_node(vm) and one.start_node(vm)
        True

        :param node: A node of this driver (required).
        :return: ``True``.
        :raises ConflictError: The node is in another state.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            cloud.start_machine(str(node.id))
            return True

    def stop_node(self, node: Node) -> bool:
        """
        Power a node off (OpenNebula only); it keeps its disks and addresses. Two requests; the
        first is sent once.

        Source: opennebula-modern 6.

        >>> one.stop_node(vm)
        True
        >>> one.ex_get_node(vm.id).state
        stop...

        :param node: A node of this driver (required).
        :return: ``True``, when the node is stopping.
        :raises ConflictError: The node is not running, or is being changed.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            cloud.stop_machine(str(node.id))
            return True

    def ex_suspend_node(self, node: Node) -> bool:
        """
        Stop a node, and keep its memory (OpenNebula only). Two requests; the first is sent once.

        Source: opennebula-modern 6.

        >>> one.ex_suspend_node(vm)
        True

        :param node: A node of this driver (required).
        :return: ``True``, when the node is being suspended.
        :raises ConflictError: The node is not running, or is being changed.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            cloud.suspend_machine(str(node.id))
            return True

    def ex_resume_node(self, node: Node) -> bool:
        """
        Let a suspended node go on (OpenNebula only). Two requests, as for :meth:`start_node`.

        Source: opennebula-modern 6.

        >>> one.ex_suspend_node(vm) and one.ex_resume_node(vm)
        True

        :param node: A node of this driver (required).
        :return: ``True``.
        :raises ConflictError: The node is in another state.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            cloud.resume_machine(str(node.id))
            return True

    def ex_resize_node(self, node: Node, size: NodeSize) -> bool:
        """
        Give a node the cores and memory of another size, running or stopped (OpenNebula only).
        Three requests, and more while it lasts. Swap is not changed.

        Source: opennebula-modern 7.

        >>> larger = one.list_sizes()[1]
        >>> one.ex_resize_node(vm, larger)
        True

        :param node: A node of this driver (required); its ``size`` is updated, too.
        :param size: A size (required).
        :return: ``True``.
        :raises ConflictError: The node is neither running nor stopped, or its host has no room.
        :raises QuotaExceededError: The account may not have that much.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            size = arguments.expected(size, NodeSize, "size")
            size = whole_size(size, self._locations.instance_types, self)
            numbers = arguments.numbers_of(size)
            cloud.resize_machine(str(node.id), numbers["cpus"], numbers["ram"])
        node.size = size
        return True

    def ex_rename_node(self, node: Node, name: str) -> bool:
        """
        Give a node another name (OpenNebula only). One request.

        Source: opennebula-modern 7.

        >>> one.ex_rename_node(vm, "db")
        True
        >>> one.ex_get_node(vm.id).name
        'db'

        :param node: A node of this driver (required); it is updated, too.
        :param name: 128 bytes at most (required).
        :return: ``True``.
        :raises InvalidValueError: The name is not allowed. Nothing was sent.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``bool``
        """
        with self._asking_for(node, Node) as cloud:
            cloud.rename_machine(str(node.id), name)
        node.name = name
        return True
