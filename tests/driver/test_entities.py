"""Libcloud's entities, made of what the client read."""

import copy
import pickle
from typing import Any

import pytest
from libcloud.compute.base import NodeImage
from present import present

from stratuslab_libcloud.client.data import Machine
from stratuslab_libcloud.client.stratuslab.marketplace import EndorsedImage, ListedEntry
from stratuslab_libcloud.configuration.instance_types import InstanceType
from stratuslab_libcloud.driver.entities import Origin, to_image, to_node
from stratuslab_libcloud.metadata.entry import ABSENT, Entry

IMAGE = "IgBUoILNIAlD290Tvui-60IdiLZ"
ROW = ListedEntry(
    "Debian", "12", "x86_64", "a@b", "machine", "2025", IMAGE, "https://x", "text", "T\x1b"
)
SAME = Entry(
    IMAGE,
    os="Debian",
    os_version="12",
    os_arch="x86_64",
    endorser="a@b",
    kind="machine",
    endorsed="2025",
    locations=("https://x",),
    description="text",
    title="T\x1b",
)
DRIVER: Any = None


@pytest.mark.parametrize("endorsements", [[ROW], [SAME]], ids=["row", "entry"])
class TestImages:
    """Their extra is made late; nobody can tell."""

    def test_extra_has_every_field_and_is_made_when_it_is_looked_at(
        self, endorsements: list[Any]
    ) -> None:
        image = to_image(EndorsedImage(endorsements), DRIVER)
        assert isinstance(image, NodeImage)
        assert "extra" not in vars(image)
        assert image.extra.keys() == ABSENT.keys() - {"identifier"} | {"endorsers", "verdict"}
        assert image.extra["title"] == "T\x1b"
        assert image.extra["locations"] == ["https://x"]
        assert image.extra["endorsers"] == ["a@b"]
        assert image.extra["checksums"] == {}
        assert image.extra["inbound_ports"] == []

    def test_it_is_an_attribute_as_any_other(self, endorsements: list[Any]) -> None:
        image, other = (
            to_image(EndorsedImage(endorsements), DRIVER),
            to_image(EndorsedImage(endorsements), DRIVER),
        )
        image.extra["mine"] = 1
        assert image.extra["mine"] == 1
        assert "mine" not in other.extra
        other.extra = {"mine": 2}
        assert other.extra == {"mine": 2}

    def test_it_is_the_same_in_a_copy(self, endorsements: list[Any]) -> None:
        for looked_at in (False, True):
            image = to_image(EndorsedImage(endorsements), DRIVER)
            if looked_at:
                image.extra["mine"] = 1
            for other in (pickle.loads(pickle.dumps(image)), copy.deepcopy(image)):
                assert (other.id, other.name) == (IMAGE, "T")
                assert other.extra == image.extra
                assert other.extra is not image.extra

    def test_the_name_can_be_printed(self, endorsements: list[Any]) -> None:
        assert to_image(EndorsedImage(endorsements), DRIVER).name == "T"


def test_an_image_made_of_a_row_says_what_one_of_an_entry_does() -> None:
    assert (
        to_image(EndorsedImage([ROW]), DRIVER).extra
        == to_image(EndorsedImage([SAME]), DRIVER).extra
    )


def test_the_newest_endorsement_counts_and_all_endorsers_are_named() -> None:
    older = ROW._replace(endorser="c@d", title="old")
    image = to_image(EndorsedImage([ROW, older, older._replace(endorser=None)]), DRIVER)
    assert (image.name, image.extra["endorsers"]) == ("T", ["a@b", "c@d"])


class TestNodes:
    """So is the most of theirs."""

    MACHINE = Machine(
        id="7",
        name="web",
        owner="jane",
        state=3,
        lcm_state=3,
        nics=[{"ip": "10.0.0.7", "network": "public"}],
        disks=[],
        host="host",
        cpus=1,
        memory=512,
        memory_kib=1024,
        cpu_percent=2.5,
        started=1_400_000_000,
        error=None,
        image="42",
    )
    ORIGIN = Origin({"location": "one", "endpoint": "https://x"}, [InstanceType("s", 1, 512, 0)])

    def test_it_is_made_when_it_is_looked_at(self) -> None:
        node = to_node(self.MACHINE, self.ORIGIN, DRIVER)
        late = {"extra", "size", "image", "created_at"}
        assert not late & vars(node).keys()
        assert (node.id, node.name, node.public_ips) == ("7", "web", ["10.0.0.7"])
        assert (node.extra["location"], node.extra["networks"]) == ("one", ["public"])
        assert (present(node.size).id, present(node.image).id) == ("s", "42")
        assert present(node.created_at).year == 2014
        assert late <= vars(node).keys()

    def test_it_is_an_attribute_as_any_other_and_the_same_in_a_copy(self) -> None:
        node = to_node(self.MACHINE, self.ORIGIN, DRIVER)
        for looked_at in (False, True):
            if looked_at:
                node.extra["mine"], node.size = 1, None
            for other in (pickle.loads(pickle.dumps(node)), copy.deepcopy(node)):
                assert other.extra == node.extra
                assert other.extra is not node.extra
                assert (other.size is None) == (node.size is None)
                assert other.created_at == node.created_at
