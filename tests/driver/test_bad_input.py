"""What cannot be meant is refused, before anything is sent where that can be."""

import time
from pathlib import Path
from typing import Any

import pytest
from canned import Canned, Handler, Reply, rpc
from clouds import KEY, Site, config, section
from libcloud.common.types import InvalidCredsError, LibcloudError
from libcloud.compute.base import (
    Node,
    NodeAuthPassword,
    NodeAuthSSHKey,
    NodeImage,
    StorageVolume,
)
from libcloud.compute.drivers.dummy import DummyNodeDriver
from libcloud.compute.types import NodeState
from looks import ENDS, bare_size, wait_for

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    CredentialsError,
    InvalidValueError,
    LostAnswerError,
    MalformedAnswerError,
    MissingCredentialsError,
    NotFoundError,
    NotPermittedError,
    ServiceError,
    StratusLabError,
)
from stratuslab_libcloud.sandbox.site import Sandbox


class TestBadInput:
    """Each is one clear line of the right class, and nothing is created or lost."""

    def check(self, kind: type[StratusLabError], text: str, *call: Any, **options: Any) -> None:
        function, *arguments = call
        with pytest.raises(kind, match=text) as caught:
            function(*arguments, **options)
        assert isinstance(caught.value, LibcloudError)
        assert "\n" not in str(caught.value)

    def test_wrong_password(self, site: Site) -> None:
        file = config(section("s", site.sandbox, password="wrong"), selected_section="s")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        for call in (driver.list_nodes, driver.list_volumes):
            self.check(CredentialsError, r"^s \(http.*check user name and password", call)
        with pytest.raises(InvalidCredsError) as caught:
            driver.list_nodes()
        assert caught.value.driver is driver

    def test_no_password(self, site: Site) -> None:
        file = config(section("s", site.sandbox, password=""), selected_section="s")
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        self.check(MissingCredentialsError, "no complete credentials", driver.list_nodes)
        with pytest.raises(InvalidCredsError):
            driver.create_volume(1, "v")
        assert driver.list_images()

    def test_an_unknown_section(self, site: Site) -> None:
        for options in ({"key": "zz"}, {"stratuslab_default_location": "zz"}):
            self.check(ConfigurationError, r"\[zz\].*; known: ", site.new_driver, **options)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        self.check(
            ConfigurationError,
            "nope.cfg",
            StratusLabNodeDriver,
            stratuslab_user_config=tmp_path / "nope.cfg",
        )
        self.check(ConfigurationError, "stratus-copy-config", StratusLabNodeDriver)

    def test_a_missing_endpoint(self) -> None:
        driver = StratusLabNodeDriver(stratuslab_user_config=config(username="u", password="p"))
        for call in (driver.list_nodes, driver.list_volumes):
            self.check(ConfigurationError, r"there is no \w*endpoint in .*\[default\]", call)

    def test_unknown_keywords(self) -> None:
        with pytest.raises(TypeError):
            StratusLabNodeDriver(ex_nonsense=1)  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        "options",
        [
            {"host": "h"},
            {"port": 1},
            {"key": "u", "secret": "p"},
            {"secret": "p", "host": "h"},
            {"key": "u", "secret": "p", "host": "h", "stratuslab_user_config": "x"},
            {"key": "u", "secret": "p", "host": "h h"},
            {"key": "u", "secret": "p", "host": "https://h:1", "port": 2},
            {"timeout": 0},
            {"timeout": "soon"},
            {"timeout": float("inf")},
            {"key": "u", "secret": "p", "host": "h", "proxy_url": "http://[x"},
            {"stratuslab_user_config": ""},
        ],
    )
    def test_arguments_that_do_not_fit(self, options: dict[str, Any]) -> None:
        with pytest.raises(StratusLabError) as caught:
            StratusLabNodeDriver(**options)
        assert isinstance(caught.value, ValueError)

    @pytest.mark.parametrize(
        ("answer", "kind", "text"),
        [
            ((200, "text/html", b"<html>welcome</html>"), MalformedAnswerError, "text/html"),
            (
                (
                    200,
                    "text/xml",
                    b"<methodResponse><fault><value><struct><member><name>faultCode</name>"
                    b"<value><int>-506</int></value></member><member><name>faultString</name>"
                    b"<value>no such method</value></member></struct></value></fault>"
                    b"</methodResponse>",
                ),
                ServiceError,
                "fault -506: no such method",
            ),
            ((404, "text/html", b"<html>"), ServiceError, "is the cloud endpoint right"),
        ],
    )
    def test_endpoints_that_answer_otherwise(
        self, answer: Reply, kind: type[StratusLabError], text: str
    ) -> None:
        with Canned([answer]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
            self.check(kind, text, driver.list_nodes)

    def test_endpoints_that_do_not_answer(self) -> None:
        with Canned([lambda handler, request: time.sleep(2)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc", timeout=3)
            self.check(ConnectionFailedError, "did not answer", driver.list_nodes)
        driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/xmlrpc", timeout=2)
        self.check(ConnectionFailedError, "refused", driver.list_nodes)

    def test_images_that_do_not_exist(self, site: Site) -> None:
        for image_id, kind in (("x" * 27, NotFoundError), ("nope", InvalidValueError)):
            image = NodeImage(image_id, "x", site.driver)
            self.check(kind, image_id, site.node, image=image)
            self.check(kind, image_id, site.driver.get_image, image_id)
        assert site.driver.list_nodes() == []

    def test_impossible_volumes(self, site: Site) -> None:
        for size in (0, 2000):
            self.check(InvalidValueError, "1 to 1024", site.driver.create_volume, size, "v")
        self.check(
            InvalidValueError, "snapshot", site.driver.create_volume, 1, "v", snapshot=object()
        )
        assert site.driver.list_volumes() == []

    def test_detaching_what_is_not_attached(self, site: Site) -> None:
        volume, node = site.driver.create_volume(1, "v"), site.node()
        self.check(NotFoundError, "not attached", site.driver.detach_volume, volume)
        self.check(
            NotFoundError, "not been hot-plugged", site.driver.detach_volume, volume, ex_node=node
        )

    def test_deleting_a_mounted_volume(self, site: Site) -> None:
        volume, node = site.driver.create_volume(1, "v"), site.node()
        site.driver.attach_volume(node, volume)
        self.check(ConflictError, "in use", site.driver.destroy_volume, volume)
        assert len(site.driver.list_volumes()) == 1

    @ENDS
    def test_attaching_to_a_node_that_does_not_run(self, site: Site) -> None:
        volume, node = site.driver.create_volume(1, "v"), site.node()
        site.driver.destroy_node(node)
        self.check(ConflictError, "it is D(one|elete)", site.driver.attach_volume, node, volume)
        wait_for(site.driver.list_nodes, [])
        self.check(ConflictError, "it is Done", site.driver.attach_volume, node, volume)

    def test_somebody_elses_things(self, tmp_path: Path) -> None:
        with Sandbox(tmp_path / "s", users={"ann": "pw-a", "bob": "pw-b"}) as sandbox:
            host = f"{sandbox.url}/one-proxy/xmlrpc"
            ann, bob = (
                StratusLabNodeDriver(name, f"pw-{name[0]}", host=host) for name in ("ann", "bob")
            )
            for visibility in ("private", "public"):
                volume = ann.create_volume(1, "v", ex_visibility=visibility)
                self.check(NotPermittedError, "rights", bob.destroy_volume, volume)
            node = ann.create_node("n", ann.list_sizes()[0], ann.list_images()[0], auth=KEY)
            self.check(NotPermittedError, "Not authorized", bob.destroy_node, node)
            self.check(NotPermittedError, "Not authorized", bob.ex_get_node, node.id)
            assert [bob.list_nodes(), bob.list_volumes()] == [[], []]
            assert (len(ann.list_nodes()), len(ann.list_volumes())) == (1, 2)

    def test_things_of_another_driver(self, site: Site) -> None:
        other = StratusLabNodeDriver("u", "p", host="h")
        for theirs in (other, DummyNodeDriver("x")):
            stranger = Node("1", "x", NodeState.RUNNING, [], [], theirs, extra={})
            self.check(InvalidValueError, "another driver", site.driver.destroy_node, stranger)
        stranger = Node("1", "x", NodeState.RUNNING, [], [], site.driver, extra={})
        stranger.extra["location"] = "elsewhere"
        self.check(InvalidValueError, "no location 'elsewhere'", stranger.destroy)

    def test_keys_are_checked_before_anything_is_sent(self, site: Site, home: Path) -> None:
        image = site.driver.list_images()[0]
        private = (site.sandbox.dir / "id_ed25519").read_text()
        site.requests()
        for auth in (NodeAuthSSHKey(""), NodeAuthSSHKey(private), NodeAuthPassword("pw")):
            self.check(InvalidValueError, "key", site.node, image=image, auth=auth)
        file = config(section("s", site.sandbox, user_public_key_file="/no.pub"))
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        self.check(
            ConfigurationError, "/no.pub cannot be read", site.node, driver=driver, image=image
        )
        assert site.requests() == []

    def test_no_key_at_all_is_a_warning(self, site: Site) -> None:
        file = config(section("s", site.sandbox))
        driver = StratusLabNodeDriver(stratuslab_user_config=file)
        with pytest.warns(UserWarning, match="nobody will be able to log in") as warned:
            site.node(driver=driver)
        assert [Path(one.filename).name for one in warned] == ["clouds.py"]  # which asked for it

    @pytest.mark.parametrize(
        "options",
        [
            {"ex_context": {"bad key": "x"}},
            {"ex_context": {"target": "hda"}},
            {"ex_context": {"a": "1", "A": "2"}},
            {"ex_context": {"a": "$(reboot)"}},
            {"ex_context": {"a": 'x" b="y'}},
            {"ex_context_method": "magic"},
            {"ex_context_method": "one", "ex_user_data": "x"},
            {"ex_user_data": bytes(range(256)) * 4096},
            {"size": bare_size("x", None, disk=0)},
            {"size": bare_size("x", None, ram=1, extra={"cpus": 0})},
        ],
    )
    def test_what_cannot_be_a_node_is_not_sent(self, site: Site, options: dict[str, Any]) -> None:
        image = site.driver.list_images()[0]
        site.driver.get_image(image.id)
        site.requests()
        if "ex_user_data" in options and len(options["ex_user_data"]) > 9:
            import os

            options = {"ex_user_data": os.urandom(20000)}
        with pytest.raises(InvalidValueError):
            site.node(image=image, **options)
        assert site.requests() == []

    def test_a_lost_answer_tells_what_to_look_for(self) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        with Canned([hang_up]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
            image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
            with pytest.raises(LostAnswerError, match="a node named 'web' may have been created"):
                driver.create_node("web", driver.list_sizes()[0], image, auth=KEY)
            assert len(server.requests) == 1

    def test_values_of_the_wrong_kind(self, site: Site) -> None:
        driver, size, image = site.driver, site.driver.list_sizes()[0], site.driver.list_images()[0]
        driver.get_image(image.id)
        site.requests()
        none: Any = None
        wrong: list[dict[str, Any]] = [
            *({"name": 123}, {"image": None}, {"image": image.id}, {"size": None}),
            *({"ex_network": ""}, {"ex_network": " "}, {"ex_network": 5}),
            *({"ex_context": ["a"]}, {"ex_context": {1: "a"}}, {"ex_context": {"a": None}}),
            *({"ex_user_data": 5}, {"ex_volumes": None}, {"ex_volumes": ["uuid"]}),
            *({"ex_readonly_images": "id"}, {"auth": NodeAuthSSHKey(none)}),
            {"auth": NodeAuthSSHKey("this is not a key")},
        ]
        kind = (
            "name of a network|must be|is to be|is text|is wanted|made of letters|no SSH public key"
        )
        for options in wrong:
            call = {"name": "n", "size": size, "image": image, **options}
            self.check(InvalidValueError, kind, driver.create_node, **call)
        self.check(InvalidValueError, "text, not 123", driver.create_volume, 1, 123)
        assert site.requests() == []

    def test_a_node_of_another_drivers_cloud_is_not_touched(self, tmp_path: Path) -> None:
        with Sandbox(tmp_path / "a") as a, Sandbox(tmp_path / "b") as b:
            drivers = []
            for sandbox in (a, b):
                ((username, password),) = sandbox.users.items()
                host = f"{sandbox.url}/one-proxy/xmlrpc"
                drivers.append(StratusLabNodeDriver(username, password, host=host))
            nodes = [
                driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
                for driver in drivers
            ]
            volume = drivers[1].create_volume(1, "v")
            assert nodes[0].id == nodes[1].id
            assert nodes[0].uuid != nodes[1].uuid
            self.check(InvalidValueError, "not to this location", drivers[0].destroy_node, nodes[1])
            self.check(InvalidValueError, "not to this location", drivers[0].destroy_volume, volume)
            assert [len(driver.list_nodes()) for driver in drivers] == [1, 1]

    def test_the_look_at_a_new_node_may_be_at_another(self) -> None:
        other = "<VM><ID>7</ID><NAME>theirs</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE></VM>"
        with Canned([rpc(True, 42, 0), rpc(True, other, 0)]) as server:
            driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
            image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
            node = driver.create_node("mine", driver.list_sizes()[0], image, auth=KEY)
            assert (node.id, node.name, node.state) == ("42", "mine", NodeState.PENDING)
            said = "was asked about node 42, but answered about node 7"
            sent = len(server.requests)
            self.check(MalformedAnswerError, said, driver.ex_get_node, "42")
            volume = StorageVolume("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "v", 1, driver)
            self.check(MalformedAnswerError, said, driver.attach_volume, node, volume)
            assert {request.path for request in server.requests[sent:]} == {
                "/one-proxy/pswd/xmlrpc"
            }

    def test_a_node_is_never_lost_in_a_strange_answer(self) -> None:
        strange = (200, "text/xml", b'<?xml version="1.0" encoding="gb18030"?><methodResponse/>')
        astray = (302, "text/html", b"", {"Location": "http://[x"})
        for answer in (strange, astray):
            with Canned([rpc(True, 42, 0), answer]) as server:
                driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/one-proxy/xmlrpc")
                image = NodeImage("7a031320-9d3b-492f-9a97-3c5bd0ba786b", "disk", driver)
                node = driver.create_node("n", driver.list_sizes()[0], image, auth=KEY)
                assert node.id == "42"
                self.check(
                    MalformedAnswerError,
                    "cannot be read|cannot be understood|an invalid URL",
                    driver.list_nodes,
                )
