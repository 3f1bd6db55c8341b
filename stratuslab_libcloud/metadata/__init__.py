"""Entries of the Marketplace: what an endorser states about an image."""

from stratuslab_libcloud.metadata.entry import (
    ABSENT,
    Entry,
    MetadataError,
    identifier,
    is_identifier,
    latest,
    name_of,
    sha1_of,
)
from stratuslab_libcloud.metadata.rdf import (
    RDF,
    STRAY_DECLARATION,
    read_entries,
    read_entry,
    write_entry,
)

__all__ = [
    "ABSENT",
    "RDF",
    "STRAY_DECLARATION",
    "Entry",
    "MetadataError",
    "identifier",
    "is_identifier",
    "latest",
    "name_of",
    "read_entries",
    "read_entry",
    "sha1_of",
    "write_entry",
]
