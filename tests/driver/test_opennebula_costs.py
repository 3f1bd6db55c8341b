"""What each method costs on OpenNebula: the table in the documentation, counted at the server."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from clouds import KEY, Site, config
from libcloud.compute.base import NodeDriver
from looks import wait_for
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver

PAGE = Path(__file__).parents[2] / "docs" / "opennebula.md"
ROW = re.compile(r"^\| (`.*?) \| [^|]* \| ([^|]*) \|$", re.MULTILINE)
NONE = {"list_locations", "list_sizes", "ex_close"}  # methods that ask for nothing
LONGER = {"wait_until_running", "deploy_node"}  # as long as a node takes
LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAoK"
Call = Callable[[], object]


def table() -> dict[str, str]:
    """The costs on OpenNebula, by what is called as the table writes it."""
    rows = ROW.findall(PAGE.read_text())
    return {name: cost for names, cost in rows for name in re.findall(r"`([^`]+)`", names)}


def works() -> dict[str, str]:
    return {name: cost for name, cost in table().items() if cost != "no" and name not in LONGER}


def test_the_table_has_every_method() -> None:
    listed = {name.partition("(")[0] for name in table()}
    ours = {
        name
        for name, method in inspect.getmembers(StratusLabNodeDriver, inspect.isfunction)
        if not name.startswith("_") and method is not getattr(NodeDriver, name, None)
    }
    assert listed | NONE == ours


def session(one: StratusLabNodeDriver, folder: Path) -> Iterator[tuple[str, Call]]:
    """Calls, each with its name in the table; what happens between them is not counted."""
    location, (small, large) = one.list_locations()[0], one.list_sizes()[:2]
    image = one.list_images()[0]
    yield "list_images", one.list_images
    yield "get_image", lambda: one.get_image(image.id)
    yield "create_node", lambda: one.create_node("web", small, image, auth=KEY)
    (node,) = one.list_nodes()
    one.wait_until_running([node], wait_period=0.1, timeout=60)
    yield "list_nodes", one.list_nodes
    yield "ex_list_nodes", lambda: one.ex_list_nodes(location)
    yield "ex_get_node", lambda: one.ex_get_node(present(node.id))
    yield "ex_rename_node", lambda: one.ex_rename_node(node, "db")
    yield "create_image", lambda: one.create_image(node, "mine")
    mine = next(found for found in one.list_images() if found.name == "mine")
    yield "copy_image", lambda: one.copy_image(location.id, mine, "copy")
    yield "delete_image", lambda: one.delete_image(mine)
    one.create_volume(1, "first")
    yield "create_volume", lambda: one.create_volume(1, "data")
    volume = next(found for found in one.list_volumes() if found.name == "data")
    yield "list_volumes", one.list_volumes
    yield "attach_volume", lambda: one.attach_volume(node, volume)
    yield "ex_disk_mounts", lambda: one.ex_disk_mounts(volume)
    yield "detach_volume", lambda: one.detach_volume(volume, ex_node=node)
    yield "ex_update_volume", lambda: one.ex_update_volume(volume, name="wiki")
    yield "create_volume_snapshot", lambda: one.create_volume_snapshot(volume, "monday")
    (snapshot,) = one.list_volume_snapshots(volume)
    yield "list_volume_snapshots", lambda: one.list_volume_snapshots(volume)
    yield "create_volume(snapshot=)", lambda: one.create_volume(1, "new", snapshot=snapshot)
    yield "destroy_volume_snapshot", lambda: one.destroy_volume_snapshot(snapshot)
    yield "destroy_volume", lambda: one.destroy_volume(volume)
    yield "reboot_node", lambda: one.reboot_node(node)
    yield "ex_suspend_node", lambda: one.ex_suspend_node(node)
    wait_for(lambda: one.ex_get_node(present(node.id)).extra["vm_state"], 5)
    yield "ex_resume_node", lambda: one.ex_resume_node(node)
    one.wait_until_running([node], wait_period=0.1, timeout=60)
    yield "stop_node", lambda: one.stop_node(node)
    wait_for(lambda: one.ex_get_node(present(node.id)).extra["vm_state"], 8)
    yield "ex_resize_node", lambda: one.ex_resize_node(node, large)
    yield "start_node", lambda: one.start_node(node)
    one.wait_until_running([node], wait_period=0.1, timeout=60)
    yield "destroy_node", lambda: one.destroy_node(node)
    other = one.create_node("other", small, image, auth=KEY)
    one.wait_until_running([other], wait_period=0.1, timeout=60)
    yield "ex_shutdown_node", lambda: one.ex_shutdown_node(other)
    yield "ex_list_networks", one.ex_list_networks
    yield "ex_list_templates", one.ex_list_templates
    yield "ex_get_quota", one.ex_get_quota
    yield "ex_get_user", one.ex_get_user
    file = folder / "key.pub"
    file.write_text(LINE)
    yield "create_key_pair", lambda: one.create_key_pair("laptop")
    yield "list_key_pairs", one.list_key_pairs
    yield "get_key_pair", lambda: one.get_key_pair("laptop")
    laptop = one.get_key_pair("laptop")
    yield "delete_key_pair", lambda: one.delete_key_pair(laptop)
    yield "import_key_pair_from_string", lambda: one.import_key_pair_from_string("desk", LINE)
    yield "import_key_pair_from_file", lambda: one.import_key_pair_from_file("file", str(file))


def test_each_method_costs_what_the_table_says(site: Site, tmp_path: Path) -> None:
    ((username, password),) = site.sandbox.users.items()
    one = StratusLabNodeDriver(
        stratuslab_user_config=config(
            endpoint=f"{site.sandbox.url}/RPC2",
            dialect="opennebula",
            username=username,
            password=password,
        )
    )
    counted: dict[str, int] = {}
    for name, call in session(one, tmp_path):
        site.requests()
        call()
        counted[name] = len(site.requests())
    one.ex_close()
    assert counted.keys() == works().keys()
    wrong = {}
    for name, cost in works().items():
        number, more = re.match(r"(\d+)(\+?)", cost).groups()  # type: ignore[union-attr]
        if counted[name] < int(number) or (counted[name] > int(number) and not more):
            wrong[name] = f"{counted[name]}, not {cost}"
    assert wrong == {}
