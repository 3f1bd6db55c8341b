#!/usr/bin/env python3
"""
Start a node, wait until it runs, and end it, on any of Libcloud's clouds: StratusLab, OpenNebula,
the dummy and others.

    python any_cloud.py PROVIDER-FILE

The file is JSON, as orchestrators have it: opennebula.json, beside this one, is an example. The
arguments of the driver are strings; image and size are found by how their names begin. Where a
cloud wants an SSH key it is that in ~/.ssh, or STRATUSLAB_KEY names the public one.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from libcloud.compute.base import Node, NodeDriver
from libcloud.compute.providers import get_driver
from libcloud.compute.types import NodeState

import stratuslab_libcloud


def named(things: list[Any], name: str) -> Any:
    """Find the first thing whose name begins so."""
    for thing in things:
        if str(thing.name).startswith(name):
            return thing
    raise SystemExit(f"there is no {name!r}; there are: {', '.join(one.name for one in things)}")


def running(driver: NodeDriver, node: Node) -> Node:
    """Wait until the node runs."""
    for _ in range(300):
        (found,) = (one for one in driver.list_nodes() if one.id == node.id)
        if found.state == NodeState.RUNNING:
            return found
        time.sleep(0.2)
    raise SystemExit(f"node {node.id} does not run")


def session(driver: NodeDriver, image: str, size: str) -> None:
    """The same calls, on every cloud."""
    chosen = {
        "image": named(driver.list_images(), image),
        "size": named(driver.list_sizes(), size),
    }
    node = driver.create_node(name="any-cloud", **chosen)
    try:
        node = running(driver, node)
        print(f"node {node.name} runs at {', '.join(node.public_ips)}")
    finally:
        driver.destroy_node(node)
    print("it was ended")


def main(file: str) -> int:
    stratuslab_libcloud.register()
    told = json.loads(Path(file).read_text())
    driver = get_driver(told["provider"])(**told["arguments"])
    session(driver, told["image"], told["size"])
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
