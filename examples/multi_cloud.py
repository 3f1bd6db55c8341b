#!/usr/bin/env python3
"""
Use several clouds in the same way: StratusLab sites and, for comparison, Libcloud's dummy driver.

    python multi_cloud.py CONFIGURATION-FILE...

Every function below takes any Libcloud driver.
"""

import sys

from libcloud.compute.base import Node, NodeDriver
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider

import stratuslab_libcloud


def clouds(configs: list[str]) -> dict[str, NodeDriver]:
    """Make a driver for each configuration file, and one of another provider."""
    stratuslab_libcloud.register()
    stratuslab = get_driver("stratuslab")
    drivers = {config: stratuslab(stratuslab_user_config=config) for config in configs}
    return {**drivers, "dummy": get_driver(Provider.DUMMY)(0)}


def report(name: str, driver: NodeDriver) -> None:
    """Print what a cloud has."""
    counts = (
        f"{len(driver.list_locations())} location(s)",
        f"{len(driver.list_sizes())} sizes",
        f"{len(driver.list_images())} images",
        f"{len(driver.list_nodes())} node(s)",
    )
    print(f"{name}: {', '.join(counts)}")


def smallest_node(driver: NodeDriver) -> Node:
    """Start a node of the smallest size that a cloud offers."""
    size = min(driver.list_sizes(), key=lambda size: size.ram)
    return driver.create_node(name="multi-cloud", size=size, image=driver.list_images()[0])


def main(configs: list[str]) -> int:
    drivers = clouds(configs)
    nodes: list[Node] = []
    try:
        for driver in drivers.values():
            nodes.append(smallest_node(driver))
        for name, driver in drivers.items():
            report(name, driver)
        print(f"{len({node.uuid for node in nodes})} different nodes were started")
    finally:
        for node in nodes:
            node.destroy()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
