"""Passwords: who comes in, and that nobody learns from the work which names there are."""

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratuslab_libcloud.sandbox.accounts import Accounts
from stratuslab_libcloud.sandbox.store import Store

SUBJECT = "CN=ann,OU=Users,O=StratusLab Sandbox"


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Accounts]:
    """Ann and Bob; a former user; a certificate's account, which has no password."""
    store = Store(tmp_path / "sandbox.db")
    people = Accounts(store)
    people.enrol({"former": "pw-f"})
    people.enrol({"ann": "pw-a", "bob": "pw-b"}, [SUBJECT])
    yield people
    store.close()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What each check of a password costs."""
    done: list[object] = []
    scrypt, compare = hashlib.scrypt, hmac.compare_digest

    def hashing(password: bytes, **options: object) -> bytes:
        salt = options["salt"]
        assert isinstance(salt, bytes)
        done.append(("scrypt", {**options, "salt": len(salt)}))
        return scrypt(password, **options)  # type: ignore[arg-type]

    def comparing(one: bytes, other: bytes) -> bool:
        done.append(("compare", len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr("hashlib.scrypt", hashing)
    monkeypatch.setattr("hmac.compare_digest", comparing)
    return done


REFUSED = [
    ("ann", "wrong"),
    ("ann", ""),
    ("ann", "pw-a "),
    ("ann", "pw-a\0"),
    ("ann", "pw-a\0\0"),
    ("ann", "pw-b"),
    ("Ann", "pw-a"),
    ("nobody", "pw-a"),
    ("", ""),
    ("former", "pw-f"),
    (SUBJECT, ""),
    (SUBJECT, "pw-a"),
    ("ann\0pw-a", ""),
    ("x' OR '1'='1", "x"),
    ("a" * 100_000, "b" * 100_000),
]


@pytest.mark.parametrize(("name", "password"), REFUSED)
def test_who_is_refused_costs_the_same_work_whoever_it_is(
    people: Accounts, work: list[object], name: str, password: str
) -> None:
    assert people.by_password("ann", "wrong") is None
    wanted = list(work)
    assert [step[0] for step in wanted] == ["scrypt", "compare"]  # type: ignore[index]
    for _ in range(2):  # a refusal is not remembered
        work.clear()
        assert people.by_password(name, password) is None
        assert work == wanted


def test_who_has_come_in_once_comes_in_again_without_that_work(
    people: Accounts, work: list[object]
) -> None:
    first, second = (people.by_password("ann", "pw-a") for _ in range(2))
    assert first == second
    assert first is not None
    assert first.name == "ann"
    assert len(work) == 2


def test_having_come_in_helps_nobody_else(people: Accounts) -> None:
    assert people.by_password("ann", "pw-a")
    for name, password in REFUSED:
        assert people.by_password(name, password) is None


def test_where_a_name_ends_and_a_password_begins_is_clear(people: Accounts) -> None:
    people.enrol({"a": "b\0c"})
    assert people.by_password("a", "b\0c")
    assert people.by_password("a\0b", "c") is None
