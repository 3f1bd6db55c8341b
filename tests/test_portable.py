"""What a driver hands out, pickled and copied, within a process and across processes."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from canned import Canned, Handler
from clouds import KEY, Site, config, section
from forked import printed
from libcloud.compute.base import NodeImage, NodeSize
from libcloud.compute.deployment import ScriptDeployment
from libcloud.compute.types import DeploymentError

from stratuslab_libcloud import errors
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import LostAnswerError, PartialListError, StratusLabError
from stratuslab_libcloud.ssh.files import without_sftp

DISK = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
PASSWORD = "s3cret-of-the-cloud"

Copy = Callable[[Any], Any]


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


COPIES = pytest.mark.parametrize("other", [pickled, copy.deepcopy, copy.copy])


def elsewhere(code: str, thing: object) -> str:
    """What a process of its own, which never saw the driver, prints about a pickled thing."""
    return printed(f"import pickle\nthing = pickle.loads({pickle.dumps(thing)!r})\n{code}").strip()


def direct(site: Site) -> StratusLabNodeDriver:
    """A driver whose password was an argument."""
    ((username, password),) = site.sandbox.users.items()
    return StratusLabNodeDriver(username, password, host=f"{site.sandbox.url}/one-proxy/xmlrpc")


def from_object(site: Site) -> StratusLabNodeDriver:
    """A driver whose configuration was in no file."""
    return StratusLabNodeDriver(stratuslab_user_config=config(section("s", site.sandbox)))


def from_file(site: Site) -> StratusLabNodeDriver:
    return StratusLabNodeDriver(stratuslab_user_config=site.sandbox.config_path)


def handed_out(driver: StratusLabNodeDriver) -> dict[str, Any]:
    size, image = driver.list_sizes()[0], driver.list_images()[0]
    nothing: Any = None
    bare_size = NodeSize("m1.small", nothing, nothing, nothing, None, nothing, driver)
    bare_image = NodeImage(image.id, nothing, driver)
    return {
        "size": size,
        "image": image,
        "location": driver.list_locations()[0],
        "node": driver.create_node("one", size, image, auth=KEY),
        "listed node": driver.list_nodes()[0],
        "node of bare ids": driver.create_node("two", bare_size, bare_image, auth=KEY),
        "node of a foreign size": driver.create_node(
            "three", NodeSize("x", "x", 256, 0, None, 0.0, driver), image, auth=KEY
        ),
        "volume": driver.create_volume(1, "one"),
        "listed volume": driver.list_volumes()[0],
    }


@COPIES
@pytest.mark.parametrize("made", [from_file, from_object, direct])
def test_a_driver_arrives_usable(site: Site, made: Callable[[Site], Any], other: Copy) -> None:
    driver = made(site)
    node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
    driver.ex_get_node(node.id)
    site.requests()
    arrived = other(driver)
    assert arrived is not driver
    assert site.requests() == []
    assert arrived.ex_get_node(node.id).uuid == node.uuid
    assert [place.id for place in arrived.list_locations()] == [
        place.id for place in driver.list_locations()
    ]
    peers = {one.peer for one in site.seen}
    driver.ex_get_node(node.id)
    assert {one.peer for one in site.seen} > peers  # connections of their own
    arrived.ex_close()
    driver.ex_close()


@pytest.mark.parametrize("made", [from_file, from_object, direct])
def test_a_driver_arrives_usable_in_another_process(
    site: Site, made: Callable[[Site], Any]
) -> None:
    driver = made(site)
    volume = driver.create_volume(1, "here")
    code = "print([volume.id for volume in thing.list_volumes()])"
    assert elsewhere(code, driver) == f"['{volume.id}']"


@COPIES
@pytest.mark.parametrize("made", [from_file, from_object, direct])
def test_what_was_handed_out_finds_its_driver(
    site: Site, made: Callable[[Site], Any], other: Copy
) -> None:
    driver = made(site)
    for what, thing in handed_out(driver).items():
        found = other(thing)
        assert type(found) is type(thing), what
        assert found.driver is driver, what
        assert (found.id, found.extra) == (thing.id, thing.extra), what
    node = driver.list_nodes()[0]
    found = other(node)
    assert (found.uuid, found.size.id, found.image.id) == (node.uuid, node.size.id, node.image.id)
    assert found.destroy()


@pytest.mark.parametrize("made", [from_file, from_object, direct])
def test_no_secret_is_in_what_was_handed_out(site: Site, made: Callable[[Site], Any]) -> None:
    driver = made(site)
    (secret,) = site.sandbox.users.values()
    for what, thing in handed_out(driver).items():
        assert secret.encode() not in pickle.dumps(thing), what
        assert secret not in repr(thing.__getstate__()), what


def test_nor_in_endpoints_and_proxies(site: Site) -> None:
    login = f"u:{PASSWORD}@"
    driver = StratusLabNodeDriver(
        stratuslab_user_config=config(section("s", site.sandbox)),
        ex_pdisk_endpoint=f"http://{login}disks.example.org/pdisk",
        ex_marketplace_endpoint=f"{login}market.example.org",
        proxy_url=f"http://{login}proxy.example.org:3128",
    )
    own = StratusLabNodeDriver("u", PASSWORD, host=f"https://{login}h/xmlrpc")
    for made in (driver, own):
        assert PASSWORD.encode() not in pickle.dumps(made.list_sizes())
    assert PASSWORD.encode() in pickle.dumps(own)  # which would not be usable without


def test_a_node_is_usable_where_its_file_can_be_read(site: Site) -> None:
    driver = from_file(site)
    first = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0])
    nodes = [first, *driver.list_nodes()]
    code = (
        "assert thing[0].driver is thing[1].driver\n"
        "print(thing[0].uuid, thing[0].destroy(), thing[1].driver.ex_get_node('0').state)"
    )
    assert elsewhere(code, nodes) == f"{first.uuid} True terminated"


def test_a_relative_path_is_found_from_another_folder(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.sandbox.config_path.parent)
    with open(site.sandbox.config_path.name) as opened:
        drivers = [
            StratusLabNodeDriver(stratuslab_user_config=file)
            for file in (site.sandbox.config_path.name, opened)
        ]
    monkeypatch.chdir(tmp_path)
    for driver in drivers:
        assert elsewhere("print(thing.driver.list_nodes())", driver.list_sizes()[0]) == "[]"


@pytest.mark.parametrize("made", [from_object, direct])
def test_otherwise_it_says_so_when_it_is_used(site: Site, made: Callable[[Site], Any]) -> None:
    driver = made(site)
    node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
    code = (
        "from stratuslab_libcloud.errors import ConfigurationError\n"
        "for use in (thing.destroy, thing.driver.list_nodes, thing.driver.list_sizes,\n"
        "            thing.driver.list_locations, lambda: thing.driver.list_images()):\n"
        "    try: use()\n"
        "    except ConfigurationError as error: print(str(error).count('unpickle a driver'))\n"
        "print(thing.name, thing.uuid)"
    )
    assert elsewhere(code, node).split() == [*["1"] * 5, "n", node.uuid]


def test_a_file_that_has_gone_is_named_when_the_node_is_used(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "gone.cfg"
    path.write_text(site.sandbox.config_path.read_text())
    path.chmod(0o600)
    size = StratusLabNodeDriver(stratuslab_user_config=path).list_sizes()[0]
    path.unlink()
    code = "try: thing.driver.list_nodes()\nexcept Exception as error: print(error)"
    assert elsewhere(code, size).startswith(f"{path}: there is no such configuration file")


def test_a_node_finds_the_driver_that_came_first(site: Site) -> None:
    driver = direct(site)
    node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
    both = pickle.dumps(driver), pickle.dumps(node)
    code = (
        "driver, node = map(pickle.loads, thing)\n"
        "assert node.driver is driver\n"
        "print(node.destroy())"
    )
    assert elsewhere(code, both) == "True"


def test_a_copy_stands_in_for_a_driver_that_is_gone(site: Site) -> None:
    driver = direct(site)
    node = driver.create_node("n", driver.list_sizes()[0], driver.list_images()[0], auth=KEY)
    other = copy.copy(driver)
    node.driver = other
    del driver
    written = pickle.dumps(node)
    assert pickle.loads(written).driver.ex_get_node(node.id).name == "n"
    other.ex_close()


# -- errors


KINDS = [getattr(errors, name) for name in errors.__all__ if name != "StratusLabError"]


@COPIES
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_arrives_with_all_that_it_says(kind: type[StratusLabError], other: Copy) -> None:
    driver = StratusLabNodeDriver("u", PASSWORD, host="h")
    error = kind("what happened")
    error.advice, error.http_code, error.retried = "do this", 404, True
    error.location, error.endpoint, error.driver = "a", "https://h/xmlrpc", driver
    error.__cause__ = OSError("not sent along")
    arrived = other(error)
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    said = ("value", "advice", "http_code", "retried", "location", "endpoint", "passing")
    assert [getattr(arrived, name) for name in said] == [getattr(error, name) for name in said]
    assert arrived.args == error.args
    assert PASSWORD.encode() not in pickle.dumps(error)


@COPIES
def test_a_partial_list_arrives_with_what_was_found(site: Site, other: Copy) -> None:
    dead = "[dead]\nendpoint = http://127.0.0.1:1/xmlrpc\nusername = u\npassword = p"
    file = config(dead, section("alive", site.sandbox), selected_section="alive")
    driver = StratusLabNodeDriver(stratuslab_user_config=file)
    node = site.node(driver=driver, auth=KEY)
    with pytest.raises(PartialListError) as caught:
        driver.list_nodes()
    arrived = other(caught.value)
    assert [found.uuid for found in arrived.found] == [node.uuid]
    assert arrived.found[0].driver is driver
    assert str(arrived.failures["dead"]) == str(caught.value.failures["dead"])
    (password,) = site.sandbox.users.values()
    assert password.encode() not in pickle.dumps(caught.value)


def test_doubt_comes_out_of_a_pool_of_processes() -> None:
    def hang_up(handler: Handler, request: object) -> None:
        handler.hang_up()

    with Canned([hang_up]) as server:
        driver = StratusLabNodeDriver("u", PASSWORD, host=f"{server.url}/one-proxy/xmlrpc")
        size, image = driver.list_sizes()[0], NodeImage(DISK, "disk", driver)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as workers:
            asked = workers.submit(driver.create_node, "web", size, image, auth=KEY)
            with pytest.raises(LostAnswerError, match="a node named 'web' may have been created"):
                asked.result(120)


def test_so_does_a_node_that_could_not_be_deployed_to(site: Site, home: Path) -> None:
    class UnpicklableError(Exception):
        """As Libcloud's own errors, it takes more than it has in ``args``."""

        def __init__(self, command: str, seconds: int) -> None:
            super().__init__(f"{command} took more than {seconds} s")

    node = site.node()
    for reason in (StratusLabError("the disk is full"), UnpicklableError("apt-get", 5)):
        with pytest.raises(DeploymentError) as caught:
            with without_sftp(ScriptDeployment("true")):
                raise DeploymentError(node=node, original_exception=reason, driver=site.driver)
        arrived = pickled(caught.value)
        assert isinstance(arrived, DeploymentError)
        assert (arrived.node.uuid, arrived.driver) == (node.uuid, site.driver)
        assert str(arrived.value) == str(arrived.original_error) == str(reason)
        (password,) = site.sandbox.users.values()
        assert password.encode() not in pickle.dumps(caught.value)
