"""
What an answer may cost whoever asked: memory, processor time and lines of log.

Each is asked for in a process of its own, by the driver, and comes packed: hostile ones are a few
KiB to a MiB on the wire.
"""

import gzip
import json
import re
from collections.abc import Callable, Iterator

import documents
import pytest
from canned import Canned
from forked import Forked
from test_hostile_input import IMAGE, JSON, RPC, XML

from stratuslab_libcloud.client.engine import calls, reply
from stratuslab_libcloud.client.http import listing, service
from stratuslab_libcloud.client.http.answer import Answer, limited
from stratuslab_libcloud.client.opennebula import documents as engine_images
from stratuslab_libcloud.client.stratuslab import marketplace, pdisk
from stratuslab_libcloud.errors import MalformedAnswerError
from stratuslab_libcloud.untrusted import xml

MIB = 2**20
MOST_BYTES = 256 * MIB
MOST_SECONDS = 30
HANG = 5 * MOST_SECONDS

ASK = f"""
import logging, resource, sys
from memory import grown
from stratuslab_libcloud.errors import MalformedAnswerError
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
logging.basicConfig(level=logging.WARNING)
driver = StratusLabNodeDriver("u", "p", host=sys.argv[1] + "/one-proxy/xmlrpc", timeout={HANG})
said = []
def ask():
    try:
        said.append(f"{{len(getattr(driver, sys.argv[2])())}} read")
    except MalformedAnswerError as error:
        said.append(str(error))
size, used = grown(ask), resource.getrusage(resource.RUSAGE_SELF)
print(size, used.ru_utime + used.ru_stime, *said)
"""

ROW = ["", "ab", "cd", "ef", "gh", "ij", "kl", IMAGE, "mn", "op", "qr"]
LONG = "x" * 200 + "\U0001f600"  # four bytes for each character in memory
ROWS, VOLUMES = '{"aaData":[', "["
ENTRIES = "<metadata>"
RDF = (
    "<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#' "
    "xmlns:d='http://purl.org/dc/terms/'>"
)
ENTRY = f"{RDF}<r:Description><d:identifier>{IMAGE}</d:identifier>%s</r:Description></r:RDF>"
POOL = (
    "<methodResponse><params><param><value><array><data><value><boolean>1</boolean></value>"
    "<value><string>&lt;VM_POOL>"
)
VM = "&lt;VM>&lt;ID>1&lt;/ID>%s&lt;/VM>"
ATTRIBUTES = " ".join(f"a{number}=''" for number in range(1000))

# By what is asked: what it begins with, what comes again and again, and what is said about it.
HOSTILE: dict[str, tuple[str, str, str, str]] = {
    "rows of nothing": ("list_images", ROWS, "[],", "incomplete row"),
    "rows without identifier": ("list_images", ROWS, f"{json.dumps([''] * 11)},", "150,000 items"),
    "small rows": ("list_images", ROWS, f"{json.dumps(ROW)},", "150,000 items"),
    "wide rows": ("list_images", ROWS, f"{json.dumps([*ROW, *[LONG] * 3])},", "larger than"),
    "objects in a row": ("list_images", f"{ROWS}[", "{},", "cannot be read"),
    "names": ("list_images", "{", '"a":1,', "cannot be read"),
    "blanks": ("list_images", "", " ", "larger than"),
    "tiny volumes": ("list_volumes", VOLUMES, '{"uuid":1},', "150,000 items"),
    "wide volumes": (
        "list_volumes",
        VOLUMES,
        f'{{"uuid":1,"tag":{json.dumps(LONG)}}},',
        "larger than|150,000 items",
    ),
    "backslashes": ("list_volumes", f'{VOLUMES}{{"uuid":1,"tag":"', r"\,", "not JSON"),
    "tiny machines": ("list_nodes", POOL, VM % "", "150,000 items"),
    "machines without id": ("list_nodes", POOL, "&lt;VM/>", "150,000 items"),
    "machines with wide names": (
        "list_nodes",
        POOL,
        VM % f"&lt;NAME>{LONG * 40}&lt;/NAME>",
        "in memory",
    ),
    "machines of disks": (
        "list_nodes",
        POOL,
        VM % f"&lt;TEMPLATE>{'&lt;DISK/>' * 20_000}&lt;/TEMPLATE>",
        "in memory",
    ),
    "machines of lines": ("list_nodes", POOL, VM % ("\n" * MIB), "tags, lines and attributes"),
    "machines of attributes": (
        "list_nodes",
        POOL,
        VM % f"&lt;a {ATTRIBUTES}/>",
        "tags, lines and attributes",
    ),
    "nested tags": ("list_nodes", POOL, "&lt;a>", "100,000 tags"),
    "tags around": ("list_nodes", "<methodResponse>", "<a/>", "more than 10,000 tags"),
    "tiny entries": ("list_images as XML", ENTRIES, ENTRY % "", "150,000 items"),
    "entries without identifier": (
        "list_images as XML",
        ENTRIES,
        f"{RDF}</r:RDF>",
        "150,000 items",
    ),
    "entries with wide titles": (
        "list_images as XML",
        ENTRIES,
        ENTRY % f"<d:title>{LONG * 40}</d:title>",
        "in memory",
    ),
    "nested tags in an entry": ("list_images as XML", f"{ENTRIES}{RDF}", "<a>", "100,000 tags"),
}


FINAL = ("150,000 items", "in memory", "larger than", "100,000 tags", "tags, lines and attributes")
"""After these it is not asked again, as after an answer that broke."""


def cost(server: Canned, call: str) -> tuple[int, float, str, list[str]]:
    """Bytes, seconds of processor time, what came of it, and the log."""
    with Forked(ASK, server.url, call) as process:
        out, log = process.communicate(timeout=2 * HANG)
        assert process.returncode == 0, log
    size, seconds, said = out.split(maxsplit=2)
    return int(size), float(seconds), said.strip(), log.splitlines()


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_refused_has_cost_little(name: str) -> None:
    call, begin, filler, said = HOSTILE[name]
    kind = RPC if call == "list_nodes" else XML if call.endswith("XML") else JSON
    some = gzip.compress(filler.encode() * max(1, MIB // len(filler)))
    packed = gzip.compress(begin.encode()) + some * 700
    answer = (200, kind, packed, {"Content-Encoding": "gzip"})
    with Canned([answer]) as server:
        size, seconds, refused, log = cost(server, call.partition(" ")[0])
        if said in FINAL:
            assert len(server.requests) == 1
    assert re.search(said, refused)
    assert size < MOST_BYTES
    assert seconds < HANG
    assert log == []


def test_what_is_left_out_is_said_once() -> None:
    bad = json.dumps({"aaData": [[""] * 11] * 1000 + [ROW]}).encode()
    with Canned([(200, JSON, bad)]) as server:
        *_, said, log = cost(server, "list_images")
    assert said == "1 read"
    assert [line for line in log if "1,000 rows without an image identifier" in line] == log
    assert len(log) == 1
    bad = f"{ENTRIES}{f'{RDF}</r:RDF>' * 1000}{ENTRY % ''}</metadata>".encode()
    with Canned([(200, XML, bad)]) as server:
        *_, said, log = cost(server, "list_images")
    assert said == "1 read"
    assert len(log) == 1
    assert "1,000 entries, the first: a Marketplace entry without an image identifier" in log[0]


# -- what must go on working


def cut(document: bytes) -> tuple[bytes, bytes, bytes]:
    """What comes before the things of a listing, the things, and what comes after them."""
    for begin, end in (
        (b"&lt;VM&gt;", b"&lt;/VM_POOL"),
        (b"&lt;IMAGE&gt;&lt;ID", b"&lt;/IMAGE_POOL"),
        (b"<rdf:RDF", b"</metadata"),
        (b"[", b"]"),
    ):
        if begin in document:
            start, stop = document.index(begin), document.rindex(end)
            if begin == b"[":
                start += 1
            return document[:start], document[start:stop], document[stop:]
    raise AssertionError("no listing")


REAL: dict[str, tuple[Callable[[int], bytes], Callable[[Answer], object], str]] = {
    "images by JSON": (documents.entries_json, marketplace._read_listing, JSON),
    "images by XML": (documents.entries_xml, marketplace._read_listing, XML),
    "machines": (documents.machines, calls.read_pool, RPC),
    "machines on OpenNebula": (documents.engine_machines, calls.read_pool, RPC),
    "images on OpenNebula": (
        documents.engine_images,
        lambda answer: reply.pool(answer, "IMAGE", engine_images.image, engine_images.weight),
        RPC,
    ),
    "volumes": (documents.volumes, pdisk._read_disks, JSON),
}


@pytest.mark.parametrize("name", REAL)
def test_a_listing_of_a_hundred_thousand_is_read(name: str) -> None:
    make, read, kind = REAL[name]
    before, things, after = cut(make(1000))
    comma = b"," if kind == JSON else b""

    def pieces() -> Iterator[bytes]:
        yield before + things
        for _ in range(99):
            text = comma + things
            for start in range(0, len(text), 65536):
                yield text[start : start + 65536]
        yield after

    body = limited(pieces(), service._LARGEST_ANSWER)
    found = read(Answer(200, {"Content-Type": kind}, body))
    assert isinstance(found, list)
    assert len(found) == 100_000 < listing.MOST_ITEMS


def test_a_deep_element_is_refused_before_it_is_made() -> None:
    with pytest.raises(xml.TooMuchError, match="100,000 tags"):
        xml.parse(b"<a>" * 10**6)


def test_an_answer_cannot_come_byte_by_byte() -> None:
    with pytest.raises(MalformedAnswerError, match="more than 1,024 pieces"):
        list(limited(iter([b"x"] * 2000), MIB))
