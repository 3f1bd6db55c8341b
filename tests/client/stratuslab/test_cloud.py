"""What a location lacks is said when it is needed."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from stratuslab_libcloud.client.stratuslab.cloud import StratusLabCloud
from stratuslab_libcloud.configuration.location import direct
from stratuslab_libcloud.errors import ConfigurationError

ENGINE = direct("u", "p", "http://h:2633/RPC2", None)  # which has no storage


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda: StratusLabCloud(ENGINE).storage,
            "there is no pdisk_endpoint in the driver's arguments, ",
        ),
        (
            lambda: StratusLabCloud(replace(ENGINE, endpoint="")).compute,
            "there is no endpoint in the driver's arguments; ",
        ),
        (
            lambda: StratusLabCloud(replace(ENGINE, credentials=None)).compute,
            "there are no complete credentials in the driver's arguments; ",
        ),
    ],
    ids=["storage", "endpoint", "credentials"],
)
def test_it_is_said_in_words_that_fit(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ask()
    assert str(caught.value).startswith(said)


def test_a_service_is_made_once() -> None:
    site = StratusLabCloud(ENGINE)
    assert site.compute is site.compute
    site.close()
