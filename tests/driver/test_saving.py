"""Nodes that become images, and images that are withdrawn."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from clouds import KEY, Site, configured
from endorsers import certified, pkcs12_file
from libcloud.compute.base import Node, NodeImage
from looks import interrupt_waiting
from present import present

from stratuslab_libcloud import NewImage
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    NodeFailedError,
    NodeNotReadyError,
    NotFoundError,
    UntrustedImageError,
)
from stratuslab_libcloud.metadata.rdf import read_entry, write_entry
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.untrusted import xml

TTYLINUX = "PAG0IrP3g8RVUUaDvFINgBAacn2"
WIKI = NewImage("With a wiki", "ttylinux, and a wiki.", "Jane Doe", "jane@example.org", "2.7")
SLOW = {"boot_seconds": 0, "ending_seconds": 1}


def started(site: Site, **options: Any) -> Node:
    options.setdefault("image", NodeImage(TTYLINUX, "ttylinux", site.driver))
    return site.node(auth=KEY, **{"ex_save_as": WIKI, **options})


class TestCreateImage:
    def test_it_is_what_the_node_was_started_to_become(self, site: Site) -> None:
        node = started(site)
        site.requests()
        image = site.driver.create_image(node, "With a wiki", "ttylinux, and a wiki.")
        assert site.requests() == [
            *("POST one-proxy", "GET pdisk", "POST one-proxy", "POST one-proxy"),
            *("GET pdisk", "GET marketplace"),
        ]
        assert isinstance(image, NodeImage)
        assert image.name == "With a wiki"
        extra = present(image.extra)
        assert (extra["creator"], extra["version"], extra["os"]) == ("Jane Doe", "2.7", "ttylinux")
        (volume,) = site.driver.list_volumes()
        assert (volume.name, present(volume.extra)["identifier"]) == ("With a wiki", image.id)
        assert extra["locations"][0].endswith(f":{volume.id}")
        assert site.driver.list_nodes() == []
        assert image.id in {one.id for one in site.driver.list_images()}

    def test_nodes_start_from_it_where_its_key_need_not_be_trusted(
        self, site: Site, tmp_path: Path
    ) -> None:
        image = site.driver.create_image(started(site), "With a wiki")
        with pytest.raises(UntrustedImageError):
            site.node(image=image, auth=KEY)
        path = configured(site.sandbox, tmp_path, verify_images="off")
        driver = site.new_driver(stratuslab_user_config=path)
        assert site.node(driver=driver, image=image, auth=KEY).image is image
        assert [node.state for node in driver.list_nodes()] == ["running"]
        driver.ex_close()

    @pytest.mark.parametrize("site", [SLOW], indirect=True, ids=["slow"])
    def test_it_is_waited_for(self, site: Site) -> None:
        assert site.driver.create_image(started(site), "With a wiki").name == "With a wiki"

    def test_of_two_with_one_title_each_is_its_own(self, site: Site) -> None:
        first, second = (site.driver.create_image(started(site), WIKI.title) for _ in range(2))
        assert first.id != second.id
        names = [present(volume.extra)["identifier"] for volume in site.driver.list_volumes()]
        assert names == [second.id, first.id]

    def test_asking_again_is_no_error(self, site: Site) -> None:
        node = started(site)
        first = site.driver.create_image(node, "With a wiki")
        assert site.driver.create_image(node, "With a wiki").id == first.id
        assert len(site.driver.list_volumes()) == 1

    @pytest.mark.parametrize("site", [{"ending_seconds": 3600}], indirect=True, ids=["endless"])
    def test_time_runs_out(self, site: Site) -> None:
        node = started(site)
        with pytest.raises(NodeNotReadyError, match="is not saved yet, and the time is over"):
            site.driver.create_image(node, "With a wiki", ex_timeout=0.1)
        with pytest.raises(NodeNotReadyError):  # it goes on waiting
            site.driver.create_image(node, "With a wiki", ex_timeout=0.1)

    @pytest.mark.parametrize(
        ("name", "description"),
        [("Another", None), ("", None), ("With a wiki", "Else"), ("With a wiki", "")],
    )
    def test_other_words_than_it_was_started_with_are_refused(
        self, site: Site, name: str, description: str | None
    ) -> None:
        node = started(site)
        with pytest.raises(InvalidValueError, match=f"when node {node.id} was started"):
            site.driver.create_image(node, name, description)
        assert site.driver.ex_get_node(str(node.id)).state == "running"

    def test_a_node_that_was_not_started_to_be_saved(self, site: Site) -> None:
        node = site.node(auth=KEY)
        with pytest.raises(ConflictError, match="start it with ex_save_as"):
            site.driver.create_image(node, "With a wiki")
        assert site.driver.ex_get_node(str(node.id)).state == "running"

    @pytest.mark.parametrize("site", [{"boot_seconds": 3600}], indirect=True, ids=["boots"])
    def test_a_node_that_does_not_run_yet(self, site: Site) -> None:
        with pytest.raises(ConflictError, match="cannot be saved, it is Pending: it does not run"):
            site.driver.create_image(started(site), "With a wiki")

    def test_a_node_that_was_killed(self, site: Site) -> None:
        node = started(site)
        site.driver.destroy_node(node)
        with pytest.raises(NotFoundError, match="no disk with the tag 'With a wiki'"):
            site.driver.create_image(node, "With a wiki")

    def test_a_cloud_that_cannot_save_it_says_why(self, site: Site) -> None:
        node = started(site)
        with closing(sqlite3.connect(site.sandbox.dir / "sandbox.db")) as db, db:
            # As clients write it that do not look.
            db.execute("UPDATE machines SET template = replace(template, 'jane@example.org', '@')")
        with pytest.raises(NodeFailedError, match=r"it is saved on disk [0-9a-f-]{36}, but not in"):
            site.driver.create_image(node, "With a wiki")

    def test_an_entry_in_another_marketplace(self, site: Site) -> None:
        node = started(site)
        image = site.driver.create_image(node, "With a wiki")
        site.sandbox.marketplace.withdraw("jane@example.org", ())
        with pytest.raises(NotFoundError, match="may be described in another Marketplace"):
            site.driver.create_image(node, "With a wiki")
        assert image.id == present(site.driver.list_volumes()[0].extra)["identifier"]

    @pytest.mark.parametrize("site", [{"ending_seconds": 3600}], indirect=True, ids=["endless"])
    def test_an_interrupt_says_what_may_exist(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node = started(site)
        interrupt_waiting(monkeypatch, "stratuslab_libcloud.client.waiting")
        with pytest.raises(KeyboardInterrupt) as caught:
            site.driver.create_image(node, "With a wiki")
        assert caught.value.may_exist == [  # type: ignore[attr-defined]
            f"node {node.id} may be shutting down, and become the image 'With a wiki'"
        ]


class TestStarting:
    @pytest.mark.parametrize(
        ("save_as", "reason"),
        [
            (NewImage("", "c", "a", "a@b.org"), "needs text as title"),
            (NewImage("t", "", "a", "a@b.org"), "needs text as comment"),
            (NewImage("t", "c", "", "a@b.org"), "needs text as author"),
            (NewImage("t", "c", "a", ""), "needs text as email"),
            (NewImage("t", "c", "a", "nobody"), "is not an e-mail address"),
            (NewImage("t", "c", "a", "a@b.org\n"), "must not begin or end"),
            (NewImage("x" * 41, "c", "a", "a@b.org"), "41 characters"),
            (NewImage('"t"', "c", "a", "a@b.org"), "must not begin or end"),
            (NewImage(" t", "c", "a", "a@b.org"), "must not begin or end"),
            (NewImage("t", "c]]>c", "a", "a@b.org"), "must not contain"),
            (NewImage("t\0t", "c", "a", "a@b.org"), "cannot be sent"),
            (NewImage("t", "c", "\udc80", "a@b.org"), "cannot be sent"),
            ("With a wiki", "save_as must be a NewImage"),
            ({"title": "x"}, "save_as must be a NewImage"),
        ],
    )
    def test_what_cannot_be_saved_is_refused(self, site: Site, save_as: Any, reason: str) -> None:
        with pytest.raises(InvalidValueError, match=reason):
            started(site, ex_save_as=save_as)
        assert site.driver.list_nodes() == []

    def test_a_bootable_volume_is_kept_as_it_is(self, site: Site) -> None:
        uuid = "1e8e9104-681c-4269-8aae-e513c6723ac6"
        with pytest.raises(InvalidValueError, match="the disk itself keeps what is written"):
            started(site, image=NodeImage(uuid, "v", site.driver))

    @pytest.mark.parametrize(
        "text",
        ["<b>&amp;", 'a "quoted" word', "a = [ b ], c # d", "a\nb", "« à jour »", "$HOME `id`"],
    )
    def test_texts_come_through_as_they_are(self, site: Site, text: str) -> None:
        save_as = NewImage(text, text, text, "jane@example.org", text)
        image = site.driver.create_image(started(site, ex_save_as=save_as), text, text)
        extra = present(image.extra)
        found = [extra[name] for name in ("title", "description", "creator", "version")]
        assert found == [text] * 4
        assert site.driver.list_volumes()[0].name == text


class TestDeleteImage:
    @pytest.fixture
    def ada(self, site: Site, tmp_path: Path) -> Iterator[StratusLabNodeDriver]:
        key = certified("P-256", email="ada@example.org")
        path = configured(
            site.sandbox,
            tmp_path,
            p12_certificate=pkcs12_file(tmp_path / "ada.p12", key),
            p12_password="geheim",
        )
        driver = site.new_driver(stratuslab_user_config=path)
        yield driver
        driver.ex_close()

    def test_it_deprecates_ones_own(self, site: Site, ada: StratusLabNodeDriver) -> None:
        save_as = NewImage("With a wiki", "And a wiki.", "Ada", "ada@example.org")
        image = ada.create_image(started(site, ex_save_as=save_as), "With a wiki")
        assert ada.delete_image(image) is True
        assert image.id not in {one.id for one in ada.list_images()}
        assert len(ada.list_volumes()) == 1

    def test_not_that_of_others(self, site: Site, ada: StratusLabNodeDriver) -> None:
        image = ada.create_image(started(site), "With a wiki")
        with pytest.raises(NotFoundError):
            ada.delete_image(image)
        assert image.id in {one.id for one in ada.list_images()}

    def test_not_without_a_key(self, site: Site) -> None:
        image = site.driver.list_images()[0]
        with pytest.raises(ConfigurationError, match="p12_certificate"):
            site.driver.delete_image(image)

    def test_copying_is_not_implemented(self, site: Site) -> None:
        image = site.driver.list_images()[0]
        with pytest.raises(NotImplementedError):
            site.driver.copy_image("sandbox", image, "copy")


def test_an_image_is_endorsed_for_good(site: Site) -> None:
    image = site.driver.create_image(started(site), "With a wiki")
    document = site.sandbox.marketplace.newest(image.id)
    assert document is not None
    entry = read_entry(xml.parse(document))
    key = certified("P-256", email="jane@example.org")
    signed = sign(write_entry(entry), key, digest="sha256")
    site.driver.ex_upload_metadata(signed)
    (endorsement,) = site.driver.ex_list_endorsements(image.id)
    assert endorsement.fingerprint == key.certificate.fingerprint
