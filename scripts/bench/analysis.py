"""Seconds and peak memory of `analyse_tables` on made-up readings of the size of a large study.

python scripts/bench/analysis.py              # 20,000 seeds x 5 rounds x 5 replicates x 2 attributes: 1 M readings
python scripts/bench/analysis.py --scale 0.1  # a tenth of the seeds
python scripts/bench/analysis.py --years      # the age in years beside its groups
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd
from _record import record

from driftloop.analysis.tables import analyse_tables

CATEGORIES = {"gender": ["female", "male"], "age": [f"{low}s" for low in range(0, 90, 10)]}
CONCEPTS = 7


def made_up_readings(n_seeds: int, rounds: int, replicates: int) -> pd.DataFrame:
    """Readings of two attributes in which a tenth abstains and shares slowly move to the first category."""
    generator = np.random.default_rng(0)
    seed, replicate, round_ = (
        axis.ravel() for axis in np.meshgrid(range(n_seeds), range(replicates), range(rounds), indexing="ij")
    )
    parts = []
    for attribute, categories in CATEGORIES.items():
        drawn = generator.integers(0, len(categories), seed.size)
        drawn[generator.random(seed.size) < 0.05 * round_] = 0
        ok = generator.random(seed.size) > 0.1
        label = pd.Series(np.array(categories, dtype=object)[drawn]).where(ok, None)
        parts.append(
            pd.DataFrame(
                {
                    "run": "bench",
                    "seed_id": pd.Index([f"seed_{i:06d}" for i in range(n_seeds)])[seed],
                    "replicate": replicate,
                    "round": round_,
                    "classifier": "made_up",
                    "attribute": attribute,
                    "status": np.where(ok, "ok", "no_face"),
                    "label": label,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def made_up_seeds(n_seeds: int) -> pd.DataFrame:
    ids = [f"seed_{i:06d}" for i in range(n_seeds)]
    concept = [f"concept_{i % CONCEPTS}" for i in range(n_seeds)]
    return pd.DataFrame({"seed_id": ids, "concept_kind": "emotion", "concept": concept})


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the 20,000 seeds")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--years", action="store_true", help="the instrument also gives the age in years")
    options = parser.parse_args()
    n_seeds = round(20_000 * options.scale)
    readings, seeds = made_up_readings(n_seeds, rounds=5, replicates=5), made_up_seeds(n_seeds)
    if options.years:
        readings["years"] = np.random.default_rng(1).uniform(0, 90, len(readings))
        readings["years"] = readings["years"].where(readings["attribute"] == "age")
    before, start = peak_gib(), time.perf_counter()
    tables = analyse_tables(
        readings,
        seeds,
        categories={"made_up": CATEGORIES},
        baseline_round=0,
        root_seed=0,
        resamples=options.resamples,
    )
    seconds = time.perf_counter() - start
    rows = ", ".join(f"{name} {len(table)}" for name, table in tables.items())
    record(
        "analysis",
        [
            f"readings {len(readings)}, seeds {n_seeds}, resamples {options.resamples}; rows: {rows}",
            f"seconds {seconds:.1f} (bar: 60 at 1 M readings and 2,000 resamples)",
            f"peak memory {peak_gib():.2f} GiB of the process, of which {before:.2f} before (bar: 2)",
        ],
    )


if __name__ == "__main__":
    main()
