"""The serial console of real machines, by the driver."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from libcloud.compute.base import Node
from machines import processes, real_sandbox, talking, wait_for
from present import present

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.machines import qemu
from stratuslab_libcloud.sandbox.machines.console import LIMIT
from stratuslab_libcloud.sandbox.registering import register_image
from stratuslab_libcloud.sandbox.site import Sandbox

FAILED = 7
LAMENT = "\x1b[31mVFS: Cannot open root device\r\nKernel panic \x07"
SHOWN = "VFS: Cannot open root device\nKernel panic\n"
FLOOD = "\x1b[1mAll work and no play makes Jack a dull boy.\x1b[0m\r\n"
LINE = "All work and no play makes Jack a dull boy."


@contextlib.contextmanager
def site_and_driver(
    directory: Path, keep: bool = False
) -> Iterator[tuple[Sandbox, StratusLabNodeDriver]]:
    with real_sandbox(directory, keep_machines=keep) as site:
        driver = StratusLabNodeDriver(stratuslab_user_config=site.config_path)
        yield site, driver
        driver.ex_close()


def start(site: Sandbox, driver: StratusLabNodeDriver, image: Path) -> Node:
    name = register_image(site.dir, image, "raw", title="talking")
    return driver.create_node("n", driver.list_sizes()[0], driver.get_image(name))


def test_a_machine_that_does_not_come_up_is_understood_from_its_console(tmp_path: Path) -> None:
    """While it hangs, and when it has failed, until its owner ends it."""
    with site_and_driver(tmp_path / "site") as (site, driver):
        node = start(site, driver, talking(tmp_path, LAMENT))
        wait_for(lambda: driver.ex_get_console_output(node) == SHOWN, "it says nothing")
        folder = site.dir / "machines" / present(node.id)
        (pid,) = processes(site.dir)
        os.kill(pid, signal.SIGKILL)
        wait_for(
            lambda: driver.ex_get_node(present(node.id)).extra["vm_state"] == FAILED,
            "it is not noted",
        )
        assert driver.ex_get_console_output(node) == SHOWN
        assert [path.name for path in folder.iterdir()] == ["console"]
        driver.destroy_node(node)
        assert not folder.exists()
        assert driver.ex_get_console_output(node) == ""


def test_a_machine_that_floods_its_console_fills_no_disk_also_while_no_sandbox_looks(
    tmp_path: Path,
) -> None:
    def kept() -> list[int]:
        sizes = []
        for name in ("console.earlier", "console"):
            with contextlib.suppress(FileNotFoundError):  # between two names
                sizes.append((folder / name).stat().st_size)
        return sizes

    def turned() -> int:
        """Which file is written to, and changes only when it is full."""
        return (folder / "console").stat().st_ino if (folder / "console").exists() else 0

    with site_and_driver(tmp_path / "site", keep=True) as (site, driver):
        node = start(site, driver, talking(tmp_path, FLOOD, for_ever=True))
        folder = site.dir / "machines" / present(node.id)
        wait_for(lambda: len(kept()) == 2, "it does not flood")
    before = turned()
    wait_for(lambda: turned() not in (0, before), "nobody keeps it any more")
    assert max(kept()) <= LIMIT
    with site_and_driver(tmp_path / "site") as (site, driver):
        (node,) = driver.list_nodes()
        lines = driver.ex_get_console_output(node).splitlines()
        # Some letters are lost, as it does not wait until the line takes the next one.
        assert lines.count(LINE) > len(lines) / 2
        assert "".join(lines).isprintable()
        wait_for(lambda: sum(kept()) > LIMIT, "the second file is not written to")
        assert sum(kept()) <= 2 * LIMIT
        (pid,) = processes(site.dir)
        os.kill(pid, signal.SIGSTOP)
        last = driver.ex_get_console_output(node)
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: driver.ex_get_console_output(node) != last, "it is not written on")
    assert list((tmp_path / "site" / "machines").iterdir()) == []
    for process in qemu._OUTLIVING:  # this process has started them, so it must hear of their end
        process.wait(60)
