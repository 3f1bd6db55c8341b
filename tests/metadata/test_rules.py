"""What an entry must be like."""

from datetime import datetime, timezone
from pathlib import Path

import pytest
from endorsers import ENTRY, certified

from stratuslab_libcloud.metadata.entry import MetadataError
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.rules import (
    is_email,
    read_date,
    refusals,
    violations,
    written_date,
)
from stratuslab_libcloud.metadata.signature import sign

SAMPLES = Path(__file__).parents[1] / "samples"
WHEN = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
GOOD = sign(write_entry(ENTRY), certified(), when=WHEN).decode()
TYPE = "<dcterms:type>base</dcterms:type>"
VALID = "<dcterms:valid>2035-01-01T00:00:00Z</dcterms:valid>"
SHA1 = ENTRY.checksums["SHA-1"]
CREATED = "<dcterms:created>2025-03-01T10:00:00Z</dcterms:created>"
ENDORSEMENT = GOOD[GOOD.index("<slreq:endorsement") : GOOD.index("</slreq:endorsement>") + 20]
CHECKSUM = GOOD[GOOD.index("<slreq:checksum") : GOOD.index("</slreq:checksum>") + 17]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.xml")), ids=lambda path: path.stem)
def test_what_the_tools_of_2014_made_breaks_no_rule(path: Path) -> None:
    assert violations(path.read_bytes()) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (TYPE, TYPE + '<x:y xmlns:x="urn:x"><dcterms:type>no</dcterms:type></x:y>'),
        (TYPE, TYPE + "<slterms:deprecated/>"),
        (CHECKSUM, CHECKSUM.replace(SHA1, SHA1.upper())),
        (' rdf:parseType="Resource"', ' parseType="Resource"'),
        ("<dcterms:title>", "<dcterms:title><!-- comment -->"),
        (VALID, VALID.replace("2035", "<!-- x -->2035")),
        ("<slterms:disks-bus>virtio</slterms:disks-bus>", ""),
        ("pdisk:pdisk.example.org:8445:0f6c", "https:pdisk.example.org:0f6c"),
        ("pdisk:pdisk.example.org:8445:0f6c", " "),
    ],
)
def test_what_is_allowed_breaks_no_rule(old: str, new: str) -> None:
    assert old in GOOD
    assert violations(GOOD.replace(old, new).encode()) == []


# In the words of the original server, and then in ours.
REFUSED = [
    (
        'xml:base="http://mp.stratuslab.eu/"',
        "",
        "root element must have xml:base attribute with value http://mp.stratuslab.eu/",
    ),
    (TYPE, "", "description must have exactly 1 dcterms:type element"),
    (TYPE, TYPE * 2, "description must have exactly 1 dcterms:type element"),
    ("base</dcterms:type>", "<b/></dcterms:type>", "dcterms:type cannot have child elements"),
    *(
        (
            CHECKSUM,
            new,
            "description must have exactly 1 slterms:checksum element using SHA-1 algorithm",
        )
        for new in ("", CHECKSUM * 2, CHECKSUM.replace("SHA-1", "SHA1"))
    ),
    *(
        (
            TYPE,
            TYPE + f"<slterms:{name}/><slterms:{name}/>",
            f"description must have at most 1 slterms:{name} element",
        )
        for name in ("serial-number", "version", "deprecated", "os", "os-arch", "os-version")
    ),
    (
        "#Ig",
        "#Jg",
        "rdf:about attribute (#JgBUoILNIAlD290Tvui-60IdiLZ) and dcterms:identifier "
        "(IgBUoILNIAlD290Tvui-60IdiLZ) are not consistent",
    ),
    ("IgBUo", "gBUo", "dcterms:identifier (gBUoILNIAlD290Tvui-60IdiLZ) is not an image identifier"),
    (
        "IgBUo",
        "-gBUo",
        "dcterms:identifier (-gBUoILNIAlD290Tvui-60IdiLZ) is not an image identifier",
    ),
    (SHA1, "88015z", "88015z is not a valid SHA-1 checksum"),
    (SHA1, "", " is not a valid SHA-1 checksum"),
    (
        SHA1,
        "ff",
        f"checksum from identifier ({int(SHA1, 16)}) and SHA-1 checksum (255) are not consistent",
    ),
    (
        VALID,
        VALID.replace("Z", ""),
        "dcterms:valid value (2035-01-01T00:00:00) is not a",
    ),
    (CREATED, CREATED.replace("T", " "), "dcterms:created value (2025-03-01 10:00:00Z) is not a"),
    (VALID, VALID.replace("-01-01", "-13-01"), 'Unparseable date: "2035-13-01T00:00:00Z"'),
    (CREATED, CREATED.replace("03-01", "02-30"), 'Unparseable date: "2025-02-30T10:00:00Z"'),
    (VALID, "", "description must have a dcterms:valid element"),
    (CREATED, "", "endorsement must have a dcterms:created element"),
    ("ada@example.org", "../etc", "endorser's email (../etc) is not an e-mail address"),
    *(
        ("pdisk:pdisk.example.org:8445:0f6c", text, f"slterms:location value ({text}) is not a URI")
        for text in ("image.gz", "http://images example.org/1")
    ),
]


@pytest.mark.parametrize(("old", "new", "text"), REFUSED, ids=[text for *_, text in REFUSED])
def test_what_a_registry_must_refuse(old: str, new: str, text: str) -> None:
    changed = GOOD.replace(old, new)
    assert changed != GOOD
    first = refusals(changed.encode())[0]
    assert first.startswith(text.strip())
    assert first in violations(changed.encode())


def test_refusals_are_in_the_order_of_the_original() -> None:
    texts = [text.strip() for *_, text in REFUSED[:2]]
    changed = GOOD.replace(REFUSED[0][0], "").replace(TYPE, "")
    assert refusals(changed.encode()) == texts


UNENFORCED = [
    ("dcterms:description>", "x>", "description must have exactly 1 dcterms:description"),
    ("dcterms:format>", "x>", "description must have exactly 1 dcterms:format element"),
    ("slreq:bytes>", "x>", "description must have exactly 1 slreq:bytes element"),
    (TYPE, TYPE + "<dcterms:title/>", "description must have at most 1 dcterms:title element"),
    (VALID, VALID * 2, "description must have at most 1 dcterms:valid element"),
    (ENDORSEMENT, ENDORSEMENT * 2, "description must have exactly 1 slreq:endorsement element"),
    (CREATED, CREATED * 2, "endorsement must have exactly 1 dcterms:created element"),
    ("slreq:subject>", "x>", "endorser must have exactly 1 slreq:subject element"),
    ("slreq:issuer>", "x>", "endorser must have a slreq:issuer element"),
    (CHECKSUM, CHECKSUM + CHECKSUM.replace("SHA-1", "CRC"), "checksum algorithm (CRC) is none"),
    (
        CHECKSUM,
        CHECKSUM + CHECKSUM.replace("SHA-1", "MD5"),
        f"MD5 checksum ({SHA1}) has not 32 hex digits",
    ),
    (">30<", ">-30<", "slreq:bytes value (-30) is not a number of bytes"),
    (">virtio<", "><", "slterms:disks-bus value () is not ide, scsi or virtio"),
    (">machine<", ">house<", "slterms:kind value (house) is not machine or disk"),
    (">22<", ">65536<", "slterms:inbound-port value (65536) is not a port, 0 to 65535"),
    (TYPE, TYPE + "<slterms:icmp>256</slterms:icmp>", "slterms:icmp value (256) is not a type"),
    (
        TYPE,
        TYPE + "<dcterms:replaces>x</dcterms:replaces>",
        "dcterms:replaces value (x) is not an image identifier",
    ),
    (
        TYPE,
        TYPE + "<dcterms:created>today</dcterms:created>",
        "dcterms:created value (today) is not a date",
    ),
]


@pytest.mark.parametrize(("old", "new", "text"), UNENFORCED, ids=[text for *_, text in UNENFORCED])
def test_rules_that_no_server_enforces(old: str, new: str, text: str) -> None:
    changed = GOOD.replace(f"<{old}", f"<{new}").replace(f"</{old}", f"</{new}")
    if old[0] in "<>":
        changed = GOOD.replace(old, new)
    assert changed != GOOD
    assert refusals(changed.encode()) == []
    (found,) = violations(changed.encode())
    assert found.startswith(text)


@pytest.mark.parametrize(
    "document",
    [
        b"<metadata/>",
        GOOD.replace("rdf:Description", "rdf:Li").encode(),
        GOOD.replace("</rdf:Description>", "</rdf:Description><rdf:Description/>").encode(),
    ],
    ids=["listing", "no description", "two"],
)
def test_what_is_no_entry_has_no_rules(document: bytes) -> None:
    for rules in (refusals, violations):
        with pytest.raises(MetadataError):
            rules(document)


def test_dates_are_in_utc() -> None:
    assert read_date("2025-03-01T10:00:00Z") == WHEN
    assert written_date(WHEN) == "2025-03-01T10:00:00Z"
    for text in ("", "2025-03-01T10:00:00", "2025-02-30T10:00:00Z", "2025-03-01T10:00:00Z\n"):
        assert read_date(text) is None
    assert read_date("٢025-03-01T10:00:00Z") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a.b+c@x-y.org", True), ("a@b@c", False), ("@b", False), ("a@", False), ("é@b", False)],
)
def test_addresses(text: str, expected: bool) -> None:
    assert is_email(text) is expected
