"""The driver's methods for images."""

from libcloud.compute.base import NodeImage, NodeLocation

from stratuslab_libcloud.driver.entities import to_image
from stratuslab_libcloud.driver.locations import LocationMethods

__all__ = ["ImageMethods"]


class ImageMethods(LocationMethods):
    """The part of the driver that is about images."""

    def list_images(self, location: NodeLocation | None = None) -> list[NodeImage]:
        """
        List the current images of a location's Marketplace. One request, however many there are.

        An image is named by its title or, without one, by the first line of its description or by
        its identifier. ``extra`` describes the newest endorsement:

        * ``os``, ``os_version``, ``os_arch``, ``kind``, ``description``, ``title``: text
        * ``endorser``: an e-mail address
        * ``endorsed``: when, as text (``YYYY-MM-DDThh:mm:ssZ``)
        * ``locations``: URLs of the image file
        * ``endorsers``: everybody who currently endorses the image

        The other keys of :meth:`get_image` have values only if the Marketplace lists whole entries;
        otherwise they are ``None`` or empty.

        Source: marketplace-rest 3; guide 9.1.4.

        >>> [image.name for image in driver.list_images() if image.extra["os"] == "Debian"]
        ['Debian 12 (bookworm)']

        :param location: The location to ask (optional); the default location if not given.
        :return: One image per identifier.
        :rtype: ``list`` of :class:`.NodeImage`
        """
        with self._asking(location) as cloud:
            return [to_image(found, self) for found in cloud.images()]

    def get_image(self, image_id: str) -> NodeImage:
        """
        Get one image of the default location's Marketplace, with its whole entry. One request.

        ``extra`` has, besides the keys of :meth:`list_images`:

        * ``size``: bytes, uncompressed
        * ``checksums``: a dictionary of algorithms to hexadecimal digits
        * ``format``, ``compression``, ``type``, ``version``, ``disks_bus``, ``hypervisor``,
          ``creator``, ``publisher``, ``tag``: text
        * ``inbound_ports``: TCP port numbers
        * ``created``, ``valid``: dates, as text
        * ``deprecated``: the reason, or ``None``
        * ``subject``, ``issuer``: of the certificate that signed the entry

        Source: marketplace-rest 4.

        >>> whole = driver.get_image(image.id)
        >>> whole.extra["format"], whole.extra["inbound_ports"]
        ('qcow2', [22])

        :param image_id: The identifier, 27 characters (required).
        :raises NotFoundError: The image is unknown, expired or deprecated.
        :rtype: :class:`.NodeImage`
        """
        with self._asking(None) as cloud:
            return to_image(cloud.image(image_id), self)
