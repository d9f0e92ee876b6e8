"""Every benchmark runs at a tiny size and prints its figure; how fast it is, is never asserted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "scripts" / "bench"
FIGURES = {
    "analysis": (["--scale", "0.002", "--resamples", "100"], r"seconds \d.*bar: "),
    "calibration": (["--repetitions", "5"], r"least coverage \d"),
    "growth": (["--sizes", "20", "40", "--repeats", "1"], r"(?s)fastest size \d.*bar: .*second largest size \d.*bar: "),
    "metrics": (["--scale", "0.005", "--resamples", "100"], r"(?s)trend: \d.*dynamics: \d.*correction: \d"),
    "naive": (["--chains", "4", "--rounds", "1"], r"(?s)captions differ.*script / driftloop \d.*bar: "),
    "orchestration": (["--chains", "20", "--repeats", "1"], r"chain-rounds/s on one core \d+.*bar: "),
    "overhead": (["--chains", "4", "--rounds", "1", "--repeats", "1"], r"models alone / play \d.*bar: "),
    "resume": (["--chains", "20", "--repeats", "1"], r"seconds to find it finished \d.*no torch imported.*bar: "),
    "start": (["--repeats", "1"], r"--help \d.*no torch imported.*bar: .*\nimport driftloop \d.*no torch imported.*bar: "),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments", "figure"), [(name, *what) for name, what in FIGURES.items()], ids=FIGURES)
def test_prints_its_figure(name: str, arguments: list[str], figure: str, tmp_path: Path) -> None:
    folder = tmp_path / "scripts" / "bench"  # a copy, so that the record of the real run stays as it is
    shutil.copytree(BENCH, folder, ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, str(folder / f"{name}.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(figure, done.stdout), done.stdout
    assert (tmp_path / "results" / "reference" / f"bench_{name}.txt").read_text() == done.stdout


def test_every_benchmark_is_tried() -> None:
    assert {path.stem for path in BENCH.glob("[!_]*.py")} == set(FIGURES)
