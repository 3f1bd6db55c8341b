"""The driver's methods for images, and for what people endorse about them."""

from functools import partial

from libcloud.compute.base import Node, NodeImage, NodeLocation

from stratuslab_libcloud.client.data import Endorsement
from stratuslab_libcloud.configuration.signing import signing_key
from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.creation import creating
from stratuslab_libcloud.driver.entities import to_image
from stratuslab_libcloud.driver.locations import LocationMethods

__all__ = ["ImageMethods"]


class ImageMethods(LocationMethods):
    """The part of the driver that is about images."""

    def list_images(self, location: NodeLocation | None = None) -> list[NodeImage]:
        """
        List the current images of a location's Marketplace or, on OpenNebula, the images that the
        account may use, public ones included. One request, however many there are.

        An image is named by its title or, without one, by the first line of its description or by
        its identifier. ``extra`` describes the newest endorsement:

        * ``os``, ``os_version``, ``os_arch``, ``kind``, ``description``, ``title``: text
        * ``endorser``: an e-mail address
        * ``endorsed``: when, as text (``YYYY-MM-DDThh:mm:ssZ``)
        * ``locations``: URLs of the image file
        * ``endorsers``: everybody who currently endorses the image

        The other keys of :meth:`get_image` have values only if the Marketplace lists whole entries;
        otherwise they are ``None`` or empty. No signature is verified, and ``verdict`` is ``None``:
        :meth:`get_image` and :meth:`ex_verify_image` do that, and :meth:`create_node`.

        On OpenNebula ``extra`` has, here as from :meth:`get_image`:

        * ``size``: bytes
        * ``state``: the engine's word, such as ``READY``; ``error``: its text, or ``None``
        * ``owner``, ``datastore``, ``format``, ``type``, ``description``: text
        * ``visibility``: ``private`` or ``public``
        * ``persistent``: whether what nodes write to it is kept
        * ``created``: when, as text (``YYYY-MM-DDThh:mm:ssZ``)
        * ``users``: the number of nodes that have it

        Source: marketplace-rest 3; guide 9.1.4; opennebula-modern 4.

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
        Get one image of the default location, with its whole Marketplace entry. One request.

        ``extra`` has, besides the keys of :meth:`list_images`:

        * ``size``: bytes, uncompressed
        * ``checksums``: a dictionary of algorithms to hexadecimal digits
        * ``format``, ``compression``, ``type``, ``version``, ``disks_bus``, ``hypervisor``,
          ``creator``, ``publisher``, ``tag``: text
        * ``inbound_ports``: TCP port numbers
        * ``created``, ``valid``: dates, as text
        * ``deprecated``: the reason, or ``None``
        * ``subject``, ``issuer``: of the endorser, as the entry has them
        * ``verdict``: what :meth:`ex_verify_image` finds, as a dictionary; ``None`` with
          ``verify_images = off``

        If the signature is valid, all of this is read from the signed bytes, but ``endorsers``.

        Source: marketplace-rest 4.

        >>> whole = driver.get_image(image.id)
        >>> whole.extra["format"], whole.extra["inbound_ports"]
        ('qcow2', [22])

        :param image_id: The identifier, 27 characters; on OpenNebula a number (required).
        :raises NotFoundError: The image is unknown, expired or deprecated.
        :raises ConfigurationError: ``trusted_ca`` cannot be read, or nobody is trusted although
            that is required.
        :rtype: :class:`.NodeImage`
        """
        with self._asking(None) as cloud:
            return to_image(cloud.image(image_id), self)

    def create_image(  # type: ignore[override] # Libcloud's annotation says a list
        self,
        node: Node,
        name: str,
        description: str | None = None,
        *,
        ex_timeout: float = 1800,
    ) -> NodeImage:
        """
        Make an image of what is on a node's first disk. On StratusLab clouds the node is shut down
        for that. Six requests, and one for each further look at the node while it is being saved;
        the one that shuts it down is sent once. On OpenNebula four and more; the node may run or be
        stopped, goes on as before, and can be saved again.

        StratusLab clouds decide this when a node starts: give ``ex_save_as`` to
        :meth:`create_node`. The image is a new volume with that title as its name. Its entry in the
        Marketplace is a copy of the original image's, with the location of that volume, signed by a
        throw-away key and valid for two days. Nodes start from it unless ``verify_images`` requires
        more. Within that time sign it with your own certificate, and another date of validity, and
        publish it with :meth:`ex_upload_metadata`.

        If the call does not come to its end, ask again with the same node: it goes on waiting, also
        when the node has ended meanwhile.

        Source: compute-xmlrpc 4.7; opennebula-modern 7.

        >>> save_as = NewImage("With a wiki", "Debian, and a wiki.", "Jane", "jane@example.org")
        >>> node = driver.create_node(name="wiki", size=size, image=image, ex_save_as=save_as)
        >>> _ = driver.wait_until_running([node])
        >>> saved = driver.create_image(node, "With a wiki")
        >>> saved.extra["creator"], saved.extra["locations"]
        ('Jane', ['pdisk:...'])

        :param node: A running node of this driver, on StratusLab clouds one that was started with
            ``ex_save_as`` (required).
        :param name: The title in its ``ex_save_as``; on OpenNebula any that no other image of the
            account has (required).
        :param description: The comment in it; on OpenNebula any text (optional).
        :param ex_timeout: Seconds to wait for the image (optional).
        :return: The image, as from :meth:`get_image`.
        :raises InvalidValueError: The node was started with another title or comment. It still
            runs.
        :raises ConflictError: The node was not started with ``ex_save_as``, or does not run or shut
            down.
        :raises NodeFailedError: The cloud could not save the node, for the reason in the text; on
            OpenNebula it is a :class:`.ServiceError`.
        :raises NodeNotReadyError: Time ran out; on OpenNebula it is an :class:`.UnavailableError`,
            whose text has the id of the image that may still become ready.
        :raises NotFoundError: There is no such node; or it was killed; or it was saved, but is not
            described in this Marketplace.
        :raises LostAnswerError: The answer was lost; the node may be shutting down or, on
            OpenNebula, there may be an image of that name.
        :rtype: :class:`.NodeImage`
        """
        with creating() as created, self._asking_for(node, Node) as cloud:
            seconds = arguments.checked_timeout(ex_timeout)
            doubt = f"node {node.id} may be shutting down, and become the image {name!r}"
            with created.asking(doubt) as sending:
                found = cloud.save_image(
                    str(node.id), name, description, timeout=seconds, sending=sending
                )
            return to_image(found, self)

    def delete_image(self, node_image: NodeImage) -> bool:
        """
        Withdraw your endorsement of an image from the default location's Marketplace. Two requests;
        the second is sent once. On OpenNebula delete the image, and wait until its name is free
        again: two requests and more.

        :meth:`ex_deprecate_image` with the configured ``p12_certificate``, which must contain your
        address. Nothing is ever deleted from a Marketplace: the image is no longer listed, unless
        others endorse it. A volume that has its content stays; :meth:`destroy_volume` deletes it.

        Source: marketplace-rest 7.6.

        >>> address = driver.ex_upload_metadata(metadata)
        >>> mine = driver.get_image("IgBUoILNIAlD290Tvui-60IdiLZ")
        >>> driver.delete_image(mine)
        True

        :param node_image: The image (required). Nothing but the id is used.
        :raises ConfigurationError: The PKCS12 file cannot be read, its password is wrong, or its
            certificate has expired. Nothing was sent.
        :raises InvalidValueError: The certificate has no e-mail address. Nothing was sent.
        :raises NotFoundError: You do not endorse such an image, or there is none.
        :raises ConflictError: A node has it (OpenNebula).
        :raises UntrustedImageError: The signature of the entry is not valid, so nothing in it is
            signed anew.
        :return: ``True``.
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

        >>> copied = one.copy_image("default", one.list_images()[0], "a copy")
        >>> one.delete_image(copied)
        True

        :param source_region: The id of the location that has the image (required).
        :param node_image: The image (required). Nothing but the id is used.
        :param name: 128 bytes at most; no other image of the account may have it (required).
        :param description: For people (optional).
        :param ex_timeout: Seconds to wait (optional).
        :return: The copy, when nodes can start from it.
        :raises InvalidValueError: The name is not allowed. Nothing was sent.
        :raises ConflictError: There is an image of that name.
        :raises ServiceError: The cloud could not copy it, for the reason in the text.
        :raises UnavailableError: Time ran out; the text has the id of the copy.
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
            seconds = arguments.checked_timeout(ex_timeout)
            copied = cloud.copy_image(
                str(image.id), name, description, timeout=seconds, sending=sending
            )
            return to_image(copied, self)

    def ex_verify_image(
        self, image: NodeImage, location: NodeLocation | None = None
    ) -> Endorsement:
        """
        Verify the entry by which a node would start from an image. One request.

        The verdict is a named tuple. Its ``reasons`` say, one line each, why :meth:`create_node`
        warns about the image or refuses it; there are none if it does neither. ``signed`` says
        whether the signature is valid, ``trusted`` whether ``trusted_endorsers`` and ``trusted_ca``
        of the configuration include the endorser, whose certificate has the ``fingerprint``.

        Source: marketplace-rest 6.

        >>> verdict = driver.ex_verify_image(image)
        >>> verdict.signed, verdict.trusted, verdict.reasons
        (True, True, [])

        :param image: An image of the Marketplace (required). Nothing but the id is used.
        :param location: The location whose configuration and Marketplace to use (optional); the
            default location if not given.
        :raises NotFoundError: The image is unknown, expired or deprecated.
        :raises ConfigurationError: ``trusted_ca`` cannot be read, or nobody is trusted although
            that is required.
        :rtype: :class:`.Endorsement`
        """
        with self._asking(location) as cloud:
            return cloud.verify_image(str(arguments.expected(image, NodeImage, "image").id))

    def ex_list_endorsements(
        self, image_id: str, location: NodeLocation | None = None
    ) -> list[Endorsement]:
        """
        List everybody's latest endorsement of an image, the newest first, each with the verdict on
        its signature. One request.

        Expired and deprecated ones are among them; ``expires`` and ``deprecated`` say so.

        Source: marketplace-rest 2.1, 3.1.

        >>> current = [one for one in driver.ex_list_endorsements(image.id) if not one.deprecated]
        >>> current[0].signed, current[0].trusted
        (True, True)

        :param image_id: The identifier, 27 characters (required).
        :param location: The location to ask (optional); the default location if not given.
        :raises NotFoundError: Nobody has ever endorsed such an image.
        :rtype: ``list`` of :class:`.Endorsement`
        """
        with self._asking(location) as cloud:
            return cloud.endorsements(image_id)

    def ex_upload_metadata(self, metadata: bytes, location: NodeLocation | None = None) -> str:
        """
        Publish the signed metadata of an image in the Marketplace. One request, which is sent once.

        ``stratus-build-metadata`` and ``stratus-sign-metadata`` make such metadata. A Marketplace
        that wants the endorser to confirm by e-mail publishes it only then; that is a warning.

        Source: marketplace-rest 2.6.

        >>> url = driver.ex_upload_metadata(metadata)
        >>> url.rpartition("/metadata/")[2]
        'IgBUoILNIAlD290Tvui-60IdiLZ/jane@example.org/20...Z'

        :param metadata: A signed ``rdf:RDF`` document, of 1 MiB at most (required).
        :param location: The location whose Marketplace to use (optional); the default location if
            not given.
        :return: The URL where the entry can be read.
        :raises InvalidValueError: It is not the metadata of an image. Nothing was sent.
        :raises ServiceError: The Marketplace refuses it, for the reason in the text: the signature
            is missing or not valid, values are not consistent, there is a newer entry.
        :raises LostAnswerError: The answer was lost; the entry may have been stored.
        :rtype: ``str``
        """
        with self._asking(location) as cloud:
            return cloud.upload_metadata(metadata)

    def ex_deprecate_image(
        self,
        image: NodeImage,
        reason: str = "This image has been deprecated",
        location: NodeLocation | None = None,
        *,
        ex_p12_certificate: str | None = None,
        ex_p12_password: str | None = None,
        ex_email: str | None = None,
        ex_created: str | None = None,
    ) -> str:
        """
        Withdraw your endorsement of an image. Two requests; the second is sent once.

        The entry is signed anew with the reason in it. It takes the place of the current one: the
        image is no longer listed, unless others endorse it, and can still be read by its URL.

        Source: marketplace-rest 7.6; guide 4.9.3.

        >>> url = driver.ex_deprecate_image(image, "Use the next one.")
        >>> driver.ex_list_endorsements(image.id)[0].deprecated
        'Use the next one.'

        :param image: The image (required). Nothing but the id is used.
        :param reason: Why, for people (optional).
        :param location: The location whose Marketplace and key to use (optional); the default
            location if not given.
        :param ex_p12_certificate: The PKCS12 file of the endorser (optional); the configured
            ``p12_certificate`` if not given.
        :param ex_p12_password: Its password (optional); ``p12_password`` if not given.
        :param ex_email: The endorser's address, if the certificate has none (optional).
        :param ex_created: The date of the entry that is repeated (optional); the current one if not
            given.
        :return: The URL where the new entry can be read.
        :raises ConfigurationError: The PKCS12 file cannot be read, its password is wrong, or its
            certificate has expired. Nothing was sent.
        :raises InvalidValueError: The certificate is somebody else's. Nothing was sent.
        :raises NotFoundError: This endorser has no such entry.
        :raises UntrustedImageError: The signature of the entry is not valid, so nothing in it is
            signed anew.
        :rtype: ``str``
        """
        with self._asking(location) as cloud:
            options = cloud.settings.options
            key = partial(
                signing_key,
                ex_p12_certificate or options.p12_certificate,
                options.p12_password if ex_p12_password is None else ex_p12_password,
            )
            image_id = str(arguments.expected(image, NodeImage, "image").id)
            return cloud.deprecate_image(image_id, key, reason, email=ex_email, created=ex_created)
