"""
The Marketplace's pages for browsers.

They show what the service answers, by its own rules, parameters and limits; so the address of a
page, asked for in XML or JSON, gives the same as data.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from werkzeug import Response

from stratuslab_libcloud.metadata.entry import name_of
from stratuslab_libcloud.metadata.rdf import read_entry
from stratuslab_libcloud.metadata.signature import verify
from stratuslab_libcloud.sandbox.marketplace.fields import fields_of
from stratuslab_libcloud.sandbox.marketplace.paging import Paging
from stratuslab_libcloud.sandbox.marketplace.registry import Endorsement, Rows
from stratuslab_libcloud.sandbox.phrases import reason_phrase
from stratuslab_libcloud.untrusted import xml

__all__ = ["Pages", "Show"]

Show = Callable[..., Response]
"""Answers with a page, given the name of its template, the status, and by name what it shows."""

_WEB = re.compile("https?://", re.IGNORECASE)
_MOST_RESULTS = 1000
_EXAMPLE = """\
PREFIX dcterms: <http://purl.org/dc/terms/>
PREFIX slterms: <http://mp.stratuslab.eu/slterms#>
SELECT ?title ?os WHERE {
  ?entry dcterms:title ?title ; slterms:os ?os ; slterms:tag "latest" .
} ORDER BY ?title LIMIT 20
"""


class _Listed(NamedTuple):
    """A row of a listing (marketplace-rest 2.1); what is absent is empty."""

    os: str
    os_version: str
    os_arch: str
    endorser: str
    kind: str
    endorsed: str
    identifier: str
    location: str
    description: str
    title: str

    @classmethod
    def read(cls, row: str) -> "_Listed":
        return cls(*("" if text == "null" else text for text in json.loads(row)[1:]))

    @property
    def name(self) -> str:
        return name_of(self.identifier, self.title, self.description)


@dataclass(frozen=True)
class Pages:
    """
    Answers with pages.

    :param show: puts what a page shows into its template.
    :param base: the path of the Marketplace, without a slash at its end.
    """

    show: Show
    base: str

    def listing(self, filters: Sequence[str], paging: Paging, rows: Rows) -> Response:
        """
        Show a page of a listing, with a form for search and filters (2.1).

        :param filters: the segments of the path, which select entries.
        """
        return self._page("images", filters=filters, **_listed(paging, rows))

    def entry(self, document: bytes, endorsements: list[Endorsement]) -> Response:
        """
        Show an entry, the verdict on its signature, and all endorsements of its image (2.4).

        :param document: of the entry, as it is stored.
        """
        rdf = xml.parse(document)
        entry = read_entry(rdf)
        return self._page(
            "entry",
            entry=entry,
            fields=fields_of(rdf),
            locations=[(location, bool(_WEB.match(location))) for location in entry.locations],
            verdict=verify(document),
            endorsements=endorsements,
            document=document.decode(),
        )

    def endorsers(self, found: list[tuple[str, str, str]]) -> Response:
        """Show everybody who endorsed anything: address, subject and issuer (2.9)."""
        return self._page("endorsers", endorsers=found)

    def endorser(
        self, email: str, names: list[tuple[str, str]], tags: list[str], paging: Paging, rows: Rows
    ) -> Response:
        """
        Show an endorser, and a page of a listing of this endorser's entries (2.9).

        :param names: the subjects and issuers of the endorser's certificates.
        """
        shown = _listed(paging, rows)
        return self._page("endorser", email=email, names=names, tags=tags, **shown)

    def query(self, query: str = "", status: int = 200, answer: str = "") -> Response:
        """
        Show a form for a query, and the answer to one (2.11).

        :param query: empty if there is none yet.
        :param answer: the results in JSON, or what is wrong, if the status is not 200.
        """
        error = ""
        variables: list[str] = []
        results: list[list[str]] = []
        if status == 204:
            status, error = 400, "the query cannot be answered"
        elif status != 200:
            error = answer
        elif query:
            variables, results = _results(answer)
        return self._page(
            "query",
            status,
            query=query or _EXAMPLE,
            error=error,
            variables=variables,
            results=results[:_MOST_RESULTS],
            number=len(results) if query and not error else None,
        )

    def upload(self, status: int = 200, error: str = "") -> Response:
        """Show the form for uploads (2.5), and why the last one was refused."""
        return self._page("upload", status, error=error)

    def message(self, status: int, text: str, address: str = "") -> Response:
        """
        Say what was done (2.6, 2.8).

        :param address: of the entry that was stored, if one was, after the base.
        """
        return self._page("message", status, message=text, address=address)

    def error(self, status: int, text: str) -> Response:
        """Say what went wrong (1.4)."""
        return self._page("failure", status, reason=reason_phrase(status), error=text)

    def _page(self, name: str, status: int = 200, **shown: Any) -> Response:
        response = self.show(f"marketplace/{name}.html", status, base=self.base, **shown)
        response.headers["Vary"] = "Accept"
        return response


def _listed(paging: Paging, rows: Rows) -> dict[str, Any]:
    """Return what the table of a listing shows."""
    return {
        "paging": paging,
        "listed": [_Listed.read(row) for row in rows.shown],
        "matching": rows.matching,
    }


def _results(answer: str) -> tuple[list[str], list[list[str]]]:
    """Return the variables of a query's results in JSON, and rows of their values."""
    found = json.loads(answer)
    variables = found["head"]["vars"]
    return variables, [
        [row.get(name, {}).get("value", "") for name in variables]
        for row in found["results"]["bindings"]
    ]
