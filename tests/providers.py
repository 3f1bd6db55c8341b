"""CIMI providers in front of each kind of location."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from consumers import JSON, Consumer
from dialects import DIALECTS, config_path

from stratuslab_libcloud.cli.cimi import serving
from stratuslab_libcloud.sandbox.site import Sandbox

JANE, JOE = ("jane", "pass%word:1"), ("joe", "käse")


@dataclass
class Provider:
    """A provider, in front of a location on which JANE and JOE have accounts."""

    url: str
    location: str
    consumers: list[Consumer] = field(default_factory=list)

    def consumer(self, login: tuple[str, str] | None = JANE, media_type: str = JSON) -> Consumer:
        self.consumers.append(Consumer(self.url, login, media_type))
        return self.consumers[-1]


@pytest.fixture(scope="module", params=DIALECTS)
def provider(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("cimi") / "kept"
    with (
        Sandbox(users=dict((JANE, JOE))) as site,
        serving(folder, config_path(site, request.param)) as url,
    ):
        found = Provider(url, request.param)
        yield found
        for consumer in found.consumers:
            consumer.close()
