"""What a query leaves of a collection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from stratuslab_libcloud.cimi.documents import Document
from stratuslab_libcloud.cimi.queries import Query

ONES = [
    Document(id="a", name="one", cpu=1, created="2026-01-01T00:00:00+00:00"),
    Document(id="b", name="it's", cpu=2, properties={"k": "v"}),
    Document(id="c", name='say "x"', cpu=30, created="2026-06-01T00:00:00+00:00"),
    Document(id="d", state="STARTED"),
]


def query(*given: tuple[str, str], many: bool = True) -> Query:
    return Query(MultiDict(given), "MachineCollection" if many else "Machine")


def ids(*given: tuple[str, str]) -> str:
    return "".join(one["id"] for one in query(*given).members(ONES)[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu=1", "a"),
        ("cpu != 1", "bcd"),
        ("cpu<30", "ab"),
        ("cpu <= 30", "abc"),
        ("name='one'", "a"),
        ('name="it\'s"', "b"),
        ("name='it\\'s'", "b"),
        ('name="say \\"x\\""', "c"),
        ("state='STARTED'", "d"),
        ("cpuArch='68000'", ""),
        ("property['k']='v'", "b"),
        ("property['k']!='v'", "acd"),
        ("created > 2026-02-01", "c"),
        ("created<=2026-01-01T01:00:00+01:00", "a"),
        ("cpu=1 or cpu=2 and name='one'", "a"),
        ("(cpu=1 or cpu=2) and name='one'", "a"),
        ("cpu=2 and name='one' or cpu=30", "c"),
        ("((cpu=30))", "c"),
        ("name='or' or name='and'", ""),
    ],
)
def test_a_filter(text: str, expected: str) -> None:
    assert ids(("$filter", text)) == expected


def test_a_filter_finds_truths() -> None:
    ones = [Document(id="a", bootable=True), Document(id="b", bootable=False), Document(id="c")]
    for text, expected in {
        "bootable=true": "a",
        "bootable = false": "b",
        "bootable!=true": "bc",
    }.items():
        found = Query(MultiDict({"$filter": text}), "VolumeCollection").members(ones)[1]
        assert "".join(one["id"] for one in found) == expected


def test_several_filters_are_all_to_match() -> None:
    assert ids(("$filter", "cpu>1"), ("$filter", "cpu<30")) == "b"


@given(st.integers(0, 6), st.sampled_from(["<", "<=", "=", "!=", ">=", ">"]), st.integers(0, 6))
def test_a_filter_compares_as_python_does(have: int, sign: str, value: int) -> None:
    expected = eval(f"{have} {'==' if sign == '=' else sign} {value}")
    for text in (f"cpu{sign}{value}", f"not{sign}{value}".replace("not", "cpu ")):
        found = query(("$filter", text)).members([Document(cpu=have)])
        assert bool(found[0]) is expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [("1", "2", "ab"), ("2", "2", "b"), ("3", None, "cd"), (None, "1", "a"), ("9", None, ""),
     ("3", "2", ""), (None, "99", "abcd")],
)  # fmt: skip
def test_places_count_from_one(first: str | None, last: str | None, expected: str) -> None:
    given = [(name, text) for name, text in (("$first", first), ("$last", last)) if text]
    assert ids(*given) == expected
    assert query(*given).members(ONES)[0] == 4


@pytest.mark.parametrize(
    "text",
    [
        "", "cpu", "cpu=", "=1", "cpu=1 and", "(cpu=1", "cpu=1)", "cpu=1 cpu=2", "cpu=one",
        "1=cpu", "cpu['k']=1",
        "cpu='1'", "name=1", "name<'x'", "nothing=1", "disks='x'", "created=1", "created='x'",
        "created>2026-99-99", "1=1", "cpu=cpu", "name='x", "cpu==1", "cpu=1;", "not cpu=1",
        "property['k']<'v'", "property[k]='v'", "cpu=" + "1" * 2000, "(" * 40 + "cpu=1" + ")" * 40,
    ],
)  # fmt: skip
def test_a_filter_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        ids(("$filter", text))


@pytest.mark.parametrize(
    "given",
    [
        ("$first", "0"), ("$first", "-1"), ("$last", "x"), ("$first", "1" * 20), ("$last", ""),
        ("$orderby", "name"), ("$format", "xml"), ("first", "1"), ("$select", "nothing"),
        ("$expand", "nothing"), ("$select", ""),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused(given: tuple[str, str]) -> None:
    with pytest.raises(BadRequest):
        ids(given)
    with pytest.raises(BadRequest):
        query(("$filter", "cpu=1"), many=False)


@given(st.text(alphabet="cpu=<>!()[]'\"\\ and or 123-T:true.name property", max_size=40))
def test_any_filter_is_answered_or_refused(text: str) -> None:
    try:
        ids(("$filter", text))
    except BadRequest as error:
        assert "\n" not in str(error.description)
