"""The settings of one location, after the configuration has been read: plain data."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from stratuslab_libcloud.configuration.instance_types import STANDARD_TYPES, InstanceType
from stratuslab_libcloud.configuration.options import Options
from stratuslab_libcloud.paths import in_home, private_of

__all__ = ["Certificate", "Credentials", "Password", "Settings"]

_DEFAULT_KEYS = (".ssh/id_rsa", ".ssh/id_ed25519", ".ssh/id_ecdsa")


@dataclass(frozen=True)
class Password:
    """A login by user name and password (the ``/pswd`` paths)."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Certificate:
    """A login by PEM certificate (the ``/cert`` paths); a grid proxy is one file, named twice."""

    certificate: str
    key: str


Credentials: TypeAlias = Password | Certificate


@dataclass(frozen=True)
class Settings:
    """
    The settings of one location; ``~`` is expanded in paths.

    :ivar location: id, which is the name of the section.
    :ivar where: the file and section, for messages.
    :ivar endpoint: URL of the compute service, without ``pswd`` or ``cert``; ``""`` if none is
        configured.
    :ivar pdisk_endpoint: base URL of the storage service, or ``None`` if there is none.
    :ivar public_key: the configured SSH public key file, or ``None`` for the first of the default
        ones that exists.
    :ivar options: the options that need no resolving, such as ``options.ssh_port``.
    :ivar instance_types: the sizes that machines can have.
    """

    location: str
    where: str
    endpoint: str
    pdisk_endpoint: str | None
    marketplace_endpoint: str
    credentials: Credentials | None
    storage_credentials: Credentials | None
    public_key: Path | None = None
    private_key: Path | None = None
    options: Options = field(default_factory=Options)
    instance_types: tuple[InstanceType, ...] = STANDARD_TYPES

    def default_key_pair(self) -> tuple[Path, Path] | None:
        """Return the SSH key pair to use by default: the public and the private file."""
        if self.public_key:
            return self.public_key, self.private_key or private_of(self.public_key)
        for private in in_home(*_DEFAULT_KEYS):
            public = private.with_name(private.name + ".pub")
            if os.path.isfile(public):  # unlike is_file(), False if the directory cannot be read
                return public, private
        return None
