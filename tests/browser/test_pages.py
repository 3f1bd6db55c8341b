"""The pages in a real browser: all that can be done there, by clicking, on a real machine."""

import contextlib
import gzip
import http.server
import threading
from collections.abc import Iterator

import pytest
from chromium import Person, browsing
from libcloud.compute.base import Node
from machines import real_sandbox, ssh, wait_for
from selenium.webdriver.common.keys import Keys

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox

LOGIN = ("jane", "Geheim007")
TAG = "<b>mine</b> & 'yours'"


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with real_sandbox(users=dict([LOGIN])) as site:
        yield site


@pytest.fixture(scope="module")
def driver(site: Sandbox) -> Iterator[StratusLabNodeDriver]:
    driver = StratusLabNodeDriver(stratuslab_user_config=site.config_path)
    yield driver
    driver.ex_close()


def start(driver: StratusLabNodeDriver, name: str) -> Node:
    image = next(image for image in driver.list_images() if image.name.startswith("standard"))
    return driver.create_node(name=name, size=driver.list_sizes()[0], image=image)


@pytest.fixture(scope="module")
def node(site: Sandbox, driver: StratusLabNodeDriver) -> Iterator[Node]:
    """A machine that can be logged in to."""
    node = start(driver, "seen")
    driver.wait_until_running([node], wait_period=0.2)
    ssh(site, node, "true")
    yield node
    driver.destroy_node(node)


@pytest.fixture(scope="module", params=[True, False], ids=["scripts", "no scripts"])
def jane(
    site: Sandbox,
    node: Node,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Person]:
    """Somebody with an account, a browser and, for a start, one machine."""
    with browsing(tmp_path_factory.mktemp("jane"), scripts=request.param) as jane:
        jane.visit(f"{site.url}/pages/pswd/storage", LOGIN)
        assert "Logged in as jane" in jane.text
        yield jane


@pytest.fixture
def storage(site: Sandbox, jane: Person) -> Person:
    jane.visit(site.pages_url)
    jane.follow("Storage")
    assert jane.heading == "Storage"
    return jane


def create(jane: Person, tag: str) -> None:
    jane.write("Name", tag)
    jane.write("Size in GiB", "1")
    jane.press("Create the disk")
    assert (jane.heading, jane.said) == (f"Disk {tag}", "The disk has been created.")


def test_the_life_of_a_disk(
    site: Sandbox, driver: StratusLabNodeDriver, node: Node, storage: Person
) -> None:
    jane = storage
    create(jane, "first")
    jane.write("Name", TAG)
    jane.press("Rename")
    assert (jane.heading, jane.said) == (f"Disk {TAG}", "The disk has been renamed.")
    (disk,) = driver.list_volumes()
    assert (disk.name, disk.size) == (TAG, 1)
    jane.press("Make public")
    assert jane.said.startswith("The disk is public now")
    jane.press("Make private")
    assert jane.said.startswith("The disk is private now")

    before = ssh(site, node, "cat /proc/partitions")
    jane.field("Machine").send_keys(f"{node.id}: seen")
    jane.press("Attach")
    assert jane.said == "The disk has been attached."
    (device,) = [word.removeprefix("/dev/") for word in jane.text.split() if "/dev/" in word]
    assert device not in before
    assert f"{1 << 20} {device}" in ssh(site, node, "cat /proc/partitions")
    jane.follow("Delete this disk")
    jane.press("Delete this disk")
    assert "is in use and can't be deleted" in jane.said
    jane.press("Detach")
    assert jane.said == "The disk has been detached."
    assert device not in ssh(site, node, "cat /proc/partitions")

    jane.link("Download").click()
    file = jane.downloads / f"{disk.id}.gz"
    wait_for(file.is_file, "no download")
    with gzip.open(file) as content:
        assert content.seek(0, 2) == 1 << 30
    jane.follow("Delete this disk")
    jane.follow("Cancel")
    jane.follow("Delete this disk")
    assert jane.heading == f"Delete the disk {TAG}?"
    jane.press("Delete this disk")
    assert (jane.heading, jane.said) == ("Storage", "The disk has been deleted.")
    assert driver.list_volumes() == []


def test_machines_are_looked_at_and_killed(
    site: Sandbox, driver: StratusLabNodeDriver, node: Node, jane: Person
) -> None:
    doomed = start(driver, "doomed")
    jane.visit(site.pages_url)
    jane.follow("Machines")
    assert node.public_ips[0] in jane.text
    assert "RUNNING" in jane.text
    jane.follow(f"{node.id}: seen")
    assert "sandbox guest: ready" in jane.text
    jane.follow("Machines")
    jane.follow(f"{doomed.id}: doomed")
    jane.follow("Kill this machine")
    assert jane.heading == f"Kill machine {doomed.id} (doomed)?"
    jane.press("Kill this machine")
    assert (jane.heading, jane.said) == ("Machines", "The machine has been killed.")
    wait_for(lambda: [found.id for found in driver.list_nodes()] == [node.id], "it lives on")


def test_the_keyboard_is_enough(driver: StratusLabNodeDriver, storage: Person) -> None:
    jane = storage
    active = jane.browser.switch_to
    active.active_element.send_keys(Keys.TAB)
    assert active.active_element.text == "Skip to the content"
    active.active_element.send_keys(Keys.ENTER)
    for keys in (Keys.TAB, "typed", Keys.TAB, Keys.TAB, Keys.TAB):
        active.active_element.send_keys(keys)
    with jane.leaving():
        active.active_element.send_keys(Keys.ENTER)
    assert (jane.heading, jane.said) == ("Disk typed", "The disk has been created.")
    (disk,) = driver.list_volumes()
    driver.destroy_volume(disk)


def test_a_page_fits_a_phone(storage: Person, driver: StratusLabNodeDriver) -> None:
    jane = storage
    create(jane, "w" * 200)
    for width in (320, 390):
        jane.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True},
        )
        for name in ("Storage", "Machines"):
            jane.follow(name)
            layout = jane.browser.execute_cdp_cmd("Page.getLayoutMetrics", {})
            assert layout["cssContentSize"]["width"] == width
    jane.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    (disk,) = driver.list_volumes()
    driver.destroy_volume(disk)


# -- other sites


@contextlib.contextmanager
def elsewhere(page: str) -> Iterator[str]:
    """Another server on this machine, whose only page is this; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()


def test_a_form_of_another_site_is_refused(
    site: Sandbox, driver: StratusLabNodeDriver, storage: Person
) -> None:
    form = f"""<!DOCTYPE html><form method=post action="{site.url}/pages/pswd/storage">
        <input name=size value=1><button>Win a prize</button></form>"""
    with elsewhere(form) as url:
        storage.visit(url)
        storage.press("Win a prize")
        assert "Web pages of other sites may not send requests to this one." in storage.text
    assert driver.list_volumes() == []
