"""
An interrupt at each function of ours that a call comes by, one after the other: what exists, or may
exist, is not lost.
"""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from clouds import Site

import stratuslab_libcloud

PACKAGE = str(Path(stratuslab_libcloud.__file__).parent)


def interrupted(call: Callable[[], object], number: int) -> BaseException | None:
    left = number

    def trace(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        code = frame.f_code
        # What an interrupt does to a generator that is being closed is Python's affair.
        if code.co_filename.startswith(PACKAGE) and not code.co_flags & inspect.CO_GENERATOR:
            left -= 1
            if not left:
                raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.settrace(before)
    return None


def check(site: Site, call: Callable[[], object]) -> tuple[int, int]:
    """:return: how often it was known what exists, and how often there was doubt."""
    number = 0
    known = doubtful = 0
    while error := interrupted(call, number := number + 1):
        there: list[Any] = [*site.driver.list_nodes(), *site.driver.list_volumes()]
        created = getattr(error, "created", [])
        doubts = getattr(error, "may_exist", [])
        ids = [thing.id for thing in there]
        assert doubts or [thing.id for thing in created] == ids, f"function {number}"
        known, doubtful = known + bool(created), doubtful + bool(doubts)
        for thing in there:
            thing.destroy()
    return known, doubtful


def test_create_node(site: Site) -> None:
    size, image = site.driver.list_sizes()[0], site.driver.list_images()[0]
    site.node(size=size, image=image).destroy()  # now the image's entry is known
    known, doubtful = check(site, lambda: site.driver.create_node("n", size, image))
    assert known > 5
    assert doubtful > 5


def test_create_volume(site: Site) -> None:
    _, doubtful = check(site, lambda: site.driver.create_volume(1, "new"))
    assert doubtful > 5
