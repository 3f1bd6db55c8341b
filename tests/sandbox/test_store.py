import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.store import Store

INSERT = "INSERT INTO settings VALUES (?, ?)"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "sandbox.db")
    yield store
    store.close()


def settings(store: Store) -> dict[str, str]:
    with store.reading() as db:
        return {row["name"]: row["value"] for row in db.execute("SELECT * FROM settings")}


def test_what_was_written_is_there_the_next_time(tmp_path: Path, store: Store) -> None:
    with store.transaction() as db:
        db.execute(INSERT, ("a", "1"))
    store.close()
    again = Store(tmp_path / "sandbox.db")
    assert settings(again) == {"a": "1"}
    again.close()


def test_a_transaction_with_an_error_writes_nothing(store: Store) -> None:
    def write_and_fail() -> None:
        with store.transaction() as db:
            db.execute(INSERT, ("a", "1"))
            raise LookupError

    with pytest.raises(LookupError):
        write_and_fail()
    assert settings(store) == {}
    with store.transaction() as db:
        db.execute(INSERT, ("b", "1"))
    assert settings(store) == {"b": "1"}


def test_a_reader_sees_one_moment(store: Store) -> None:
    with store.reading() as db:
        before = db.execute("SELECT COUNT(*) FROM settings").fetchone()[0]
        with store.transaction() as other:
            other.execute(INSERT, ("a", "1"))
        assert db.execute("SELECT COUNT(*) FROM settings").fetchone()[0] == before == 0
    assert settings(store) == {"a": "1"}


def test_writers_take_turns(store: Store) -> None:
    with store.transaction() as db:
        db.execute(INSERT, ("n", "0"))

    def count() -> None:
        for _ in range(25):
            with store.transaction() as db:
                (n,) = db.execute("SELECT value FROM settings WHERE name = 'n'").fetchone()
                db.execute("UPDATE settings SET value = ?", (str(int(n) + 1),))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert settings(store) == {"n": "100"}


def test_records_do_not_refer_to_nothing(store: Store) -> None:
    with pytest.raises(sqlite3.IntegrityError), store.transaction() as db:
        db.execute("INSERT INTO mounts VALUES ('no disk', 7, 'vda')")


def test_durability_is_not_traded_for_speed(store: Store) -> None:
    with store.reading() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_the_file_is_its_owners_only(tmp_path: Path, store: Store) -> None:
    with store.transaction() as db:
        db.execute(INSERT, ("a", "1"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("sandbox.db*")}
    assert set(modes) == {"sandbox.db", "sandbox.db-wal", "sandbox.db-shm"}
    assert set(modes.values()) == {0o600}


def test_another_versions_file_is_refused_and_left_alone(tmp_path: Path, store: Store) -> None:
    with store.transaction() as db:
        db.execute("PRAGMA user_version = 99")
    store.close()
    before = (tmp_path / "sandbox.db").read_bytes()
    with pytest.raises(SandboxError, match=r"written by another version \(schema 99"):
        Store(tmp_path / "sandbox.db")
    assert (tmp_path / "sandbox.db").read_bytes() == before


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_text("dear diary, " * 1000)
    with pytest.raises(SandboxError, match="cannot be used"):
        Store(path)
    assert path.read_text().startswith("dear diary")


def test_a_closed_store_is_closed(store: Store) -> None:
    store.close()
    with pytest.raises(sqlite3.ProgrammingError), store.reading():
        pass
