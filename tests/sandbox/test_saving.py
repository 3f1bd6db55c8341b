"""Machines that become images when they are shut down (compute-xmlrpc 4.7)."""

import contextlib
import hashlib
import itertools
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests
from callers import JANE, TEMPLATE, Caller, Reachable, elsewhere, kill_at_work

from stratuslab_libcloud.metadata.entry import Entry, identifier
from stratuslab_libcloud.metadata.rdf import cut_entries
from stratuslab_libcloud.metadata.rules import read_date, violations
from stratuslab_libcloud.metadata.signature import verify
from stratuslab_libcloud.sandbox.errors import MachineError, SandboxError
from stratuslab_libcloud.sandbox.saving import SavedImages
from stratuslab_libcloud.sandbox.site import Sandbox
from stratuslab_libcloud.sandbox.store import Store

TTYLINUX = "PAG0IrP3g8RVUUaDvFINgBAacn2"
ASKED = {
    "CREATOR_EMAIL": "jane@example.org",
    "CREATOR_NAME": "Jane Doe",
    "NEWIMAGE_TITLE": "With a wiki",
    "NEWIMAGE_COMMENT": "ttylinux, and a wiki.",
    "NEWIMAGE_VERSION": "2.7",
    "NEWIMAGE_MARKETPLACE": "https://marketplace.example.org",
}
HOSTILE = "<b>&amp;' --><script>alert(1)</script>\n\u202egnp.exe ]] >"


def template(site: Reachable, **asked: str) -> str:
    """A template as the original client writes it with ``--save``."""
    pairs = ",\n".join(f'{key} = "{text}"' for key, text in {**ASKED, **asked}.items())
    source = f"{site.url}/marketplace/metadata/{TTYLINUX}"
    written = TEMPLATE.replace(
        "https://marketplace.example.org/metadata/MMZu9WvwKIro-rtBQfDk4PsKO7_", source
    )
    return written.replace("save     = no", "save = yes") + f"CREATE_IMAGE = [ {pairs} ]\n"


def saved(jane: Caller, text: str) -> dict[str, str]:
    """The disk that a machine with this template becomes."""
    vm_id = jane.start(text)
    jane.act("shutdown", vm_id)
    assert jane.states(vm_id) == (6, 0)
    (disk,) = jane.disks("GET").json()
    return dict(disk)


def entry_of(jane: Caller, image_id: str) -> tuple[Entry, bytes]:
    """The entry of an image, whose signature is valid."""
    (document,) = cut_entries(jane.request("GET", f"/metadata/{image_id}").content)
    entry = verify(document).entry
    assert entry is not None
    return entry, document


def test_a_machine_that_is_shut_down_becomes_a_disk_and_an_entry(
    jane: Caller, site: Sandbox
) -> None:
    disk = saved(jane, template(site))
    whole = jane.disks("GET", f"/{disk['uuid']}").json()
    assert (whole["tag"], whole["owner"], whole["count"]) == ("With a wiki", "jane", "0")
    assert (whole["type"], whole["visibility"]) == ("MACHINE_IMAGE_ORIGIN", "PRIVATE")
    entry, document = entry_of(jane, disk["identifier"])
    assert violations(document) == []
    assert (entry.creator, entry.endorser) == ("Jane Doe", "jane@example.org")
    assert (entry.title, entry.description) == ("With a wiki", "ttylinux, and a wiki.")
    assert (entry.version, entry.format, entry.compression) == ("2.7", "raw", None)
    host, port = site.url.removeprefix("http://").split(":")
    assert entry.locations == (f"pdisk:{host}:{port}:{disk['uuid']}",)
    assert entry.endorsed is not None
    assert entry.valid is not None
    endorsed, valid = read_date(entry.endorsed), read_date(entry.valid)
    assert endorsed is not None
    assert valid is not None
    assert valid - endorsed == timedelta(days=2)
    assert datetime.now(timezone.utc) - endorsed < timedelta(minutes=5)
    origin, _ = entry_of(jane, TTYLINUX)
    kept = ("os", "os_version", "os_arch", "kind", "type", "disks_bus", "inbound_ports", "tag")
    assert [getattr(entry, name) for name in kept] == [getattr(origin, name) for name in kept]
    path = site.dir / "disks" / disk["uuid"]
    assert path.stat().st_size == 1 << 30
    assert path.stat().st_mode & 0o777 == 0o600
    assert entry.size is not None
    with path.open("rb") as file:
        content = file.read(entry.size + 1000)
    sha1 = hashlib.sha1(content[: entry.size], usedforsecurity=False).hexdigest()
    assert identifier(sha1) == entry.identifier
    assert not any(content[entry.size :])


def test_its_key_is_thrown_away_and_trusted_by_nobody(jane: Caller, site: Sandbox) -> None:
    _, first = entry_of(jane, saved(jane, template(site))["identifier"])
    site_key = verify(cut_entries(jane.request("GET", f"/metadata/{TTYLINUX}").content)[0])
    endorser, other = verify(first).endorser, site_key.endorser
    assert endorser is not None
    assert other is not None
    assert endorser.certificate.fingerprint != other.certificate.fingerprint
    assert not endorser.certified
    assert endorser.certificate.not_after - endorser.certificate.not_before < timedelta(days=3)
    again = jane.start(template(site))
    jane.act("shutdown", again)
    second = next(disk for disk in jane.disks("GET").json())["identifier"]
    third = verify(entry_of(jane, second)[1]).endorser
    assert third is not None
    assert third.certificate.fingerprint != endorser.certificate.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("save = yes", "save = no"),
        lambda text: text.partition("CREATE_IMAGE")[0],
        lambda text: text.replace("save = yes,\n", ""),
    ],
    ids=["SAVE=no", "no CREATE_IMAGE", "no SAVE"],
)
def test_others_leave_nothing(jane: Caller, site: Sandbox, change: Callable[[str], str]) -> None:
    vm_id = jane.start(change(template(site)))
    jane.act("shutdown", vm_id)
    assert jane.states(vm_id) == (6, 0)
    assert jane.disks("GET").json() == []


def test_nor_does_one_that_is_killed(jane: Caller, site: Sandbox) -> None:
    vm_id = jane.start(template(site))
    jane.act("finalize", vm_id)
    assert jane.states(vm_id) == (6, 0)
    assert jane.disks("GET").json() == []
    assert list((site.dir / "disks").iterdir()) == []


@pytest.mark.parametrize("given", ["", "''", ' \\"\\" '])
def test_without_a_version_it_is_the_next_minor_one(
    jane: Caller, site: Sandbox, given: str
) -> None:
    disk = saved(jane, template(site, NEWIMAGE_VERSION=given))
    assert entry_of(jane, disk["identifier"])[0].version == "1.1"


def test_quotation_marks_and_blanks_around_values_are_not_meant(
    jane: Caller, site: Sandbox
) -> None:
    disk = saved(jane, template(site, NEWIMAGE_TITLE="' A title '"))
    assert disk["tag"] == "A title"


def test_hostile_texts_stay_texts(jane: Caller, site: Sandbox) -> None:
    hostile = dict.fromkeys(
        ("NEWIMAGE_TITLE", "NEWIMAGE_COMMENT", "CREATOR_NAME", "NEWIMAGE_VERSION"), HOSTILE
    )
    disk = saved(jane, template(site, **hostile))
    assert disk["tag"] == HOSTILE
    entry, document = entry_of(jane, disk["identifier"])
    assert (entry.title, entry.description, entry.creator) == (HOSTILE, HOSTILE, HOSTILE)
    assert b"<script" not in document


@pytest.mark.parametrize(
    "email", ["", "jane", "jane@example.org\njoe@example.org", "a@b<c", "../../etc/passwd"]
)
def test_without_an_address_the_disk_is_kept_and_the_machine_says_why(
    jane: Caller, site: Sandbox, email: str
) -> None:
    vm_id = jane.start(template(site, CREATOR_EMAIL=email))
    jane.act("shutdown", vm_id)
    assert jane.states(vm_id) == (7, 0)
    (disk,) = jane.disks("GET").json()
    message = jane.info(vm_id).findtext("TEMPLATE/ERROR/MESSAGE") or ""
    assert f"it is saved on disk {disk['uuid']}, but not in the Marketplace: " in message
    assert "\n" not in message
    assert jane.request("GET", f"/metadata/{disk['identifier']}").status_code == 404


def test_an_origin_that_has_ended_meanwhile_is_still_copied(jane: Caller, site: Sandbox) -> None:
    vm_id = jane.start(template(site))
    with closing(sqlite3.connect(site.dir / "sandbox.db")) as db, db:
        db.execute("UPDATE entries SET deprecated = 1 WHERE identifier = ?", (TTYLINUX,))
    jane.act("shutdown", vm_id)
    (disk,) = jane.disks("GET").json()
    assert entry_of(jane, disk["identifier"])[0].os == "ttylinux"


def test_the_image_is_its_owners(jane: Caller, joerg: Caller, site: Sandbox) -> None:
    disk = saved(jane, template(site))
    assert joerg.disks("GET").json() == []
    assert joerg.disks("GET", f"/{disk['uuid']}").status_code == 403
    assert jane.disks("PUT", f"/{disk['uuid']}", data={"tag": "x"}).status_code in (200, 303)
    assert jane.disks("DELETE", f"/{disk['uuid']}").status_code == 200


def test_machines_start_from_it(jane: Caller, site: Sandbox) -> None:
    disk = saved(jane, template(site))
    vm_id = jane.start(template(site).replace(TTYLINUX, disk["identifier"]))
    assert jane.states(vm_id) == (3, 3)
    jane.act("shutdown", vm_id)
    newer = jane.disks("GET").json()[0]
    assert entry_of(jane, newer["identifier"])[0].os == "ttylinux"


def test_no_room_is_a_failure_with_a_reason(
    jane: Caller, site: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, size: int) -> None:
        raise OSError(28, "No space left on device")

    vm_id = jane.start(template(site))
    monkeypatch.setattr("stratuslab_libcloud.sandbox.durable.create_sparse", full)
    jane.act("shutdown", vm_id)
    assert jane.states(vm_id) == (7, 0)
    message = jane.info(vm_id).findtext("TEMPLATE/ERROR/MESSAGE") or ""
    assert message.endswith("it cannot be saved: No space left on device")
    assert list((site.dir / "disks").iterdir()) == []


def test_a_save_that_was_interrupted_is_done_at_the_next_start(tmp_path: Path) -> None:
    users = dict([JANE])
    with Sandbox(tmp_path, users=users) as site:
        jane = Caller(site, JANE)
        interrupted, done = jane.start(template(site)), jane.start(template(site))
        jane.act("shutdown", done)
    (tmp_path / "disks" / "7a031320-9d3b-492f-9a97-3c5bd0ba786b").write_bytes(b"a half of one")
    with closing(sqlite3.connect(tmp_path / "sandbox.db")) as db, db:
        # As a process leaves them that ends before, and just after, a disk is recorded.
        db.execute("UPDATE machines SET state = 3, lcm_state = 11")
    with Sandbox(tmp_path, users=users) as site:
        jane = Caller(site, JANE)
        assert {jane.states(vm_id) for vm_id in (interrupted, done)} == {(6, 0)}
        disks = jane.disks("GET").json()
        assert len({disk["identifier"] for disk in disks}) == len(disks) == 2
        assert {path.name for path in (tmp_path / "disks").iterdir()} == {
            disk["uuid"] for disk in disks
        }
        for disk in disks:
            entry_of(jane, disk["identifier"])


def test_a_real_machine_is_not_saved_as_a_simulated_one(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=dict([JANE])) as site:
        vm_id = Caller(site, JANE).start(template(site))
    with closing(sqlite3.connect(tmp_path / "sandbox.db")) as db, db:
        db.execute("UPDATE machines SET state = 3, lcm_state = 11")
    (tmp_path / "machines" / str(vm_id)).mkdir(parents=True)
    with pytest.raises(SandboxError, match=r"start it with real machines$"):
        Sandbox(tmp_path, users=dict([JANE])).start()


class Saving(threading.Thread):
    """Somebody who saves machines as fast as they can."""

    def __init__(self, site: Reachable, number: int) -> None:
        super().__init__()
        self.site = site
        self.jane = Caller(site, JANE)
        self.titles = (f"{number} {turn}" for turn in itertools.count())
        self.begun: dict[int, str] = {}
        self.acknowledged: set[str] = set()

    def run(self) -> None:
        with contextlib.suppress(requests.RequestException):
            for title in self.titles:
                vm_id = self.jane.start(template(self.site, NEWIMAGE_TITLE=title))
                self.begun[vm_id] = title
                self.jane.act("shutdown", vm_id)
                self.acknowledged.add(title)


def test_kill_9_in_a_save_loses_nothing_and_leaves_no_half(tmp_path: Path) -> None:
    with elsewhere(tmp_path, forked=True) as site:
        kept = Caller(site, JANE).disk(tag="kept")
        everybody = [Saving(site, number) for number in range(4)]
        kill_at_work(site, everybody, lambda one: len(one.acknowledged))
    with Sandbox(tmp_path, users=dict([JANE])) as again:
        jane = Caller(again, JANE)
        disks = {disk["uuid"]: disk for disk in jane.disks("GET").json()}
        assert {path.name for path in (tmp_path / "disks").iterdir()} == set(disks)
        tags = [disk["tag"] for disk in disks.values()]
        assert len(set(tags)) == len(tags)
        assert disks.pop(kept)["tag"] == "kept"
        for one in everybody:
            assert one.acknowledged <= set(tags)
            for vm_id, title in one.begun.items():
                assert (jane.states(vm_id) == (6, 0)) == (title in tags)
                assert jane.states(vm_id) in ((6, 0), (3, 3))
        for uuid, disk in disks.items():
            entry, _ = entry_of(jane, disk["identifier"])
            with (tmp_path / "disks" / uuid).open("rb") as file:
                content = file.read(entry.size or 0)
            sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            assert identifier(sha1) == disk["identifier"]


def test_the_disk_with_an_image_is_found_for_those_who_may_use_it(
    jane: Caller, joerg: Caller, site: Sandbox
) -> None:
    disk = saved(jane, template(site))
    mine, his = jane.start("A=1"), joerg.start("A=1")
    with closing(Store(site.dir / "sandbox.db")) as store:
        images = SavedImages(store, site.dir / "disks", site.marketplace, site.url)
        assert images.find(mine, disk["identifier"]) == site.dir / "disks" / disk["uuid"]
        with pytest.raises(MachineError, match="no persistent disk with image"):
            images.find(his, disk["identifier"])
        jane.disks("PUT", f"/{disk['uuid']}", data={"visibility": "PUBLIC"})
        assert images.find(his, disk["identifier"]).name == disk["uuid"]
        with pytest.raises(MachineError, match="no persistent disk with image"):
            images.find(mine, "")
