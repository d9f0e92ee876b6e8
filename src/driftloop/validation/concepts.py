"""Shares and shifts with concepts weighted alike, and with cohorts of seeds as what is independent, on all repetitions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.calibration import World, check_means
from driftloop.statistics.intervals import share_limits, shift_limits
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import Bools, Floats, group
from driftloop.statistics.tests import category_rejections
from driftloop.validation.outcome import Case, Outcome, coverage, covers, holds, rejection, rejects

SIZES = (100, 300)
MIXES = {"concepts .4 to .15": (0.4, 0.25, 0.2, 0.15), "concepts .6 to .04": (0.6, 0.26, 0.1, 0.04)}
WORLDS = {
    "even, none": World(baseline=(0.5, 0.5), later=(0.5, 0.5), kept=0.6),
    "rare, none": World(baseline=(0.05, 0.95), later=(0.05, 0.95), kept=0.6),
    ".02 to .05, unread": World(baseline=(0.02, 0.98), later=(0.05, 0.95), unread=0.2),
    ".3 to .9": World(baseline=(0.3, 0.7), later=(0.9, 0.1)),
    "even, none, 4 replicates": World(baseline=(0.5, 0.5), later=(0.5, 0.5), kept=0.6, replicates=4),
    "rare, none, 10 replicates": World(baseline=(0.05, 0.95), later=(0.05, 0.95), replicates=10, uniform=0.3, unread=0.2),
}
COHORT, COHORTS = 10, (30, 100)
MOVES = {"even, none": (0.5, 0.5), "rare, none": (0.05, 0.05), ".3 to .6": (0.3, 0.6)}


def cases(repetitions: int) -> Iterator[Case]:
    for n_seeds, mix, name in product(SIZES, MIXES, WORLDS):
        what = f"{n_seeds} seeds; {mix}, weighted alike; {name}"
        world = replace(WORLDS[name], concepts=MIXES[mix])
        yield Case(name=what, check=partial(of_concepts, world, n_seeds, repetitions, rng.derive(0, "concepts", what)))
    for cohorts, name, shared in product(COHORTS, MOVES, (0.0, 0.5)):
        what = f"{cohorts} cohorts of {COHORT} seeds; {name}; {shared} of cohorts alike"
        seed = rng.derive(0, "concepts", what)
        yield Case(name=what, check=partial(of_cohorts, *MOVES[name], shared, cohorts, repetitions, seed))


def of_concepts(world: World, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    share, shift = check_means(world, n_seeds, repetitions, seed, standardised=True)
    for quantity, record in (("share", share), ("shift", shift)):
        yield coverage(quantity, n_seeds, repetitions, record.covered, record.width, demanded=n_seeds >= 100)
    if np.isfinite(shift.rejected):
        yield rejection("test", n_seeds, repetitions, shift.rejected, null=True)


def of_cohorts(early: float, late: float, shared: float, cohorts: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    """In a share of the cohorts all seeds come out alike later. Cohorts are counted as the seeds of the demand."""
    draws = rng.generator(seed)
    shape = (cohorts, COHORT, repetitions)
    first = draws.random(shape) < early
    own, of_cohort = draws.random(shape) < late, draws.random((cohorts, 1, repetitions)) < late
    later = np.where(draws.random((cohorts, 1, repetitions)) < shared, of_cohort, own)
    before, after = (_flat(part) for part in (first, later))
    members = group("made up", np.arange(cohorts * COHORT), None, np.arange(cohorts * COHORT) // COHORT)
    low, high = share_limits(moments(after, members))
    yield covers("share, cohorts", cohorts, holds(low, high, late), high - low)
    parts = changes(after - before, members)
    low, high = shift_limits(*parts)
    yield covers("shift, cohorts", cohorts, holds(low, high, late - early), high - low)
    yield rejects("test, cohorts", cohorts, category_rejections(*parts), null=early == late)


def _flat(seeds: Bools) -> Floats:
    """[cohorts, COHORT, repetitions] as [seeds, repetitions]."""
    return seeds.reshape(-1, seeds.shape[2]).astype(np.float64)
