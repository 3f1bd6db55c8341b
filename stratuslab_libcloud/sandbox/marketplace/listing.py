"""The selection of a Marketplace listing: read from path and query, translated to SQL."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stratuslab_libcloud.sandbox.marketplace.rows import DATE, EMAIL, ENDORSED, LAST_COLUMN

__all__ = ["STATUS", "MalformedQueryError", "Selection", "read_number", "read_selection"]

_NUMBER = re.compile(r"[0-9]{1,9}")

_STATUS = {
    "valid": "valid > :now AND NOT deprecated",
    "expired": "valid < :now AND NOT deprecated",
    "deprecated": "deprecated",
}

STATUS = f"CASE {' '.join(f'WHEN {sql} THEN {name!r}' for name, sql in _STATUS.items())} END"
"""SQL for the status of an entry, which is NULL if it says nothing about its validity."""

_ACCESS = {
    "web": "(json_array_length(row, '$[11]') = 0 OR EXISTS (SELECT 1 FROM json_each(row, '$[11]') "
    "WHERE value GLOB 'http://*' OR value GLOB 'https://*' OR value GLOB 'ftp://*'))",
    "pdisk": "EXISTS (SELECT 1 FROM json_each(row, '$[11]') WHERE value GLOB 'pdisk*')",
}

_DIRECTIONS = {
    "asc": "json_extract(row, :sort) ASC, ",
    "desc": "json_extract(row, :sort) DESC, ",
}


class MalformedQueryError(ValueError):
    """The query cannot be understood; the text is for the caller."""


@dataclass
class Selection:
    """
    The entries that a listing shows, and their order: constant SQL, and values for it.

    To run the SQL, add the time as ``:now`` to the values, and define :meth:`searched` as a
    function.
    """

    status: str
    values: dict[str, str | int] = field(default_factory=dict)
    conditions: list[str] = field(default_factory=list)
    order: str = ""
    page: str = ""
    words: set[str] = field(default_factory=set)
    columns: dict[int, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return " AND ".join([self.status, *self.conditions])

    def sql(self, columns: str) -> str:
        order = f"{self.order}created DESC, identifier, email"
        return f"SELECT {columns} FROM entries WHERE {self.where} ORDER BY {order} {self.page}"  # noqa: S608

    @property
    def sql_matching(self) -> str:
        return f"SELECT COUNT(*) FROM entries WHERE {self.where}"  # noqa: S608

    @property
    def sql_total(self) -> str:
        return f"SELECT COUNT(*) FROM entries WHERE latest AND {self.status}"  # noqa: S608

    def searched(self, row: str) -> bool:
        """
        Return whether a row matches the search.

        The words are substrings, not regular expressions as in the original: one of 30 characters
        could keep the server busy for hours.
        """
        texts = [text.casefold() for text in json.loads(row)[: LAST_COLUMN + 1]]
        return all(text in texts[column] for column, text in self.columns.items()) and all(
            any(word in text for text in texts) for word in self.words
        )


def read_selection(segments: Iterable[str], query: Mapping[str, str]) -> Selection:
    """
    Read a listing's path and query (marketplace-rest 2.1, 3.1).

    :raises MalformedQueryError: a number is malformed, or the order is incomplete.
    """
    # An entry without dcterms:valid is never listed.
    status = _STATUS.get(query.get("status", "valid"), "valid IS NOT NULL")
    selection = Selection(f"valid IS NOT NULL AND {status}")
    named = [query[name] for name in ("identifier", "email", "created") if name in query]
    dated = False
    for number, text in enumerate([*segments, *named]):
        column = "created" if DATE.fullmatch(text) else "identifier"
        column = "email" if EMAIL.fullmatch(text) else column
        dated = dated or column == "created"
        selection.conditions.append(f"{column} = :filter{number}")
        selection.values[f"filter{number}"] = text
    if not dated:
        selection.conditions.append("latest")
    if query.get("location") in _ACCESS:
        selection.conditions.append(_ACCESS[query["location"]])
    selection.words = set(query.get("sSearch", "").casefold().split())
    selection.columns = {
        column: query[f"sSearch_{column}"].casefold()
        for column in range(1, 6)
        if query.get(f"sSearch_{column}")
    }
    if selection.words or selection.columns:
        selection.conditions.append("searched(row)")
    _read_page(selection, query)
    return selection


def _read_page(selection: Selection, query: Mapping[str, str]) -> None:
    start, length = (
        read_number(query, "iDisplayStart", -1),
        read_number(query, "iDisplayLength", -1),
    )
    column = read_number(query, "iSortCol_0", ENDORSED)
    if start < 0 or length < 0:
        return
    direction = query.get("sSortDir_0")
    if direction not in _DIRECTIONS or not 1 <= column <= LAST_COLUMN:
        raise MalformedQueryError(
            "paging needs sSortDir_0, asc or desc, and iSortCol_0 from 1 to 10"
        )
    selection.order = _DIRECTIONS[direction]
    selection.page = "LIMIT :length OFFSET :start"
    selection.values |= {"sort": f"$[{column}]", "length": length, "start": start}


def read_number(query: Mapping[str, str], name: str, default: int) -> int:
    """
    Read a number of a query.

    :raises MalformedQueryError: it is not a number, or too large.
    """
    if name not in query:
        return default
    if not _NUMBER.fullmatch(query[name]):
        raise MalformedQueryError(f"{name} is not a number, or too large")
    return int(query[name])
