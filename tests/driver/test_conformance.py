"""What holds for the driver as a whole: Libcloud's own tests, costs, threads, secrets."""

import io
import threading
import unittest
from pathlib import Path
from typing import Any

import libcloud
import libcloud.test.compute
import pytest
from clouds import Site, config
from looks import ENDS, driver_volume, wait_for
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    NotFoundError,
    StratusLabError,
)
from stratuslab_libcloud.sandbox.site import Sandbox


class TestLibcloudsOwn(libcloud.test.compute.TestCaseMixin, unittest.TestCase):
    """Libcloud's conformance tests."""

    should_list_volumes = True

    def setUp(self) -> None:
        self.sandbox = Sandbox()
        self.sandbox.start()
        self.addCleanup(self.sandbox.stop)
        self.driver = StratusLabNodeDriver(stratuslab_user_config=self.sandbox.config_path)
        self.addCleanup(self.driver.ex_close)
        sizes, images = self.driver.list_sizes(), self.driver.list_images()
        self.driver.create_node(name="first", size=sizes[0], image=images[0])
        self.driver.create_volume(1, "volume")

    def test_reboot_node_response(self) -> None:
        with pytest.raises(NotImplementedError):  # guide 9.1.4
            self.driver.reboot_node(self.driver.list_nodes()[0])


class TestRequests:
    """What each operation may cost (design, section 3), counted at the server."""

    def test_the_table(self, site: Site) -> None:
        driver, counted = site.driver, site.requests
        driver.list_locations()
        driver.list_sizes()
        assert counted() == []
        images = driver.list_images()
        assert counted() == ["GET marketplace"]
        driver.get_image(images[0].id)
        assert counted() == ["GET marketplace"]
        site.node(image=images[0])
        assert counted() == ["POST one-proxy"] * 2  # the entry was just read
        node = site.node(image=images[1])
        assert counted() == ["GET marketplace", "POST one-proxy", "POST one-proxy"]
        driver.list_nodes()
        assert counted() == ["POST one-proxy"]
        driver.ex_list_nodes(driver.list_locations()[0])
        assert counted() == ["POST one-proxy"]
        driver.ex_get_node(present(node.id))
        assert counted() == ["POST one-proxy"]
        volume = driver.create_volume(1, "v")
        assert counted() == ["POST pdisk"]
        driver.list_volumes()
        assert counted() == ["GET pdisk"]
        driver.attach_volume(node, volume)
        assert counted() == ["POST one-proxy", "POST pdisk"]
        driver.detach_volume(volume, ex_node=node)
        assert counted() == ["DELETE pdisk"]
        driver.attach_volume(node, volume)
        counted()
        driver.detach_volume(volume)
        assert counted() == ["DELETE pdisk"]  # it remembers where it is
        driver.attach_volume(node, volume)
        counted()
        driver.detach_volume(driver_volume(driver, volume.id))
        assert counted() == ["GET pdisk", "GET pdisk", "DELETE pdisk"]  # the first is the listing
        driver.ex_update_volume(volume, name="w")
        assert counted() == ["PUT pdisk"]
        driver.destroy_volume(volume)
        assert counted() == ["DELETE pdisk"]
        driver.destroy_node(node)
        assert counted() == ["POST one-proxy"]
        driver.ex_shutdown_node(driver.list_nodes()[0])
        assert counted() == ["POST one-proxy"] * 2  # the first is the listing

    def test_one_connection_per_service_for_a_whole_session(self, site: Site) -> None:
        for _ in range(3):
            node = site.node()
            volume = site.driver.create_volume(1, "v")
            site.driver.attach_volume(node, volume)
            site.driver.detach_volume(volume)
            site.driver.destroy_volume(volume)
            site.driver.destroy_node(node)
            with pytest.raises(NotFoundError):
                site.driver.destroy_volume(volume)
        peers: dict[str, set[Any]] = {}
        for one in site.seen:
            peers.setdefault(one.path.split("/")[1], set()).add(one.peer)
        assert {name: len(found) for name, found in peers.items()} == {
            "marketplace": 1,
            "one-proxy": 1,
            "pdisk": 1,
        }

    def test_constructing_causes_none(self) -> None:
        StratusLabNodeDriver(
            stratuslab_user_config=config(
                endpoint="nowhere.invalid", pem_key="/no", pem_certificate="/no"
            )
        )


class TestSecrets:
    MARKER = "Mark3r-Passw0rd"

    def test_none_in_any_text(self, tmp_path: Path) -> None:
        log = io.StringIO()
        libcloud.enable_debug(log)
        texts = []
        try:
            with Sandbox(tmp_path / "s", users={"ann": self.MARKER}) as sandbox:
                good = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
                bad = StratusLabNodeDriver(
                    "ann", f"{self.MARKER}x", host=f"{sandbox.url}/one-proxy/xmlrpc"
                )
                node = good.create_node("n", good.list_sizes()[0], good.list_images()[0])
                volume = good.create_volume(1, "v")
                for call in (
                    bad.list_nodes,
                    bad.list_volumes,
                    lambda: bad.create_volume(1, "v"),
                    lambda: good.get_image("x" * 27),
                    lambda: good.detach_volume(volume),
                ):
                    with pytest.raises(StratusLabError) as caught:
                        call()
                    error: BaseException | None = caught.value
                    while error is not None:
                        texts += [str(error), repr(error)]
                        error = error.__cause__ or error.__context__
                texts += [repr(thing) for thing in (good, bad, node, volume, node.extra)]
                texts += [
                    repr(vars(site)) for d in (good, bad) for site in d._locations._clouds.values()
                ]
            with pytest.raises(StratusLabError) as caught:
                good.list_nodes()
            texts.append(str(caught.value))
        finally:
            libcloud.reset_debug()
        assert "one.vm.allocate" in log.getvalue()
        private = "PRIVATE KEY"
        for text in (*texts, log.getvalue()):
            assert self.MARKER not in text
            assert private not in text


class TestThreads:
    @ENDS
    def test_one_driver_serves_several(self, site: Site) -> None:
        errors: list[Exception] = []
        size, image = site.driver.list_sizes()[0], site.driver.list_images()[0]

        def work(number: int) -> None:
            try:
                for turn in range(5):
                    name = f"n{number}-{turn}"
                    node = site.driver.create_node(name, size, image)
                    assert site.driver.ex_get_node(present(node.id)).name == name
                    assert any(found.name == name for found in site.driver.list_nodes())
                    assert site.driver.destroy_node(node)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        wait_for(site.driver.list_nodes, [])
        calls = [one for one in site.seen if one.path.startswith("/one-proxy")]
        assert len({one.peer for one in calls}) <= 6
