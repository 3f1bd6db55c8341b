#!/usr/bin/env python3
"""
Start a node with a persistent disk, run a script on it, and clean up.

    python node_with_disk.py [CONFIGURATION-FILE]

Needs a cloud whose machines accept SSH logins, and an SSH key pair: the configured one, or one in
~/.ssh.
"""

import sys
import uuid

from libcloud.compute.base import NodeDriver, StorageVolume
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
    name = f"example-{uuid.uuid4()}"
    try:
        return run_script(driver, name, volume)
    finally:
        # Leave nothing behind, even after Ctrl-C.
        for node in driver.list_nodes():
            if node.name == name:
                driver.destroy_node(node)
                print(f"node {node.id} destroyed")
        driver.destroy_volume(volume)
        print("volume destroyed")


def run_script(driver: NodeDriver, name: str, volume: StorageVolume) -> int:
    """Deploy the script on a new node with the volume."""
    script = ScriptDeployment(SCRIPT, delete=True)
    print(f"starting node {name}; waiting for it to let us in")
    try:
        node = driver.deploy_node(
            deploy=script,
            name=name,
            size=next(size for size in driver.list_sizes() if size.id == "m1.small"),
            image=driver.list_images()[0],
            ex_volumes=[volume],
            wait_period=1,
            timeout=120,
        )
    except DeploymentError as error:
        reason = getattr(error.original_error, "value", error.original_error)
        print(f"the deployment failed: {reason}", file=sys.stderr)
        return 1
    print(f"node {node.id} at {', '.join(node.public_ips)}: {script.stdout.strip()}")
    return script.exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [None]))
