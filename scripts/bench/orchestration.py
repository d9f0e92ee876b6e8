"""Chain-rounds a second that driftloop itself can carry: instant stand-in models, real PNGs, real run folder, one core.

A chain-round is one picture generated, hashed, encoded and written, and its caption with its row. Round 0 (a prompt) costs
time and counts for nothing; intake is told apart. The process and its threads are bound to one core.

    python scripts/bench/orchestration.py                 # 4,000 chains x 5 rounds, three times
    python scripts/bench/orchestration.py --chains 200 --repeats 1
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

from _play import composed, take_in
from _record import record
from _stand_ins import ROUNDS, stand_ins

from driftloop.core.watch import Watch
from driftloop.engines.local import Shard, play_shard

BAR = 1000


def played(chains: int) -> tuple[float, float, float]:
    """Seconds of intake, seconds of the play stage, and CPU seconds of the play stage."""
    with tempfile.TemporaryDirectory() as folder:
        asked = composed(Path(folder), stand_ins(Path(folder), chains))
        taking, cpu, started = take_in(asked), time.process_time(), time.perf_counter()
        play_shard(asked, Shard(), Watch())
        return taking, time.perf_counter() - started, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work, lines, rates = options.chains * ROUNDS, [], []
    for number in range(1, options.repeats + 1):
        taking, wall, cpu = played(options.chains)
        rates.append(work / wall)
        lines.append(f"{number}: play {wall:.2f} s, of which {cpu:.2f} s on the CPU; intake {taking:.2f} s before it")
    figure = f"chain-rounds/s on one core {median(rates):.0f}, the median (bar: at least {BAR})"
    record("orchestration", [f"{options.chains} chains x {ROUNDS} rounds, pictures of 64 px", *lines, figure])


if __name__ == "__main__":
    main()
