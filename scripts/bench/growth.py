"""Whether cost grows with the number of chains: seconds per chain-round and peak memory of the play stage, by size.

Instant stand-in models, real PNGs, real run folder; every run is a fresh process. Time is that of intake and play without
start-up, memory the peak of the whole process. `--keep` leaves the runs for `resume.py --run`.

    python scripts/bench/growth.py                           # 1,000, 10,000 and 100,000 chains x 5 rounds
    python scripts/bench/growth.py --sizes 100 1000 --keep /tmp/growth
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _record import record
from _stand_ins import ROUNDS, stand_ins

TIME_BAR, MEMORY_BAR = 1.15, 1.2
REPEATED_UP_TO = 20_000  # chains; larger runs are long enough to be timed once


def grown(folder: Path, chains: int) -> dict[str, float]:
    """Plays one size in this process."""
    from _play import Stopwatch, composed

    asked, watch = composed(folder, stand_ins(folder, chains)), Stopwatch()
    engine, cpu, started = asked.engine.build(), time.process_time(), time.perf_counter()
    engine.play(asked, asked.store(), watch)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"seconds": seconds, "cpu": time.process_time() - cpu, "before": watch.began["play"] - started, "peak": peak}


def fresh(folder: Path, chains: int) -> dict[str, float]:
    """The same in a process of its own."""
    folder.mkdir(parents=True)
    command = [sys.executable, __file__, "--one", str(chains), "--keep", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout))


def sized(folder: Path, chains: int, repeats: int) -> dict[str, Any]:
    """Medians over the repetitions of one size, per chain-round in milliseconds; memory in MiB."""
    times = repeats if chains <= REPEATED_UP_TO else 1
    runs = [fresh(folder / f"{chains}-{number}", chains) for number in range(times)]
    middle = {name: median(run[name] for run in runs) for name in runs[0]}
    each = {name: 1000 * middle[name] / (chains * ROUNDS) for name in ("seconds", "cpu")}
    return {**middle, **each, "chains": chains, "runs": times}


def lines(sizes: Sequence[Mapping[str, Any]]) -> list[str]:
    table = [
        f"{size['chains']:>7} chains: {size['seconds']:.4f} ms per chain-round (CPU {size['cpu']:.4f}), "
        f"peak {size['peak']:.0f} MiB; {size['before']:.2f} s before the first wave; median of {size['runs']}"
        for size in sizes
    ]
    walls = [size["seconds"] for size in sizes]
    memory = sizes[-1]["peak"] / sizes[max(0, len(sizes) - 2)]["peak"]
    return [
        *table,
        f"time, slowest / fastest size {max(walls) / min(walls):.3f}; largest / smallest {walls[-1] / walls[0]:.3f} "
        f"(bar: within {TIME_BAR})",
        f"memory, largest / second largest size {memory:.3f} (bar: within {MEMORY_BAR})",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=3, help=f"of sizes up to {REPEATED_UP_TO}")
    parser.add_argument("--keep", type=Path, help="a new folder for the runs; else they are deleted")
    parser.add_argument("--one", type=int, help="play this size in this process and print JSON (what the bench starts)")
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(grown(options.keep, options.one)))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        record("growth", lines([sized(place, chains, options.repeats) for chains in sorted(options.sizes)]))


if __name__ == "__main__":
    main()
