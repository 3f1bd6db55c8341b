"""The Marketplace's pages in a real browser, by clicking, with and without JavaScript."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Person, browsing
from endorsers import ENTRY, certified
from selenium.webdriver.common.keys import Keys

from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.sandbox.site import Sandbox


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with Sandbox() as site:
        yield site


@pytest.fixture(scope="module", params=[True, False], ids=["scripts", "no scripts"])
def visitor(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Person]:
    """Somebody with a browser, and without an account."""
    with browsing(tmp_path_factory.mktemp("visitor"), scripts=request.param) as visitor:
        yield visitor


@pytest.fixture
def marketplace(site: Sandbox, visitor: Person) -> Person:
    visitor.visit(site.pages_url)
    visitor.follow("Marketplace")
    assert visitor.heading == "Images"
    return visitor


def test_an_image_is_found_by_searching_and_clicking(marketplace: Person) -> None:
    visitor = marketplace
    visitor.write("Search for words", "debian bookworm")
    visitor.press("Search")
    assert "Entries 1 to 1 of 1" in visitor.text
    visitor.follow("Debian 12 (bookworm)")
    assert visitor.heading == "Debian 12 (bookworm)"
    assert "The signature is good." in visitor.text
    visitor.follow("2025-03-01T10:00:00Z")  # the other endorsement
    assert visitor.heading == "Debian 12"
    visitor.follow("ada@example.org")
    assert visitor.heading == "Endorser ada@example.org"


def test_filters_unfold_and_can_be_kept_as_a_bookmark(marketplace: Person) -> None:
    visitor = marketplace
    visitor.browser.find_element("tag name", "summary").click()
    visitor.field("Status").send_keys("any")
    visitor.write("Operating system", "fedora")
    visitor.press("Search")
    bookmark = visitor.browser.current_url
    for _ in range(2):
        assert "Entries 1 to 1 of 1" in visitor.text
        assert visitor.field("Operating system").get_attribute("value") == "fedora"
        visitor.visit(bookmark)
    visitor.follow("Fedora 39")
    assert "The image is deprecated by its endorser: Fedora 39 has ended." in visitor.text


def test_an_entry_is_uploaded_and_shown_as_text(marketplace: Person, tmp_path: Path) -> None:
    visitor = marketplace
    file = tmp_path / "entry.xml"
    label = "File with the signed entry (XML)"
    visitor.follow("Upload")
    for document, said in (
        (write_entry(ENTRY), "invalid metadata: no signature"),
        (sign(write_entry(ENTRY), certified("P-256"), digest="sha256"), "metadata entry created"),
    ):
        file.write_bytes(document)
        visitor.field(label).send_keys(str(file))
        visitor.press("Upload")
        assert visitor.said == said
    visitor.follow("Show the entry")
    assert visitor.heading == ENTRY.title == "Débian <base>"


def test_a_query_is_asked_and_a_wrong_one_corrected(marketplace: Person) -> None:
    visitor = marketplace
    label = "Query in SPARQL (SELECT)"
    visitor.follow("Query")
    visitor.write(label, "SELECT nothing")
    visitor.press("Ask")
    assert visitor.said
    assert visitor.field(label).get_attribute("value") == "SELECT nothing"
    visitor.write(label, "SELECT ?t { ?x <http://purl.org/dc/terms/title> ?t }")
    visitor.press("Ask")
    assert "ttylinux 14.0, first try" in visitor.text


def test_the_keyboard_is_enough(marketplace: Person) -> None:
    visitor = marketplace
    with visitor.leaving():
        visitor.field("Search for words").send_keys("ubuntu", Keys.ENTER)
    assert "Entries 1 to 1 of 1" in visitor.text
    with visitor.leaving():
        visitor.browser.find_element("partial link text", "Ubuntu").send_keys(Keys.ENTER)
    assert visitor.heading.startswith("Ubuntu")


def test_a_page_fits_a_phone(marketplace: Person) -> None:
    visitor = marketplace
    for width in (320, 390):
        visitor.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True},
        )
        for name in ("Images", "ttylinux", "Endorsers", "bea@", "Query", "Upload"):
            visitor.follow(name)
            layout = visitor.browser.execute_cdp_cmd("Page.getLayoutMetrics", {})
            assert layout["cssContentSize"]["width"] == width
    visitor.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
