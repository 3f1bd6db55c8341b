"""Our driver and the peers that it is compared with, called as users call them."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from libcloud.compute.base import NodeAuthSSHKey

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver

__all__ = [
    "create_and_destroy",
    "eight_locations",
    "engine_images",
    "engine_nodes",
    "list_images",
    "list_nodes",
    "list_volumes",
    "one_location",
    "opennebula_images",
    "openstack_images",
    "openstack_nodes",
    "openstack_volumes",
    "pyone_engine_images",
    "pyone_engine_nodes",
    "pyone_nodes",
]


def _driver(url: str) -> StratusLabNodeDriver:
    return StratusLabNodeDriver(
        "jane",
        "secret",
        host=f"{url}/xmlrpc",
        ex_pdisk_endpoint=url,
        ex_marketplace_endpoint=url,
    )


def list_images(url: str) -> Callable[[], object]:
    """Ours."""
    return _driver(url).list_images


def list_nodes(url: str) -> Callable[[], object]:
    """Ours."""
    return _driver(url).list_nodes


def list_volumes(url: str) -> Callable[[], object]:
    """Ours."""
    return _driver(url).list_volumes


def create_and_destroy(url: str) -> Callable[[], object]:
    """Ours: 100 times; the image's entry is remembered from the first."""
    driver = _driver(url)
    size, image = driver.list_sizes()[0], driver.list_images()[0]
    auth = NodeAuthSSHKey(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0000000000000000000000000000000000"
    )

    def call() -> None:
        for _ in range(100):
            driver.destroy_node(driver.create_node("worker", size, image, auth=auth))

    return call


def _configured(*lines: str) -> StratusLabNodeDriver:
    default = ("[default]", "username = jane", "password = secret", "selected_section = l0")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stratuslab-user.cfg")
        path.touch(0o600)
        path.write_text("\n".join([*default, *lines]))
        return StratusLabNodeDriver(stratuslab_user_config=path)


def _locations(url: str, count: int) -> StratusLabNodeDriver:
    lines = (f"[l{number}]\nendpoint = {url}/l{number}/xmlrpc" for number in range(count))
    return _configured(*lines)


def one_location(url: str) -> Callable[[], object]:
    """Ours, with one location."""
    return _locations(url, 1).list_nodes


def eight_locations(url: str) -> Callable[[], object]:
    """Ours, with eight."""
    return _locations(url, 8).list_nodes


def _engine(url: str) -> StratusLabNodeDriver:
    return _configured("[l0]", f"endpoint = {url}/RPC2", "dialect = opennebula")


def engine_images(url: str) -> Callable[[], object]:
    """Ours, of an OpenNebula location."""
    return _engine(url).list_images


def engine_nodes(url: str) -> Callable[[], object]:
    """Ours, of an OpenNebula location."""
    return _engine(url).list_nodes


def pyone_nodes(url: str) -> Callable[[], object]:
    """OpenNebula's own client."""
    import pyone

    server = pyone.OneServer(f"{url}/RPC2", session="jane:secret")
    return lambda: server.vmpool.info(-3, -1, -1, -1).VM


def pyone_engine_nodes(url: str) -> Callable[[], object]:
    """OpenNebula's own client, and a look at what ours returns."""
    import pyone

    def told(vm):  # type: ignore[no-untyped-def]
        return (
            *(vm.ID, vm.NAME, vm.UNAME, vm.STATE, vm.LCM_STATE, vm.STIME, vm.MONITORING),
            *map(vm.TEMPLATE.get, ("VCPU", "CPU", "MEMORY", "NIC", "DISK")),
            *map(vm.USER_TEMPLATE.get, ("ERROR", "SCHED_MESSAGE", "LABELS")),
            vm.HISTORY_RECORDS.HISTORY[0].HOSTNAME,
        )

    server = pyone.OneServer(f"{url}/RPC2", session="jane:secret")
    return lambda: list(map(told, server.vmpool.info(-3, -1, -1, -1).VM))


def pyone_engine_images(url: str) -> Callable[[], object]:
    """Likewise."""
    import pyone

    def told(image):  # type: ignore[no-untyped-def]
        return (
            *(image.ID, image.NAME, image.UNAME, image.TYPE, image.STATE, image.PERSISTENT),
            *(image.SIZE, image.RUNNING_VMS, image.DATASTORE, image.FORMAT, image.REGTIME),
            image.PERMISSIONS.OTHER_U,
            *map(image.TEMPLATE.get, ("DESCRIPTION", "ERROR")),
        )

    server = pyone.OneServer(f"{url}/RPC2", session="jane:secret")
    return lambda: list(map(told, server.imagepool.info(-2, -1, -1).IMAGE))


def _openstack(url: str):  # type: ignore[no-untyped-def]
    from libcloud.compute.drivers.openstack import OpenStack_1_1_NodeDriver

    return OpenStack_1_1_NodeDriver(
        "jane",
        "secret",
        ex_force_auth_url=url,
        ex_force_auth_token="token",  # noqa: S106
        ex_force_base_url=url,
        secure=False,
    )


def openstack_images(url: str) -> Callable[[], object]:
    """Libcloud's OpenStack driver."""
    return _openstack(url).list_images


def openstack_nodes(url: str) -> Callable[[], object]:
    """Libcloud's OpenStack driver."""
    return _openstack(url).list_nodes


def openstack_volumes(url: str) -> Callable[[], object]:
    """Libcloud's OpenStack driver."""
    return _openstack(url).list_volumes


def _opennebula(url: str):  # type: ignore[no-untyped-def]
    from libcloud.compute.drivers.opennebula import OpenNebulaNodeDriver

    parts = urlsplit(url)
    driver = OpenNebulaNodeDriver(
        "jane", "secret", api_version="3.2", secure=False, host=parts.hostname, port=parts.port
    )
    driver.connection.request_path = parts.path
    return driver


def opennebula_images(url: str) -> Callable[[], object]:
    """Libcloud's OpenNebula driver, which sends a request for each image."""
    return _opennebula(url).list_images
