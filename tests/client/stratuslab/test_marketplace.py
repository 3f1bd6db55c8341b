"""Image listings and entries, JSON and XML (marketplace-rest 2, 3)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from canned import Canned, Reply
from hypothesis import given
from hypothesis import strategies as st
from libcloud.common.types import LibcloudError

from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import read_answer
from stratuslab_libcloud.client.stratuslab import marketplace
from stratuslab_libcloud.client.stratuslab.marketplace import MarketplaceClient
from stratuslab_libcloud.errors import (
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    ServiceError,
)
from stratuslab_libcloud.metadata import rdf
from stratuslab_libcloud.metadata.entry import Entry, identifier, is_identifier

ONE = identifier("880152820b3480250f6f744efba2fbad087622d9")
TWO = identifier("b4b17e9314097aea19492c714c8af8ee23ddf3c1")
DECLARATION = b'<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
SAMPLES = Path(__file__).parents[2] / "samples"


def entry(
    identifier: str, who: str = "ada@example.org", when: str = "2025-03-01", **more: str
) -> Entry:
    return Entry(identifier, endorser=who, endorsed=f"{when}T10:00:00Z", **more)  # type: ignore[arg-type]


def xml(*entries: Entry, declared: bool = False) -> tuple[int, str, bytes]:
    stored = [rdf.write_entry(item) for item in entries]
    if not declared:
        stored = [document.removeprefix(DECLARATION) for document in stored]
    body = DECLARATION + b"<metadata>" + b"\n".join(stored) + b"</metadata>"
    return 200, "application/xml; charset=UTF-8", body


def rows(
    *entries: list[object], message: str = "no metadata matching query found"
) -> tuple[int, str, bytes]:
    document = {"sEcho": 0, "iTotalRecords": 9, "rMsg": message, "aaData": list(entries)}
    return 200, "application/json", json.dumps(document).encode()


def row(identifier: str, **more: str) -> list[object]:
    names = (
        *("os", "version", "arch", "email", "kind"),
        *("created", "identifier", "location", "description", "title"),
    )
    return ["", *({"identifier": identifier, **more}.get(name, "null") for name in names)]


@contextmanager
def market(*answers: Reply) -> Iterator[tuple[MarketplaceClient, Canned]]:
    with Canned(list(answers)) as server:
        yield MarketplaceClient(server.url, HTTPOptions(timeout=5)), server


class TestListing:
    def test_it_asks_once_for_json_rather_than_xml(self) -> None:
        with market(rows()) as (asked, server):
            assert asked.images() == []
        (request,) = server.requests
        assert request.path == "/metadata"
        assert request.headers["Accept"] == "application/json, application/xml;q=0.5"
        assert "Authorization" not in request.headers

    def test_whole_entries_are_asked_for_as_xml(self) -> None:
        with market(xml(entry(ONE, creator="Ada"))) as (asked, server):
            ((image,),) = asked.images(whole=True)
        assert isinstance(image, Entry)
        assert image.creator == "Ada"
        assert [request.headers["Accept"] for request in server.requests] == ["application/xml"]

    def test_json_rows(self) -> None:
        listed = rows(
            row(ONE, os="Debian", email="a@b", created="2025", title="T", location="https://x")
        )
        with market(listed) as (asked, _):
            ((image,),) = asked.images()
        listed_of_it = Entry(
            ONE, os="Debian", endorser="a@b", endorsed="2025", title="T", locations=("https://x",)
        )
        assert isinstance(image, marketplace.ListedEntry)
        assert image.values() == {**asdict(listed_of_it), "inbound_ports": None}
        assert image.description is None  # the string "null"

    def test_xml_entries(self) -> None:
        with market(xml(entry(ONE, title="é < &"), entry(TWO))) as (asked, _):
            assert [found.identifier for (found,) in asked.images()] == [ONE, TWO]

    def test_one_image_per_identifier_the_newest_endorsement_first(self) -> None:
        old, new = entry(ONE, "b@x", "2024-01-01"), entry(ONE, "a@x", "2025-01-01")
        with market(xml(old, entry(TWO), new)) as (asked, _):
            found = asked.images()
        assert [[endorsement.endorser for endorsement in image] for image in found] == [
            ["a@x", "b@x"],
            ["ada@example.org"],
        ]

    def test_not_found_is_an_empty_listing(self) -> None:
        with market((404, "application/xml", b"<error>nothing</error>")) as (asked, _):
            assert asked.images() == []

    def test_stray_declarations_are_survived(self) -> None:
        with market(xml(entry(ONE), entry(TWO), declared=True)) as (asked, _):
            assert len(asked.images()) == 2

    def test_an_error_in_the_message_is_an_error(self) -> None:
        with market(rows(message="ERROR: no such column")) as (asked, _):
            with pytest.raises(ServiceError, match="no such column"):
                asked.images()

    @pytest.mark.parametrize(
        "answer",
        [
            (200, "text/html", b"<html>"),
            (200, "application/xml", b"<html/>"),
            (200, "application/xml", b"<metadata>"),
            (200, "application/xml", b"<!DOCTYPE metadata []><metadata/>"),
            (200, "application/json", b"[]"),
            (200, "application/json", b"{"),
            rows(["", "too", "short"]),
        ],
    )
    def test_what_cannot_be_read_is_malformed(self, answer: Reply) -> None:
        with market(answer) as (asked, _), pytest.raises(MalformedAnswerError):
            asked.images()

    @pytest.mark.parametrize(("filler", "much"), [(b"<a/>", "100,000 tags"), (b"text", "1 MiB")])
    def test_an_entry_without_end_is_refused(self, filler: bytes, much: str) -> None:
        body = b"<metadata>" + filler * 2**20
        with market((200, "application/xml", body)) as (asked, _):
            with pytest.raises(MalformedAnswerError, match=much):
                asked.images()

    def test_a_prologue_without_end_is_refused(self) -> None:
        body = b"<?xml version='1.0'?>" + b"<!-- -->" * 2**18
        with market((200, "application/xml", body)) as (asked, _):
            with pytest.raises(MalformedAnswerError, match="1 MiB"):
                asked.images()

    def test_many_small_entries_are_not_one_large(self) -> None:
        many = [entry(ONE, f"{n}@x", description="x" * 1000) for n in range(3000)]
        with market(xml(*many)) as (asked, _):
            (image,) = asked.images()
        assert len(image) == 3000


class TestEntry:
    def test_the_newest_of_several_endorsements(self) -> None:
        old, new = entry(ONE, "b@x", "2024-01-01", format="raw"), entry(ONE, format="qcow2")
        with market(xml(old, new)) as (asked, server):
            assert [getattr(item, "format", None) for item in asked.get(ONE)] == ["qcow2", "raw"]
        assert server.requests[0].path == f"/metadata/{ONE}"

    def test_it_is_remembered_for_starting_machines(self) -> None:
        with market(xml(entry(ONE))) as (asked, server):
            assert asked.newest(ONE) == asked.newest(ONE)
            assert len(server.requests) == 1
            asked.get(ONE)
            assert len(server.requests) == 2

    def test_a_single_entry_without_container(self) -> None:
        body = rdf.write_entry(entry(ONE))
        with market((200, "application/rdf+xml", body)) as (asked, _):
            assert asked.newest(ONE).identifier == ONE

    def test_unknown_is_not_found(self) -> None:
        for answer in ((404, "application/xml", b"<error>n</error>"), xml()):
            with market(answer) as (asked, _):
                with pytest.raises(NotFoundError, match=f"no current image {ONE}"):
                    asked.get(ONE)

    def test_an_entry_of_another_image_is_not_believed(self) -> None:
        with market(xml(entry(TWO))) as (asked, server):
            for call in (asked.get, asked.newest):
                with pytest.raises(MalformedAnswerError, match=f"image {ONE}, .* about {TWO}"):
                    call(ONE)
            assert server.connections == len(server.requests)  # none is used again
        with market(xml(entry(TWO), entry(ONE))) as (asked, _):
            assert [found.identifier for found in asked.get(ONE)] == [ONE]

    @pytest.mark.parametrize("bad", ["", "short", "../" + "x" * 24, "x" * 27 + "/y", None])
    def test_an_identifier_that_is_none_is_not_sent(self, bad: str) -> None:
        with market(xml()) as (asked, server):
            for call in (asked.get, asked.newest, asked.url):
                with pytest.raises(InvalidValueError, match="not the identifier"):
                    call(bad)
        assert server.requests == []

    def test_a_signed_entry(self) -> None:
        body = (SAMPLES / "made-two-locations-short-key.xml").read_bytes()
        with market((200, "application/rdf+xml", body)) as (asked, _):
            found = asked.newest("MshhLyFwDdZWFDTQcjp8yIDqA4I")
        assert found.locations == (
            "http://images.example.org/two-locations-short-key.img.gz",
            "http://mirror.example.org/second.img.gz",
        )
        assert found.endorser == "old@example.org"


@given(st.binary(), st.sampled_from(["application/json", "application/xml", "text/html", ""]))
def test_any_answer_is_a_listing_or_a_libcloud_error(body: bytes, kind: str) -> None:
    try:
        read_answer(
            marketplace._read_listing,
            Answer(200, {"Content-Type": kind}, iter([body[:5], body[5:]])),
        )
    except LibcloudError as error:
        assert "\n" not in str(error)


CELL = st.none() | st.integers() | st.sampled_from([ONE, "null", "", "\x1b[31m", "\ud800"])
LISTING = st.fixed_dictionaries(
    {},
    optional={
        "aaData": st.none()
        | st.lists(
            st.none()
            | st.lists(CELL | st.lists(CELL, max_size=2), max_size=13)
            | st.lists(CELL, min_size=6, max_size=6).map(
                lambda cells: ["", *cells[:5], "2025", ONE, *cells[3:]]
            ),
            max_size=4,
        ),
        "rMsg": CELL | st.just("ERROR \x1b[31m\nno"),
    },
)


@given(LISTING | st.lists(LISTING, max_size=1) | CELL)
def test_rows_of_any_shape_are_a_listing_or_a_libcloud_error(document: object) -> None:
    body = json.dumps(document).encode()
    try:
        found = read_answer(
            marketplace._read_listing,
            Answer(200, {"Content-Type": "application/json"}, iter([body])),
        )
    except LibcloudError as error:
        assert str(error).isprintable()
    else:
        assert all(is_identifier(item.identifier) for item in found)


@pytest.mark.timeout(60)  # it takes a second; once it took hours
def test_declarations_without_end_take_no_time_without_bounds() -> None:
    body = b"<metadata>" + b"<?xml " * 2**20
    with market((200, "application/xml", body)) as (asked, _), pytest.raises(MalformedAnswerError):
        asked.images()


@given(st.lists(st.integers(1, 60), max_size=40))
def test_a_listing_is_read_however_it_is_cut(cuts: list[int]) -> None:
    body = xml(entry(ONE, title="<?x"), entry(TWO), declared=True)[2]
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(body[start : start + cut])
        start += cut
    pieces.append(body[start:])
    answer = Answer(200, {"Content-Type": "application/xml"}, iter(pieces))
    assert [found.identifier for found in marketplace._read_listing(answer)] == [ONE, TWO]
