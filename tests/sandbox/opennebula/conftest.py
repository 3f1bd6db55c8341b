"""A site with a modern engine, of either version, and two users of it."""

from collections.abc import Iterator

import pytest
from engine_callers import One
from stills import NEVER, Still

from stratuslab_libcloud.sandbox.site import Sandbox

USERS = {"alice": "pw-a", "bob": "pw-b"}


@pytest.fixture(scope="module", params=["6.10.5", "7.4.0"])
def both(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Sites of both versions, for whole modules: tests must not depend on what others left."""
    with Sandbox(users=USERS, opennebula_version=request.param) as site:
        yield site


@pytest.fixture
def site() -> Iterator[Sandbox]:
    """A site of the newer version, for one test."""
    with Sandbox(users=USERS) as site:
        yield site


@pytest.fixture
def alice(site: Sandbox) -> One:
    return One(site, "alice:pw-a")


@pytest.fixture
def bob(site: Sandbox) -> One:
    return One(site, "bob:pw-b")


@pytest.fixture(scope="module")
def still() -> Iterator[Still]:
    """A site where nothing goes on by itself, for whole modules."""
    with Sandbox(
        users=USERS, boot_seconds=NEVER, ending_seconds=NEVER, opennebula_seconds=NEVER
    ) as site:
        yield Still(site)
