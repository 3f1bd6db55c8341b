"""An entry as RDF triples. ``rdflib`` is imported when the first entry is read, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratuslab_libcloud.metadata import form
from stratuslab_libcloud.untrusted.text import one_line

if TYPE_CHECKING:
    from rdflib import Graph

__all__ = ["NotRdfError", "read_triples", "unsigned"]


class NotRdfError(ValueError):
    """An XML document is not RDF/XML. One line."""


def read_triples(document: bytes) -> Graph:
    """
    Read the triples of an entry, without its signature.

    :param document: an ``rdf:RDF`` document.
    :raises NotRdfError: it is not RDF/XML.
    """
    from rdflib import Graph

    graph = Graph()
    try:
        graph.parse(data=unsigned(document), format="xml")
    except Exception as error:  # rdflib's parser raises all kinds
        raise NotRdfError(f"not RDF/XML ({one_line(str(error)) or type(error).__name__})") from None
    return graph


def unsigned(document: bytes) -> bytes:
    """
    Remove the signature of an entry.

    :param document: an ``rdf:RDF`` document.
    """
    from lxml import etree

    root = form.parsed(document)
    for signature in list(root.iter(f"{form.DS}Signature")):
        form.remove(signature)
    return etree.tostring(root, encoding="utf-8")
