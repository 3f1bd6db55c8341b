"""Chapters 6 and 7 of the User's Guide by its commands, on a machine that runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from machines import BOOT_SECONDS, real_sandbox
from sshd import Sshd, needed

from stratuslab_libcloud import connect
from stratuslab_libcloud.cli.instances import describe_instance, kill_instance
from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.sandbox.site import Sandbox

CONNECT = "from stratuslab_libcloud.cli.connect import connect_instance as c; c()"


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with real_sandbox() as site:
        yield site


@needed
def test_run_connect_and_kill(site: Sandbox, tmp_path: Path) -> None:
    cloud = connect(site.config_path)
    image = next(image for image in cloud.images() if image.name.startswith("standard"))
    disk = cloud.create_volume(1, "mine")
    options = [
        *("-c", str(site.config_path), "--wait", "--type=t1.micro", f"--timeout={BOOT_SECONDS}"),
        *(f"--persistent-disk={disk.id}", "--volatile-disk=1", "--vm-disks-bus=virtio"),
    ]
    started = CliRunner().invoke(run_instance, [*options, image.id])
    assert (started.exit_code, started.stderr) == (0, "")
    (machine,) = cloud.machines()
    assert f":: Machine 1 (vm ID: {machine.id})\n\tPublic ip: {machine.address}" in started.stdout
    described = CliRunner().invoke(describe_instance, ["-c", str(site.config_path), machine.id])
    assert described.stdout.splitlines()[1].split()[:2] == [machine.id, "Running"]
    script = (
        "grep -c 'vd[cd]$' /proc/partitions; mke2fs /dev/vdc >/dev/null; mount /dev/vdc /mnt;"
        "echo Testing >/mnt/test_pdisk; cat /mnt/test_pdisk; umount /mnt;"
        "mount -t ext3 /dev/vdd /mnt && ls /mnt; umount /mnt; exit 3"
    )
    spare = Sshd(tmp_path, "127.0.0.1", 0)  # never started: whose home has known_hosts
    connected = subprocess.run(
        [sys.executable, "-c", CONNECT, "-c", str(site.config_path), machine.id, "--", script],
        env=os.environ | spare._users(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=BOOT_SECONDS,
    )
    assert connected.stdout == "2\nTesting\nlost+found\n", connected.stderr
    assert connected.returncode == 3
    killed = CliRunner().invoke(kill_instance, ["-c", str(site.config_path), machine.id])
    assert (killed.exit_code, killed.output) == (0, "")
    assert cloud.machines() == []
    cloud.close()
