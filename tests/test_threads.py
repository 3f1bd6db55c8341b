"""One driver, shared by threads."""

import threading
import time
from typing import Any

import pytest
from clouds import Site
from crowds import share

from stratuslab_libcloud.client.stratuslab import compute, services


def test_each_of_eight_threads_gets_the_answers_that_it_asked_for(site: Site) -> None:
    assert share(site, 2) == 160  # and 2,000 in tests/long


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
