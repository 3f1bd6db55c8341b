"""The benchmark, with tiny listings: every row is measured, whatever it takes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.early
def test_every_kind_of_row_is_measured() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    titles = [line.split("|")[1].strip() for line in ran.stdout.splitlines() if "|" in line]
    for title in (
        "100 images by JSON",
        "100 images by XML",
        "10 nodes",
        "1,000 nodes on OpenNebula",
        "1,000 images on OpenNebula",
        "1,000 volumes",
        "create and destroy 100 nodes",
        "8 locations at 200 ms, by one",
        "import of the package, by that of libcloud.compute.base",
        "a ready driver, by libcloud.compute.base",
        "start and stop of a throw-away site",
    ):
        assert title in titles
