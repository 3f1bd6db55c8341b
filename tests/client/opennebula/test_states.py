"""What each state of the engine's allows (modern 4 to 7)."""

import pytest
from engines import Scripted, done, image, machine, pool_of
from libcloud.compute.types import StorageVolumeState

from stratuslab_libcloud.client.opennebula.states import changing, gone, plugging

VOLUMES = {
    0: StorageVolumeState.CREATING,
    1: StorageVolumeState.AVAILABLE,
    2: StorageVolumeState.INUSE,
    3: StorageVolumeState.AVAILABLE,
    4: StorageVolumeState.CREATING,
    5: StorageVolumeState.ERROR,
    6: StorageVolumeState.AVAILABLE,
    8: StorageVolumeState.INUSE,
    9: StorageVolumeState.CREATING,
    10: StorageVolumeState.CREATING,
}
NAMES = dict(enumerate(["INIT", "READY", "USED", "DISABLED", "LOCKED", "ERROR", "CLONE"]))
NAMES |= {8: "USED_PERS", 9: "LOCKED_USED", 10: "LOCKED_USED_PERS", 77: "77"}


def test_volumes_in_every_state() -> None:
    used = {2, 8, 9, 10}
    documents = [image(state, state, machines=(81,) if state in used else ()) for state in VOLUMES]
    documents.append(image(7, 7))  # it is going, and not listed
    answers = {"system.version": done("7.4.0"), "imagepool.info": pool_of("IMAGE", *documents)}
    with Scripted(answers) as engine:
        driver = engine.driver()
        found = {int(volume.id): volume.state for volume in driver.list_volumes()}
        driver.ex_close()
    assert found == VOLUMES


def test_images_in_every_state() -> None:
    documents = [image(state, state, type=0) for state in (*NAMES, 7)]
    with Scripted({"imagepool.info": pool_of("IMAGE", *documents)}) as engine:
        found = {int(one.id): one.details()["state"] for one in engine.cloud().images()}
    assert found == NAMES


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("3/3 3/16 3/36 3/39 3/40 1 2 4 5 8 9 10 11", (False, False, False)),
        ("3/1 3/2 3/5 3/6 3/10 3/18 3/20 3/21 3/29 0", (True, False, False)),
        ("3/24 3/26 3/27 3/51 3/57 3/59 3/62 3/66", (True, False, False)),
        ("3/17 3/25 3/33 3/34 3/65", (True, False, True)),
        ("3/11 3/12 3/23", (True, True, False)),
        ("6", (False, True, False)),
    ],
    ids=["at rest", "on its way", "changed", "plugged", "ending", "ended"],
)
def test_machines(states: str, expected: tuple[bool, bool, bool]) -> None:
    """Whether the engine is at work on it, whether it has ended, whether a disk comes or goes."""
    each = states.split()
    with Scripted({"vm.info": [done(machine(state)) for state in each]}) as engine:
        cloud = engine.cloud()
        for state in each:
            found = cloud.machine("81")
            assert (changing(found), gone(found), plugging(found)) == expected, state
        cloud.close()
