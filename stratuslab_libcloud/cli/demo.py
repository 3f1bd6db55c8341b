"""``stratus-sandbox demo``: a walk through chapter 9 of the User's Guide."""

from pathlib import Path
from typing import Any

import click

from stratuslab_libcloud.untrusted.text import printable

__all__ = ["walk"]


WRITE = """#!/bin/sh
uname -sr
fdisk -l /dev/vdc | head -1
mkfs.ext3 -q /dev/vdc && mount /dev/vdc /mnt && echo 'Testing Persistent Disk' >/mnt/test_pdisk
umount /mnt
"""
READ = """#!/bin/sh
mount /dev/vdc /mnt && cat /mnt/test_pdisk
"""


def walk(config_path: Path, *, real: bool) -> None:
    """
    Use every function of guide 9.1.4 on a sandbox, and clean up.

    :param config_path: the sandbox's configuration file.
    :param real: whether its machines accept logins.
    """
    from libcloud.compute.providers import get_driver

    import stratuslab_libcloud

    _chapter("9.1.2 Configuring: the sandbox wrote the file that you would edit", config_path)
    stratuslab_libcloud.register()
    _chapter("9.1.3 Using the driver, like any other Libcloud driver")
    _show("driver = get_driver('stratuslab')(stratuslab_user_config=path)")
    driver_class: Any = get_driver("stratuslab")
    driver = driver_class(stratuslab_user_config=config_path)
    try:
        _look(driver)
        node = _start(driver)
        try:
            _store(driver, node)
        finally:
            _chapter("destroy_node: terminate a virtual machine")
            _show("driver.destroy_node(node)", driver.destroy_node(node))
        if real:
            _deploy(driver)
        else:
            _chapter("deploy_node: not shown, as simulated machines run nothing to log in to")
        _show("driver.list_nodes()", driver.list_nodes())
    finally:
        driver.ex_close()


def _look(driver: Any) -> None:
    _chapter("list_locations: the sections of the configuration file")
    _show(
        "driver.list_locations()",
        *(f"{place.id}: {place.name}, {place.country}" for place in driver.list_locations()),
    )
    _chapter("list_sizes: the standard machine instance types")
    _show(
        "driver.list_sizes()",
        *(f"{s.id:10} {s.extra['cpus']} CPU {s.ram:5} MiB" for s in driver.list_sizes()),
    )
    _chapter("list_images: all valid images in the Marketplace")
    _show("driver.list_images()", *(f"{i.id}  {i.name}" for i in driver.list_images()))


def _start(driver: Any) -> Any:
    _chapter("create_node: start a virtual machine")
    _show("node = driver.create_node(name='demo', size=m1_small, image=images[0])")
    size = next(size for size in driver.list_sizes() if size.id == "m1.small")
    node = driver.create_node(name="demo", size=size, image=driver.list_images()[0])
    _show("node.state, node.public_ips", f"{node.state}, {', '.join(node.public_ips)}")
    _chapter("list_nodes: active virtual machines")
    _show("driver.wait_until_running([node])")
    driver.wait_until_running([node], wait_period=0.5)
    _show(
        "driver.list_nodes()",
        *(f"{n.id}  {n.name}  {n.state}  {', '.join(n.public_ips)}" for n in driver.list_nodes()),
    )
    return node


def _store(driver: Any, node: Any) -> None:
    _chapter("create_volume: a persistent disk of 5 GiB")
    _show("volume = driver.create_volume(5, 'myprivate-disk')")
    volume = driver.create_volume(5, "myprivate-disk")
    try:
        _chapter("attach_volume, while the machine runs")
        _show("driver.attach_volume(node, volume)", driver.attach_volume(node, volume))
        _show("volume.extra['device']", volume.extra["device"])
        _show(
            "driver.list_volumes()",
            *(f"{v.id}  {v.name}  {v.state}" for v in driver.list_volumes()),
        )
        _chapter("detach_volume")
        _show("driver.detach_volume(volume)", driver.detach_volume(volume))
    except BaseException:
        driver.destroy_node(node)  # it may still have the volume
        raise
    finally:
        _chapter("destroy_volume")
        _show("driver.destroy_volume(volume)", driver.destroy_volume(volume))


def _deploy(driver: Any) -> None:
    """Run chapter 7.3 as scripts: one machine writes to a disk, the next one reads it."""
    from libcloud.compute.deployment import ScriptDeployment

    _chapter("deploy_node: start a machine and run a script on it; a disk keeps its data (7.3)")
    size = next(size for size in driver.list_sizes() if size.id == "m1.small")
    image = next(image for image in driver.list_images() if image.extra["os"] == "ttylinux")
    volume = driver.create_volume(1, "demo-data")
    try:
        for name, script in (("writer", WRITE), ("reader", READ)):
            _show(
                f"driver.deploy_node(ScriptDeployment({name}), name={name!r}, size=m1_small, "
                "image=ttylinux, ex_volumes=[volume])"
            )
            step = ScriptDeployment(script)
            node = driver.deploy_node(
                step, name=name, size=size, image=image, ex_volumes=[volume], wait_period=1
            )
            try:
                _show(
                    "script.exit_status, script.stdout",
                    step.exit_status,
                    *_lines(step.stdout or ""),
                )
            finally:
                _show("driver.destroy_node(node)", driver.destroy_node(node))
    finally:
        _end_of(driver, volume)


def _end_of(driver: Any, volume: Any) -> None:
    """Destroy everything we made, however a deployment ended."""
    for node in driver.list_nodes():
        driver.destroy_node(node)
    driver.destroy_volume(volume)


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def _chapter(title: str, *details: object) -> None:
    click.secho(f"\n{title}", bold=True)
    for detail in details:
        click.echo(f"    {printable(str(detail))}")


def _show(code: str, *results: object) -> None:
    click.echo(f"  >>> {code}")
    for result in results:
        click.echo(f"      {printable(str(result))}")
