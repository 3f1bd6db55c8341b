"""One driver, shared by threads."""

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from clouds import Site

from stratuslab_libcloud.client.stratuslab import compute, services

THREADS = 8
TURNS = 25  # of ten calls in each thread


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that are interrupted at every opportunity."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def turn(driver: Any, size: Any, image: Any, name: str) -> int:
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


def test_two_thousand_calls_of_eight_threads(site: Site, restless: None) -> None:
    driver = site.new_driver()  # which has asked nothing yet: they meet at the first call, too
    size, images = site.driver.list_sizes()[0], site.driver.list_images()
    site.driver.ex_close()
    site.seen.clear()
    together = threading.Barrier(THREADS)
    calls, errors = [0] * THREADS, []

    def work(number: int) -> None:
        together.wait(60)
        try:
            for count in range(TURNS):
                image = images[(number + count) % len(images)]
                calls[number] += turn(driver, size, image, f"n{number}-{count}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(calls) == 2000
    assert [driver.list_nodes(), driver.list_volumes()] == [[], []]
    connections: dict[str, set[Any]] = {}
    for one in site.seen:
        connections.setdefault(one.path.split("/")[1], set()).add(one.peer)
    assert set(connections) == {"RPC2", "marketplace", "one-proxy", "pdisk"}
    del connections["RPC2"]  # engines close them after each call
    assert all(len(peers) <= THREADS for peers in connections.values()), connections
    driver.ex_close()


def test_they_share_a_service_that_they_ask_first_at_the_same_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Slow(compute.ComputeClient):
        def __init__(self, *arguments: Any) -> None:
            made.append(self)
            time.sleep(0.2)
            super().__init__(*arguments)

    monkeypatch.setattr(services, "ComputeClient", Slow)
    threads = [threading.Thread(target=site.driver.list_nodes) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
