"""Threads that share one driver, and are interrupted at every opportunity."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clouds import Site

__all__ = ["share"]

_THREADS = 8


def share(site: Site, turns: int) -> int:
    """
    Lead nodes and volumes through their lives, in each thread as often as there are turns.

    :return: how many calls were answered, each to whom had asked.
    """
    driver = site.new_driver()  # which has asked nothing yet: they meet at the first call, too
    size, images = site.driver.list_sizes()[0], site.driver.list_images()
    site.driver.ex_close()
    site.seen.clear()
    together = threading.Barrier(_THREADS)

    def work(number: int) -> int:
        together.wait(60)
        return sum(
            _life(driver, size, images[(number + count) % len(images)], f"n{number}-{count}")
            for count in range(turns)
        )

    with _restless(), ThreadPoolExecutor(_THREADS) as pool:
        calls = sum(pool.map(work, range(_THREADS)))
    assert [driver.list_nodes(), driver.list_volumes()] == [[], []]
    connections: dict[str, set[Any]] = {}
    for one in site.seen:
        connections.setdefault(one.path.split("/")[1], set()).add(one.peer)
    assert set(connections) == {"marketplace", "one-proxy", "pdisk"}
    assert all(len(peers) <= _THREADS for peers in connections.values()), connections
    driver.ex_close()
    return calls


@contextlib.contextmanager
def _restless() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _life(driver: Any, size: Any, image: Any, name: str) -> int:
    """The life of a node and a volume; each answer is about them. Ten calls."""
    node = driver.create_node(name, size, image)
    found = driver.ex_get_node(node.id)
    assert (found.name, found.public_ips) == (name, node.public_ips)
    assert [found.id for found in driver.list_nodes() if found.name == name] == [node.id]
    volume = driver.create_volume(1, name)
    assert driver.attach_volume(node, volume)
    (listed,) = [found for found in driver.list_volumes() if found.name == name]
    assert (listed.id, listed.extra["users"]) == (volume.id, 1)
    assert driver.detach_volume(listed)
    assert driver.destroy_volume(volume)
    assert driver.get_image(image.id).id == image.id
    assert driver.destroy_node(node)
    return 10
