"""The Marketplace's pages, over HTTP, as a browser asks for them."""

import email
import email.policy
import hashlib
import io
import json
import re
import urllib.parse
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from endorsers import ENTRY, certified
from markup import checked

from stratuslab_libcloud.metadata.entry import Entry, identifier
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.sandbox.marketplace import pages, sparql
from stratuslab_libcloud.sandbox.marketplace.examples import example_entries
from stratuslab_libcloud.sandbox.site import Sandbox

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
HOSTILE = "</title><script>alert(1)</script>\"'&amp;\u202e"
OUTSIDE = {ENTRY.locations[0], 'http://x/"onclick="alert(1)'}
OUTSIDE |= {location for entry in example_entries() for location in entry.locations}
# All in one process, so that what they share is made once.
pytestmark = pytest.mark.xdist_group("Marketplace pages")

ADA = certified("P-256")


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    """One for all: what a test looks for, nobody else has."""
    with Sandbox() as site:
        yield site


@pytest.fixture(scope="module")
def full() -> Iterator[Sandbox]:
    """A Marketplace with 10,000 images."""
    with Sandbox() as site:
        site.marketplace.withdraw("ada@example.org", ())
        site.marketplace.withdraw("bea@example.org", ())
        site.marketplace.add(*(write_entry(made(number)) for number in range(10_000)))
        yield site


def made(number: int, **fields: Any) -> Entry:
    """What is said of an image, its number in its title and its date."""
    sha1 = hashlib.sha1(b"%d" % number).hexdigest()
    minutes, seconds = divmod(number, 60)
    values = {
        "identifier": identifier(sha1),
        "checksums": {"SHA-1": sha1},
        "endorser": "many@x.org",
        "endorsed": f"2025-03-{1 + minutes // 1440:02}T{minutes // 60 % 24:02}:{minutes % 60:02}:"
        f"{seconds:02}Z",
        "title": f"image {number:05}",
        "os": ("Debian", "CentOS")[number % 2],
        **fields,
    }
    return replace(ENTRY, **values)


class Page:
    """A page that was read: it is valid HTML."""

    def __init__(self, answer: requests.Response, outside: Container[str] = ()) -> None:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Vary"] == "Accept"
        self.status, self.source = answer.status_code, answer.text
        self.root = checked(answer, outside)

    def texts(self, path: str) -> list[str]:
        """The texts of elements, each in one line."""
        return [" ".join("".join(one.itertext()).split()) for one in self.root.iterfind(path)]

    def text(self, path: str = ".//main") -> str:
        (text,) = self.texts(path)
        return text

    def links(self) -> dict[str, str]:
        """The address of each link, by its text."""
        anchors = self.root.iterfind(".//main//a")
        return {" ".join("".join(one.itertext()).split()): one.get("href", "") for one in anchors}

    def described(self) -> dict[str, list[str]]:
        """What definition lists say."""
        found: dict[str, list[str]] = {}
        for one in self.root.iterfind(".//dl/*"):
            text = " ".join("".join(one.itertext()).split())
            if one.tag == "dt":
                values = found.setdefault(text, [])
            else:
                values.append(text)
        return found


def see(site: Sandbox, path: str = "/marketplace/metadata", **query: str) -> Page:
    url = urllib.parse.urljoin(site.url, path)
    return Page(requests.get(url, query, headers={"Accept": BROWSER}, timeout=60), OUTSIDE)


def path_of(entry: Entry) -> str:
    return f"/marketplace/metadata/{entry.identifier}/{entry.endorser}/{entry.endorsed}"


def upload(site: Sandbox, document: bytes, **headers: str) -> requests.Response:
    return requests.post(
        f"{site.url}/marketplace/metadata",
        files={"metadata": ("entry.xml", io.BytesIO(document), "text/xml")},
        headers={"Accept": BROWSER, **headers},
        timeout=30,
    )


# -- where the pages are


@pytest.mark.parametrize("path", ["/marketplace", "/marketplace/", "/pages/marketplace"])
def test_a_browser_is_sent_to_the_list_of_images(site: Sandbox, path: str) -> None:
    answer = requests.get(
        site.url + path, headers={"Accept": BROWSER}, timeout=30, allow_redirects=False
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/marketplace/metadata")


@pytest.mark.parametrize("accept", [None, "*/*", "application/xml", "application/json"])
def test_programs_get_no_page(site: Sandbox, accept: str | None) -> None:
    headers = {"Accept": accept}
    assert requests.get(f"{site.url}/marketplace", headers=headers, timeout=30).status_code == 404
    for path in ("metadata", "endorsers", "endorsers/ada@example.org"):
        answer = requests.get(f"{site.url}/marketplace/{path}", headers=headers, timeout=30)
        assert "html" not in answer.headers["Content-Type"]
        assert "Content-Security-Policy" not in answer.headers
    error = requests.get(f"{site.url}/metadata/x/y/z", headers=headers, timeout=30)
    assert error.status_code == 404
    assert "<nav" not in error.text


@pytest.mark.parametrize("base", ["", "/marketplace"])
def test_links_stay_in_the_layout_that_the_visitor_came_by(site: Sandbox, base: str) -> None:
    for path in ("metadata", "endorsers", "endorsers/ada@example.org", "query", "upload"):
        page = see(site, f"{base}/{path}")
        assert page.status == 200
        inner = [link for link in page.links().values() if link.startswith("/")]
        assert inner
        assert all(link.startswith("/marketplace") == bool(base) for link in inner)
        assert all(
            see(site, link).status == 200 for link in inner if not re.search("media=|/tag/", link)
        )


def test_every_page_says_where_one_is(site: Sandbox) -> None:
    for path, title in (("metadata", "Images"), ("endorsers", "Endorsers"), ("query", "Query")):
        page = see(site, f"/marketplace/{path}")
        assert page.texts(".//*[@aria-current]") == ["Marketplace", title]
        assert page.text(".//h1") == title
        assert page.text(".//title").startswith(title)


# -- the list of images


def test_an_image_is_found_by_its_words_and_its_filters(site: Sandbox) -> None:
    site.marketplace.add(write_entry(made(-1, title="Needle in hay", os="Plan9", kind="disk")))
    for query in (
        {"sSearch": "NEEDLE hay"},
        {"sSearch_1": "plan"},
        {"sSearch_4": "many@x.org", "sSearch_5": "disk", "location": "pdisk"},
        {"identifier": made(-1).identifier},
    ):
        page = see(site, **query)
        assert page.texts(".//tbody/tr/th") == ["Needle in hay"]
        (shown,) = [page.links()["Needle in hay"]]
        assert see(site, shown).text(".//h1") == "Needle in hay"
    for query in ({"sSearch": "needle straw"}, {"sSearch_1": "plan", "status": "expired"}):
        page = see(site, **query)
        assert page.status == 200
        assert "No entries match." in page.text()


def test_a_form_keeps_what_was_filled_in(site: Sandbox) -> None:
    query = {"sSearch": '"<b>', "sSearch_3": "x86", "status": "all", "iDisplayLength": "7"}
    page = see(site, **query, created="2025-03-01T10:00:00Z", location="web", iSortCol_0="1")
    fields = {one.get("name", ""): one.get("value", "") for one in page.root.iter("input")}
    for select in page.root.iter("select"):
        (chosen,) = [one for one in select if "selected" in one.attrib]
        fields[select.get("name", "")] = chosen.get("value", "")
    assert fields == {
        **query,
        "sSearch_1": "",
        "sSearch_2": "",
        "sSearch_4": "",
        "sSearch_5": "",
        "created": "2025-03-01T10:00:00Z",
        "location": "web",
        "iSortCol_0": "1",
        "sSortDir_0": "desc",
    }


def test_filters_are_folded_until_one_is_used(site: Sandbox) -> None:
    for query, shown in (({}, False), ({"sSearch": "x"}, False), ({"sSearch_1": "x"}, True)):
        details = see(site, **query).root.find(".//details")
        assert details is not None
        assert ("open" in details.attrib) == shown


def test_a_page_is_the_data_that_its_address_has_for_programs(full: Sandbox) -> None:
    query = {"sSearch_1": "debian", "iSortCol_0": "10", "sSortDir_0": "asc"}
    query |= {"iDisplayStart": "50", "iDisplayLength": "25"}
    page = see(full, **query)
    url, accept = f"{full.url}/marketplace/metadata", {"Accept": "application/json"}
    answer = requests.get(url, query, headers=accept, timeout=60)
    rows = json.loads(answer.text)["aaData"]
    assert page.texts(".//tbody/tr/th") == [row[10] for row in rows]
    assert len(rows) == 25


# -- paging


def test_ten_thousand_images_are_paged_by_links(full: Sandbox) -> None:
    page = see(full, sSearch="image")
    assert page.text(".//caption") == "Entries 1 to 25 of 10,000"
    assert page.texts(".//tbody/tr/th")[:2] == ["image 09999", "image 09998"]
    assert {"First", "Previous"}.isdisjoint(page.links())
    address = "/marketplace/metadata"
    for link, caption in (
        ("Next", "Entries 26 to 50 of 10,000"),
        ("Last", "Entries 9,976 to 10,000 of 10,000"),
        ("Previous", "Entries 9,951 to 9,975 of 10,000"),
        ("First", "Entries 1 to 25 of 10,000"),
    ):
        address = urllib.parse.urljoin(address, page.links()[link])
        assert "sSearch=image" in address
        page = see(full, address)
        assert page.text(".//caption") == caption
        assert {"Next", "Last"}.isdisjoint(page.links()) == (link == "Last")


@pytest.mark.parametrize(
    ("start", "length", "shown"),
    [
        ("0", "0", 25),
        ("0", "100", 100),
        ("0", "999999999", 100),
        ("9999", "25", 1),
        ("10000", "25", 0),
        ("999999999", "999999999", 0),
    ],
)
def test_a_page_is_bounded(full: Sandbox, start: str, length: str, shown: int) -> None:
    page = see(full, iDisplayStart=start, iDisplayLength=length)
    assert page.status == 200
    assert len(page.texts(".//tbody/tr")) == shown
    if not shown:
        assert "the listing has 10,000 entries" in page.text()
        previous = see(full, "/marketplace/metadata" + page.links()["Previous"])
        assert "of 10,000" in previous.text(".//caption")


@pytest.mark.parametrize(
    "query",
    [
        {"iDisplayStart": "-1"},
        {"iDisplayLength": "x"},
        {"iDisplayStart": "9" * 30},
        {"iSortCol_0": "0"},
        {"iSortCol_0": "11"},
        {"sSortDir_0": "<b>"},
    ],
    ids=lambda query: "-".join(*query.items())[:30],
)
def test_a_page_that_cannot_be_is_refused_in_a_line(full: Sandbox, query: dict[str, str]) -> None:
    page = see(full, **query)
    assert page.status == 400
    assert page.text(".//h1") == "Bad Request"
    assert page.text(".//*[@role='alert']")


# -- an entry


def test_an_entry_is_shown_with_all_that_it_says(site: Sandbox) -> None:
    one = made(-2, version="1.2", publisher="Ex & Co", creator="Ada", tag="base")
    rdf = write_entry(one).replace(
        b"</rdf:Description>",
        b"<dcterms:replaces>XYZ</dcterms:replaces><n xmlns='urn:x'>y</n></rdf:Description>",
    )
    site.marketplace.add(rdf)
    page = see(site, path_of(one))
    said = page.described()
    assert said["Title"] == ["image -0002"]
    assert said["Description"] == ["First line. Second & last line."]
    assert said["Size in bytes, uncompressed"] == ["30"]
    assert said["Publisher"] == ["Ex & Co"]
    assert said["Inbound ports"] == ["22"]
    assert said["Tag"] == ["base"]
    assert said["SHA-1"] == [one.checksums["SHA-1"]]
    assert said["dcterms:replaces"] == ["XYZ"]
    assert said["{urn:x}n"] == ["y"]
    assert page.links()["https://images.example.org/one.gz?a=1&b=2"] == one.locations[0]
    assert one.locations[1] in page.texts(".//main//li")
    assert one.locations[1] not in page.links()
    raw = requests.get(site.url + page.links()["Download this entry (XML)"], timeout=30)
    assert raw.headers["Content-Type"] == "application/rdf+xml; charset=UTF-8"
    assert f"{one.identifier}.xml" in raw.headers["Content-Disposition"]
    assert rdf.split(b"?>", 1)[-1].strip() in raw.content


def test_the_verdict_on_a_signature_is_shown_with_its_reason(site: Sandbox) -> None:
    good = made(-3, endorser="ada@example.org", endorsed=None)
    document = sign(write_entry(good), ADA, digest="sha256")
    address = upload(site, document).headers["Location"]
    page = see(site, address)
    assert "The signature is good." in page.text()
    assert page.described()["Signed by"] == ["ada@example.org"]
    assert page.described()["Fingerprint (SHA-256)"] == [ADA.certificate.fingerprint]
    site.marketplace.add(document.replace(b"image -0003", b"image -0004"))
    assert "it was changed after it had been signed" in see(site, address).text()
    site.marketplace.add(write_entry(made(-5)))
    assert "The signature is not good:" in see(site, path_of(made(-5))).text()


def test_a_certificate_that_was_not_in_force_is_remarked(site: Sandbox) -> None:
    old = certified("P-256", 2, begins=2000, ends=2001)
    document = sign(write_entry(made(-6)), old, digest="sha256")
    site.marketplace.add(document)
    (created,) = re.findall(rb"created[^>]*>(20[^<]+Z)<", document)[:1]
    page = see(site, path_of(made(-6, endorser="ada@example.org", endorsed=created.decode())))
    assert "The certificate was not valid at the date of the endorsement." in page.text()


def test_all_endorsements_of_an_image_are_listed_with_their_status(site: Sandbox) -> None:
    image = made(-7)
    for endorser, day, fields in (
        ("a@x.org", 1, {}),
        ("a@x.org", 2, {}),
        ("b@x.org", 3, {"valid": "2001-01-01T00:00:00Z"}),
        ("c@x.org", 4, {"deprecated": "<i>too old"}),
        ("d@x.org", 5, {"valid": None}),
    ):
        endorsed = f"2025-04-0{day}T00:00:00Z"
        one = replace(image, endorser=endorser, endorsed=endorsed, **fields)
        site.marketplace.add(write_entry(one))
    page = see(site, f"/marketplace/metadata/{image.identifier}/a@x.org/2025-04-01T00:00:00Z")
    assert "This entry is valid, replaced by a newer one." in page.text()
    rows = [
        [" ".join("".join(cell.itertext()).split()) for cell in row]
        for row in page.root.iterfind(".//tbody/tr")
    ]
    never = "never listed, as it does not say until when it is valid"
    assert [(row[0][8:10], row[1], row[3]) for row in rows] == [
        ("05", "d@x.org", never),
        ("04", "c@x.org", "deprecated"),
        ("03", "b@x.org", "expired"),
        ("02", "a@x.org", "valid"),
        ("01", "a@x.org", "valid, replaced by a newer one"),
    ]
    old = see(site, page.links()["2025-04-04T00:00:00Z"])
    assert "The image is deprecated by its endorser: <i>too old" in old.text()


@pytest.mark.parametrize("path", ["/metadata/x/y@z/1", "/tag/a@x.org/none", "/endorsers/no@x.org"])
def test_what_is_not_there_is_said_on_a_page(site: Sandbox, path: str) -> None:
    page = see(site, path)
    assert page.status == 404
    assert page.text(".//h1") == "Not Found"


# -- endorsers


def test_an_endorser_has_a_page_with_tags_and_entries_of_any_status(site: Sandbox) -> None:
    for number, fields in ((-10, {"tag": "a/b ?"}), (-11, {"deprecated": "x"})):
        entry = made(number, endorser="tea@x.org", subject="CN=Tea", issuer="CN=CA", **fields)
        site.marketplace.add(write_entry(entry))
    page = see(site, see(site, "/marketplace/endorsers").links()["tea@x.org"])
    assert page.text(".//h1") == "Endorser tea@x.org"
    assert page.described()["Certificate"] == ["CN=Tea, issued by CN=CA"]
    assert page.texts(".//tbody/tr/th") == ["image -0010", "image -0011"]
    assert see(site, page.links()["a/b ?"]).text(".//h1") == "image -0010"


def test_an_endorser_of_ten_thousand_images_has_pages(full: Sandbox) -> None:
    page = see(full, "/marketplace/endorsers/many@x.org")
    page = see(full, "/marketplace/endorsers/many@x.org" + page.links()["Next"])
    assert page.text(".//caption") == "Entries 26 to 50 of 10,000"


# -- queries


def test_results_are_a_table_with_links_to_all_of_them(
    site: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_MOST_RESULTS", 2)
    query = "SELECT ?n ?none { VALUES ?n { '<b>1' '2' '3' } } ORDER BY ?n"
    page = see(site, "/marketplace/query", query=query)
    assert page.status == 200
    assert page.texts(".//thead//th") == ["n", "none"]
    assert page.texts(".//tbody//td") == ["2", "", "3", ""]
    assert "3 results; the first 2 are shown" in page.text()
    assert page.text(".//textarea") == query
    whole = requests.get(site.url + page.links()["JSON"], timeout=60).json()
    assert len(whole["results"]["bindings"]) == 3


def test_what_is_wrong_with_a_query_is_said_in_a_line_beside_it(
    site: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for status, text, shown in (
        (400, "query not allowed.", (400, "query not allowed.")),
        (503, "another query is being answered: try again", (503, "another query is being answ")),
        (204, "", (400, "the query cannot be answered")),
    ):
        monkeypatch.setattr(sparql, "answer", lambda *_, s=status, t=text: sparql.Answer(s, t))
        page = see(site, "/marketplace/query", query="ASK </textarea>")
        assert page.status == shown[0]
        assert page.text(".//*[@role='alert']").startswith(shown[1])
        assert page.text(".//textarea") == "ASK </textarea>"


def test_a_query_without_results_says_so(site: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = json.dumps({"head": {"vars": ["a"]}, "results": {"bindings": []}})
    monkeypatch.setattr(sparql, "answer", lambda *_: sparql.Answer(200, empty))
    assert "There are no results." in see(site, "/query", query="SELECT ?a {}").text()


def test_the_form_has_an_example_that_can_be_asked(site: Sandbox) -> None:
    example = see(site, "/query").root.find(".//textarea")
    assert example is not None
    page = see(site, "/query", query=example.text or "")
    assert page.status == 200
    assert page.texts(".//thead//th") == ["title", "os"]


# -- uploads


def test_an_entry_is_uploaded_by_the_form(site: Sandbox) -> None:
    page = see(site, "/marketplace/upload")
    (form,) = page.root.iterfind(".//main//form")
    assert form.attrib == {
        "method": "post",
        "action": "/marketplace/metadata",
        "enctype": "multipart/form-data",
    }
    document = sign(write_entry(made(-20)), ADA, digest="sha256")
    page = Page(upload(site, document, Origin=site.url))
    assert page.status == 201
    assert page.text(".//*[@role='status']") == "metadata entry created"
    assert see(site, page.links()["Show the entry"]).text(".//h1") == "image -0020"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "post with null entity"),
        (b"<a", "unable to parse metadata: "),
        (write_entry(made(-21)), "invalid metadata: no signature"),
    ],
    ids=["nothing", "no-xml", "unsigned"],
)
def test_a_refusal_is_shown_beside_the_form(site: Sandbox, document: bytes, words: str) -> None:
    page = Page(upload(site, document))
    assert page.status == 400
    if document:
        assert page.text(".//*[@role='alert']").startswith(words)
    (field,) = page.root.iterfind(".//input[@type='file']")
    assert field.get("aria-describedby") == "error"


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["origin", "no-origin", "fetch"],
)
def test_a_form_of_another_origin_is_refused(site: Sandbox, headers: dict[str, str]) -> None:
    document = sign(write_entry(made(-22)), ADA, digest="sha256")
    assert upload(site, document, **headers).status_code == 403
    assert not site.marketplace.has(made(-22).identifier)


def test_an_upload_that_waits_for_its_endorser_says_so_and_is_confirmed() -> None:
    with Sandbox(confirm_uploads=True) as site:
        document = sign(write_entry(made(-23)), ADA, digest="sha256")
        page = Page(upload(site, document))
        assert page.status == 202
        assert "confirmation email sent for new metadata entry" in page.text()
        (mail,) = (site.dir / "mail").iterdir()
        text = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
        found = re.search(r"\S+/confirm/", text.get_content())
        assert found
        page = see(site, found[0])
        assert page.status == 201
        assert see(site, page.links()["Show the entry"]).text(".//h1") == "image -0023"
        assert see(site, found[0]).status == 404


# -- strangers


def test_whatever_an_entry_says_is_shown_as_text(site: Sandbox) -> None:
    texts = ("title", "description", "os", "os_version", "os_arch", "kind", "creator", "publisher")
    more = ("tag", "format", "compression", "deprecated", "version", "type", "hypervisor")
    where = ("javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,<script>", HOSTILE)
    for number, locations in enumerate((where, ('http://x/"onclick="alert(1)',))):
        fields: dict[str, Any] = dict.fromkeys((*texts, *more), HOSTILE)
        fields |= {"subject": HOSTILE, "issuer": HOSTILE, "locations": locations}
        entry = made(-30 - number, endorser="eve@x.org", **fields)
        site.marketplace.add(write_entry(entry))
        listing = {"status": "all", "sSearch_4": "eve@x.org"}
        for path, query in (
            (path_of(entry), {}),
            ("/metadata", listing),
            ("/endorsers", {}),
            ("/endorsers/eve@x.org", {}),
            (f"/tag/eve@x.org/{HOSTILE}", {}),
            (f"/metadata/{HOSTILE}", {"sSearch": HOSTILE, "identifier": HOSTILE, "media": "html"}),
        ):
            page = see(site, path, **query)
            assert "<script" not in page.source
            assert "\u202e" not in page.source
            assert not list(page.root.iter("script"))
            for one in page.root.iter():
                assert not any(name.startswith("on") for name in one.attrib)
                assert not re.match(r"\s*(javascript|data):", one.get("href", ""), re.I)
