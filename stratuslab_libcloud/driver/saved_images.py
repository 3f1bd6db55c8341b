"""The driver's methods that make images and delete them."""

from libcloud.compute.base import Node, NodeImage

from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import to_image
from stratuslab_libcloud.driver.locations import LocationMethods

__all__ = ["SavedImageMethods"]


class SavedImageMethods(LocationMethods):
    """The part of the driver that is about images of one's own."""

    def create_image(  # type: ignore[override] # Libcloud's annotation says a list
        self,
        node: Node,
        name: str,
        description: str | None = None,
        *,
        ex_timeout: float = 600,
    ) -> NodeImage:
        """
        Make an image of the disk that a node started from, running or stopped. Four requests, and
        more while it lasts; the one that makes the image is sent once.

        Source: opennebula-modern 7.

        :param node: The node (required).
        :param name: 128 bytes at most; no other image of the account may have it (required).
        :param description: For people (optional).
        :param ex_timeout: Seconds to wait (optional).
        :return: The image, when nodes can start from it.
        :raises InvalidValueError: The name is not allowed. Nothing was sent.
        :raises ConflictError: There is an image of that name, or the node is being changed.
        :raises QuotaExceededError: The account may not have that much.
        :raises LostAnswerError: The answer was lost; the image may exist.
        :rtype: :class:`.NodeImage`
        """
        doubt = f"an image named {name!r} may have been created: look for it with list_images()"
        with (
            creating() as created,
            self._asking_for(node) as cloud,
            created.asking(doubt) as sending,
        ):
            image = cloud.save_image(
                str(node.id), name, description, timeout=ex_timeout, sending=sending
            )
            return to_image(image, self)

    def delete_image(self, node_image: NodeImage) -> bool:
        """
        Delete an image of the default location. Two requests, and more while it lasts.

        Source: opennebula-modern 4.

        :param node_image: The image (required). Nothing but the id is used.
        :return: ``True``, when its name is free again.
        :raises NotFoundError: There is no such image.
        :raises NotPermittedError: It belongs to somebody else.
        :raises ConflictError: A node has it.
        :rtype: ``bool``
        """
        with self._asking(None) as cloud:
            cloud.delete_image(str(arguments.expected(node_image, NodeImage, "node_image").id))
            return True

    def copy_image(
        self,
        source_region: str,
        node_image: NodeImage,
        name: str,
        description: str | None = None,
        *,
        ex_timeout: float = 600,
    ) -> NodeImage:
        """
        Copy an image within a location (OpenNebula only). Two requests, and more while it lasts;
        the one that copies is sent once.

        Source: opennebula-modern 4.

        :param source_region: The id of the location that has the image (required).
        :param node_image: The image (required). Nothing but the id is used.
        :param name: 128 bytes at most; no other image of the account may have it (required).
        :param description: For people (optional).
        :param ex_timeout: Seconds to wait (optional).
        :return: The copy, when nodes can start from it.
        :raises InvalidValueError: The name is not allowed. Nothing was sent.
        :raises ConflictError: There is an image of that name.
        :raises LostAnswerError: The answer was lost; the copy may exist.
        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: :class:`.NodeImage`
        """
        doubt = f"an image named {name!r} may have been created: look for it with list_images()"
        with (
            creating() as created,
            self._asking(source_region or None) as cloud,
            created.asking(doubt) as sending,
        ):
            image = arguments.expected(node_image, NodeImage, "node_image")
            copied = cloud.copy_image(
                str(image.id), name, description, timeout=ex_timeout, sending=sending
            )
            return to_image(copied, self)
