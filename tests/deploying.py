"""A cloud for ``deploy_node``, with a real SSH server on a simulated node's address."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import paramiko
from libcloud.compute.deployment import ScriptDeployment
from sshd import FLAVOURS, Sshd, free_port

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["Cloud", "connections", "hello", "new_cloud"]


class Cloud:
    """A sandbox whose next node will have an address at which sshd can be started."""

    def __init__(self, sandbox: Sandbox, folder: Path, flavour: str) -> None:
        self.sandbox = sandbox
        self.driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
        self.what: dict[str, Any] = {
            "size": self.driver.list_sizes()[0],
            "image": self.driver.list_images()[0],
        }
        scout = self.driver.create_node(name="scout", **self.what)
        self.driver.destroy_node(scout)
        self.sshd = Sshd(folder, scout.public_ips[0], free_port(scout.public_ips[0]), flavour)
        self.give_the_address_again()

    def give_the_address_again(self) -> None:
        """Let the next node have the scout's address, which it would have after 4,063 others."""
        with closing(sqlite3.connect(self.sandbox.dir / "sandbox.db")) as db, db:
            db.execute("DELETE FROM settings WHERE name = 'last public address'")

    def deploy(self, script: Any, **options: Any) -> Any:
        self.give_the_address_again()
        return self.driver.deploy_node(
            deploy=script,
            **{
                "name": "n",
                "ssh_username": self.sshd.username,
                "ssh_port": self.sshd.port,
                "timeout": 30,
                "wait_period": 0.1,
                **self.what,
                **options,
            },
        )


@contextmanager
def new_cloud(folder: Path, flavour: str = FLAVOURS[0]) -> Iterator[Cloud]:
    with Sandbox() as sandbox:
        found = Cloud(sandbox, folder, flavour)
        yield found
        found.driver.ex_close()


def hello() -> ScriptDeployment:
    return ScriptDeployment("#!/bin/sh\necho hello from $$\necho oh >&2\nexit 3\n", delete=True)


def connections() -> list[paramiko.Transport]:
    """Those that are logged in."""
    found = [thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport)]
    return [transport for transport in found if transport.is_authenticated()]
