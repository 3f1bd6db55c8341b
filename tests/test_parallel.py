"""Asking several at the same time, and one for a limited time."""

import os
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from stratuslab_libcloud.parallel import ask_all, ask_within


class Slow:
    """What takes its time to be thrown away, as OpenSSL's state of a thread may."""

    def __del__(self) -> None:
        time.sleep(0.3)


def ended(threads: list[int]) -> bool:
    return not {str(thread) for thread in threads} & set(os.listdir("/proc/self/task"))


def test_each_has_its_answer_or_its_error() -> None:
    def fail() -> int:
        raise ValueError("no")

    found, failures = ask_all({"a": lambda: 1, "b": fail, "c": lambda: 3})
    assert found == {"a": 1, "c": 3}
    assert {name: str(error) for name, error in failures.items()} == {"b": "no"}


def test_answers_and_errors_are_in_the_order_of_the_questions() -> None:
    last_is_answered = threading.Event()

    def wait(fails: bool) -> None:
        assert last_is_answered.wait(60)
        if fails:
            raise ValueError

    def answer(fails: bool) -> None:
        last_is_answered.set()
        if fails:
            raise ValueError

    found, failures = ask_all(
        {
            "a": partial(wait, False),
            "b": partial(wait, True),
            "c": partial(answer, True),
            "d": partial(answer, False),
        }
    )
    assert (list(found), list(failures)) == (["a", "d"], ["b", "c"])


@pytest.mark.parametrize("fails", [False, True])
def test_no_thread_is_left(fails: bool) -> None:
    local = threading.local()
    asked: list[int] = []

    def question(kept: Callable[[], object]) -> None:
        asked.append(threading.get_native_id())
        local.kept = kept()
        if fails:
            raise ValueError

    ask_all({name: partial(question, Slow) for name in "abc"})
    assert len(asked) == 3
    assert ended(asked)
    for _ in range(200):  # join() alone returns a moment too soon
        asked.clear()
        ask_all({name: partial(question, object) for name in "abc"})
        assert ended(asked)


def test_where_no_thread_can_be_had_the_callers_own_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    own = threading.get_native_id()
    assert ask_all(dict.fromkeys("ab", threading.get_native_id))[0] == {"a": own, "b": own}


def test_whoever_wants_to_end_the_process_is_heard() -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        ask_all({"a": leave, "b": lambda: None})


def test_an_answer_in_time_is_the_answer() -> None:
    asked: list[int] = []

    def question() -> str:
        asked.append(threading.get_native_id())
        return "yes"

    for _ in range(50):
        assert ask_within(60, question) == "yes"
        assert ended(asked)


def test_an_error_in_time_is_raised() -> None:
    def question() -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        ask_within(60, question)


def test_what_does_not_answer_is_not_waited_for() -> None:
    over = threading.Event()
    before = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.5 s"):
        ask_within(0.5, partial(over.wait, 60))
    assert time.monotonic() - before < 5
    over.set()
