"""XML from strangers: entities, size, depth, encodings."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from canned import Canned
from hypothesis import example, given
from hypothesis import strategies as st
from late_expat import BUILDS

from stratuslab_libcloud.untrusted import xml
from stratuslab_libcloud.untrusted.xml import UnsafeXMLError

MIB = 2**20
PIECE = 64 * 1024

LAUGHS = (
    '<!DOCTYPE a [<!ENTITY l0 "ha">'
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    + "]><a>&l9;</a>"
)
SUBSETS = {
    "laughs": LAUGHS,
    "quadratic": f'<!DOCTYPE a [<!ENTITY l "{"ha" * 5000}">]><a>{"&l;" * 5000}</a>',
    "unused": '<!DOCTYPE a [<!ENTITY l "ha">]><a/>',
    "default attribute": '<!DOCTYPE a [<!ATTLIST a b CDATA "c">]><a/>',
    "file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file://FILE">]><a>&x;</a>',
    "request": '<!DOCTYPE a [<!ENTITY x SYSTEM "URL/x">]><a>&x;</a>',
    "external subset": '<!DOCTYPE a SYSTEM "URL/dtd"><a/>',
    "public": '<!DOCTYPE a PUBLIC "-//X//EN" "URL/dtd"><a/>',
    "parameter": '<!DOCTYPE a [<!ENTITY % p SYSTEM "URL/p">%p;]><a/>',
    "after a comment": f'<?xml version="1.0"?><!-- {"x" * PIECE} --><?pi?><!DOCTYPE a><a/>',
}


def pieces(document: bytes, size: int = PIECE) -> Iterator[bytes]:
    return (document[start : start + size] for start in range(0, len(document), size))


def streamed(document: bytes, size: int = PIECE, root: str = "a") -> list[Any]:
    return [e.text for e in xml.stream(pieces(document, size), "b", (root,))]


@pytest.fixture(params=BUILDS)
def _builds(request: pytest.FixtureRequest) -> Iterator[None]:
    with BUILDS[request.param]():
        yield


@pytest.mark.usefixtures("_builds")
class TestDoctype:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    @pytest.mark.parametrize("text", SUBSETS.values(), ids=SUBSETS.keys())
    def test_it_is_refused_and_nothing_is_read_or_fetched(
        self, tmp_path: Path, text: str, encoding: str
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("S3CRET")
        with Canned([(200, "text/plain", b"<!ENTITY y 'z'>")]) as server:
            text = text.replace("FILE", str(secret)).replace("URL", server.url)
            document = text.encode(encoding)
            for read in (
                lambda: xml.parse(document),
                lambda: streamed(document),
                lambda: streamed(document, 7),
            ):
                with pytest.raises(UnsafeXMLError, match="DOCTYPE") as caught:
                    read()
                assert "S3CRET" not in str(caught.value)
        assert server.requests == []

    def test_an_entity_that_nobody_declared_is_refused(self) -> None:
        for document in (b"<a>&l;</a>", b"<a><b>&l;</b></a>"):
            with pytest.raises(UnsafeXMLError, match="not well-formed"):
                xml.parse(document)
            with pytest.raises(UnsafeXMLError, match="not well-formed"):
                streamed(document)

    def test_the_five_that_need_no_declaration_are_read(self) -> None:
        document = b"<a><b>&lt;&gt;&amp;&apos;&quot;&#233;</b></a>"
        assert streamed(document) == [xml.parse(document)[0].text] == ["<>&'\"é"]


@pytest.mark.usefixtures("_builds")
class TestSize:
    @pytest.mark.parametrize(
        "begin",
        ["<a b='", "<a ", "<", "<!--", "<?pi ", "<a><b c='", "<a><b ", "<a><!--", "<a><", "</"],
    )
    def test_a_tag_without_end_is_not_read_to_its_end(self, begin: str) -> None:
        """expat would read it again and again, for hours."""
        taken = 0

        def endless() -> Iterator[bytes]:
            nonlocal taken
            yield begin.encode()
            while True:
                taken += PIECE
                yield b'n="" ' * (PIECE // 5) if begin.endswith("a ") else b"x" * PIECE

        with pytest.raises(UnsafeXMLError):
            list(xml.stream(endless(), "b", ("a",)))
        assert taken <= 6 * MIB

    @pytest.mark.parametrize("filler", ["x", "<c/>", "<c d='e'/>", "<b/>", "<!---->"])
    def test_an_element_without_end_is_not_read_to_its_end(self, filler: str) -> None:
        taken = 0

        def endless() -> Iterator[bytes]:
            nonlocal taken
            yield b"<a><b>first</b><b>"
            while True:
                taken += PIECE
                yield filler.encode() * (PIECE // len(filler))

        found = []
        with pytest.raises(UnsafeXMLError, match=r"an element of more than (4 MiB|100,000 tags)"):
            found += [e.text for e in xml.stream(endless(), "b", ("a",))]
        assert taken <= 6 * MIB

    def test_many_elements_are_not_one_large(self) -> None:
        document = b"<a>" + b"<b>x</b>" * (MIB // 2) + b"</a>"
        assert len(streamed(document)) == MIB // 2

    def test_a_long_text_and_a_large_attribute_are_read(self) -> None:
        text = "x" * (MIB // 2)
        document = f"<a><b c='{text}'>{text}</b></a>".encode()
        assert streamed(document) == [text]
        assert xml.parse(document)[0].get("c") == text

    @pytest.mark.parametrize("depth", [1000, 100_000])
    def test_any_depth_is_read_or_refused(self, depth: int) -> None:
        document = b"<a>" + b"<b>" * depth + b"</b>" * depth + b"</a>"
        try:
            assert "".join(xml.parse(document).itertext()) == ""
            assert len(streamed(document)) == 1
        except UnsafeXMLError as error:
            assert depth > 1000, error


@pytest.mark.usefixtures("_builds")
class TestEncodings:
    @pytest.mark.parametrize(
        "document",
        [
            b"<a>\xff</a>",
            b"<a>\xc0\xbc</a>",  # an overlong "<"
            b"<a>\xed\xa0\x80</a>",  # half of a pair
            b"<a>\xf4\x90\x80\x80</a>",  # beyond Unicode
            b"<a b='\xe9'/>",
            b"<a>\0</a>",
            b"<a>\x1b[31m</a>",
            b"<a>&#27;</a>",
            b"<a>&#0;</a>",
            b"<?xml version='1.0' encoding='utf-7'?><a/>",
            b"<?xml version='1.0' encoding='none such'?><a/>",
            b"<?xml version='1.0' encoding='gb18030'?><a/>",
            b"<?xml version='1.0' encoding='utf-16'?><a/>",
            b"\xff\xfe<a/>",
            b"",
            b"\0",
        ],
    )
    def test_what_is_no_text_is_refused_in_one_line(self, document: bytes) -> None:
        for read in (xml.parse, streamed):
            with pytest.raises(UnsafeXMLError) as caught:
                read(document)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
    def test_declared_encodings_are_read(self, encoding: str) -> None:
        declared = encoding.removesuffix("-sig")
        document = f"<?xml version='1.0' encoding='{declared}'?><a><b>é</b></a>".encode(encoding)
        assert xml.parse(document)[0].text == "é"
        assert streamed(document, 3) == ["é"]

    def test_no_error_quotes_the_document(self) -> None:
        for document in (b"<a><S3CRET></a>", b"<a><![CDATA[S3CRET\nS3CRET", b"<a>S3CRET&x;</a>"):
            with pytest.raises(UnsafeXMLError) as caught:
                xml.parse(document)
            assert "S3CRET" not in str(caught.value)


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *(
                "<a>",
                "</a>",
                "<b>",
                "</b>",
                "<b/>",
                "<c x='",
                "'>",
                "<!--",
                "-->",
                "<![CDATA[",
                "]]>",
            ),
            *(
                "<!DOCTYPE a [",
                "<!ENTITY e 'x'>",
                "]>",
                "&e;",
                "&#1;",
                "&lt;",
                "<?",
                "?>",
                "\ufeff",
            ),
            *(
                "<?xml version='1.0'",
                " encoding='",
                "utf-16",
                "latin-1",
                "x y",
                "é",
                " xmlns:c='u'",
            ),
        ]
    ).map(str.encode)
    | st.binary(max_size=4)
).map(b"".join)


@given(FRAGMENTS, st.integers(1, 9))
@example(b"<a><b>&#1;", 1)
@example(b"<?xml version='1.0' encoding='cp037'?><a/>", 5)
def test_whatever_comes_is_read_or_refused_in_one_line(document: bytes, size: int) -> None:
    for read in (xml.parse, lambda data: streamed(data, size)):
        try:
            read(document)
        except UnsafeXMLError as error:
            assert str(error).isprintable()


@pytest.mark.parametrize("build", BUILDS)
@given(st.lists(st.text("x<&é\n", max_size=5), max_size=5), st.integers(1, 9))
def test_a_listing_is_the_same_however_it_is_cut(build: str, texts: list[str], size: int) -> None:
    escaped = (text.replace("&", "&amp;").replace("<", "&lt;") for text in texts)
    document = f"<a>{''.join(f'<b>{text}</b><c>x</c>' for text in escaped)}</a>".encode()
    with BUILDS[build]():
        assert [text or "" for text in streamed(document, size)] == texts


@pytest.mark.parametrize("build", BUILDS)
@given(st.integers(0, 200), st.integers(0, 60), st.lists(st.integers(1, 250), max_size=5))
@example(120, 0, [2, 3])
def test_a_tag_is_read_wherever_it_is_cut(
    build: str, root: int, child: int, cuts: list[int]
) -> None:
    document = f"<a long='{'z' * root}'><b x='{'y' * child}'>t</b></a>".encode()
    edges = [0, *sorted(cuts), len(document)]
    chunks = [document[start:end] for start, end in pairwise(edges)]
    with BUILDS[build]():
        assert [e.text for e in xml.stream(chunks, "b", ("a",))] == ["t"]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("begin", ["<a b='", "<a><b c='", "<!--", "<a><!--"])
@pytest.mark.parametrize("size", [1, 1000, PIECE])
def test_a_large_tag_is_read_in_whatever_pieces_it_comes(build: str, begin: str, size: int) -> None:
    """Each time from its beginning, it would take hours to read the one that comes by bytes."""
    begun = begin + "x" * (MIB - 1000)
    end = "--><a/>" if begin == "<!--" else "--></a>" if begin.endswith("--") else "'/>"
    if begin == "<a><b c='":
        end += "</a>"
    with BUILDS[build]():
        assert streamed((begun + end).encode(), size) in ([], [None])
