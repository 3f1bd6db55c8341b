"""What the commands are tried on: a sandbox for each module, and what is in it."""

from collections.abc import Iterator

import pytest

from stratuslab_libcloud import Cloud, connect
from stratuslab_libcloud.sandbox.site import Sandbox


@pytest.fixture(scope="module")
def users() -> dict[str, str] | None:
    """The accounts of the site; a module may have others."""
    return None


@pytest.fixture(scope="module")
def site(users: dict[str, str] | None) -> Iterator[Sandbox]:
    with Sandbox(users=users) as site:
        yield site


@pytest.fixture(scope="module")
def cloud(site: Sandbox) -> Iterator[Cloud]:
    cloud = connect(site.config_path)
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def image(cloud: Cloud) -> str:
    """The id of an image."""
    return cloud.images()[0].id
