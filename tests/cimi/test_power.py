"""What is offered where a cloud can stop machines, start them and boot them again."""

from pathlib import Path
from typing import Any, cast

import pytest
from werkzeug.test import create_environ

from stratuslab_libcloud import Cloud, Machine
from stratuslab_libcloud.cimi.provider import Caller, Provider
from stratuslab_libcloud.cimi.resources import CHANGES, root
from stratuslab_libcloud.cimi.table import ACTION
from stratuslab_libcloud.errors import InvalidValueError, NotSupportedError


class Stub:
    """A cloud in whatever state a machine is; without ``power`` it can only shut down."""

    def __init__(self, power: bool, *machines: Machine) -> None:
        self.power = self.keeps_stopped_machines = power
        self.done: list[str] = []
        self.machines = lambda: list(machines)

    def _do(self, verb: str, machine_id: str) -> None:
        if not self.power:
            raise NotSupportedError(f"machines cannot be {verb}ed")
        if not machine_id.isdigit():
            raise InvalidValueError(f"{machine_id} is no id")
        self.done.append(f"{verb} {machine_id}")

    def start_machine(self, machine_id: str) -> None:
        self._do("start", machine_id)

    def stop_machine(self, machine_id: str) -> None:
        self._do("stop", machine_id)

    def reboot_machine(self, machine_id: str) -> None:
        self._do("reboot", machine_id)

    def rename_machine(self, machine_id: str, name: str) -> None:
        self._do("rename", machine_id)

    def shut_down_machine(self, machine_id: str) -> None:
        self.done.append(f"shut down {machine_id}")


def caller(cloud: Stub, folder: Path) -> Caller:
    made = Caller(create_environ(headers={"Authorization": "Basic amFuZTp4"}))
    made.provider = Provider(
        lambda user, password: cast(Cloud, cloud),
        root,
        CHANGES,
        folder / "db",
        lambda request: None,
    )
    return made


def act(asking: Caller, verb: str) -> None:
    CHANGES["POST", f"machines/*/{verb}"](asking, "7")


def machine(state: int, lcm_state: int = 0) -> Machine:
    nothing: dict[str, Any] = dict.fromkeys(Machine._fields)
    return Machine(**{**nothing, "id": "7", "name": "m", "state": state, "lcm_state": lcm_state})


@pytest.mark.parametrize(
    ("state", "lcm_state", "name", "verbs"),
    [
        (1, 0, "CREATING", "delete"),
        (2, 0, "STOPPED", "delete start"),
        (3, 1, "CREATING", "delete"),
        (3, 3, "STARTED", "delete restart stop"),
        (3, 12, "STOPPING", "delete"),
        (3, 23, "DELETING", "delete"),
        (5, 0, "SUSPENDED", "delete start"),
        (7, 0, "ERROR", "delete"),
        (8, 0, "STOPPED", "delete start"),
        (-1, 0, "ERROR", "delete"),
    ],
)
@pytest.mark.parametrize("power", [True, False])
def test_only_what_works_now_is_offered(
    tmp_path: Path, power: bool, state: int, lcm_state: int, name: str, verbs: str
) -> None:
    asking = caller(Stub(power, machine(state, lcm_state)), tmp_path)
    document = asking.get(("cimi", "machines", "7"))
    offered = {one["rel"].removeprefix(ACTION) for one in document["operations"]}
    assert document["state"] == name
    expected = {*verbs.split(), "edit"}
    assert offered == expected - (set() if power else {"edit", "start", "restart"})


def test_stop_powers_off_where_a_machine_can_be_started_again(tmp_path: Path) -> None:
    cloud = Stub(power=True)
    asking = caller(cloud, tmp_path)
    for verb in ("stop", "start", "restart"):
        act(asking, verb)
    assert cloud.done == ["stop 7", "start 7", "reboot 7"]


def test_stop_shuts_down_elsewhere(tmp_path: Path) -> None:
    cloud = Stub(power=False)
    asking = caller(cloud, tmp_path)
    act(asking, "stop")
    assert cloud.done == ["shut down 7"]
    for verb in ("start", "restart"):
        with pytest.raises(NotSupportedError):
            act(asking, verb)
