"""The sandbox's Marketplace, over HTTP, and read without our own metadata module."""

import base64
import calendar
import hashlib
import pathlib
import re
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lxml import etree
from present import present
from werkzeug import Request, Response
from werkzeug.serving import make_server

from stratuslab_libcloud.metadata.entry import Entry, MetadataError, identifier
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.sandbox.marketplace import registry as entries
from stratuslab_libcloud.sandbox.marketplace.rest import answer
from stratuslab_libcloud.sandbox.pages.visit import NOBODY, Visit
from stratuslab_libcloud.sandbox.site import Sandbox
from stratuslab_libcloud.sandbox.store import Store
from stratuslab_libcloud.untrusted import xml

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SAMPLES = pathlib.Path(__file__).parents[2] / "samples"  # signed by the tool of 2014
NS = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dcterms": "http://purl.org/dc/terms/",
    "slreq": "http://mp.stratuslab.eu/slreq#",
    "slterms": "http://mp.stratuslab.eu/slterms#",
}
DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
NO_OTHERS: Any = None  # the Marketplace's pages ask no other service
NO_MATCH = "no metadata matching query found"
NOW = "2025-06-01T12:00:00Z"
ADA, BEA = "ada@example.org", "bea@example.org"
ONE, TWO, THREE = (identifier(hashlib.sha1(text).digest()) for text in (b"1", b"2", b"3"))


def entry(image: str, endorser: str, day: str, **fields: Any) -> bytes:
    """An entry that is valid at NOW, endorsed at noon of that day."""
    fields.setdefault("valid", "2026-01-01T00:00:00Z")
    return write_entry(Entry(image, endorser=endorser, endorsed=f"{day}T12:00:00Z", **fields))


class Registry:
    """A Marketplace with a clock that stands still, behind HTTP."""

    def __init__(self, store: Store) -> None:
        self.now = float(calendar.timegm(time.strptime(NOW, "%Y-%m-%dT%H:%M:%SZ")))
        self.service = entries.Registry(store, clock=lambda: self.now)
        self.server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}/metadata"

    def _serve(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        request = Request(environ)
        segments = [segment for segment in request.path.split("/") if segment]
        show = Visit(NO_OTHERS, request, "pswd", NOBODY, b"").show
        response: Response = answer(self.service, request, segments, show)
        return response(environ, start_response)

    def ask(
        self,
        path: str = "",
        accept: str | None = "application/xml",
        method: str = "GET",
        **query: str,
    ) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, self.url + path, params=query, headers={"Accept": accept}, timeout=30
            )

    def listed(self, path: str = "", **query: str) -> list[tuple[str, str, str]]:
        """The coordinates in an XML listing."""
        answer = self.ask(path, **query)
        if answer.status_code == 404:
            assert ET.fromstring(answer.content).text == NO_MATCH
            return []
        assert answer.status_code == 200
        return coordinates(answer)

    def rows(self, path: str = "", **query: str) -> Any:
        answer = self.ask(path, "application/json", **query)
        assert answer.status_code == 200
        return answer.json()["aaData"]


def coordinates(answer: requests.Response) -> list[tuple[str, str, str]]:
    root = ET.fromstring(answer.content)
    assert root.tag == "metadata"
    assert root.attrib == {}
    return [
        (
            rdf.findtext("rdf:Description/dcterms:identifier", "", NS),
            rdf.findtext(".//slreq:email", "", NS),
            rdf.findtext(".//slreq:endorsement/dcterms:created", "", NS),
        )
        for rdf in root.iterfind("rdf:RDF", NS)
    ]


@pytest.fixture
def registry(tmp_path: pathlib.Path) -> Iterator[Registry]:
    store = Store(tmp_path / "entries.db")
    registry = Registry(store)
    thread = threading.Thread(target=registry.server.serve_forever, args=(0.01,))
    thread.start()
    yield registry
    registry.server.shutdown()
    thread.join()
    registry.server.server_close()
    store.close()


# -- in a sandbox


@pytest.mark.parametrize(
    "path", ["/metadata", "/metadata/", "/marketplace/metadata", "/marketplace//metadata/"]
)
def test_both_layouts_answer_without_a_password(site: Sandbox, path: str) -> None:
    answer = requests.get(site.url + path, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/xml; charset=UTF-8"
    assert len(coordinates(answer)) == 4


def test_segments_may_be_encoded_or_not(site: Sandbox) -> None:
    found = coordinates(requests.get(site.url + "/metadata", timeout=30))
    image, email, created = found[0]
    plain = requests.get(f"{site.url}/metadata/{image}/{email}/{created}", timeout=30)
    encoded = f"{image}/{email.replace('@', '%40')}/{created.replace(':', '%3A')}"
    assert plain.status_code == 200
    assert requests.get(f"{site.url}/metadata/{encoded}", timeout=30).content == plain.content


def test_a_new_site_has_an_image_of_two_endorsers_and_entries_of_every_status(
    site: Sandbox,
) -> None:
    url = site.url + "/metadata"
    valid = coordinates(requests.get(url, timeout=30))
    images = [image for image, _, _ in valid]
    shared = {image for image in images if images.count(image) == 2}
    assert len(set(images)) == 3
    assert len(shared) == 1
    assert len({email for image, email, _ in valid if image in shared}) == 2
    for status in ("expired", "deprecated"):
        assert len(coordinates(requests.get(url, {"status": status}, timeout=30))) == 1


def test_every_listed_seed_has_what_the_original_commands_need(site: Sandbox) -> None:
    needed = {
        "dcterms": "identifier description creator created valid compression format publisher type",
        "slterms": "os os-version os-arch version location hypervisor disks-bus inbound-port",
        "slreq": "bytes checksum endorsement",
    }
    root = ET.fromstring(requests.get(site.url + "/metadata", timeout=30).content)
    for description in root.iterfind("rdf:RDF/rdf:Description", NS):
        for prefix, names in needed.items():
            for name in names.split():
                element = description.find(f"{prefix}:{name}", NS)
                assert element is not None, name
                assert len(element) or element.text, name
        sha1 = present(description.findtext("slreq:checksum/slreq:value", None, NS))
        image = description.findtext("dcterms:identifier", None, NS)
        assert image == identifier(sha1)
        assert description.get(f"{{{NS['rdf']}}}about") == f"#{image}"


def test_seeds_have_accents(site: Sandbox) -> None:
    assert "à jour" in requests.get(site.url + "/metadata", timeout=30).content.decode()


# -- which entries a listing shows (3.1)


def test_an_empty_registry_has_nothing(registry: Registry) -> None:
    answer = registry.ask()
    assert answer.status_code == 404
    assert answer.text == f"{DECLARATION}<error>{NO_MATCH}</error>"


def test_only_the_latest_endorsement_of_a_pair_counts_in_whatever_order_they_came(
    registry: Registry,
) -> None:
    registry.service.add(entry(ONE, ADA, "2025-01-02"))
    registry.service.add(entry(ONE, ADA, "2025-01-03"))
    registry.service.add(entry(ONE, ADA, "2025-01-01"))
    registry.service.add(entry(ONE, BEA, "2024-01-01"))
    assert registry.listed() == [
        (ONE, ADA, "2025-01-03T12:00:00Z"),
        (ONE, BEA, "2024-01-01T12:00:00Z"),
    ]


def test_an_older_entry_never_comes_back_when_the_latest_is_expired_or_deprecated(
    registry: Registry,
) -> None:
    registry.service.add(
        entry(ONE, ADA, "2025-01-01"),
        entry(ONE, ADA, "2025-01-02", deprecated=""),
        entry(TWO, ADA, "2025-01-01"),
        entry(TWO, ADA, "2025-01-02", valid="2025-02-01T00:00:00Z"),
        entry(TWO, BEA, "2025-01-01"),
    )
    assert [(image, email) for image, email, _ in registry.listed()] == [(TWO, BEA)]
    assert registry.listed(f"/{ONE}") == []


@pytest.mark.parametrize(
    ("status", "images"),
    [
        (None, [ONE]),
        ("valid", [ONE]),
        ("expired", [TWO]),
        ("deprecated", [THREE]),
        ("all", [ONE, TWO, THREE]),
        ("", [ONE, TWO, THREE]),
    ],
)
def test_the_status_selects(registry: Registry, status: str | None, images: list[str]) -> None:
    registry.service.add(
        entry(ONE, ADA, "2025-01-03"),
        entry(TWO, ADA, "2025-01-02", valid="2025-05-31T00:00:00Z"),
        entry(THREE, ADA, "2025-01-01", valid="2025-05-31T00:00:00Z", deprecated="old"),
    )
    query = {} if status is None else {"status": status}
    assert [image for image, _, _ in registry.listed(**query)] == images


def test_an_entry_expires_as_time_goes_by(registry: Registry) -> None:
    registry.service.add(entry(ONE, ADA, "2025-01-01", valid="2025-06-01T12:00:01Z"))
    assert len(registry.listed()) == 1
    registry.now += 2
    assert registry.listed() == []
    assert len(registry.listed(status="expired")) == 1


def test_an_entry_without_an_end_of_validity_is_never_listed_an_empty_one_has_expired(
    registry: Registry,
) -> None:
    registry.service.add(entry(ONE, ADA, "2025-01-01", valid=None))
    empty = entry(TWO, ADA, "2025-01-01").replace(
        b"<dcterms:valid>2026-01-01T00:00:00Z</dcterms:valid>", b"<dcterms:valid/>"
    )
    registry.service.add(empty)
    assert [image for image, _, _ in registry.listed(status="all")] == [TWO]
    assert [image for image, _, _ in registry.listed(status="expired")] == [TWO]
    assert registry.ask(f"/{ONE}/{ADA}/2025-01-01T12:00:00Z").status_code == 200


def test_a_date_selects_among_all_entries_the_status_still_counts(registry: Registry) -> None:
    registry.service.add(
        entry(ONE, ADA, "2025-01-01"),
        entry(ONE, ADA, "2025-01-02"),
        entry(TWO, ADA, "2025-01-01", deprecated=""),
    )
    day = "2025-01-01T12:00:00Z"
    assert registry.listed(f"/{day}") == [(ONE, ADA, day)]
    assert registry.listed(f"/{ADA}/{day}") == registry.listed(created=day) == [(ONE, ADA, day)]


def test_the_newest_endorsement_comes_first(registry: Registry) -> None:
    days = [(ONE, BEA), (TWO, ADA), (ONE, ADA), (THREE, BEA)]
    registry.service.add(*(entry(image, email, "2025-01-01") for image, email in days))
    registry.service.add(entry(THREE, ADA, "2025-02-01"))
    found = [(image, email) for image, email, _ in registry.listed()]
    assert found == [(THREE, ADA), *sorted(days)]


# -- filters by path and by query (2.1)


@pytest.fixture
def full(registry: Registry) -> Registry:
    """Three entries: two endorsers, different places."""
    registry.service.add(
        entry(
            ONE,
            ADA,
            "2025-01-03",
            os="Debian",
            os_version="12",
            os_arch="x86_64",
            kind="machine",
            title="Éditeur de base",
            description='A "first"\nimage',
            locations=("pdisk:h:1:u", "https://h/1"),
        ),
        entry(ONE, BEA, "2025-01-02", os="debian", locations=("pdisk:h:1:u",), title="<b>&amp;"),
        entry(TWO, BEA, "2025-01-01", os="CentOS", os_arch="i686"),
    )
    return registry


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/{ONE}", [(ONE, ADA), (ONE, BEA)]),
        (f"/{TWO}", [(TWO, BEA)]),
        (f"/{BEA}", [(ONE, BEA), (TWO, BEA)]),
        (f"/{ONE}/{BEA}", [(ONE, BEA)]),
        (f"/{BEA}/{ONE}", [(ONE, BEA)]),
        (f"/{ONE}/2025-01-03T12:00:00Z", [(ONE, ADA)]),
        (f"/{ADA}/{TWO}", []),
        (f"/{THREE}", []),
        ("/' OR 1=1 --", []),
        ('/"', []),
    ],
)
def test_the_path_selects_by_the_shape_of_its_segments(
    full: Registry, path: str, found: list[tuple[str, str]]
) -> None:
    assert [(image, email) for image, email, _ in full.listed(path)] == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"identifier": TWO}, [(TWO, BEA)]),
        ({"email": ADA}, [(ONE, ADA)]),
        ({"email": TWO}, [(TWO, BEA)]),  # by its shape, too
        ({"created": "2025-01-02T12:00:00Z"}, [(ONE, BEA)]),
        ({"identifier": ONE, "email": BEA}, [(ONE, BEA)]),
        ({"identifier": "'; DROP TABLE entries; --"}, []),
        ({"location": "web"}, [(ONE, ADA), (TWO, BEA)]),
        ({"location": "pdisk"}, [(ONE, ADA), (ONE, BEA)]),
        ({"location": "all"}, [(ONE, ADA), (ONE, BEA), (TWO, BEA)]),
        ({"nonsense": "1"}, [(ONE, ADA), (ONE, BEA), (TWO, BEA)]),
        ({"sSearch": "DEBIAN"}, [(ONE, ADA), (ONE, BEA)]),
        ({"sSearch": "debian éditeur"}, [(ONE, ADA)]),
        ({"sSearch": "debian bea@"}, [(ONE, BEA)]),
        ({"sSearch": " "}, [(ONE, ADA), (ONE, BEA), (TWO, BEA)]),
        ({"sSearch": '"first"'}, [(ONE, ADA)]),
        ({"sSearch": "2026-01-01"}, []),
        ({"sSearch": "("}, []),
        ({"sSearch": "%"}, []),
        ({"sSearch_1": "centos"}, [(TWO, BEA)]),
        ({"sSearch_1": "debian", "sSearch_4": "bea"}, [(ONE, BEA)]),
        ({"sSearch_2": "debian"}, []),
        ({"sSearch_6": "1999"}, [(ONE, ADA), (ONE, BEA), (TWO, BEA)]),
    ],
)
def test_the_query_selects(
    full: Registry, query: dict[str, str], found: list[tuple[str, str]]
) -> None:
    assert [(image, email) for image, email, _ in full.listed(**query)] == found
    assert [(row[7], row[4]) for row in full.rows(**query)] == found


def test_a_search_that_would_keep_a_regular_expression_busy_is_answered(full: Registry) -> None:
    full.service.add(entry(THREE, ADA, "2025-01-01", description="a" * 5000))
    assert full.listed(sSearch="(a+)+$", sSearch_1="(a|a)*b") == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"iDisplayStart": "0", "iDisplayLength": "2", "sSortDir_0": "desc"}, [ADA, BEA]),
        ({"iDisplayStart": "2", "iDisplayLength": "9", "sSortDir_0": "desc"}, [BEA]),
        ({"iDisplayStart": "0", "iDisplayLength": "1", "sSortDir_0": "asc"}, [BEA]),
        ({"iDisplayStart": "9", "iDisplayLength": "1", "sSortDir_0": "asc"}, []),
        ({"iDisplayStart": "1"}, [ADA, BEA, BEA]),
        ({"iDisplayLength": "1"}, [ADA, BEA, BEA]),
    ],
)
def test_pages_need_a_start_and_a_length(
    full: Registry, query: dict[str, str], found: list[str]
) -> None:
    assert [email for _, email, _ in full.listed(**query)] == found


@pytest.mark.parametrize(
    ("column", "direction", "order"),
    [
        ("1", "asc", ["CentOS", "Debian", "debian"]),
        ("1", "desc", ["debian", "Debian", "CentOS"]),
        ("6", "asc", ["CentOS", "debian", "Debian"]),
        ("4", "asc", ["Debian", "debian", "CentOS"]),
    ],
)
def test_pages_are_sorted_by_a_column(
    full: Registry, column: str, direction: str, order: list[str]
) -> None:
    page = {"iDisplayStart": "0", "iDisplayLength": "10"}
    rows = full.rows(**page, iSortCol_0=column, sSortDir_0=direction)
    assert [row[1] for row in rows] == order


@pytest.mark.parametrize(
    "query",
    [
        {"iDisplayStart": "x", "iDisplayLength": "1", "sSortDir_0": "asc"},
        {"iDisplayStart": "0", "iDisplayLength": "-1", "sSortDir_0": "asc"},
        {"iDisplayStart": "9" * 30, "iDisplayLength": "1", "sSortDir_0": "asc"},
        {"iDisplayStart": "0", "iDisplayLength": "1"},
        {"iDisplayStart": "0", "iDisplayLength": "1", "sSortDir_0": "up"},
        {"iDisplayStart": "0", "iDisplayLength": "1", "sSortDir_0": "asc", "iSortCol_0": "0"},
        {"iDisplayStart": "0", "iDisplayLength": "1", "sSortDir_0": "asc", "iSortCol_0": "11"},
        {"iSortCol_0": "x"},
        {"sEcho": "<x>"},
    ],
)
@pytest.mark.parametrize("form", ["application/xml", "application/json"])
def test_bad_numbers_are_refused(full: Registry, query: dict[str, str], form: str) -> None:
    answer = full.ask("", form, **query)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == f"{form}; charset=UTF-8"


# -- the representations (1.3, 3.2 to 3.4)


def test_an_xml_listing_has_each_entry_as_it_was_stored(full: Registry) -> None:
    text = full.ask().content.decode()
    assert text.count("<?xml") == 1
    start, end = f"{DECLARATION}<metadata>", "</metadata>"
    assert text.startswith(start + "<rdf:RDF xmlns:dcterms=")
    documents = [
        full.ask("/" + "/".join(found)).content.decode().removeprefix(DECLARATION)
        for found in full.listed()
    ]
    assert len(documents) == 3
    assert text == start + "".join(documents) + end  # a single entry ends with a newline, too


@pytest.mark.parametrize("deprecated", [None, "gone"])
def test_a_single_entry_is_answered_by_its_coordinates_whatever_its_status(
    registry: Registry, deprecated: str | None
) -> None:
    document = entry(ONE, ADA, "2025-01-01", valid="2025-01-02T00:00:00Z", deprecated=deprecated)
    registry.service.add(document, entry(ONE, ADA, "2025-01-05"))
    answer = registry.ask(f"/{ONE}/{ADA}/2025-01-01T12:00:00Z")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/rdf+xml; charset=UTF-8"
    assert answer.headers["Content-Disposition"] == f"attachment; filename={ONE}.xml"
    assert answer.content == document


@pytest.mark.parametrize(
    "path", [f"/{TWO}/{ADA}/2025-01-03T12:00:00Z", f"/{ADA}/{ONE}/2025-01-03T12:00:00Z"]
)
def test_coordinates_that_nobody_has_are_not_found(full: Registry, path: str) -> None:
    answer = full.ask(path)
    assert answer.status_code == 404
    assert answer.text == f"{DECLARATION}<error>metadata entry not found.\n</error>"
    json_answer = full.ask(path, "application/json")
    assert json_answer.status_code == 404
    assert json_answer.text == '{"404" : "metadata entry not found.\\n"}'


def test_a_json_listing_has_eleven_strings_a_row(full: Registry) -> None:
    full.service.add(entry(THREE, ADA, "2024-01-01"))
    answer = full.ask("", "application/json", sEcho="7", email=ADA)
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    # An absent value is "null", one that is there and empty is "".
    place, text, title = "pdisk:h:1:u", 'A "first"\nimage', "Éditeur de base"
    rows = [
        ["", "Debian", "12", "x86_64", ADA, "machine", "2025-01-03T12:00:00Z", ONE],
        ["", "", "", "", ADA, "null", "2024-01-01T12:00:00Z", THREE, "null", "", "null"],
    ]
    rows[0] += [place, text, title]
    assert answer.json() == {
        "sEcho": 7,
        "iTotalRecords": 4,
        "iTotalDisplayRecords": 2,
        "rMsg": NO_MATCH,
        "aaData": rows,
    }


def test_a_json_page_tells_how_many_there_are(full: Registry) -> None:
    answer = full.ask(
        f"/{BEA}",
        "application/json",
        iDisplayStart="1",
        iDisplayLength="1",
        sSortDir_0="desc",
    ).json()
    assert len(answer["aaData"]) == 1
    assert (answer["iTotalRecords"], answer["iTotalDisplayRecords"]) == (3, 2)


def test_a_json_listing_of_nothing_is_a_success(full: Registry) -> None:
    answer = full.ask(f"/{THREE}", "application/json")
    assert answer.status_code == 200
    assert answer.json() == {
        "sEcho": 0,
        "iTotalRecords": 0,
        "iTotalDisplayRecords": 0,
        "rMsg": NO_MATCH,
        "aaData": [],
    }


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "application/xml"),
        ("", "application/xml"),
        ("*/*", "application/xml"),
        ("text/xml", "application/xml"),
        ("application/rdf+xml", "application/xml"),
        ("application/*", "application/xml"),
        ("image/png", "application/xml"),
        ("application/xml, application/json", "application/xml"),
        ("application/json;q=0, */*", "application/xml"),
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/json, application/xml;q=0.5", "application/json"),
        ("application/xml, text/xml;q=0.1, application/json;q=0.5", "application/xml"),
        ("application/xml;q=0.5, application/json;q=0.6", "application/json"),
        ("*/*, application/json;q=0.1", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("nonsense;;q=x,,", "application/xml"),
    ],
)
def test_the_best_form_by_quality_is_sent(full: Registry, accept: str | None, form: str) -> None:
    answer = full.ask("", accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == f"{form}; charset=UTF-8"
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize(
    ("media", "form"),
    [
        ("xml", "application/xml"),
        ("json", "application/json"),
        ("html", "text/html"),
        ("application/json", "application/json"),
        ("text/xml", "application/xml"),
    ],
)
def test_media_takes_the_place_of_the_header(full: Registry, media: str, form: str) -> None:
    for accept in ("application/json", "application/xml"):
        answer = full.ask("", accept, media=media)
        assert answer.headers["Content-Type"] == f"{form}; charset=UTF-8"
        error = full.ask(f"/{ONE}/{ADA}/1", accept, media=media)
        assert error.status_code == 404
        assert error.headers["Content-Type"] == f"{form}; charset=UTF-8"


def test_pages_for_browsers_are_escaped(full: Registry) -> None:
    listing = full.ask("", "text/html").text
    assert "&lt;b&gt;&amp;amp;" in listing
    assert "<b>" not in listing
    single = full.ask(f"/{ONE}/{BEA}/2025-01-02T12:00:00Z", "text/html").text
    assert "&lt;rdf:RDF" in single
    assert "<rdf:RDF" not in single


# -- errors (1.4)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("application/xml", "application/xml"),
        ("text/xml;q=0.1, application/json", "application/xml"),
        ("application/rdf+xml", "application/xml"),
        ("application/json;q=0.1, text/html", "application/json"),
        ("text/html", "text/html"),
        ("*/*", "text/html"),
        (None, "text/html"),
    ],
)
def test_an_error_has_the_form_that_is_named_first(
    registry: Registry, accept: str | None, form: str
) -> None:
    answer = registry.ask(f"/{ONE}/{ADA}/2025-01-01T12:00:00Z", accept)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == f"{form}; charset=UTF-8"
    assert "metadata entry not found." in answer.text


def test_too_many_segments_are_no_route(full: Registry) -> None:
    assert full.ask("/a/b/c/d").status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("", "GET, HEAD, POST"),
        (f"/{ONE}", "GET, HEAD, POST"),
        (f"/{ONE}/{ADA}/2025-01-03T12:00:00Z", "GET, HEAD"),
    ],
)
def test_other_methods_are_not_allowed(
    full: Registry, method: str, path: str, allowed: str
) -> None:
    answer = full.ask(path, method=method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == allowed
    assert present(ET.fromstring(answer.content).text).startswith("The method specified")


def test_an_entry_is_not_uploaded_to_its_coordinates(full: Registry) -> None:
    assert full.ask(f"/{ONE}/{ADA}/2025-01-03T12:00:00Z", method="POST").status_code == 405


@pytest.mark.parametrize("path", ["", f"/{THREE}", f"/{ONE}/{ADA}/2025-01-03T12:00:00Z"])
def test_head_says_what_get_says_without_the_body(full: Registry, path: str) -> None:
    get, head = full.ask(path), full.ask(path, method="HEAD")
    assert head.content == b""
    assert head.status_code == get.status_code
    assert head.headers["Content-Length"] == str(len(get.content))
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


# -- storing


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.iterdir()))
def test_signatures_survive_storing(registry: Registry, sample: str) -> None:
    document = (SAMPLES / sample).read_bytes()
    (digest,) = re.findall(rb"DigestValue>([^<]+)<", document)
    registry.service.add(document)
    (found,) = registry.listed(status="all")
    listing = registry.ask(status="all").content.partition(b"<metadata>")[2]
    for served in (
        registry.ask("/" + "/".join(found)).content,
        listing.removesuffix(b"\n</metadata>"),
    ):
        assert base64.b64encode(hashlib.sha1(signed_bytes(served)).digest()) == digest.strip()


def signed_bytes(document: bytes) -> bytes:
    """What the signature's digest is made of (marketplace-rest 6.5)."""
    root = etree.fromstring(document)
    signature = present(root.find("{http://www.w3.org/2000/09/xmldsig#}Signature"))
    before = present(signature.getprevious())
    before.tail = (before.tail or "") + (signature.tail or "")
    root.remove(signature)
    return etree.tostring(root, method="c14n", with_comments=False)


def test_an_unusual_declaration_does_not_break_the_listing(registry: Registry) -> None:
    unusual = re.sub(rb"^<\?xml.*?\?>", b"", entry(ONE, ADA, "2025-01-01", title="Été"))
    for number, start in enumerate(
        (b"<?xml version='1.0'?>\n", b'\xef\xbb\xbf<?xml version="1.0" standalone="yes" ?>', b"")
    ):
        registry.service.add(start + unusual.replace(ADA.encode(), b"%d@example.org" % number))
    assert len(registry.listed()) == 3
    answer = registry.ask(f"/{ONE}/0@example.org/2025-01-01T12:00:00Z")
    assert answer.content.startswith(DECLARATION.encode() + b"<rdf:RDF")
    assert {row[10] for row in registry.rows()} == {"Été"}


def test_the_same_coordinates_replace_an_entry(registry: Registry) -> None:
    registry.service.add(entry(ONE, ADA, "2025-01-01", title="before"))
    registry.service.add(entry(ONE, ADA, "2025-01-01", title="after"))
    assert [row[10] for row in registry.rows()] == ["after"]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<metadata/>",
        b"<!DOCTYPE x><x/>",
        entry(ONE, ADA, "2025-01-01").replace(ONE.encode(), b"short"),
        entry(ONE, "nobody", "2025-01-01"),
        entry(ONE, "../../x@y", "2025-01-01"),
        entry(ONE, ADA, "yesterday"),
        entry(ONE, ADA, "2025-01-01", title="Été").decode().encode("latin-1"),
        b"<metadata>" + entry(ONE, ADA, "2025-01-01").partition(b"?>")[2] + b"</metadata>",
    ],
)
def test_what_is_no_entry_is_not_stored_nor_what_came_with_it(
    registry: Registry, document: bytes
) -> None:
    with pytest.raises((MetadataError, xml.UnsafeXMLError)):
        registry.service.add(entry(TWO, ADA, "2025-01-01"), document)
    assert registry.listed(status="all") == []


INSERTIONS = st.lists(
    st.tuples(
        st.integers(0, 1500),
        st.sampled_from(
            [
                *(
                    b"<!-- x -->",
                    b"<?x y?>",
                    b"<?xml version='1.0'?>",
                    b"\0",
                    b"\xff",
                    b"]]>",
                    b"<",
                ),
                *(b"<![CDATA[", b"&#27;", b"&l;", b"<a>", b"</a>", b"\xc2\x9b31m", b"\xe2\x80\xae"),
                *(b"<!DOCTYPE a [<!ENTITY l 'ha'>]>", b"\xef\xbb\xbf", b"\n", b" ", b"</metadata>"),
            ]
        ),
    ),
    max_size=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(INSERTIONS)
@example([(0, b"<!-- x -->"), (0, b" ")])
@example([(0, b"<?xml version='1.0'?>")])
@example([(0, b"\xef\xbb\xbf"), (0, b"\xef\xbb\xbf")])
@example([(0, b"<?xml version='1.0'?>\xef\xbb\xbf")])
def test_no_document_that_is_stored_breaks_the_listings(
    registry: Registry, insertions: list[tuple[int, bytes]]
) -> None:
    document = entry(ONE, ADA, "2025-01-01", title="Été", description="d")
    for place, text in insertions:
        document = document[:place] + text + document[place:]
    try:
        registry.service.add(document)
    except (MetadataError, xml.UnsafeXMLError) as error:
        assert str(error).isprintable()
    else:
        assert registry.listed(status="all")
        assert registry.rows(status="all")


def test_large_registries_are_listed_whole(registry: Registry) -> None:
    images = sorted(identifier(hashlib.sha1(b"%d" % n).digest()) for n in range(2000))
    registry.service.add(*(entry(image, ADA, "2025-01-01") for image in images))
    assert [image for image, _, _ in registry.listed()] == images
    assert [row[7] for row in registry.rows()] == images
