"""What ``tests/test_threads.py`` tries on each Python, for longer."""

from clouds import Site
from crowds import share


def test_two_thousand_calls_of_eight_threads(site: Site) -> None:
    assert share(site, 25) == 2000
