"""The pages that a listing is shown on, and the links between them (marketplace-rest 2.1)."""

import urllib.parse
from collections.abc import Mapping

from stratuslab_libcloud.sandbox.marketplace.listing import read_number

__all__ = ["Paging"]

_SHOWN, _MOST_SHOWN = 25, 100
_DEFAULTS = {"status": "valid", "iSortCol_0": "6", "sSortDir_0": "desc"}
_KNOWN = ["media", "status", "location", "identifier", "email", "created", "sSearch"]
_KNOWN += [f"sSearch_{column}" for column in range(1, 6)]
_KNOWN += ["iSortCol_0", "sSortDir_0"]


class Paging:
    """
    A page of a listing, as the query of its address selects it.

    :param given: the query. A listing without paging starts at its first page; a page has 100
        entries at most.
    :param defaults: values of parameters that the query does not have.
    :ivar query: the same, complete: for :func:`.listing.read_selection`.
    :raises MalformedQueryError: a number is malformed.
    """

    def __init__(self, given: Mapping[str, str], **defaults: str) -> None:
        length = read_number(given, "iDisplayLength", _SHOWN)
        self.start = read_number(given, "iDisplayStart", 0)
        self.length = min(length or _SHOWN, _MOST_SHOWN)
        known = {name: given[name] for name in _KNOWN if given.get(name)}
        self._kept = {**_DEFAULTS, **defaults, **known}
        if self.length != _SHOWN:
            self._kept["iDisplayLength"] = str(self.length)
        numbers = {"iDisplayStart": str(self.start), "iDisplayLength": str(self.length)}
        self.query = {**self._kept, **numbers}

    @property
    def narrowed(self) -> bool:
        """Whether there are filters or an order that a plain listing does not have."""
        plain = {**_DEFAULTS, "sSearch": "", "media": "", "iDisplayLength": ""}
        return any(plain.get(name) not in ("", value) for name, value in self._kept.items())

    def page(self, start: int) -> str:
        """Return the link, relative to this page, to the one that starts with another entry."""
        return "?" + urllib.parse.urlencode({**self._kept, "iDisplayStart": str(start)})

    def previous(self, matching: int) -> int | None:
        """Return where the page before this one starts; None if this is the first."""
        if self.start == 0:
            return None
        return min(max(0, self.start - self.length), self.last(matching))

    def next(self, matching: int) -> int | None:
        """Return where the page after this one starts; None if this is the last."""
        following = self.start + self.length
        return following if following < matching else None

    def last(self, matching: int) -> int:
        """Return where the last page starts."""
        return max(0, matching - 1) // self.length * self.length

    def sorted(self, column: int) -> str:
        """Return how a column is sorted, as ``aria-sort`` has it."""
        if self.query["iSortCol_0"] != str(column):
            return "none"
        return "ascending" if self.query["sSortDir_0"] == "asc" else "descending"
