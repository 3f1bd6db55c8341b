"""A table of routes says alone what is answered, what is nowhere, and which methods there are."""

import pytest
from werkzeug.exceptions import MethodNotAllowed, NotFound

from stratuslab_libcloud.sandbox.routes import Routes


def show() -> None: ...
def change() -> None: ...
def remove() -> None: ...
def other() -> None: ...


ROUTES = Routes(
    ("DELETE", "/things/<thing>", remove),
    ("GET", "/things/<thing>", show),
    ("POST", "/things/<thing>", change),
    (None, "/<any(a, b):door>/<rest:rest>", other),
    (None, "/a/fixed", show),
)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_goes_where_get_does(method: str) -> None:
    assert ROUTES.match(method, ["things", "x"]) == (show, {"thing": "x"})


@pytest.mark.parametrize("thing", ["a/b", "%2F", "é", "\ufffd", "..", "a b", "+", "<x>", "\n", "|"])
def test_a_segment_arrives_as_it_was_whatever_is_in_it(thing: str) -> None:
    assert ROUTES.match("GET", ["things", thing]) == (show, {"thing": thing})
    assert ROUTES.match("PUT", ["a", thing, thing]) == (other, {"door": "a", "rest": [thing] * 2})


def test_a_path_that_is_written_out_comes_before_one_with_the_rest() -> None:
    assert ROUTES.match("POST", ["a", "fixed"]) == (show, {})
    assert ROUTES.match("POST", ["a", "fixed", "x"])[0] is other
    assert ROUTES.match("POST", ["b", "fixed"])[0] is other


@pytest.mark.parametrize(
    "segments", [[], ["things"], ["things", "x", "y"], ["things/x"], ["THINGS", "x"], ["c", "x"]]
)
def test_a_path_without_a_row_is_nowhere_for_any_method(segments: list[str]) -> None:
    for method in ("GET", "PUT", "UNHEARD"):
        with pytest.raises(NotFound):
            ROUTES.match(method, segments)


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "UNHEARD"])
def test_another_method_is_refused_with_those_there_are_always_in_one_order(method: str) -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        ROUTES.match(method, ["things", "x"])
    assert caught.value.valid_methods == ["GET", "HEAD", "POST", "DELETE"]
