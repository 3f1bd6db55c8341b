"""CIMI providers in front of each kind of location."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from consumers import JSON, Consumer

from stratuslab_libcloud.cli.cimi import serving
from stratuslab_libcloud.sandbox.site import Sandbox

JANE, JOE = ("jane", "pass%word:1"), ("joe", "käse")


# The section of a sandbox's configuration file, for each kind of location.
LOCATIONS = {"stratuslab": "sandbox", "opennebula": "opennebula"}


@dataclass
class Provider:
    """A provider, in front of a location on which JANE and JOE have accounts."""

    url: str
    location: str
    consumers: list[Consumer] = field(default_factory=list)

    def consumer(self, login: tuple[str, str] | None = JANE, media_type: str = JSON) -> Consumer:
        self.consumers.append(Consumer(self.url, login, media_type))
        return self.consumers[-1]


@pytest.fixture(scope="module", params=LOCATIONS)
def provider(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("cimi") / "kept"
    section = LOCATIONS[request.param]
    with (
        Sandbox(users=dict((JANE, JOE))) as site,
        serving(folder, site.config_path, section) as url,
    ):
        found = Provider(url, request.param)
        yield found
        for consumer in found.consumers:
            consumer.close()
