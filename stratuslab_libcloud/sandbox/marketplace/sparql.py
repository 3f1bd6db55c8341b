"""
Queries in SPARQL (marketplace-rest 2.11), each answered by a process of its own.

Nobody can say how much time or memory a query takes.
"""

import json
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import NamedTuple

from stratuslab_libcloud.sandbox.marketplace import sparql_process
from stratuslab_libcloud.sandbox.marketplace.rows import StoredEntry
from stratuslab_libcloud.sandbox.marketplace.triples import unsigned
from stratuslab_libcloud.untrusted.text import one_line

__all__ = ["Answer", "answer"]

_CPU_SECONDS = 10
_WALL_SECONDS = 60
_BASE = "http://mp.stratuslab.eu/"
_TOO_MUCH = "the query takes too much time or memory"
_BUSY = "another query is being answered: try again"
_PROGRAM = str(pathlib.Path(sparql_process.__file__))
_one_at_a_time = threading.Lock()


class Answer(NamedTuple):
    """A status, and the result or what is wrong with the query."""

    status: int
    text: str


def answer(query: str, entries: Iterable[StoredEntry], form: str) -> Answer:
    """
    Answer a query about entries.

    :param form: ``xml`` or ``json``.
    """
    if not _one_at_a_time.acquire(blocking=False):
        return Answer(503, _BUSY)
    try:
        question = {
            "path": sys.path,
            "seconds": _CPU_SECONDS,
            "entries": [_subject(entry) for entry in entries],
            "query": query,
            "form": form,
        }
        done = subprocess.run(
            [sys.executable, "-I", _PROGRAM],
            input=json.dumps(question).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_WALL_SECONDS,
            env={},
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return Answer(400, _TOO_MUCH)
    finally:
        _one_at_a_time.release()
    if done.returncode:
        return Answer(400, _TOO_MUCH)
    status, text = json.loads(done.stdout)
    return Answer(status, one_line(text) if status == 400 else text)


def _subject(entry: StoredEntry) -> tuple[str, str, bool, str]:
    """Return the subject that an entry has, the one that it gets, its mark, and its RDF/XML."""
    before = f"{_BASE}#{entry.identifier}"
    after = f"{before}/{entry.email}/{entry.created}"
    return before, after, entry.latest, unsigned(entry.document).decode()
