"""The rows of the table: contestants, and targets for ours."""

import math
from dataclasses import dataclass

__all__ = ["LIMIT", "OURS", "ROWS", "Contestant", "Row"]

LIMIT, OURS = "limit", "ours"


@dataclass(frozen=True)
class Contestant:
    """
    A function that is measured.

    :ivar function: ``module:name`` in this package; takes a URL of the server, returns the call.
    :ivar kind: the kind of listing that the server sends it.
    """

    name: str
    function: str
    kind: str


@dataclass(frozen=True)
class Row:
    """
    A comparison.

    :ivar count: the number of items listed.
    :ivar contestants: the limit first, then ours, then the peers.
    :ivar calls: the number of calls in one measurement, whose mean counts.
    :ivar at_most: the target for ours, divided by the limit.
    :ivar adds_at_most: the target for ours minus the limit, in seconds.
    :ivar ahead: a peer's name, and the target for its time divided by ours.
    :ivar spare: the bytes that ours may need beyond the size of the result; ``inf``: no target,
        ``None``: not measured.
    :ivar delay: the milliseconds by which the server delays each answer.
    :ivar cold: whether the first call in its process is measured.
    """

    title: str
    count: int
    contestants: tuple[Contestant, ...]
    calls: int = 1
    at_most: float | None = None
    adds_at_most: float | None = None
    ahead: tuple[str, float] | None = None
    spare: float | None = None
    delay: int = 0
    cold: bool = False


def _images_by_json(count: int) -> Row:
    return Row(
        f"{count:,} images by JSON",
        count,
        (
            Contestant(LIMIT, "limits:images_json", "json"),
            Contestant(OURS, "contestants:list_images", "json"),
            Contestant("the limit made into NodeImages", "limits:made_images_json", "json"),
            Contestant("Libcloud OpenStack", "contestants:openstack_images", "openstack"),
        ),
        calls=max(1, 300 // count),
        at_most=1.5,
        spare=math.inf,
    )


def _images_by_xml(count: int) -> Row:
    peers = (Contestant("Libcloud OpenNebula", "contestants:opennebula_images", "occi"),)
    return Row(
        f"{count:,} images by XML",
        count,
        (
            Contestant(LIMIT, "limits:images_xml", "xml"),
            Contestant(OURS, "contestants:list_images", "xml"),
            *(peers if count <= 1000 else ()),  # it sends a request for each image
        ),
        calls=max(1, 300 // count),
        at_most=1.3,
        spare=30 * 2**20,
    )


def _nodes(count: int) -> Row:
    return Row(
        f"{count:,} nodes",
        count,
        (
            Contestant(LIMIT, "limits:nodes", "nodes"),
            Contestant(OURS, "contestants:list_nodes", "nodes"),
            Contestant("pyone", "contestants:pyone_nodes", "nodes"),
            Contestant("Libcloud OpenStack", "contestants:openstack_nodes", "openstack"),
        ),
        calls=max(1, 300 // count),
        at_most=1.3,
        spare=math.inf,
        ahead=("pyone", 3.0),
    )


def _on_opennebula(count: int, what: str) -> Row:
    return Row(
        f"{count:,} {what} on OpenNebula",
        count,
        (
            Contestant(LIMIT, f"limits:engine_{what}", "engine"),
            Contestant(OURS, f"contestants:engine_{what}", "engine"),
            Contestant("pyone", f"contestants:pyone_engine_{what}", "engine"),
        ),
        calls=max(1, 300 // count),
        at_most=1.3,
        spare=math.inf,
        ahead=("pyone", 3.0),
    )


ROWS = (
    *map(_images_by_json, (100, 1000, 10_000)),
    *map(_images_by_xml, (100, 1000, 10_000)),
    *map(_nodes, (10, 1000, 10_000)),
    _on_opennebula(1000, "nodes"),
    _on_opennebula(10_000, "nodes"),
    _on_opennebula(1000, "images"),
    _on_opennebula(10_000, "images"),
    Row(
        "1,000 volumes",
        1000,
        (
            Contestant(LIMIT, "limits:volumes", "volumes"),
            Contestant(OURS, "contestants:list_volumes", "volumes"),
            Contestant("Libcloud OpenStack", "contestants:openstack_volumes", "openstack"),
        ),
        calls=10,
        spare=math.inf,
    ),
    Row(
        "an entry with its signature, by reading it",
        1,
        (
            Contestant(LIMIT, "entries:read", "xml"),
            Contestant(OURS, "entries:verified", "xml"),
        ),
        calls=200,
        adds_at_most=0.005,
    ),
    Row(
        "create and destroy 100 nodes",
        100,
        (
            Contestant(LIMIT, "limits:create_and_destroy", "nodes"),
            Contestant(OURS, "contestants:create_and_destroy", "nodes"),
        ),
    ),
    Row(
        "8 locations at 200 ms, by one",
        10,
        (
            Contestant(LIMIT, "contestants:one_location", "nodes"),
            Contestant(OURS, "contestants:eight_locations", "nodes"),
        ),
        at_most=1.5,
        delay=200,
    ),
    Row(
        "import of the package, by that of libcloud.compute.base",
        1,
        (
            Contestant(LIMIT, "startup:base", ""),
            Contestant(OURS, "startup:package", ""),
        ),
        cold=True,
    ),
    Row(
        "a ready driver, by libcloud.compute.base",
        1,
        (
            Contestant(LIMIT, "startup:base", ""),
            Contestant(OURS, "startup:ready", ""),
        ),
        adds_at_most=0.030,
        cold=True,
    ),
    Row(
        "start and stop of a throw-away site",
        1,
        (
            Contestant(LIMIT, "sites:bare", ""),
            Contestant(OURS, "sites:sandbox", ""),
            Contestant("moto's server", "sites:moto", ""),
        ),
        calls=5,
        adds_at_most=0.050,
    ),
)
