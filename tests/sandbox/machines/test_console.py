"""The log of a console: the end of what came, whatever came."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratuslab_libcloud.sandbox.machines import console

PROMPT = b"login: "


@contextlib.contextmanager
def keeping(folder: Path, limit: int) -> Iterator[int]:
    """What is written to the descriptor is kept."""
    source, pipe = os.pipe()
    thread = threading.Thread(target=console.keep, args=(source, folder, limit))
    thread.start()
    try:
        yield pipe
    finally:
        os.close(pipe)
        thread.join(60)
        os.close(source)
        assert not thread.is_alive()


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.glob("console*")]


def test_a_machine_that_wrote_nothing_has_an_empty_log(tmp_path: Path) -> None:
    assert console.read(tmp_path / "never") == b""
    with keeping(tmp_path, 100):
        pass
    assert console.read(tmp_path) == b""


def test_what_is_written_can_be_read_whole_byte_by_byte_or_not(tmp_path: Path) -> None:
    with keeping(tmp_path, 100) as pipe:
        for byte in PROMPT:
            os.write(pipe, bytes([byte]))
        os.write(pipe, b"\xff\x1b[2J")
    assert console.read(tmp_path) == PROMPT + b"\xff\x1b[2J"


@pytest.mark.parametrize("piece", [1, 7, 100, 1000])
def test_of_a_flood_the_end_is_kept_and_never_more_than_two_files(
    tmp_path: Path, piece: int
) -> None:
    flood = b"".join(b"%05d\n" % number for number in range(1000))
    with keeping(tmp_path, 100) as pipe:
        for start in range(0, len(flood), piece):
            os.write(pipe, flood[start : start + piece])
    kept = console.read(tmp_path)
    assert flood.endswith(kept)
    assert 100 <= len(kept) <= 200
    assert max(sizes(tmp_path)) <= 100
    assert len(sizes(tmp_path)) == 2


def test_a_directory_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with keeping(folder, 100) as pipe:
        os.write(pipe, b"x" * 60)
        while not console.read(folder):
            pass
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        os.write(pipe, b"x" * 100_000)
    assert not folder.exists()


def test_a_process_of_its_own_keeps_it_and_ends_with_the_last_writer(tmp_path: Path) -> None:
    with console.recording(tmp_path) as (recorder, pipe):
        writer = os.dup(pipe)
        os.write(writer, PROMPT)
    assert recorder.poll() is None
    os.write(writer, b"root\n")
    os.close(writer)
    assert recorder.wait(60) == 0
    assert console.read(tmp_path) == PROMPT + b"root\n"
