"""The Marketplace entries of a new site: examples, whose images do not exist."""

from hashlib import sha1

from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.sandbox.marketplace.descriptions import (
    VALID_UNTIL,
    Endorser,
    describe_image,
)

__all__ = ["current_examples", "example_entries"]

_ADA, _BEA = (
    Endorser(f"{user}@example.org", name, "Example Org")
    for user, name in (("ada", "Ada Builder"), ("bea", "Béatrice Packer"))
)
_FRENCH = "Petit serveur généraliste, prêt à l'emploi.\nPour les essais d'été & d'hiver."


def example_entries() -> list[Entry]:
    """
    Describe three images that can be started, one of them by two endorsers, and three that cannot
    any more.
    """

    def example(
        author: Endorser, day: str, os: str, os_version: str, title: str, **fields: str
    ) -> Entry:
        contents = f"The sandbox's image of {os} {os_version}\n".encode()
        given: dict[str, object] = {
            "created": f"{day}T09:55:00Z",
            "os": os,
            "os_version": os_version,
            "tag": f"{os}-base".lower(),
            "title": title,
            "description": f"{title}, from the sandbox.",
            "locations": (f"https://images.example.org/{os}-{os_version}.qcow2.gz".lower(),),
            "compression": "gz",
            "format": "qcow2",
            "disks_bus": "virtio",
        }
        return describe_image(
            author,
            {"SHA-1": sha1(contents, usedforsecurity=False).hexdigest()},
            len(contents),
            f"{day}T10:00:00Z",
            **(given | fields),
        )

    return [
        example(_ADA, "2025-04-02", "ttylinux", "14.0", "ttylinux 14.0"),
        example(_ADA, "2025-03-02", "ttylinux", "14.0", "ttylinux 14.0, first try", version="0.9"),
        example(_ADA, "2025-03-01", "Debian", "12", "Debian 12"),
        example(_BEA, "2025-03-05", "Debian", "12", "Debian 12 (bookworm)"),
        example(
            _BEA, "2025-03-03", "Ubuntu", "24.04", "Ubuntu 24.04 « à jour »", description=_FRENCH
        ),
        example(_BEA, "2013-05-13", "CentOS", "6.4", "CentOS 6.4", valid="2013-11-07T00:00:00Z"),
        example(_ADA, "2024-06-01", "Fedora", "39", "Fedora 39", deprecated="Fedora 39 has ended."),
    ]


def current_examples() -> list[Entry]:
    """Describe those that can be started: of each image, the entry that was endorsed last."""
    entries = sorted(example_entries(), key=lambda entry: entry.endorsed or "")
    current = {one.identifier: one for one in entries}
    return [one for one in current.values() if one.valid == VALID_UNTIL and one.deprecated is None]
