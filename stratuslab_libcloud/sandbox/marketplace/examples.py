"""The Marketplace entries that a new site begins with: examples, whose images do not exist."""

from dataclasses import replace
from hashlib import sha1
from typing import Any

from stratuslab_libcloud.metadata.entry import Entry, identifier

__all__ = ["entries"]


def entries(base_url: str) -> list[Entry]:
    """Three images that can be started, one of them by two endorsers, and three of the past."""
    ada, bea = _endorsed_by("ada", "Ada Builder"), _endorsed_by("bea", "Béatrice Packer")

    def example(who: Entry, day: str, os: str, os_version: str, title: str, **more: str) -> Entry:
        contents = f"The sandbox's image of {os} {os_version}\n".encode()
        digest = sha1(contents, usedforsecurity=False).digest()
        values: dict[str, Any] = {
            "description": f"{title}, from the sandbox.",
            "valid": "2099-01-01T00:00:00Z",
        }
        return replace(
            who,
            identifier=identifier(digest),
            size=len(contents),
            checksums={"SHA-1": digest.hex()},
            created=f"{day}T09:55:00Z",
            endorsed=f"{day}T10:00:00Z",
            os=os,
            os_version=os_version,
            tag=f"{os}-base".lower(),
            title=title,
            locations=(f"{base_url}/{os}-{os_version}.qcow2.gz".lower(),),
            **(values | more),
        )

    french = "Petit serveur généraliste, prêt à l'emploi.\nPour les essais d'été & d'hiver."
    return [
        example(ada, "2025-04-02", "ttylinux", "14.0", "ttylinux 14.0"),
        example(ada, "2025-03-02", "ttylinux", "14.0", "ttylinux 14.0, first try", version="0.9"),
        example(ada, "2025-03-01", "Debian", "12", "Debian 12"),
        example(bea, "2025-03-05", "Debian", "12", "Debian 12 (bookworm)"),
        example(
            bea, "2025-03-03", "Ubuntu", "24.04", "Ubuntu 24.04 « à jour »", description=french
        ),
        example(bea, "2013-05-13", "CentOS", "6.4", "CentOS 6.4", valid="2013-11-07T00:00:00Z"),
        example(ada, "2024-06-01", "Fedora", "39", "Fedora 39", deprecated="Fedora 39 has ended."),
    ]


def _endorsed_by(user: str, name: str) -> Entry:
    subject = f"CN={name},O=Example Org,C=EU"
    return Entry(
        identifier="",
        endorser=f"{user}@example.org",
        subject=subject,
        issuer=subject,
        creator=name,
        publisher="Example Org",
        type="base",
        kind="machine",
        version="1.0",
        os_arch="x86_64",
        compression="gz",
        format="qcow2",
        hypervisor="kvm",
        disks_bus="virtio",
        inbound_ports=(22,),
    )
