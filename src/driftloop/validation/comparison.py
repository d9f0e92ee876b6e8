"""Differences between two arms, paired by seed, as bare readings of worlds whose truth is in closed form.

Both arms start from the same pictures, read alike; later each draws from a composition of its own. What metrics offer by
seed is the share of a seed's captions with a stated chance in either arm, and ages are what both arms add to the seed's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.intervals import shift_limits
from driftloop.statistics.moments import changes
from driftloop.statistics.panel import Floats, Ints, group, seed_means
from driftloop.statistics.tests import category_rejections
from driftloop.statistics.years import year_change
from driftloop.validation.outcome import Case, Outcome, covers, holds, rejects
from driftloop.validation.readings import INSTRUMENTS, SIZES, SKEW, Drift, Instrument, Replicates, World

ARMS = {
    "even, alike": ((0.5, 0.5), (0.5, 0.5), (0.5, 0.5)),
    "rare, alike": ((0.05, 0.95), (0.05, 0.95), (0.05, 0.95)),
    "five, alike": (SKEW, SKEW, SKEW),
    "both move, alike": ((0.2, 0.8), (0.8, 0.2), (0.8, 0.2)),
    ".01 against 0": ((0.0, 1.0), (0.01, 0.99), (0.0, 1.0)),
    ".6 against .5": ((0.5, 0.5), (0.6, 0.4), (0.5, 0.5)),
    ".9 against .3": ((0.3, 0.7), (0.9, 0.1), (0.3, 0.7)),
    "five, moved": (SKEW, (0.2,) * 5, SKEW),
}
"""Compositions of the seeds, and of what is drawn later in the arm and in the reference."""

REPLICATES = {"1 replicate": (1, 1), "4 replicates": (4, 4), "4 against 1": (4, 1)}
NAMED = {".5 against .5": (0.5, 0.5), ".98 against .98": (0.98, 0.98), ".9 against .5": (0.9, 0.5), "1 against .98": (1, 0.98)}
AGED = {"alike": 0.0, "older by 3 years": 3.0}
KEPT = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """Two worlds of the same seeds and instrument."""

    arm: World
    reference: World

    def truth(self) -> tuple[Floats, Floats]:
        """Mean difference of shares, over seeds read in both arms, and of shifts, over those read at the baseline too."""
        start = np.array(self.arm.drift.baseline)
        chances = [world.chances for world in (self.arm, self.reference)]
        read = [later.sum(axis=1) for _, later in chances]
        given = [later / seen[:, None] for (_, later), seen in zip(chances, read, strict=True)]
        numbers = [world.replicates.number for world in (self.arm, self.reference)]
        counted = [1 - (1 - seen) ** number for seen, number in zip(read, numbers, strict=True)]
        both = start * counted[0] * counted[1]
        and_first = both * chances[0][0].sum(axis=1)
        difference = given[0] - given[1]
        return both @ difference / both.sum(), and_first @ difference / and_first.sum()

    def draw(self, n_seeds: int, repetitions: int, draws: np.random.Generator) -> tuple[Floats, Floats]:
        """Differences of shares and of shifts by seed, two arrays [n_seeds, repetitions, K], NaN where unread."""
        start = draws.choice(len(self.arm.drift.baseline), (n_seeds, repetitions), p=self.arm.drift.baseline)
        first = seed_means(_read(draws, 1, self.arm.chances[0], start))
        one, other = (
            seed_means(_read(draws, world.replicates.number, world.chances[1], start)) for world in (self.arm, self.reference)
        )
        return one - other, (one - first) - (other - first)


def _read(draws: np.random.Generator, number: int, chances: Floats, start: Ints) -> Ints:
    """Readings of `number` replicates per category, by the seed's category at the baseline; what is unread is left out."""
    whole = np.column_stack([chances, 1 - chances.sum(axis=1)]).clip(0, 1)
    return np.asarray(draws.multinomial(number, whole[start])[..., :-1])


def cases(repetitions: int) -> Iterator[Case]:
    for n_seeds, name, instrument, replicates in product(SIZES, ARMS, ("faultless", "changing errors"), REPLICATES):
        arms = arms_of(*ARMS[name], INSTRUMENTS[instrument], REPLICATES[replicates])
        what = f"{n_seeds} seeds; {name}; {instrument}; {replicates}"
        yield Case(name=what, check=partial(of_readings, arms, n_seeds, repetitions, rng.derive(0, "comparison", what)))
    for n_seeds, name, replicates in product(SIZES, NAMED, REPLICATES):
        what = f"{n_seeds} seeds; named {name}; {replicates}"
        seed = rng.derive(0, "comparison", what)
        yield Case(name=what, check=partial(of_captions, NAMED[name], REPLICATES[replicates], n_seeds, repetitions, seed))
    for n_seeds, name, replicates in product(SIZES, AGED, REPLICATES):
        what = f"{n_seeds} seeds; ages, {name}; {replicates}"
        seed = rng.derive(0, "comparison", what)
        yield Case(name=what, check=partial(of_years, AGED[name], REPLICATES[replicates], n_seeds, repetitions, seed))


def arms_of(
    start: tuple[float, ...],
    later: tuple[float, ...],
    reference: tuple[float, ...],
    instrument: Instrument,
    replicates: tuple[int, int],
) -> Arms:
    one, other = (
        World(drift=Drift(baseline=start, later=each, kept=KEPT), instrument=instrument, replicates=Replicates(number=number))
        for each, number in zip((later, reference), replicates, strict=True)
    )
    return Arms(arm=one, reference=other)


def of_readings(arms: Arms, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    """Of two categories the first, for the other mirrors it; of more, each."""
    drawn = arms.draw(n_seeds, repetitions, rng.generator(seed))
    for what, found, true in zip(("shares", "shifts"), drawn, arms.truth(), strict=True):
        for k in range(1 if true.size == 2 else true.size):
            of = "" if true.size == 2 else f" {k + 1}"
            yield from _differ(f"{what}{of}", found[..., k], float(true[k]))


def of_captions(
    chances: tuple[float, float], replicates: tuple[int, int], n_seeds: int, repetitions: int, seed: int
) -> Iterator[Outcome]:
    draws = rng.generator(seed)
    one, other = (
        draws.binomial(number, chance, (n_seeds, repetitions)) / number
        for number, chance in zip(replicates, chances, strict=True)
    )
    yield from _differ("captions that name", one - other, chances[0] - chances[1])


def of_years(gain: float, replicates: tuple[int, int], n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    """Each replicate is off by 12 years; one seed in twenty of the arm is 40 years older still."""
    draws, shape = rng.generator(seed), (n_seeds, repetitions)
    one, other = (draws.normal(0, 12 / np.sqrt(number), shape) for number in replicates)
    far = np.where(draws.random(shape) < 0.05, 40.0, 0.0) if gain else 0.0
    found = year_change(one + gain + far - other, group("made up", np.arange(n_seeds)))
    true = gain + (2.0 if gain else 0.0)
    yield covers("difference of ages", n_seeds, holds(found.low, found.high, true), found.high - found.low)
    yield rejects("test of ages", n_seeds, found.p_value <= 0.05, null=true == 0)


def _differ(what: str, difference: Floats, true: float) -> Iterator[Outcome]:
    n_seeds = len(difference)
    parts = changes(difference, group("made up", np.arange(n_seeds)))
    low, high = shift_limits(*parts)
    there = np.isfinite(low)
    yield covers(f"difference of {what}", n_seeds, holds(low, high, true)[there], (high - low)[there])
    yield rejects(f"test of {what}", n_seeds, category_rejections(*parts)[there], null=abs(true) < 1e-12)
