"""A sandbox with a driver, for tests of the driver."""

import configparser
import io
import xmlrpc.client
from pathlib import Path
from typing import Any

from libcloud.compute.base import Node, NodeAuthSSHKey
from lxml import etree

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["KEY", "Site", "config", "configured", "context", "section"]

KEY = NodeAuthSSHKey("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK jane@example.org")


class Site:
    """A sandbox, its driver, and what the driver asked of it."""

    def __init__(self, sandbox: Sandbox, seen: list[Any]) -> None:
        self.sandbox = sandbox
        self.seen = seen
        self.driver = self.new_driver()

    def new_driver(self, **options: Any) -> StratusLabNodeDriver:
        options.setdefault("stratuslab_user_config", self.sandbox.config_path)
        return StratusLabNodeDriver(**options)

    def node(self, **options: Any) -> Node:
        driver: StratusLabNodeDriver = options.pop("driver", self.driver)
        size = options.pop("size", driver.list_sizes()[0])
        image = options.pop("image", None) or driver.list_images()[0]
        return driver.create_node(options.pop("name", "n"), size, image, **options)

    def requests(self) -> list[str]:
        """What has come in since the last time, as ``METHOD service``."""
        found = [f"{one.method} {one.path.split('/')[1]}" for one in self.seen]
        self.seen.clear()
        return found


def config(*sections: str, **default: str) -> io.StringIO:
    lines = [f"{key} = {text}" for key, text in default.items()]
    return io.StringIO("\n".join(["[default]", *lines, *sections]))


def section(name: str, sandbox: Sandbox, **more: str) -> str:
    ((username, password),) = sandbox.users.items()
    options = {
        "endpoint": f"{sandbox.url}/one-proxy/xmlrpc",
        "marketplace_endpoint": f"{sandbox.url}/marketplace",
        "username": username,
        "password": password,
        **more,
    }
    return "\n".join([f"[{name}]", *(f"{key} = {text}" for key, text in options.items())])


def configured(sandbox: Sandbox, folder: Path, **more: object) -> Path:
    """The sandbox's configuration file, with other values in its first section."""
    parser = configparser.RawConfigParser()
    parser.read(sandbox.config_path)
    parser["sandbox"].update({key: str(value) for key, value in more.items()})
    path = folder / "configured.cfg"
    with path.open("w") as file:
        parser.write(file)
    path.chmod(0o600)
    return path


def context(site: Site, node_id: int = 0) -> dict[str, str]:
    """The context of a node, as the server tells it."""
    ((username, password),) = site.sandbox.users.items()
    url = site.sandbox.url.replace("//", f"//{username}:{password}@") + "/one-proxy/pswd/xmlrpc"
    with xmlrpc.client.ServerProxy(url) as proxy:
        document = proxy.one.vm.info("x", node_id)[1]  # type: ignore[index]
    found = etree.fromstring(str(document)).find("TEMPLATE/CONTEXT")
    assert found is not None
    return {child.tag: child.text or "" for child in found}
