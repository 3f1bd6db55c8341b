"""An entry as RDF triples. ``rdflib`` is imported when the first entry is read, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratuslab_libcloud.metadata import form
from stratuslab_libcloud.untrusted.text import one_line

if TYPE_CHECKING:
    from rdflib import Graph

__all__ = ["NotRdfError", "read_triples"]


class NotRdfError(ValueError):
    """An XML document is not RDF/XML. One line."""


def read_triples(document: bytes) -> Graph:
    """
    Read the triples of an entry, without its signature.

    :param document: an ``rdf:RDF`` document with one signature.
    :raises NotRdfError: it is not RDF/XML.
    """
    from lxml import etree
    from rdflib import Graph

    root = form.parsed(document)
    form.remove(form.signature_of(root))
    graph = Graph()
    try:
        graph.parse(data=etree.tostring(root, encoding="utf-8"), format="xml")
    except Exception as error:  # rdflib's parser raises all kinds
        raise NotRdfError(f"not RDF/XML ({one_line(str(error)) or type(error).__name__})") from None
    return graph
