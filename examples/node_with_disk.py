#!/usr/bin/env python3
"""
Start a node with a persistent disk, run a script on it, and clean up.

    python node_with_disk.py [CONFIGURATION-FILE]

Needs a cloud whose machines can be logged in to, and an SSH key pair: the configured one, or one
in ~/.ssh.
"""

import sys

from libcloud.compute.base import NodeDriver
from libcloud.compute.deployment import ScriptDeployment
from libcloud.compute.providers import get_driver
from libcloud.compute.types import DeploymentError

import stratuslab_libcloud

SCRIPT = '#!/bin/sh\necho "Hello from $(uname -n)"\n'


def main(config: str | None) -> int:
    stratuslab_libcloud.register()
    driver = get_driver("stratuslab")(stratuslab_user_config=config)
    volume = driver.create_volume(1, "example-disk")
    print(f"volume {volume.id}, {volume.size} GiB")
    try:
        return run_script(driver, volume)
    finally:
        driver.destroy_volume(volume)
        print("volume destroyed")


def run_script(driver: NodeDriver, volume: object) -> int:
    """Deploy the script on a new node that has the volume; the node is ended in any case."""
    script = ScriptDeployment(SCRIPT, delete=True)
    try:
        node = driver.deploy_node(
            deploy=script,
            name="example",
            size=next(size for size in driver.list_sizes() if size.id == "m1.small"),
            image=driver.list_images()[0],
            ex_volumes=[volume],
            wait_period=1,
            timeout=120,
        )
    except DeploymentError as error:
        print(f"the deployment failed: {error.original_error}", file=sys.stderr)
        driver.destroy_node(error.node)
        return 1
    print(f"node {node.id} at {', '.join(node.public_ips)}: {script.stdout.strip()}")
    driver.destroy_node(node)
    print("node destroyed")
    return script.exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [None]))
