"""Slopes over rounds, and means of ages in years, on all repetitions.

A chain keeps its category from round to round with a stated chance and is drawn anew otherwise, replicates from a shared
round 0 on; a seed is unread at any round with a stated chance. Ages change by what is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.panel import Bools, Floats, group
from driftloop.statistics.trend import trend
from driftloop.statistics.years import year_change, year_mean
from driftloop.validation.outcome import Case, Outcome, covers, holds, rejects

SIZES = (30, 100, 300)
ROUNDS = np.arange(6.0)
START = 35.0  # mean age at the baseline, in years
Drawn = Callable[[np.random.Generator, tuple[int, int]], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Shares of one category at the baseline and of what is drawn anew, and the chance to keep it from round to round."""

    start: float
    anew: float
    kept: float
    replicates: int
    unread: float

    def shares(self) -> Floats:
        return self.anew + (self.start - self.anew) * self.kept**ROUNDS

    def slope(self) -> float:
        """Of the within estimator over all seeds there could be: patterns of read rounds weigh by what they tell."""
        along, spread = 0.0, 0.0
        for read in product((True, False), repeat=ROUNDS.size):
            seen = np.array(read)
            if seen.sum() >= 2:
                away = ROUNDS[seen] - ROUNDS[seen].mean()
                weight = self.unread ** (~seen).sum() * (1 - self.unread) ** seen.sum()
                along += weight * away @ self.shares()[seen]
                spread += weight * away @ away
        return along / spread

    def draw(self, n_seeds: int, repetitions: int, draws: np.random.Generator) -> Floats:
        """Mean readings [n_seeds, rounds, repetitions]."""
        first: Bools = draws.random((n_seeds, 1, repetitions)) < self.start
        chains = np.repeat(first, self.replicates, axis=1)
        means = [chains.mean(axis=1)]
        for _ in ROUNDS[1:]:
            keeps, anew = draws.random((2, *chains.shape)) < np.array([self.kept, self.anew])[:, None, None, None]
            chains = np.where(keeps, chains, anew)
            means.append(chains.mean(axis=1))
        found = np.stack(means, axis=1)
        found[draws.random(found.shape) < self.unread] = np.nan
        return found


def _some(draws: np.random.Generator, shape: tuple[int, int], share: float) -> Floats:
    """This share of seeds grows older by 40 years."""
    return np.where(draws.random(shape) < share, 40.0, 0.0)


COURSES = {
    ".2, none": (0.2, 0.2, 0.6),
    ".02, none": (0.02, 0.02, 0.6),
    "0 to .05": (0.0, 0.05, 0.6),
    ".5 to .7": (0.5, 0.7, 0.6),
    "0 to 1": (0.0, 1.0, 0.0),
}
AGES: dict[str, tuple[float, Drawn]] = {
    "nobody ages": (0.0, lambda draws, shape: draws.normal(0, 12, shape)),
    "all age, 12 years apart": (2.0, lambda draws, shape: draws.normal(2, 12, shape)),
    "skew": (10.0, lambda draws, shape: draws.exponential(10, shape)),
    "one in twenty by 40 years": (2.0, lambda draws, shape: _some(draws, shape, 0.05) + draws.normal(0, 2, shape)),
    "one in a hundred by 40 years": (0.4, lambda draws, shape: _some(draws, shape, 0.01)),
}


def cases(repetitions: int) -> Iterator[Case]:
    for n_seeds, name, replicates, unread in product(SIZES, COURSES, (1, 4), (0.0, 0.2)):
        start, anew, kept = COURSES[name]
        course = Course(start=start, anew=anew, kept=kept, replicates=replicates, unread=unread)
        what = f"{n_seeds} seeds; slope {name}; {replicates} replicates; unread {unread}"
        yield Case(name=what, check=partial(of_slopes, course, n_seeds, repetitions, rng.derive(0, "trends", what)))
    for n_seeds, name in product(SIZES, AGES):
        what = f"{n_seeds} seeds; years, {name}"
        yield Case(name=what, check=partial(of_years, *AGES[name], n_seeds, repetitions, rng.derive(0, "trends", what)))


def of_slopes(course: Course, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    found = trend(course.draw(n_seeds, repetitions, rng.generator(seed)), ROUNDS, group("made up", np.arange(n_seeds)))
    true = course.slope()
    yield covers("slope", n_seeds, holds(found.low, found.high, true), found.high - found.low)
    yield rejects("test of the slope", n_seeds, found.p_value <= 0.05, null=abs(true) < 1e-12)


def of_years(true: float, drawn: Drawn, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    changes = drawn(rng.generator(seed), (n_seeds, repetitions))
    members = group("made up", np.arange(n_seeds))
    shift, mean = year_change(changes, members), year_mean(START + changes, members)
    yield covers("shift in years", n_seeds, holds(shift.low, shift.high, true), shift.high - shift.low)
    yield covers("mean in years", n_seeds, holds(mean.low, mean.high, START + true), mean.high - mean.low)
    yield rejects("test of the shift in years", n_seeds, shift.p_value <= 0.05, null=true == 0)
