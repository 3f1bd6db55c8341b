"""A sandbox that is up, and somebody who talks to it: neither knows our client."""

import json
from collections.abc import Callable, Iterator

import pytest
from callers import USERS, Caller

from stratuslab_libcloud.sandbox.site import Sandbox


@pytest.fixture
def site() -> Iterator[Sandbox]:
    with Sandbox(users=USERS) as site:
        yield site


@pytest.fixture
def calling(site: Sandbox) -> Callable[[str], Caller]:
    """Callers by user name."""
    passwords = {**USERS, "pdisk": service_password(site)}
    return lambda user: Caller(site, (user, passwords[user]))


@pytest.fixture
def jane(calling: Callable[[str], Caller]) -> Caller:
    return calling("jane")


@pytest.fixture
def joerg(calling: Callable[[str], Caller]) -> Caller:
    return calling("jörg")


@pytest.fixture
def service(calling: Callable[[str], Caller]) -> Caller:
    """The storage service's own account."""
    return calling("pdisk")


def service_password(site: Sandbox) -> str:
    return str(json.loads((site.dir / "passwords.json").read_text())["pdisk"])
