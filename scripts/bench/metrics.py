"""Seconds and peak memory of each further table (`metric=[…]`) on made-up readings of the size of a large study.

python scripts/bench/metrics.py               # 20,000 seeds x 5 rounds x 5 replicates x 2 attributes: 1 M readings
python scripts/bench/metrics.py --scale 0.1 --only trend mention
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from _record import record

from analysis import CATEGORIES, made_up_readings, made_up_seeds, peak_gib
from driftloop.analysis.material import Instrument, Material, Metric
from driftloop.analysis.study import Settings
from driftloop.metrics.correction import Correction
from driftloop.metrics.decomposition import DecompositionMetric
from driftloop.metrics.dynamics import DynamicsMetric
from driftloop.metrics.mention import MentionMetric
from driftloop.metrics.trend import TrendMetric

METRICS: dict[str, Metric] = {
    "trend": TrendMetric(),
    "mention": MentionMetric(),
    "decomposition": DecompositionMetric(),
    "dynamics": DynamicsMetric(),
    "correction": Correction(),
}
CAPTIONS = ("a photo of a woman", "a photo of a man", "a photo of a person", "an elderly woman reading a book")


@dataclass
class Kept:
    """A store that holds one table of readings."""

    table: pd.DataFrame

    def readings(self, _folder: str) -> pd.DataFrame:
        return self.table


def made_up_material(n_seeds: int, resamples: int) -> Material:
    """A study with captions and human labels, which are the first readings of the seeds, one in ten misread."""
    readings = made_up_readings(n_seeds, rounds=5, replicates=5)
    readings["chain"] = readings["seed_id"] + "/" + readings["replicate"].astype(str)
    readings["probability"], readings["probabilities"] = np.nan, None
    rows = readings[readings["attribute"] == "gender"][["run", "seed_id", "replicate", "chain", "round"]]
    draw = np.random.default_rng(2)
    rows = rows.assign(status="ok", image="x", caption=np.array(CAPTIONS, object)[draw.integers(len(CAPTIONS), size=len(rows))])
    seeds = made_up_seeds(n_seeds)
    first = readings.query("round == 0 and replicate == 0")
    for attribute, categories in CATEGORIES.items():
        read = first[first["attribute"] == attribute].set_index("seed_id")["label"].reindex(seeds["seed_id"])
        wrong = pd.Series(draw.choice(categories, n_seeds), index=read.index)
        seeds[f"label_{attribute}"] = read.where(draw.random(n_seeds) > 0.1, wrong).to_numpy()
    return Material(
        store=Kept(readings),  # type: ignore[arg-type]
        seeds=seeds,
        rows=rows,
        instruments=[
            Instrument(
                name="made_up", folder="labels/x", kind="labels", categories={k: tuple(v) for k, v in CATEGORIES.items()}
            )
        ],
        settings=Settings(root_seed=0, resamples=resamples, level=0.95, ordered=frozenset(), confirmatory=None),
        baseline_round=0,
    )


def measured(task: tuple[str, int, int]) -> str:
    """One line: what a metric took, in a process of its own."""
    name, n_seeds, resamples = task
    material: Any = made_up_material(n_seeds, resamples)
    before, start = peak_gib(), time.perf_counter()
    tables = METRICS[name].tables(material)
    seconds = time.perf_counter() - start
    rows = ", ".join(f"{table} {len(found)}" for table, found in tables.items())
    return f"{name}: {seconds:.1f} s, peak {peak_gib():.2f} GiB of the process, of which {before:.2f} before; rows: {rows}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the 20,000 seeds")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--only", nargs="+", choices=sorted(METRICS), default=list(METRICS))
    options = parser.parse_args()
    n_seeds = round(20_000 * options.scale)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        lines = list(pool.imap(measured, [(name, n_seeds, options.resamples) for name in options.only]))
    record("metrics", [f"readings {n_seeds * 50}, seeds {n_seeds}, resamples {options.resamples}", *lines])


if __name__ == "__main__":
    main()
