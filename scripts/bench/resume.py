"""Seconds until the command, in a fresh process, has found out that a finished run is finished; torch must stay out of it.

python scripts/bench/resume.py                                   # plays 100,000 chains x 5 rounds first (minutes)
python scripts/bench/resume.py --run /tmp/growth/100000-0        # reuses a run that growth.py --keep left
python scripts/bench/resume.py --chains 200 --repeats 1
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from _command import DRIFTLOOP, imported, told, wall
from _record import record
from _stand_ins import ROUNDS, stand_ins

BAR = 5.0


def rows(folder: Path) -> dict[str, int]:
    """The parts of the run's table with their times of writing: none may come, go or change."""
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/rounds/*.parquet")}


def measured(folder: Path, chains: int, repeats: int) -> list[str]:
    """Plays what is missing, then times the same command on the finished run."""
    command = [DRIFTLOOP, *stand_ins(folder, chains), f"results_dir={folder}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    before = rows(folder)
    middle, walls = wall(command, repeats)
    modules = imported(command)
    if rows(folder) != before or "torch" in modules:
        raise SystemExit(f"not a resume: rows changed {rows(folder) != before}, torch imported {'torch' in modules}")
    return [f"seconds to find it finished {middle:.2f}, median of {told(walls)}; no torch imported (bar: below {BAR:g} s)"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--run", type=Path, help="a folder with prompts.txt and the run that was played from it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.run or Path(folder)
        lines = measured(place, options.chains, options.repeats)
        chains = len((place / "prompts.txt").read_text().splitlines())
        record("resume", [f"{chains} chains x {ROUNDS} rounds", *lines])


if __name__ == "__main__":
    main()
