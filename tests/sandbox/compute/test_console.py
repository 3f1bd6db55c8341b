"""The door to a machine's console, which only a sandbox has."""

from collections.abc import Callable, Iterator

import pytest
import requests
from callers import USERS, Caller
from requests.auth import HTTPBasicAuth

from stratuslab_libcloud.sandbox.machines.simulated import Simulated
from stratuslab_libcloud.sandbox.site import Sandbox

LAYOUTS = ["/one-proxy/pswd", "/pswd"]


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with Sandbox(users=USERS) as site:
        yield site


def ask(
    site: Sandbox, user: str | None, machine: object, layout: str = "/pswd", method: str = "GET"
) -> requests.Response:
    login = HTTPBasicAuth(user.encode(), USERS[user].encode()) if user else None
    url = f"{site.url}{layout}/xmlrpc/machines/{machine}/console"
    return requests.request(method, url, auth=login, timeout=60)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_its_owner_sees_what_a_machine_wrote(site: Sandbox, jane: Caller, layout: str) -> None:
    vm_id = jane.start()
    answer = ask(site, "jane", vm_id, layout)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == {
        "id": str(vm_id),
        "console": "This machine is simulated: nothing runs in it that could write here.\n",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nobody_else_does(site: Sandbox, jane: Caller, layout: str) -> None:
    vm_id = jane.start()
    answer = ask(site, "jörg", vm_id, layout)
    assert answer.status_code == 403
    assert answer.json()["message"].endswith(f"Not authorized to perform USE VM [{vm_id}].")
    assert ask(site, None, vm_id, layout).status_code == 401
    assert ask(site, None, vm_id, layout.replace("pswd", "cert")).status_code == 403
    foreign = requests.get(
        f"{site.url}{layout}/xmlrpc/machines/{vm_id}/console",
        auth=("jane", USERS["jane"]),
        headers={"Origin": "https://evil.example"},
        timeout=60,
    )
    assert foreign.status_code == 403
    assert "simulated" not in foreign.text


def test_a_machine_that_there_is_not_is_named(site: Sandbox) -> None:
    answer = ask(site, "jane", 77)
    assert answer.status_code == 404
    assert answer.json() == {"message": "Error getting virtual machine [77]."}


@pytest.mark.parametrize("machine", ["-1", "x", "1e3", "٣", "9" * 10, "%2e%2e", "%00", "0%2f1"])
def test_what_is_no_id_is_nowhere(site: Sandbox, machine: str) -> None:
    answer = ask(site, "jane", machine)
    assert answer.status_code == 404
    assert "nothing here" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_console_can_only_be_read(site: Sandbox, jane: Caller, method: str) -> None:
    assert ask(site, "jane", jane.start(), method=method).status_code == 404


def test_the_bytes_of_a_machine_are_shown_as_lines_that_can_be_printed(
    site: Sandbox, jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = b"\x1b[2JWelcome\r\n\xff\x9b31m\x07root\xe2\x80\xae login: "
    monkeypatch.setattr(Simulated, "console", lambda machinery, machine_id: raw)
    shown = ask(site, "jane", jane.start()).json()["console"]
    assert shown == "Welcome\n\ufffd\ufffd31m root  login:\n"


def test_a_machine_that_failed_leaves_it_to_its_owner_to_end_it(
    site: Sandbox, jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then its files may go: the machinery hears of it, once."""
    entered: list[tuple[int, str]] = []
    enter: Callable[..., None] = Simulated.enter

    def heard(machinery: Simulated, machine: object) -> None:
        entered.append((machine.id, machine.phase.name))  # type: ignore[attr-defined]
        enter(machinery, machine)

    vm_id = jane.start()
    site.fail(vm_id, "the host burned")
    assert ask(site, "jane", vm_id).status_code == 200
    monkeypatch.setattr(Simulated, "enter", heard)
    jane.act("finalize", vm_id)
    jane.act("finalize", vm_id)
    assert entered == [(vm_id, "DONE")]
