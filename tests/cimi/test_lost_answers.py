"""What was done is done, even if nobody can say how it is now."""

from pathlib import Path
from typing import cast

from werkzeug.test import Client

from stratuslab_libcloud import Cloud, Volume
from stratuslab_libcloud.cimi.provider import Provider
from stratuslab_libcloud.cimi.resources import CHANGES, root
from stratuslab_libcloud.errors import UnavailableError


class Failing:
    """A cloud that fails as soon as it has made a volume."""

    closed = 0

    def create_volume(self, size: int, name: str) -> Volume:
        return Volume("a/b", name, size)

    def volumes(self) -> list[Volume]:
        raise UnavailableError("it is down")

    def close(self) -> None:
        self.closed += 1


def of(cloud: Failing, folder: Path) -> Client:
    connect = lambda *login: cast(Cloud, cloud)  # noqa: E731
    return Client(Provider(connect, root, CHANGES, folder / "kept.db", lambda request: None))


def test_the_answer_says_where_a_thing_is_that_was_made(tmp_path: Path) -> None:
    cloud = Failing()
    client = of(cloud, tmp_path)
    body = {"volumeTemplate": {"volumeConfig": {"capacity": 1_000_000}}}
    answer = client.post("/cimi/volumes", json=body, auth=("jane", "x"))
    assert (answer.status_code, answer.data) == (202, b"")
    assert answer.headers["Location"] == "http://localhost/cimi/volumes/a%2Fb"
    answer = client.get("/cimi/volumes/a%2Fb", auth=("jane", "x"))
    assert (answer.status_code, answer.get_json()["statusMessage"]) == (503, "it is down")
    assert cloud.closed == 2


def test_a_bug_is_not_shown(tmp_path: Path) -> None:
    cloud = Failing()
    client = of(cloud, tmp_path)
    answer = client.get("/cimi/machines", auth=("jane", "x"))  # which it lacks
    assert (answer.status_code, answer.get_json()["statusMessage"]) == (
        500,
        "the provider has failed",
    )
