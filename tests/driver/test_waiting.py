"""Waiting until nodes run."""

import threading
import time
import types
from typing import Any

import pytest
from canned import Canned, Handler, Reply, rpc
from clouds import Site
from libcloud.common.types import LibcloudError
from libcloud.compute.base import (
    Node,
)
from libcloud.compute.types import NodeState

from stratuslab_libcloud.compute_driver import StratusLabNode, StratusLabNodeDriver
from stratuslab_libcloud.driver import deployment
from stratuslab_libcloud.errors import (
    NodeFailedError,
    NodeNotReadyError,
    UnavailableError,
)
from stratuslab_libcloud.sandbox.site import Sandbox


class TestWaiting:
    def node(self, driver: StratusLabNodeDriver) -> Node:
        extra = {"location": "default"}
        return StratusLabNode("0", "n", NodeState.PENDING, [], [], driver, extra=extra)

    def vm(self, state: int, lcm_state: int, more: str = "") -> tuple[int, str, bytes]:
        numbers = f"<STATE>{state}</STATE><LCM_STATE>{lcm_state}</LCM_STATE>"
        return rpc(True, f"<VM><ID>0</ID>{numbers}{more}</VM>", 0)

    @pytest.mark.parametrize("state", [(3, 14), (7, 0), (6, 0), (3, 36)])
    def test_a_node_that_will_never_run_ends_it_at_once(self, state: tuple[int, int]) -> None:
        error = "<TEMPLATE><ERROR><MESSAGE>no space left</MESSAGE></ERROR></TEMPLATE>"
        with Canned([self.vm(1, 0), self.vm(*state, error)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeFailedError, match="no space left"):
                driver.wait_until_running([self.node(driver)], wait_period=0.01, timeout=60)

    def test_a_passing_fault_does_not_end_it(self) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        nic = "<TEMPLATE><NIC><IP>127.0.0.9</IP></NIC></TEMPLATE>"
        with Canned([*[hang_up] * 4, self.vm(3, 3), self.vm(3, 3, nic)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            ((_, addresses),) = driver.wait_until_running([self.node(driver)], wait_period=0.01)
        assert addresses == ["127.0.0.9"]

    def test_nor_does_an_overloaded_cloud(self) -> None:
        nic = "<TEMPLATE><NIC><IP>127.0.0.9</IP></NIC></TEMPLATE>"
        busy = (503, "text/html", b"<html>come again</html>")
        with Canned([*[busy] * 4, self.vm(3, 3, nic)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            ((_, addresses),) = driver.wait_until_running([self.node(driver)], wait_period=0.01)
        assert addresses == ["127.0.0.9"]

    def test_a_failure_ends_it_while_others_are_waited_for(self) -> None:
        waiting = self.vm(1, 0)
        failed = rpc(True, "<VM><ID>1</ID><STATE>7</STATE></VM>", 0)

        def answer(handler: Handler, request: Any) -> None:
            handler.send(*(failed if b"<int>1</int>" in request.body else waiting))

        with Canned([answer]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            nodes = [self.node(driver), self.node(driver)]
            nodes[1].id = "1"
            before = time.monotonic()
            with pytest.raises(NodeFailedError, match="node 1 is Failed"):
                driver.wait_until_running(nodes, wait_period=0.05, timeout=60)
            assert time.monotonic() - before < 30

    def test_it_ends_in_time(self) -> None:
        with Canned([self.vm(1, 0)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeNotReadyError, match=r"after 3 seconds.*do not run yet.*: 0$"):
                driver.wait_until_running([self.node(driver)], wait_period=0.5, timeout=3)

    def test_slow_is_not_failed(self) -> None:
        assert issubclass(NodeNotReadyError, LibcloudError)
        assert not issubclass(NodeNotReadyError, NodeFailedError)
        assert not issubclass(NodeFailedError, NodeNotReadyError)

    def test_the_trouble_that_was_met_is_reported_not_the_last_hopeless_look(self) -> None:
        over = threading.Event()
        answers: list[Reply] = [*[(500, "text/html", b"")] * 3, lambda *_: over.wait()]
        with Canned(answers) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeNotReadyError, match=r": 0 \(.*HTTP 500") as caught:
                driver.wait_until_running([self.node(driver)], timeout=2)
            over.set()
        assert len(server.requests) > 3
        assert "did not answer" not in str(caught.value)
        assert isinstance(caught.value.__cause__, UnavailableError)

    def test_a_look_that_hangs_is_trouble_too(self) -> None:
        over = threading.Event()
        with Canned([lambda *_: over.wait()]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeNotReadyError, match=r": 0 \(.*did not answer for"):
                driver.wait_until_running([self.node(driver)], timeout=1)
            over.set()

    def test_trouble_that_has_passed_is_not_reported(self) -> None:
        with Canned([*[(500, "text/html", b"")] * 3, self.vm(1, 0)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            with pytest.raises(NodeNotReadyError, match=r"do not run yet.*: 0$"):
                driver.wait_until_running([self.node(driver)], timeout=2)

    def test_many_nodes_at_a_silent_service_do_not_prolong_it(self) -> None:
        over = threading.Event()
        with Canned([lambda *_: over.wait()]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            before = time.monotonic()
            with pytest.raises(NodeNotReadyError):
                driver.wait_until_running([self.node(driver) for _ in range(60)], timeout=0.1)
            assert time.monotonic() - before < 20
            over.set()

    def test_it_looks_soon_and_then_ever_less_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []
        clock = types.SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
        nic = "<TEMPLATE><NIC><IP>127.0.0.9</IP></NIC></TEMPLATE>"
        with Canned([*[self.vm(1, 0)] * 12, self.vm(3, 3, nic)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc")
            monkeypatch.setattr(deployment, "time", clock)
            driver.wait_until_running([self.node(driver)], wait_period=5, timeout=600)
        assert pauses[0] == 0.25
        assert len(pauses) == 12
        assert pauses == sorted(pauses)
        assert max(pauses) == pauses[-1] == 5

    def test_a_node_that_runs_soon_is_noticed_soon(self) -> None:
        with Sandbox(boot_seconds=1) as sandbox:
            site = Site(sandbox, [])
            node = site.node()
            before = time.monotonic()
            site.driver.wait_until_running([node], wait_period=120, timeout=240)
            assert time.monotonic() - before < 60
            site.driver.ex_close()
