"""Several clouds, one that is named directly, and TLS."""

import contextlib
import io
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from canned import Canned, Handler, pool
from clouds import KEY, Site, config, section
from libcloud.compute.base import (
    NodeImage,
)
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConnectionFailedError,
    InvalidValueError,
    LostAnswerError,
    PartialListError,
    StratusLabError,
)
from stratuslab_libcloud.sandbox.site import Sandbox


class TestLocations:
    """Several clouds behind one driver."""

    @pytest.fixture
    def two(self, tmp_path: Path) -> Iterator[tuple[StratusLabNodeDriver, list[Any], list[Any]]]:
        seen: tuple[list[Any], list[Any]] = ([], [])
        with (
            Sandbox(tmp_path / "a", on_request=seen[0].append) as a,
            Sandbox(tmp_path / "b", on_request=seen[1].append) as b,
        ):
            file = config(section("a", a), section("b", b, ssh_port="2222"), selected_section="b")
            driver = StratusLabNodeDriver(stratuslab_user_config=file)
            yield driver, *seen
            driver.ex_close()

    def test_the_same_ids_are_different_nodes(self, two: Any) -> None:
        driver, *_ = two
        size, image = driver.list_sizes()[0], driver.list_images()[0]
        nodes = [
            driver.create_node("n", size, image, location=location, auth=KEY)
            for location in driver.list_locations()
        ]
        assert [node.id for node in nodes] == ["0", "0"]
        assert len({node.uuid for node in nodes}) == 2
        assert {node.uuid for node in driver.list_nodes()} == {node.uuid for node in nodes}
        assert [node.extra.get("ssh_port") for node in nodes] == [2222, None]

    def test_everything_goes_to_the_right_site(self, two: Any) -> None:
        driver, at_a, at_b = two
        b, a = driver.list_locations()
        assert (b.id, a.id) == ("b", "a")
        size, image = driver.list_sizes()[0], driver.list_images(a)[0]
        node_a, node_b = (
            driver.create_node("n", size, image, location=place, auth=KEY) for place in (a, b)
        )
        volume = driver.create_volume(1, "v", location=a)
        at_a.clear()
        at_b.clear()
        ((waited, _),) = driver.wait_until_running([node_a])
        assert waited.uuid == node_a.uuid
        driver.attach_volume(node_a, volume)
        driver.detach_volume(volume)
        driver.destroy_volume(volume)
        driver.destroy_node(node_a)
        assert (len(at_a), len(at_b)) == (6, 0)
        assert [node.uuid for node in driver.list_nodes()] == [node_b.uuid]

    def test_a_volume_cannot_cross_the_border(self, two: Any) -> None:
        driver, *_ = two
        b, a = driver.list_locations()
        volume = driver.create_volume(1, "v", location=a)
        image = driver.list_images()[0]
        node = driver.create_node("n", driver.list_sizes()[0], image, location=b, auth=KEY)
        with pytest.raises(InvalidValueError, match="must be in the same"):
            driver.attach_volume(node, volume)
        with pytest.raises(InvalidValueError, match="is in location a"):
            driver.create_node("n", driver.list_sizes()[0], image, auth=KEY, ex_volumes=[volume])

    def test_shared_values_in_default(self, site: Site) -> None:
        ((username, password),) = site.sandbox.users.items()
        endpoint = f"[only]\nendpoint = {site.sandbox.url}/one-proxy/xmlrpc"
        file = config(endpoint, username=username, password=password)
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        assert [location.id for location in driver.list_locations()] == ["only"]
        assert driver.list_nodes() == []

    def test_two_sections_for_one_cloud_are_asked_once(self, site: Site) -> None:
        file = config(section("x", site.sandbox), section("y", site.sandbox), selected_section="y")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        site.node()
        site.requests()
        (node,) = driver.list_nodes()
        assert driver.list_volumes() == []
        assert node.extra["location"] == "y"
        assert site.requests() == ["POST one-proxy", "GET pdisk"]

    def test_an_unreachable_cloud_is_not_passed_over(self, site: Site) -> None:
        dead = "[dead]\nendpoint = http://127.0.0.1:1/xmlrpc\nusername = u\npassword = p"
        file = config(dead, section("alive", site.sandbox), selected_section="alive")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        node = site.node()
        with pytest.raises(PartialListError, match=r"1 of 2 locations.*dead.*refused") as caught:
            driver.list_nodes()
        assert [found.id for found in caught.value.found] == [node.id]
        assert list(caught.value.failures) == ["dead"]
        assert isinstance(caught.value.failures["dead"], ConnectionFailedError)
        assert caught.value.driver is driver
        alive, _ = driver.list_locations()
        assert len(driver.ex_list_nodes(alive)) == 1
        with pytest.raises(PartialListError):
            driver.list_volumes()

    def test_locations_are_asked_at_the_same_time(self) -> None:
        together = threading.Barrier(3)

        def wait(handler: Handler, request: object) -> None:
            together.wait(60)
            handler.send(*pool())

        with Canned([wait]) as server:
            sections = [
                f"[s{n}]\nendpoint = {server.url}/xmlrpc\nusername = u{n}\npassword = p"
                for n in range(3)
            ]
            file = config(*sections, selected_section="s0")
            assert StratusLabNodeDriver(stratuslab_user_config=file).list_nodes() == []

    def test_a_node_has_one_uuid_whichever_section_it_is_seen_by(self, site: Site) -> None:
        file = config(section("x", site.sandbox), section("y", site.sandbox), selected_section="y")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        _, x = driver.list_locations()
        node = site.node(driver=driver, location=x, auth=KEY)
        assert [found.uuid for found in driver.list_nodes()] == [node.uuid]

    def test_each_location_without_endpoint_is_named(self, site: Site) -> None:
        file = config(section("good", site.sandbox), "[p]", "[r]", selected_section="good")
        with pytest.raises(PartialListError) as caught:
            StratusLabNodeDriver(stratuslab_user_config=file).list_nodes()
        assert list(caught.value.failures) == ["p", "r"]

    def test_a_node_of_another_location_does_not_detach_a_volume(self, two: Any) -> None:
        driver, *_ = two
        b, a = driver.list_locations()
        what = {"size": driver.list_sizes()[0], "image": driver.list_images()[0], "auth": KEY}
        at_a, at_b = (driver.create_node(name="n", location=place, **what) for place in (a, b))
        volume = driver.create_volume(1, "v", location=a)
        driver.attach_volume(at_a, volume)
        with pytest.raises(InvalidValueError, match="must be in the same"):
            driver.detach_volume(volume, ex_node=at_b)
        assert driver.detach_volume(volume, ex_node=at_a)

    def test_an_empty_location_is_none(self, two: Any) -> None:
        from libcloud.compute.base import NodeLocation

        driver, *_ = two
        with pytest.raises(InvalidValueError, match="no location ''"):
            driver.list_images(NodeLocation("", "", "", driver))

    def test_an_unknown_location_is_refused(self, two: Any) -> None:
        from libcloud.compute.base import NodeLocation

        driver, *_ = two
        with pytest.raises(InvalidValueError, match=r"no location 'zz'; known: b, a$"):
            driver.list_images(NodeLocation("zz", "zz", "?", driver))

    def test_one_that_is_close_to_a_known_one_names_it(self, site: Site) -> None:
        location: Any = "sandbx"
        with pytest.raises(InvalidValueError, match=r"known: sandbox; did you mean sandbox\?$"):
            site.driver.list_images(location)


class TestDirect:
    """User name, password and endpoint as arguments, as other drivers have them."""

    def test_no_file_and_no_environment(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, home: Path
    ) -> None:
        monkeypatch.setenv("STRATUSLAB_ENDPOINT", "nowhere.invalid")
        monkeypatch.setenv("STRATUSLAB_PASSWORD", "wrong")
        ((username, password),) = site.sandbox.users.items()
        host = f"{site.sandbox.url}/one-proxy/xmlrpc"
        driver = StratusLabNodeDriver(username, password, host=host)
        assert [place.id for place in driver.list_locations()] == ["default"]
        node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
        assert driver.list_nodes()[0].uuid == node.uuid
        assert present(driver.create_volume(1, "v").extra)["location"] == "default"

    def test_bare_host_and_port(self, site: Site) -> None:
        ((username, password),) = site.sandbox.users.items()
        driver = StratusLabNodeDriver(
            username,
            password,
            secure=False,
            host="127.0.0.1",
            port=site.sandbox.port,
            ex_marketplace_endpoint=site.sandbox.url,
        )
        image = driver.list_images()[0]
        node = driver.create_node("n", driver.list_sizes()[0], image, auth=KEY)
        assert driver.attach_volume(node, driver.create_volume(1, "v"))
        assert Counter(one.path.split("/")[1] for one in site.seen) == {"metadata": 2, "pswd": 5}

    def test_the_key_variable_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_KEY", "/no/key.pub")
        driver = StratusLabNodeDriver("u", "p", host="h")
        image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
        with pytest.raises(ConfigurationError, match=r"/no/key\.pub"):
            driver.create_node("n", driver.list_sizes()[0], image)


class TestTLS:
    @pytest.fixture(scope="class")
    @classmethod
    def secure(cls) -> Iterator[Sandbox]:
        with Sandbox(tls=True) as sandbox:
            yield sandbox

    @pytest.mark.parametrize("location", ["sandbox", "certificate"])
    def test_by_password_and_by_certificate(self, secure: Sandbox, location: str) -> None:
        driver = StratusLabNodeDriver(location, stratuslab_user_config=secure.config_path)
        assert secure.url.startswith("https:")
        node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0])
        volume = driver.create_volume(1, "v")
        assert driver.attach_volume(node, volume)
        assert [found.uuid for found in driver.ex_list_nodes()] == [node.uuid]
        assert ("CN=" in node.extra["owner"] or "CN%3D" in node.extra["owner"]) == (
            location == "certificate"
        )
        assert driver.detach_volume(volume)
        assert driver.destroy_volume(volume)
        assert driver.destroy_node(node)
        driver.ex_close()

    def test_the_two_accounts_are_two_locations(self, secure: Sandbox) -> None:
        driver = StratusLabNodeDriver(stratuslab_user_config=secure.config_path)
        places = [place.id for place in driver.list_locations()]
        assert places == ["sandbox", "certificate"]
        assert [driver.list_nodes(), driver.list_volumes()] == [[], []]
        driver.ex_close()

    def without_authority(self, secure: Sandbox, more: str = "") -> StratusLabNodeDriver:
        lines = secure.config_path.read_text().replace("[sandbox]", f"[sandbox]\n{more}")
        kept = [line for line in lines.splitlines() if not line.startswith("ca_certificate")]
        return StratusLabNodeDriver(stratuslab_user_config=io.StringIO("\n".join(kept)))

    def test_an_unknown_authority_is_not_trusted(self, secure: Sandbox) -> None:
        driver = self.without_authority(secure)
        for call in (driver.ex_list_nodes, driver.list_images):
            with pytest.raises(ConnectionFailedError, match=r"not trusted.*ca_certificate"):
                call()
        image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
        with pytest.raises(ConnectionFailedError) as caught:
            driver.create_node("n", driver.list_sizes()[0], image, auth=KEY)
        assert not isinstance(caught.value, LostAnswerError)

    def test_another_host_name_is_not_trusted(self, secure: Sandbox) -> None:
        text = secure.config_path.read_text().replace("//localhost:", "//127.0.0.2:")
        driver = StratusLabNodeDriver(stratuslab_user_config=io.StringIO(text))
        # The sandbox listens on 127.0.0.1 only: a relay brings the other name to it.
        with relay("127.0.0.2", secure.port), pytest.raises(ConnectionFailedError) as caught:
            driver.ex_list_nodes()
        assert "not trusted" in str(caught.value) or "another host" in str(caught.value)

    @pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
    def test_verification_can_be_switched_off_with_a_warning(self, secure: Sandbox) -> None:
        driver = self.without_authority(secure, "verify_tls = no")
        with pytest.warns(UserWarning, match="verify_tls = no"):
            assert driver.ex_list_nodes() == []
        driver.ex_close()

    def test_libclouds_authority_file_is_used(
        self, secure: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import libcloud.security

        monkeypatch.setattr(libcloud.security, "CA_CERTS_PATH", str(secure.dir / "ca.pem"))
        driver = self.without_authority(secure)
        assert driver.ex_list_nodes() == []
        driver.ex_close()

    def test_a_certificate_of_somebody_else_is_refused(
        self, secure: Sandbox, tmp_path: Path
    ) -> None:
        with Sandbox(tmp_path / "other", tls=True) as other:
            (foreign,) = other.dir.glob("user-*.pem")
            (own,) = secure.dir.glob("user-*.pem")
            text = secure.config_path.read_text().replace(str(own), str(foreign))
            driver = StratusLabNodeDriver("certificate", stratuslab_user_config=io.StringIO(text))
            with pytest.raises(StratusLabError) as caught:
                driver.ex_list_nodes()
        assert "\n" not in str(caught.value)

    def test_a_missing_certificate_file_is_named(self, secure: Sandbox) -> None:
        (own,) = secure.dir.glob("user-*.pem")
        text = secure.config_path.read_text().replace(str(own), "/no/cert.pem")
        driver = StratusLabNodeDriver("certificate", stratuslab_user_config=io.StringIO(text))
        with pytest.raises(ConfigurationError, match=r"/no/cert\.pem cannot be read"):
            driver.ex_list_nodes()


@contextmanager
def relay(address: str, port: int) -> Iterator[None]:
    """Bring connections to another loopback address to the same port of 127.0.0.1."""
    sockets = [socket.create_server((address, port))]
    threads: list[threading.Thread] = []

    def run(target: Any, *arguments: socket.socket) -> None:
        threads.append(threading.Thread(target=target, args=arguments))
        threads[-1].start()

    def carry(here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(65536):
                there.sendall(data)
        with contextlib.suppress(OSError):
            there.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = sockets[0].accept()
                sockets.append(near)
                far = socket.create_connection(("127.0.0.1", port))
                sockets.append(far)
                run(carry, near, far)
                run(carry, far, near)

    run(accept)
    try:
        yield
    finally:
        sockets[0].shutdown(socket.SHUT_RDWR)
        threads[0].join()  # from here on nothing is added
        for one in sockets[1:]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for one in sockets:
            one.close()
