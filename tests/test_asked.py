"""Errors are built with what each layer has said about what is being asked."""

import pickle
from functools import partial

import pytest

from stratuslab_libcloud import errors
from stratuslab_libcloud.errors.asked import Asked, asking, current
from stratuslab_libcloud.parallel import ask_all


def test_an_error_is_built_with_what_is_known_where_it_is_raised() -> None:
    driver = object()
    with asking(driver=driver), asking(location="here", endpoint="https://h/x", retried=True):
        error = errors.NotFoundError("gone", http_code=404)
    assert (error.driver, error.location, error.endpoint) == (driver, "here", "https://h/x")
    assert (error.retried, error.http_code) == (True, 404)
    assert str(error) == "here (https://h/x): gone"


def test_an_error_keeps_what_it_is_given() -> None:
    with asking(location="here", endpoint="https://h/x"):
        error = errors.NotFoundError("gone", location="there", endpoint="https://h/y")
    assert str(error) == "there (https://h/y): gone"


def test_nothing_is_known_once_the_block_has_ended() -> None:
    with pytest.raises(ZeroDivisionError), asking(location="here"):
        raise ZeroDivisionError
    assert current() == Asked()
    assert errors.NotFoundError("gone").location == ""


def test_an_error_has_no_secret_in_its_text_from_the_start() -> None:
    with asking(masked=lambda text: text.replace("s3cret", "***")):
        error = errors.MalformedAnswerError("s3cret\nand more")
    assert (error.value, error.args) == ("*** and more", ("*** and more",))
    assert "s3cret" not in f"{error}{error!r}{vars(error)}"


def test_only_an_error_that_leaves_it_open_gives_the_advice_for_doubt() -> None:
    with asking(sent=lambda: True, doubt="look for it"):
        assert errors.UnavailableError("oops", advice="later").advice == "look for it"
        assert errors.UnavailableError("busy", advice="later", refused=True).advice == "later"
        assert errors.MalformedAnswerError("odd").advice == "look for it"
        assert errors.ConflictError("taken").advice == ""
    with asking(sent=lambda: False, doubt="look for it"):
        assert errors.ConnectionFailedError("refused").advice == ""


def test_only_what_may_pass_says_how_often_it_was_tried() -> None:
    with asking(attempt=3):
        assert "(attempt 3; " in errors.UnavailableError("busy").value
        assert errors.NotFoundError("gone").value == "gone"


def test_the_threads_of_a_listing_know_what_their_caller_asks() -> None:
    def ask(location: str) -> None:
        with asking(location=location):
            raise errors.NotFoundError("gone")

    driver = object()
    with asking(driver=driver):
        _, failures = ask_all({name: partial(ask, name) for name in "ab"})
    known = {name: (error.location, error.driver) for name, error in failures.items()}  # type: ignore[attr-defined]
    assert known == {"a": ("a", driver), "b": ("b", driver)}


def test_an_error_from_another_process_is_not_about_what_is_asked_here() -> None:
    with asking(location="there", masked=str):
        pickled = pickle.dumps(errors.UnavailableError("busy"))
    with asking(location="here", attempt=2, masked=lambda _: "***"):
        error = pickle.loads(pickled)
    assert str(error) == "there: busy"
