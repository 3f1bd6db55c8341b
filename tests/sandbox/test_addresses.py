"""The addresses of machines, through the site's own doors."""

from collections.abc import Callable
from pathlib import Path

import pytest
from callers import Caller

from stratuslab_libcloud.sandbox import addresses
from stratuslab_libcloud.sandbox.site import Sandbox

NIC = 'NIC = [ network_uname = oneadmin, network = "{}" {} ]'
JANE = {"jane": "s3cret"}


def given(caller: Caller, network: str = "public", ip: str = "") -> str:
    """The address of a machine that ends at once."""
    vm_id = caller.start(NIC.format(network, f", ip = {ip}" if ip else ""))
    address = caller.info(vm_id).findtext("TEMPLATE/NIC/IP")
    caller.act("finalize", vm_id)
    assert address is not None
    return address


@pytest.fixture
def jane(site: Sandbox, calling: Callable[[str], Caller]) -> Caller:
    return calling("jane")


@pytest.mark.parametrize("network", ["public", "local", "private"])
def test_no_two_of_many_machines_one_after_the_other_have_the_same_address(
    jane: Caller, network: str
) -> None:
    assert len({given(jane, network) for _ in range(30)}) == 30


def test_a_sandbox_that_is_started_again_does_not_give_the_addresses_of_before(
    tmp_path: Path,
) -> None:
    found = []
    for _ in range(3):
        with Sandbox(tmp_path, users=JANE) as site:
            found += [given(Caller(site, ("jane", "s3cret"))) for _ in range(2)]
    assert len(set(found)) == 6


def test_what_was_asked_for_is_not_given_to_the_next_machine(jane: Caller) -> None:
    first, second = given(jane), given(jane)
    ahead = second.rsplit(".", 1)[0] + ".77"
    assert given(jane, ip=ahead) == ahead
    assert given(jane, ip=first) == first  # before, though: that leads back to nobody's
    assert given(jane) not in (first, second, ahead)


def test_when_all_were_used_the_first_comes_again(
    jane: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_NETWORK_SIZE", 256)
    found = [given(jane) for _ in range(255)]
    assert len(set(found)) == 254
    assert found[254] == found[0]
