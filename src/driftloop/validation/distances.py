"""Distances between two rounds, their intervals and their paired null, on a fifth of the repetitions.

The worlds are those of `statistics.calibration`: every interval costs a bootstrap of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.calibration import World, check_pairs
from driftloop.statistics.distances import DISTANCES, ORDERED_DISTANCES
from driftloop.validation.outcome import Case, Outcome, coverage, rejection

PART = 5
SIZES = (30, 100, 300)
ALL = (*DISTANCES, *ORDERED_DISTANCES)
COMPOSITIONS = {"even": (0.5, 0.5), "rare": (0.05, 0.95), "five": (0.2,) * 5, "skew": (0.6, 0.3, 0.07, 0.02, 0.01)}
RESAMPLES = 400


def cases(repetitions: int) -> Iterator[Case]:
    """With one replicate and five, without drift and with three or six in ten redrawn as the first category."""
    for n_seeds, (name, baseline), replicates, moved in product(SIZES, COMPOSITIONS.items(), (1, 5), (0.0, 0.3, 0.6)):
        later = tuple(np.array(baseline) * (1 - moved) + moved * np.eye(len(baseline))[0])
        world = World(baseline=baseline, later=later, replicates=replicates, kept=0.4)
        what = f"{n_seeds} seeds; {name}; moved {moved}; {replicates} replicates"
        seed = rng.derive(0, "distances", what)
        yield Case(name=what, check=partial(outcomes, world, n_seeds, max(1, repetitions // PART), seed, null=moved == 0))


def outcomes(world: World, n_seeds: int, repetitions: int, seed: int, *, null: bool) -> Iterator[Outcome]:
    omnibus, found = check_pairs(world, ALL, n_seeds, repetitions, seed, resamples=RESAMPLES)
    yield rejection("omnibus test", n_seeds, repetitions, omnibus, null=null)
    for distance, record in zip(ALL, found, strict=True):
        yield coverage(distance.__name__, n_seeds, repetitions, record.covered, record.width)
        yield rejection(f"null of {distance.__name__}", n_seeds, repetitions, record.rejected, null=null)
