"""
The form of an entry's signature, and the bytes that it is of (marketplace-rest 6.1, 6.5).

The canonicaliser is lxml's, which is libxml2's.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.metadata.keys import Certificate
from stratuslab_libcloud.metadata.rdf import RDF
from stratuslab_libcloud.untrusted import xml
from stratuslab_libcloud.untrusted.text import one_line

if TYPE_CHECKING:
    from lxml import etree

__all__ = [
    "CANONICAL",
    "DIGESTS",
    "DS",
    "ENVELOPED",
    "INCLUSIVE",
    "METHODS",
    "NAMESPACE",
    "NO_KEY",
    "Form",
    "Invalid",
    "canonical",
    "certificate_of",
    "parsed",
    "remove",
    "signature_of",
    "signed_info",
]

_Known = TypeVar("_Known")

NAMESPACE = "http://www.w3.org/2000/09/xmldsig#"
DS = f"{{{NAMESPACE}}}"
_XML = "{http://www.w3.org/XML/1998/namespace}"
_ENC = "http://www.w3.org/2001/04/xmlenc#"
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n"
ENVELOPED = f"{NAMESPACE}enveloped-signature"

# Algorithm to whether it is exclusive, and whether it keeps comments.
CANONICAL = {
    INCLUSIVE: (False, False),
    f"{INCLUSIVE}#WithComments": (False, True),
    f"{_EXCLUSIVE}#": (True, False),
    f"{_EXCLUSIVE}#WithComments": (True, True),
}
METHODS = {
    f"{NAMESPACE}rsa-sha1": "rsa-sha1",
    **{f"{_MORE}rsa-{name}": f"rsa-{name}" for name in ("sha256", "sha384", "sha512")},
    **{f"{_MORE}ecdsa-{name}": f"ecdsa-{name}" for name in ("sha1", "sha256", "sha384", "sha512")},
}
DIGESTS = {
    f"{NAMESPACE}sha1": "sha1",
    f"{_ENC}sha256": "sha256",
    f"{_MORE}sha384": "sha384",
    f"{_ENC}sha512": "sha512",
}

# What canonicalising takes grows with the square of the namespaces, for every element. Genuine
# entries have sixty elements, and ten declarations of namespaces.
_LARGEST = 2**20  # bytes
_MOST = {"elements": 5000, "attributes": 2000, "namespaces": 100}

NO_KEY = "cannot find validation key"


class Invalid(Exception):  # noqa: N818 - no error
    """Why a signature is not valid, and the original registry's words for it."""

    def __init__(self, reason: str, refusal: str = "invalid signature element") -> None:
        super().__init__(reason)
        self.reason, self.refusal = one_line(reason), one_line(refusal)


def parsed(document: bytes) -> etree._Element:
    """The root, of a document that is harmless; comments are kept, and nothing is expanded."""
    from lxml import etree

    _check_size(document)
    # libxml2's own limits, of depth and the like, stay on.
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise xml.UnsafeXMLError(f"not well-formed XML ({one_line(str(error))})") from None
    if root.tag != RDF:
        raise MetadataError("not a Marketplace entry: its root is not rdf:RDF")
    return root


def _check_size(document: bytes) -> None:
    if len(document) > _LARGEST:
        raise xml.TooMuchError(f"it has more than {_LARGEST >> 20} MiB")
    scanner = xml.Scanner(namespace_separator="}")
    found = Counter[str]()

    def element(_: str, attributes: dict[str, str]) -> None:
        found.update(elements=1, attributes=len(attributes))

    def namespace(*_: object) -> None:
        found.update(namespaces=1)

    scanner.parser.StartElementHandler = element
    scanner.parser.StartNamespaceDeclHandler = namespace
    scanner.feed(document, last=True)
    for what, most in _MOST.items():
        if found[what] > most:
            raise xml.TooMuchError(f"it has more than {most:,} {what}")


def remove(element: etree._Element) -> None:
    """Take an element out of its document, and leave the text that follows it where it is."""
    above, before = element.getparent(), element.getprevious()
    assert above is not None  # noqa: S101 - for the types: it is not the root
    if before is not None:
        before.tail = (before.tail or "") + (element.tail or "")
    else:
        above.text = (above.text or "") + (element.tail or "")
    element.tail = None
    above.remove(element)


def canonical(root: etree._Element, how: tuple[bool, bool]) -> bytes:
    """The whole document: what a reference to "" means, which leaves comments out in any case."""
    from lxml import etree

    exclusive, _ = how
    tree = root.getroottree()
    return etree.tostring(tree, method="c14n", exclusive=exclusive, with_comments=False)


def signed_info(signature: etree._Element, how: tuple[bool, bool]) -> bytes:
    """
    The bytes that the signature value is of.

    In a document of its own the element has all namespaces that were in scope. The xml: attributes
    that inclusive canonicalisation lets it inherit are set on it, as lxml does not.
    """
    from lxml import etree

    exclusive, with_comments = how
    info = signature[0]
    alone = etree.fromstring(etree.tostring(info, with_tail=False))
    for above in () if exclusive else info.iterancestors():
        for name, value in above.attrib.items():
            if str(name).startswith(_XML) and name not in alone.attrib:
                alone.set(name, value)
    return etree.tostring(alone, method="c14n", exclusive=exclusive, with_comments=with_comments)


@dataclass(frozen=True, slots=True)
class Form:
    """
    What a signature says about itself.

    :ivar canonicalization: of itself; ``content`` is that of the document.
    """

    canonicalization: tuple[bool, bool]
    method: str
    content: tuple[bool, bool]
    digest: str
    digest_value: bytes
    value: bytes

    @classmethod
    def of(cls, signature: etree._Element) -> Form:
        """
        Read it, strictly: what is not understood is not ignored.

        :raises Invalid: it has another form than marketplace-rest 6.1.
        """
        info, value, _ = _children(signature, "SignedInfo", "SignatureValue", "KeyInfo")
        canonicalization, method, reference = _children(
            info, "CanonicalizationMethod", "SignatureMethod", "Reference"
        )
        if len(reference.attrib) != 1 or reference.get("URI") != "":
            raise Invalid("the signature is not one of the whole entry")
        transforms, digest, digest_value = _children(
            reference, "Transforms", "DigestMethod", "DigestValue"
        )
        names = ["Transform"] * max(1, min(2, len(transforms)))
        enveloped, *further = _children(transforms, *names)
        if _algorithm(enveloped) != ENVELOPED:
            raise Invalid("the signature is not one of the entry that it stands in")
        return cls(
            canonicalization=_known(CANONICAL, canonicalization),
            method=_known(METHODS, method),
            content=_known(CANONICAL, further[0]) if further else CANONICAL[INCLUSIVE],
            digest=_known(DIGESTS, digest),
            digest_value=_decoded(digest_value),
            value=_decoded(value),
        )


def signature_of(root: etree._Element) -> etree._Element:
    found = list(root.iter(f"{DS}Signature"))
    if not found:
        raise Invalid("it is not signed", "no signature")
    if len(found) > 1:
        raise Invalid(f"it has {len(found)} signatures")
    (signature,) = found
    if signature.getparent() is not root or next(signature.itersiblings("*"), None) is not None:
        raise Invalid("its signature is not the last element in it")
    return signature


def _children(element: etree._Element, *names: str) -> list[etree._Element]:
    """Its children, which are of these names, and nothing else but blanks."""
    children = list(element)
    texts = [element.text, *(child.tail for child in children)]
    if [child.tag for child in children] != [DS + name for name in names] or any(
        text and not text.isspace() for text in texts
    ):
        name = str(element.tag).removeprefix(DS)
        raise Invalid(f"its signature has an unusual {name}", _missing(element, names))
    return children


def _missing(element: etree._Element, names: tuple[str, ...]) -> str:
    absent = [name for name in names if element.find(DS + name) is None]
    return f"Missing {absent[0]} element" if absent else "invalid signature element"


def _algorithm(element: etree._Element) -> str:
    _children(element)
    return str(element.get("Algorithm", ""))


def _known(known: dict[str, _Known], element: etree._Element) -> _Known:
    algorithm = _algorithm(element)
    if algorithm not in known or len(element.attrib) != 1:
        raise Invalid(f"its signature is by an unknown algorithm, {algorithm}")
    return known[algorithm]


def _decoded(element: etree._Element) -> bytes:
    # A comment would cut the text in two, and only one half would be read.
    if len(element):
        raise Invalid(f"its signature has an unusual {str(element.tag).removeprefix(DS)}")
    try:
        return base64.b64decode("".join((element.text or "").split()), validate=True)
    except ValueError:
        raise Invalid("its signature is not in base 64") from None


def certificate_of(signature: etree._Element) -> Certificate:
    found = list(signature.iter(f"{DS}X509Certificate"))
    if len(found) != 1:
        raise Invalid(f"its signature has {len(found) or 'no'} certificates", NO_KEY)
    if found[0] not in signature.findall(f"{DS}KeyInfo/{DS}X509Data/{DS}X509Certificate"):
        raise Invalid("its signature has an unusual KeyInfo", NO_KEY)
    return Certificate.read(_decoded(found[0]))
