"""The driver's methods for the SSH keys that a cloud keeps for an account."""

import os
from pathlib import Path

from libcloud.compute.base import KeyPair

from stratuslab_libcloud.driver import arguments
from stratuslab_libcloud.driver.locations import LocationMethods
from stratuslab_libcloud.errors import ConflictError, InvalidValueError, NotFoundError
from stratuslab_libcloud.ssh import keys as ssh_keys

__all__ = ["KeyPairMethods"]


class KeyPairMethods(LocationMethods):
    """
    The part of the driver that is about key pairs; OpenNebula only.

    The engine keeps one text for each account, the lines of an ``authorized_keys`` file, and some
    templates of its users install it. A key is named by its comment or, without one, by its
    fingerprint. All are those of the default location. No private key is sent.
    """

    def list_key_pairs(self) -> list[KeyPair]:
        """
        List the public keys that the default location keeps for the account (OpenNebula only). One
        request.

        Source: opennebula-modern 6.

        >>> [pair.name for pair in one.list_key_pairs()]
        []

        :raises NotSupportedError: The cloud is a StratusLab cloud.
        :rtype: ``list`` of :class:`.KeyPair`
        """
        with self._asking(None) as cloud:
            return [self._to_pair(line) for line in cloud.public_keys()]

    def get_key_pair(self, name: str) -> KeyPair:
        """
        Get one of those keys. One request.

        >>> pair = one.create_key_pair("monday")
        >>> one.get_key_pair("monday").fingerprint == pair.fingerprint
        True
        >>> one.delete_key_pair(pair)
        True

        :param name: Its comment or fingerprint (required).
        :raises NotFoundError: There is no such key.
        :rtype: :class:`.KeyPair`
        """
        for pair in self.list_key_pairs():
            if pair.name == name:
                return pair
        raise NotFoundError(f"there is no key pair {name!r}", driver=self)

    def create_key_pair(self, name: str) -> KeyPair:
        """
        Make an Ed25519 key pair here, and have its public half kept. Three requests.

        Source: opennebula-modern 6.

        >>> pair = one.create_key_pair("laptop")
        >>> pair.private_key.splitlines()[0]
        '-----BEGIN OPENSSH PRIVATE KEY-----'
        >>> one.delete_key_pair(pair)
        True

        :param name: Letters, digits, blanks and ``@ . : + , / _ -`` (required).
        :return: The pair; ``private_key`` is the text of a private key file, which nobody else has.
        :raises ConflictError: There is a key of that name.
        :rtype: :class:`.KeyPair`
        """
        private, public = ssh_keys.new_pair(name)
        pair = self._keep(name, public)
        pair.private_key = private
        return pair

    def import_key_pair_from_string(self, name: str, key_material: str) -> KeyPair:
        """
        Have a public key kept. Three requests.

        >>> line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK"
        >>> pair = one.import_key_pair_from_string("desk", line)
        >>> pair.name, one.delete_key_pair(pair)
        ('desk', True)

        :param name: As for :meth:`create_key_pair` (required).
        :param key_material: A public key, as a line of text (required).
        :raises InvalidValueError: It is no public key, or the name is not allowed.
        :raises ConflictError: There is a key of that name.
        :rtype: :class:`.KeyPair`
        """
        lines = ssh_keys.public_lines(key_material, "key_material")
        if len(lines) > 1:
            raise InvalidValueError("key_material must be one key", driver=self)
        return self._keep(name, ssh_keys.renamed(lines[0], name))

    def import_key_pair_from_file(
        self, name: str, key_file_path: str | os.PathLike[str]
    ) -> KeyPair:
        """
        Have the public key in a file kept. Three requests.

        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "key.pub")
        >>> _ = path.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK")
        >>> pair = one.import_key_pair_from_file("tower", path)
        >>> one.delete_key_pair(pair)
        True

        :param name: As for :meth:`create_key_pair` (required).
        :param key_file_path: The file (required).
        :raises ConfigurationError: The file cannot be read.
        :rtype: :class:`.KeyPair`
        """
        path = arguments.key_path(key_file_path, "key_file_path")
        lines = ssh_keys.read_public(Path(path))
        return self.import_key_pair_from_string(name, "\n".join(lines))

    def delete_key_pair(self, key_pair: KeyPair) -> bool:
        """
        Have a public key kept no longer; nodes that let it in still do. Three requests.

        >>> one.delete_key_pair(one.create_key_pair("old"))
        True

        :param key_pair: A key pair (required). Nothing but the name is used.
        :return: ``True``.
        :raises NotFoundError: There is no such key.
        :rtype: ``bool``
        """
        with self._asking(None) as cloud:
            key_pair = arguments.expected(key_pair, KeyPair, "key_pair")
            lines = cloud.public_keys()
            left = [line for line in lines if ssh_keys.name_of(line) != key_pair.name]
            if len(left) == len(lines):
                raise NotFoundError(f"there is no key pair {key_pair.name!r}")
            cloud.set_public_keys(left)
            return True

    def _keep(self, name: str, line: str) -> KeyPair:
        with self._asking(None) as cloud:
            lines = cloud.public_keys()
            if name in map(ssh_keys.name_of, lines):
                raise ConflictError(
                    f"there is a key pair {name!r} already", advice="delete it first"
                )
            cloud.set_public_keys([*lines, line])
            return self._to_pair(line)

    def _to_pair(self, line: str) -> KeyPair:
        name, fingerprint = ssh_keys.name_of(line), ssh_keys.fingerprint(line)
        return KeyPair(name, public_key=line, fingerprint=fingerprint, driver=self)
