"""Marketplace entries: reading, writing, identifiers."""

import dataclasses
import hashlib
import pathlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stratuslab_libcloud.metadata import rdf as metadata
from stratuslab_libcloud.metadata.entry import (
    Entry,
    MetadataError,
    identifier,
    is_identifier,
    latest,
    sha1_of,
)
from stratuslab_libcloud.untrusted import xml

SAMPLES = pathlib.Path(__file__).parents[1] / "samples"  # signed by the tool of 2014
ONE = "IgBUoILNIAlD290Tvui-60IdiLZ"
TWO = "LSxfpMUCXrqGUkscUyK-O4j3fPB"

FULL = Entry(
    identifier=ONE,
    size=30,
    checksums={"SHA-1": "880152820b3480250f6f744efba2fbad087622d9", "MD5": "00ff"},
    endorser="ada@example.org",
    endorsed="2025-03-01T10:00:00Z",
    subject="CN=Ada Builder,O=Example Org,C=EU",
    issuer="CN=Test CA,O=Example Org,C=EU",
    type="base",
    kind="machine",
    os="Debian",
    os_version="12",
    os_arch="x86_64",
    version="1.0",
    compression="gz",
    locations=("https://images.example.org/one.gz?a=1&b=2", "pdisk:pdisk.example.org:8445:0f6c"),
    format="qcow2",
    creator="Ada Builder",
    created="2025-03-01T09:55:00Z",
    valid="2035-01-01T00:00:00Z",
    title="Débian <base>",
    tag="debian-base",
    description="First line.\n\nSecond & last.",
    publisher="Example Org",
    hypervisor="kvm",
    disks_bus="virtio",
    inbound_ports=(22, 80),
    deprecated="",
)


def rdf(properties: str, around: str = "") -> bytes:
    """An entry with these elements in its description; ``around`` stands beside it."""
    return (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
        ' xmlns:d="http://purl.org/dc/terms/" xmlns:q="http://mp.stratuslab.eu/slreq#"'
        ' xmlns:t="http://mp.stratuslab.eu/slterms#" xmlns:x="urn:foreign">'
        f'{around}<rdf:Description rdf:about="#{ONE}">{properties}</rdf:Description></rdf:RDF>'
    ).encode()


def read(properties: str, identified: str = f"<d:identifier>{ONE}</d:identifier>") -> Entry:
    return metadata.read_entry(xml.parse(rdf(properties + identified)))


# Identifiers


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (b"marketplace example image one\n", ONE),
        (b"marketplace example image two\n", TWO),
        (b"leading zero example 46\n", "ACiyoN-NUaSXNssf5ONI_Db35IR"),
        (b"", "No5o-5ea0sNMlW_75VgGJCv2AcJ"),
    ],
)
def test_an_identifier_stands_for_the_sha1_of_the_contents(contents: bytes, expected: str) -> None:
    digest = hashlib.sha1(contents)
    assert identifier(digest.digest()) == expected
    assert identifier(digest.hexdigest()) == expected
    assert identifier(digest.hexdigest().upper()) == expected
    assert sha1_of(expected) == digest.hexdigest()


@given(st.binary(min_size=20, max_size=20))
def test_every_sha1_survives_the_way_through_its_identifier(sha1: bytes) -> None:
    made = identifier(sha1)
    assert is_identifier(made)
    assert sha1_of(made) == sha1.hex()


@pytest.mark.parametrize("sha1", [b"", b"x" * 21, "", "12" * 19, "zz" * 20, "12 " * 20])
def test_what_is_no_sha1_has_no_identifier(sha1: bytes | str) -> None:
    with pytest.raises(MetadataError):
        identifier(sha1)


@pytest.mark.parametrize("text", ["", ONE[1:], ONE + "A", ONE + "\n", "é" + ONE[1:], "-" + ONE[1:]])
def test_what_is_no_identifier_has_no_sha1(text: str) -> None:
    with pytest.raises(MetadataError):
        sha1_of(text)


@pytest.mark.parametrize("text", ["", ONE[1:], ONE + "A", ONE + "\n", "+" + ONE[1:], "é" + ONE[1:]])
def test_an_identifier_has_27_characters_of_its_alphabet(text: str) -> None:
    assert is_identifier(ONE)
    assert not is_identifier(text)


# Reading


LOCATION = "http://images.example.org/{}.img.gz"


@pytest.mark.parametrize(
    ("sample", "endorsed", "locations", "deprecated"),
    [
        ("made-plain.xml", "2026-11-26T21:18:55Z", (LOCATION.format("plain"),), None),
        (
            "made-two-locations-short-key.xml",
            "2026-11-26T21:18:56Z",
            (
                LOCATION.format("two-locations-short-key"),
                "http://mirror.example.org/second.img.gz",
            ),
            None,
        ),
        (
            "made-deprecated.xml",
            "2026-11-26T21:18:57Z",
            (LOCATION.format("deprecated"),),
            "replaced by a newer one",
        ),
    ],
)
def test_signed_entries_are_read(
    sample: str, endorsed: str, locations: tuple[str, ...], deprecated: str | None
) -> None:
    (entry,) = metadata.read_entries((SAMPLES / sample).read_bytes())
    assert sha1_of(entry.identifier) == entry.checksums["SHA-1"]
    assert sorted(entry.checksums) == ["MD5", "SHA-1", "SHA-256", "SHA-512"]
    assert entry.endorsed == endorsed
    assert entry.locations == locations
    assert entry.deprecated == deprecated
    assert entry.name == entry.title


def test_all_of_a_signed_entry_is_read() -> None:
    (entry,) = metadata.read_entries((SAMPLES / "made-plain.xml").read_bytes())
    assert entry.identifier == "IpUY7EguuJl_OQ7pGYG40Ttu3Qs"
    assert entry.size == 300000
    assert entry.endorser == "ada@example.org"
    assert entry.subject == entry.issuer == "CN=Ada Example,O=Example Lab,C=FR"
    assert (entry.os, entry.os_version, entry.os_arch) == ("ttylinux", "9.7", "x86_64")
    assert (entry.created, entry.valid) == ("2026-11-26T21:18:54Z", "2027-05-23T21:18:54Z")
    assert (entry.type, entry.kind, entry.version) == ("base", "machine", "1.0")
    assert (entry.compression, entry.format) == ("gz", "raw")
    assert (entry.title, entry.description) == ("ttylinux (made)", "A small image.")
    assert (entry.creator, entry.publisher) == ("Ada Example", "StratusLab")
    assert (entry.hypervisor, entry.disks_bus) == ("kvm", "ide")
    assert (entry.tag, entry.inbound_ports) == (None, ())


def test_an_entry_without_a_title_goes_by_its_identifier() -> None:
    assert read("").name == ONE


def test_absent_elements_are_none() -> None:
    assert read("") == Entry(identifier=ONE)


def test_empty_and_blank_elements_are_none() -> None:
    entry = read(
        "<d:title/><d:description> \n </d:description><t:os></t:os><d:valid><![CDATA[]]></d:valid>"
        "<q:bytes/><q:checksum/><q:endorsement/><t:location/><t:location> </t:location>"
        "<t:inbound-port/>"
    )
    assert entry == Entry(identifier=ONE)


def test_text_is_kept_as_it_is() -> None:
    assert read("<d:title> É&amp;\n<![CDATA[<b>]]> </d:title>").title == " É&\n<b> "
    assert read("<d:title>one <!-- two --><?three?>four</d:title>").title == "one four"


def test_an_empty_deprecation_is_one() -> None:
    assert read("").deprecated is None
    assert read("<t:deprecated/>").deprecated == ""
    assert read("<t:deprecated>broken</t:deprecated>").deprecated == "broken"


def test_only_direct_children_of_the_description_are_read() -> None:
    nested = "<d:identifier>B</d:identifier><d:title>no</d:title><t:location>no</t:location>"
    entry = metadata.read_entry(
        xml.parse(
            rdf(
                f'<x:y rdf:parseType="Resource">{nested}</x:y><d:identifier>{ONE}</d:identifier>',
                around=f"<x:before>{nested}</x:before>",
            )
        )
    )
    assert entry == Entry(identifier=ONE)


def test_names_of_foreign_namespaces_are_not_taken_for_ours() -> None:
    assert read("<x:title>no</x:title><t:title>no</t:title><title>no</title>").title is None


def test_the_first_of_several_texts_is_taken() -> None:
    assert read("<d:title/><d:title>one</d:title><d:title>two</d:title>").title == "one"


def test_locations_keep_their_order_without_duplicates() -> None:
    entry = read("".join(f"<t:location>{x}</t:location>" for x in ("b", "a", "b", "c:d")))
    assert entry.locations == ("b", "a", "c:d")


@pytest.mark.parametrize("type_attribute", ['rdf:parseType="Resource"', 'parseType="Resource"', ""])
def test_an_endorsement_is_read_in_every_spelling(type_attribute: str) -> None:
    entry = read(
        "<d:created>2020-01-01T00:00:00Z</d:created>"
        f"<q:endorsement {type_attribute}><q:endorser {type_attribute}><q:issuer>I</q:issuer>"
        "<q:email>a@b.c</q:email><q:subject>S</q:subject></q:endorser>"
        "<d:created>2021-01-01T00:00:00Z</d:created></q:endorsement>"
    )
    assert (entry.endorser, entry.subject, entry.issuer) == ("a@b.c", "S", "I")
    assert (entry.created, entry.endorsed) == ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")


def test_two_endorsements_are_not_mixed() -> None:
    entry = read(
        "<q:endorsement><d:created>2021-01-01T00:00:00Z</d:created></q:endorsement>"
        "<q:endorsement><q:endorser><q:email>a@b.c</q:email></q:endorser></q:endorsement>"
    )
    assert (entry.endorser, entry.endorsed) == ("a@b.c", None)


@pytest.mark.parametrize("number", ["-1", "1.5", "0x10", "ten", "٣", "9" * 19, "9" * 5000])
def test_a_size_that_is_none_is_left_out(number: str) -> None:
    assert read(f"<q:bytes>{number}</q:bytes>").size is None
    assert read("<q:bytes> 5 </q:bytes>").size == 5


def test_ports_that_are_none_are_left_out() -> None:
    ports = ["22", "x", "-1", "65536", "0", "9" * 5000, "65535"]
    entry = read("".join(f"<t:inbound-port>{port}</t:inbound-port>" for port in ports))
    assert entry.inbound_ports == (22, 0, 65535)


def test_checksums_are_lower_case_and_those_that_are_none_are_left_out() -> None:
    def checksum(algorithm: str, value: str) -> str:
        return (
            f"<q:checksum><q:value>{value}</q:value><q:algorithm>{algorithm}</q:algorithm>"
            "</q:checksum>"
        )

    entry = read(checksum("SHA-1", "AB12") + checksum("MD5", "") + checksum("SHA-256", "xyz"))
    assert entry.checksums == {"SHA-1": "ab12"}


@pytest.mark.parametrize(
    "document",
    [
        rdf("<d:title>no identifier</d:title>"),
        rdf("<d:identifier/>"),
        rdf("<d:identifier>short</d:identifier>"),
        rdf(f"<d:identifier>{ONE} </d:identifier>"),
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/>',
        b"<html><body>It works</body></html>",
        b'<metadata xmlns="urn:other"/>',
        b"<error>no metadata matching query found</error>",
    ],
)
def test_what_is_no_entry_is_refused_in_one_line(document: bytes) -> None:
    with pytest.raises(MetadataError) as caught:
        metadata.read_entries(document)
    assert len(str(caught.value).splitlines()) == 1


def test_a_listing_is_read_whole_and_in_order() -> None:
    two = metadata.write_entry(Entry(identifier=TWO)).partition(b"?>")[2]
    one = metadata.write_entry(FULL).partition(b"?>")[2]
    listing = b"<?xml version='1.0'?><metadata>" + two + b"\n" + one + b"</metadata>"
    assert metadata.read_entries(listing) == [Entry(identifier=TWO), FULL]
    assert metadata.read_entries(b"<metadata/>") == []


def test_declarations_that_old_registries_leave_in_a_listing_are_overlooked() -> None:
    one = metadata.write_entry(FULL)
    assert metadata.read_entries(b"<metadata>" + one + one + b"</metadata>") == [FULL, FULL]


def test_an_entry_with_a_doctype_is_refused() -> None:
    with pytest.raises(xml.UnsafeXMLError):
        metadata.read_entries(b'<!DOCTYPE r [<!ENTITY e "x">]>' + rdf("<d:title>&e;</d:title>"))


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *(b"<metadata>", b"</metadata>", b'<?xml version="1.0" encoding="utf-16"?>', b"<?xml"),
            *(rdf(f"<d:identifier>{ONE}</d:identifier>"), b"\xff\xfe", b"\xef\xbb\xbf", b"&a;"),
            *(b"<!--", b"-->", b"<![CDATA[", b"<!DOCTYPE a>", b"\0", b"<a xmlns='", b"'>", b"&#0;"),
        ]
    )
    | st.binary(max_size=20)
).map(b"".join)


@settings(max_examples=300)
@given(FRAGMENTS)
@example(b"")
def test_arbitrary_bytes_are_read_or_refused(document: bytes) -> None:
    try:
        entries = metadata.read_entries(document)
    except (MetadataError, xml.UnsafeXMLError):
        return
    assert all(is_identifier(entry.identifier) for entry in entries)


PROPERTIES = st.recursive(
    st.sampled_from([ONE, "", " ", "22", "-1", "9" * 99, "\u0663", "ab12", "2025-01-01", "\x9b31m"])
    | st.text("é\u202e\n x1", max_size=5),
    lambda inner: st.tuples(
        st.sampled_from(
            [
                *("d:identifier", "d:title", "d:description", "d:valid", "q:bytes", "q:checksum"),
                *("q:algorithm", "q:value", "q:endorsement", "q:endorser", "q:email", "d:created"),
                *("t:location", "t:inbound-port", "t:deprecated", "x:title", "rdf:Description"),
            ]
        ),
        st.lists(inner, max_size=4).map("".join),
    ).map(lambda pair: f"<{pair[0]}>{pair[1]}</{pair[0]}>"),
    max_leaves=15,
)


@settings(max_examples=200)
@given(PROPERTIES)
def test_an_entry_of_any_shape_is_read(properties: str) -> None:
    entry = read(f"<d:identifier>{ONE}</d:identifier>{properties}", "")
    assert entry.name.isprintable()
    assert len(set(entry.locations)) == len(entry.locations)
    assert all(0 <= port < 2**16 for port in entry.inbound_ports)
    assert entry.size is None or entry.size >= 0


@pytest.mark.timeout(60)  # it takes a second; once it took many minutes
@pytest.mark.parametrize(
    "document",
    [
        b"<metadata>" + b"<?xml " * 2**18,
        rdf("".join(f"<t:location>{number}</t:location>" for number in range(300_000))),
        rdf(f"<d:title>{' ' * 2**22}x</d:title>"),
    ],
    ids=["declarations", "locations", "blanks"],
)
def test_no_entry_takes_time_without_bounds(document: bytes) -> None:
    with pytest.raises((MetadataError, xml.UnsafeXMLError)):
        metadata.read_entries(document)


# Names, order


@pytest.mark.parametrize(
    ("title", "description", "expected"),
    [
        ("The title", "Something else", "The title"),
        (" Débian \n 12", None, "Débian"),
        (None, "\n \n  First words. \nMore.", "First words."),
        (" ", "Something", "Something"),
        (None, None, ONE),
        ("", "\n", ONE),
        ("\x1b[31mred\x07\x9b0m\x00", None, "[31mred  0m"),
        ("safe \u202egnp.exe\u2066", None, "safe  gnp.exe"),
        ("\x1b\u202e\ud800\u2028\r\n", "Something", "Something"),
        ("עברית, 日本語, Ελληνικά", None, "עברית, 日本語, Ελληνικά"),
    ],
)
def test_a_name_is_the_title_or_the_first_line_or_the_identifier_printably(
    title: str | None, description: str | None, expected: str
) -> None:
    assert Entry(identifier=ONE, title=title, description=description).name == expected


def test_the_latest_entry_is_the_newest_endorsement() -> None:
    entries = [
        Entry(identifier=ONE, endorsed="2024-01-01T00:00:00Z", title="old"),
        Entry(identifier=ONE, endorsed="2025-01-01T00:00:00Z", title="new"),
        Entry(identifier=ONE, title="unsigned"),
    ]
    assert latest(entries) is entries[1]
    assert latest(reversed(entries)) is entries[1]
    assert latest([]) is None


def test_entries_can_be_members_of_sets() -> None:
    assert {FULL, dataclasses.replace(FULL)} == {FULL}


# Writing


def test_an_entry_is_written_as_the_registry_stores_it() -> None:
    written = metadata.write_entry(FULL).decode()
    assert written.startswith(
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?><rdf:RDF '
        'xmlns:dcterms="http://purl.org/dc/terms/" '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:slreq="http://mp.stratuslab.eu/slreq#" '
        'xmlns:slterms="http://mp.stratuslab.eu/slterms#" '
        'xml:base="http://mp.stratuslab.eu/">\n'
        f'  <rdf:Description rdf:about="#{ONE}">\n'
        f"    <dcterms:identifier>{ONE}</dcterms:identifier>\n"
        "    <slreq:bytes>30</slreq:bytes>\n"
        '    <slreq:checksum rdf:parseType="Resource">\n'
        "      <slreq:algorithm>SHA-1</slreq:algorithm>\n"
    )
    assert (
        '    <slreq:endorsement rdf:parseType="Resource">'
        '<created xmlns="http://purl.org/dc/terms/">2025-03-01T10:00:00Z</created>'
        '<endorser xmlns="http://mp.stratuslab.eu/slreq#" rdf:parseType="Resource">'
        "<email>ada@example.org</email><subject>CN=Ada Builder,O=Example Org,C=EU</subject>"
        "<issuer>CN=Test CA,O=Example Org,C=EU</issuer></endorser></slreq:endorsement>\n"
    ) in written
    assert "<dcterms:title>Débian &lt;base&gt;</dcterms:title>\n" in written
    assert "<slterms:deprecated/>\n  </rdf:Description>\n</rdf:RDF>\n" in written


def test_elements_that_the_original_commands_need_are_written_empty() -> None:
    written = metadata.write_entry(Entry(identifier=ONE)).decode()
    for name in ("dcterms:compression", "dcterms:description", "slterms:os", "slterms:version"):
        assert f"<{name}/>" in written
    assert '<slreq:endorsement rdf:parseType="Resource"/>' in written
    # An empty one of these would have a meaning of its own.
    for name in ("disks-bus", "deprecated", "valid", "location"):
        assert name not in written


@pytest.mark.parametrize("text", ["\0", "bell\a", "\ufffe", "\ud800"])
def test_text_that_xml_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(MetadataError, match="dcterms:title"):
        metadata.write_entry(dataclasses.replace(FULL, title=text))


def test_an_entry_without_an_identifier_is_not_written() -> None:
    with pytest.raises(MetadataError):
        metadata.write_entry(Entry(identifier='"><script>'))


TEXT = st.text(
    st.characters(
        codec="utf-8",
        exclude_characters="\ufffe\uffff",
        exclude_categories=("Cc", "Cs"),
        include_characters="\t\n\r\x85",
    ),
    min_size=1,
    max_size=20,
).filter(lambda text: not text.isspace())
STRUCTURED = {
    "identifier": st.binary(min_size=20, max_size=20).map(identifier),
    "size": st.none() | st.integers(0, 10**18 - 1),
    "checksums": st.dictionaries(TEXT, st.text("0123456789abcdef", min_size=1), max_size=3),
    "locations": st.lists(TEXT, max_size=3, unique=True).map(tuple),
    "inbound_ports": st.lists(st.integers(0, 65535), max_size=3).map(tuple),
    "deprecated": st.none() | st.just("") | TEXT,
}
ENTRIES = st.builds(
    Entry,
    **{
        field.name: STRUCTURED.get(field.name, st.none() | TEXT)
        for field in dataclasses.fields(Entry)
    },
)


@given(ENTRIES)
@example(FULL)
@example(Entry(identifier=ONE))
def test_what_was_written_is_read_back(entry: Entry) -> None:
    assert metadata.read_entry(xml.parse(metadata.write_entry(entry))) == entry
