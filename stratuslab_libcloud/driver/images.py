"""Images, as Libcloud has them."""

from libcloud.compute.base import NodeImage, NodeLocation

from stratuslab_libcloud.driver.entities import to_image
from stratuslab_libcloud.driver.locations import LocationMethods

__all__ = ["ImageMethods"]


class ImageMethods(LocationMethods):
    """The part of the driver that is about images."""

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
        with self._asking(location) as cloud:
            return [to_image(found, self) for found in cloud.images()]

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
        with self._asking(None) as cloud:
            return to_image(cloud.image(image_id), self)
