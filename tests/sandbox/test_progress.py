"""Long work is reported from its beginning to its end."""

import pytest

from stratuslab_libcloud.sandbox.progress import reported


def test_the_end_is_reported_once_whatever_happens() -> None:
    seen: list[tuple[str, float]] = []

    def on_progress(work: str, part: float) -> None:
        seen.append((work, part))

    def work() -> None:
        with reported(on_progress, "work") as report:
            report(0.25)
            report(1.5)  # of more than was expected
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert [part for _, part in seen] == [0, 0.25, 0.999, 1]
    assert {work for work, _ in seen} == {"work"}
