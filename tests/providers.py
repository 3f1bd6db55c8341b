"""CIMI providers in front of each kind of location."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from consumers import JSON, Consumer

from stratuslab_libcloud.cli.cimi import serving
from stratuslab_libcloud.sandbox.site import Sandbox

JANE, JOE = ("jane", "pass%word:1"), ("joe", "käse")


@contextmanager
def stratuslab() -> Iterator[Path]:
    """The configuration file of a StratusLab location with these two users."""
    with Sandbox(users=dict((JANE, JOE))) as site:
        yield site.config_path


# Each gives the configuration file of a location on which JANE and JOE have accounts.
LOCATIONS: dict[str, Callable[[], AbstractContextManager[Path]]] = {"stratuslab": stratuslab}


@dataclass
class Provider:
    """A provider, and its configuration."""

    url: str
    config: Path
    consumers: list[Consumer] = field(default_factory=list)

    def consumer(self, login: tuple[str, str] | None = JANE, media_type: str = JSON) -> Consumer:
        self.consumers.append(Consumer(self.url, login, media_type))
        return self.consumers[-1]


@pytest.fixture(scope="module", params=LOCATIONS)
def provider(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Provider]:
    folder = tmp_path_factory.mktemp("cimi") / "kept"
    with LOCATIONS[request.param]() as config, serving(folder, config) as url:
        found = Provider(url, config)
        yield found
        for consumer in found.consumers:
            consumer.close()
