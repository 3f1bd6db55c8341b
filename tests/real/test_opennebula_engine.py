"""A machine and a volume of the modern engine, on QEMU: boot, SSH, attach, write, save, revert."""

import configparser
import types
from collections.abc import Iterator

import pytest
from engine_callers import One
from machines import BOOT_SECONDS, processes, real_sandbox, ssh, wait_for

from stratuslab_libcloud.sandbox.site import Sandbox

RUNNING = (3, 3)


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with real_sandbox(users={"alice": "pw-a"}) as site:
        yield site


@pytest.fixture
def her(site: Sandbox) -> One:
    return One(site, "alice:pw-a")


def reached(her: One, number: int, state: tuple[int, int]) -> None:
    failures = {(3, 36), (3, 39), (3, 40)}
    wait_for(lambda: her.state(number) in {state} | failures, f"{state}", BOOT_SECONDS)
    assert her.state(number) == state, her.error(number)


def run(site: Sandbox, her: One, number: int, command: str) -> str:
    parser = configparser.RawConfigParser()
    parser.read(site.opennebula_config_path)
    port = parser["opennebula"].get("ssh_port", "22")
    address = her.vm(number).findtext("TEMPLATE/NIC/IP")
    node = types.SimpleNamespace(public_ips=[address], extra={"ssh_port": port})
    return ssh(site, node, command)  # type: ignore[arg-type]


def start(site: Sandbox, her: One, image: int, *more: str) -> int:
    key = (site.dir / "id_ed25519.pub").read_text().strip()
    lines = (
        "CPU=1\nMEMORY=256",
        'NIC=[NETWORK="public",NETWORK_UNAME="oneadmin"]',
        f'CONTEXT=[NETWORK="YES",SSH_PUBLIC_KEY="{key}"]',
        f"DISK=[IMAGE_ID={image}]",
        *more,
    )
    return int(her("vm.allocate", "\n".join(lines)))


def standard(her: One) -> int:
    pool = her.document("imagepool.info", -2, -1, -1)
    names = {one.findtext("NAME", ""): int(one.findtext("ID", "")) for one in pool}
    return next(number for name, number in names.items() if name.startswith("standard"))


def test_a_volume_keeps_what_one_machine_wrote_for_the_next(site: Sandbox, her: One) -> None:
    first = start(site, her, standard(her))
    reached(her, first, RUNNING)
    run(site, her, first, "echo kept >/root/note; sync")
    volume = her.volume("data", 'DEV_PREFIX="vd"', size=16)
    wait_for(lambda: her.image_state(volume) == 1, "the volume")
    her("vm.attach", first, f"DISK=[IMAGE_ID={volume}]")
    reached(her, first, RUNNING)
    assert her.image_state(volume) == 8, her.error(first)
    run(site, her, first, "echo written >/dev/vdb; sync")
    her("vm.detach", first, 2)
    reached(her, first, RUNNING)
    assert her.image_state(volume) == 1, her.error(first)

    saved = her("vm.disksaveas", first, 0, "saved", "", -1)
    wait_for(lambda: her.image_state(saved) in (1, 5), "the image")
    assert her.image_state(saved) == 1
    reached(her, first, RUNNING)
    snapshot = her("vm.disksnapshotcreate", first, 0, "before it is lost")
    reached(her, first, RUNNING)
    run(site, her, first, "echo lost >/root/note; sync")
    her("vm.action", "poweroff", first)
    reached(her, first, (8, 0))
    her("vm.disksnapshotrevert", first, 0, snapshot)
    reached(her, first, (8, 0))
    her("vm.action", "resume", first)
    reached(her, first, RUNNING)
    assert run(site, her, first, "cat /root/note") == "kept\n"
    her("vm.action", "terminate-hard", first)
    reached(her, first, (6, 0))

    other = start(site, her, saved, f"DISK=[IMAGE_ID={volume}]")
    reached(her, other, RUNNING)
    assert run(site, her, other, "cat /root/note; head -n1 /dev/vdb") == "kept\nwritten\n"
    her("vm.detach", other, 1)  # one that it booted with
    reached(her, other, RUNNING)
    assert her.image_state(volume) == 1, her.error(other)
    her("vm.action", "terminate-hard", other)
    reached(her, other, (6, 0))
    wait_for(lambda: not processes(site.dir), "the end of all processes")
