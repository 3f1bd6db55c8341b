"""Tags, endorsers and queries of the sandbox's Marketplace, over HTTP."""

import itertools
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import requests
from endorsers import ENTRY

from stratuslab_libcloud.metadata.entry import identifier
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.sandbox.marketplace import sparql, sparql_process
from stratuslab_libcloud.sandbox.site import Sandbox

XML, JSON = "application/xml", "application/json"
NS = {"s": "http://www.w3.org/2005/sparql-results#"}
TITLE = "<http://purl.org/dc/terms/title>"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with Sandbox() as site:
        yield site


def add(site: Sandbox, email: str, image: str, ago: int, **fields: object) -> str:
    """Store an entry, whose title is returned: it is like no other."""
    now = datetime.now(timezone.utc)
    values = {name: getattr(ENTRY, name) for name in ("size", "checksums", "locations", "valid")}
    values |= {"title": f"entry {next(NUMBERS)}", **fields}
    entry = type(ENTRY)(
        identifier=image,
        endorser=email,
        endorsed=f"{now - timedelta(ago):%Y-%m-%dT%H:%M:%SZ}",
        subject=f"CN={email}",
        issuer="CN=CA & Sons",
        **values,
    )
    site.marketplace.add(write_entry(entry))
    return str(values["title"])


def image() -> str:
    return identifier(f"{next(NUMBERS):040x}")


def ask(site: Sandbox, path: str, accept: str = XML, **query: str) -> requests.Response:
    return requests.get(site.url + path, query, headers={"Accept": accept}, timeout=60)


def rows(answer: requests.Response) -> list[dict[str, str | None]]:
    """The results, each a name to value."""
    assert answer.status_code == 200, answer.text
    results = ET.fromstring(answer.content).iterfind("s:results/s:result", NS)
    return [{one.get("name", ""): one[0].text for one in result} for result in results]


# -- tags (2.3)


def test_a_tag_leads_to_the_newest_entry_valid_or_not(site: Sandbox) -> None:
    add(site, "tim@x.org", image(), 2, tag="a b")
    newest = add(site, "tim@x.org", image(), 1, tag="a b", valid="2001-01-01T00:00:00Z")
    add(site, "tim@x.org", image(), 0, tag="other")
    add(site, "tom@x.org", image(), 0, tag="a b")
    for path in ("/tag/tim@x.org/a b", '/tag/tim@x.org/"a b"', "/marketplace/tag/tim@x.org/a b"):
        answer = ask(site, path)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/rdf+xml; charset=UTF-8"
        assert f"<dcterms:title>{newest}<" in answer.text
    for query in ({"tag": '"a b"'}, {"tag": "a b", "media": "xml"}):
        assert newest in ask(site, "/metadata/tim@x.org", **query).text
    # Among other parameters it is none: the endorser's listing.
    assert "<metadata>" in ask(site, "/metadata/tim@x.org", tag="a b", status="all").text


def test_an_image_that_was_deprecated_under_a_tag_no_longer_has_it(site: Sandbox) -> None:
    gone, kept = image(), image()
    add(site, "eva@x.org", gone, 3, tag="t", deprecated="")
    add(site, "eva@x.org", gone, 1, tag="t")
    title = add(site, "eva@x.org", kept, 2, tag="t")
    assert title in ask(site, "/tag/eva@x.org/t").text


def test_a_tag_that_nobody_has_is_not_found(site: Sandbox) -> None:
    answer = ask(site, "/tag/tim@x.org/nothing")
    assert (answer.status_code, ET.fromstring(answer.content).text) == (
        404,
        "metadata entry not found.\n",
    )


# -- endorsers (2.9)


def test_all_endorsers_are_listed_once(site: Sandbox) -> None:
    for _ in range(2):
        add(site, "uma@x.org", image(), 0)
    answer = ask(site, "/endorsers")
    assert answer.headers["Content-Type"] == "application/xml; charset=UTF-8"
    found = [row for row in rows(answer) if row["email"] == "uma@x.org"]
    assert found == [{"email": "uma@x.org", "subject": "CN=uma@x.org", "issuer": "CN=CA & Sons"}]
    page = ask(site, "/endorsers", "text/html")
    assert page.headers["Content-Type"] == "text/html; charset=UTF-8"
    assert ">CN=CA &amp; Sons</td>" in page.text


def test_an_endorsers_recent_entries_are_listed_by_location(site: Sandbox) -> None:
    first, second, third = image(), image(), image()
    add(site, "leo@x.org", first, 1, description="one", deprecated="old", locations=("a:b", "c:d"))
    add(site, "leo@x.org", second, 2, locations=())
    add(site, "leo@x.org", third, 40)
    found = rows(ask(site, "/endorsers/leo@x.org"))
    assert [row.pop("email") for row in found] == ["leo@x.org"] * 3
    assert all(row.pop("created") for row in found)
    described = {"identifier": first, "description": "one", "deprecated": "old"}
    assert found == [
        {**described, "location": "a:b"},
        {**described, "location": "c:d"},
        {"identifier": second},
    ]
    for days, number in (("nonsense", 3), ("0", 0), ("41", 5), ("9" * 9, 5)):
        assert len(rows(ask(site, "/endorsers/leo@x.org", range=days))) == number, days


def test_tags_are_those_of_all_entries_and_nobody_has_none(site: Sandbox) -> None:
    for tag in ("b", "a", "b", None):
        add(site, "kim@x.org", image(), 0, tag=tag, deprecated="x")
    assert rows(ask(site, "/endorsers/kim@x.org/tags")) == [{"tag": "a"}, {"tag": "b"}]
    assert rows(ask(site, "/endorsers/nobody@x.org/tags")) == []


# -- queries (2.11)


def test_a_query_is_about_all_entries_and_the_latest_is_marked(site: Sandbox) -> None:
    name = image()
    before = add(site, "sue@x.org", name, 2, valid="2001-01-01T00:00:00Z")
    latest = add(site, "sue@x.org", name, 1, deprecated="")
    one = f"?s {TITLE} ?t . ?s <http://purl.org/dc/terms/identifier> '{name}'"
    mark = "<http://mp.stratuslab.eu/slterms#tag>"
    query = f"SELECT ?s ?t ?m {{ {one} OPTIONAL {{ ?s {mark} ?m }} }} ORDER BY ?t"
    answer = ask(site, "/query", query=query)
    assert answer.headers["Content-Type"] == "application/sparql-results+xml; charset=UTF-8"
    old, new = rows(answer)
    assert (old["t"], old.get("m"), new["t"], new.get("m")) == (before, None, latest, "latest")
    assert (old["s"] or "").startswith(f"http://mp.stratuslab.eu/#{name}/sue@x.org/20")
    answer = ask(site, "/query", JSON, query=query)
    assert answer.headers["Content-Type"] == "application/sparql-results+json; charset=UTF-8"
    found = answer.json()["results"]["bindings"]
    assert [row["t"]["value"] for row in found] == [before, latest]


def test_an_empty_query_has_no_answer_but_a_page(site: Sandbox) -> None:
    for query in ({}, {"query": " "}):
        answer = ask(site, "/query", **query)
        assert (answer.status_code, answer.content) == (204, b"")
    assert '<textarea name="query"' in ask(site, "/query", "text/html").text


def test_a_query_that_takes_too_long_is_ended(
    site: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparql, "_CPU_SECONDS", 1)
    query = "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l }"
    answer = ask(site, "/query", query=query)
    assert answer.status_code == 400
    assert ET.fromstring(answer.content).text == "the query takes too much time or memory"


def test_a_query_beside_another_is_asked_to_wait(site: Sandbox) -> None:
    with sparql._one_at_a_time:
        answer = ask(site, "/query", query="SELECT * {}")
    assert answer.status_code == 503
    assert ET.fromstring(answer.content).text == "another query is being answered: try again"


THREE = "{ ?s ?p ?o }"
NOT_ALLOWED = [
    f"ASK {THREE}",
    f"DESCRIBE ?s {THREE}",
    f"CONSTRUCT {THREE} WHERE {THREE}",
    f"SELECT * FROM <file:///etc/passwd> {THREE}",
    f"SELECT * FROM NAMED <http://x.org/> {THREE}",
    f"SELECT * {{ GRAPH ?g {THREE} }}",
    f"SELECT * {{ SERVICE <http://x.org/> {THREE} }}",
    f"SELECT * {{ {{ SELECT * {{ OPTIONAL {{ SERVICE <http://x.org/> {THREE} }} }} }} }}",
    f"SELECT * {{ ?s ?p ?o FILTER NOT EXISTS {{ SERVICE SILENT <http://x.org/> {THREE} }} }}",
    f"SELECT (EXISTS {{ SERVICE <http://x.org/> {THREE} }} AS ?x) {{}}",
]
MALFORMED = ["SELECT nothing", "SELECT * { x:y ?p ?o }", "LOAD <http://x.org/>", "CLEAR ALL"]


in_one_process = pytest.mark.xdist_group("queries")  # so that these answers are there once


@pytest.fixture(scope="module")
def answers() -> dict[str, list[object]]:
    """The answers to all of these, by one process."""
    program = (
        "import json, sys; from rdflib import Graph; "
        "from stratuslab_libcloud.sandbox.marketplace.sparql_process import _answer; "
        "print(json.dumps({q: _answer(Graph(), q, 'xml') for q in json.load(sys.stdin)}))"
    )
    queries = json.dumps([*NOT_ALLOWED, *MALFORMED])
    done = subprocess.run(
        [sys.executable, "-c", program], input=queries.encode(), capture_output=True, timeout=120
    )
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


@in_one_process
@pytest.mark.parametrize("query", NOT_ALLOWED)
def test_a_query_may_neither_go_elsewhere_nor_be_of_another_form(
    answers: dict[str, list[object]], query: str
) -> None:
    assert answers[query] == [400, "query not allowed."]


@in_one_process
@pytest.mark.parametrize("query", MALFORMED)
def test_a_malformed_query_is_refused_with_the_parsers_words(
    answers: dict[str, list[object]], query: str
) -> None:
    status, text = answers[query]
    assert status == 400
    assert text
    assert text != "query not allowed."


def test_the_process_of_a_query_can_open_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a query get past the checks."""
    program = (
        "import json, sys\n"
        "sys.path[:0] = json.loads(sys.argv[1])\n"
        f"from runpy import run_path\n"
        f"main = run_path({sparql_process.__file__!r})['main']\n"
        "main.__globals__['_answer'] = lambda *_: attempt()\n"
        "def attempt():\n"
        "    import socket\n"
        "    for opening in (lambda: open('/etc/hostname'), socket.socket):\n"
        "        try: opening()\n"
        "        except OSError as error: assert error.errno == 24\n"
        "        else: return 200, 'it can'\n"
        "    return 200, 'it cannot'\n"
        "main()\n"
    )
    question = {"path": sys.path, "seconds": 60, "entries": [], "query": "", "form": "xml"}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(sys.path)],
        input=json.dumps(question).encode(),
        capture_output=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == [200, "it cannot"], done.stderr
