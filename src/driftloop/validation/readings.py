"""Shares, shifts and their tests, as bare readings of worlds whose truth is in closed form.

A seed has one picture at the baseline, which its replicates share; later each replicate shows the same category with
chance `kept` and is drawn anew otherwise. The instrument abstains, and errs, by the true category and the round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from driftloop.core import rng
from driftloop.statistics.intervals import share_limits, shift_limits
from driftloop.statistics.moments import changes, moments
from driftloop.statistics.panel import Bools, Floats, Group, Ints, group
from driftloop.statistics.resampling import swapped_sums, unit_differences
from driftloop.statistics.tests import category_p_values, category_rejections, margins_test
from driftloop.validation.outcome import Case, Outcome, covers, holds, rejects

SIZES = (30, 100, 300)
SKEW = (0.6, 0.3, 0.07, 0.02, 0.01)
OMNIBUS = 4  # one in so many repetitions is also tested over all categories at once
SWAPS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Compositions at the baseline and of what is drawn anew later, and the chance to keep the baseline's category."""

    baseline: tuple[float, ...]
    later: tuple[float, ...]
    kept: float = 0.0

    @property
    def step(self) -> Floats:
        """P(category later | category at the baseline), [K, K]."""
        k = len(self.later)
        return self.kept * np.eye(k) + (1 - self.kept) * np.tile(self.later, (k, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """Chances to abstain and to read the next category instead, by whether the true category is even or odd, for the
    baseline and for later."""

    abstains: tuple[tuple[float, float], tuple[float, float]] = ((0, 0), (0, 0))
    errs: tuple[tuple[float, float], tuple[float, float]] = ((0, 0), (0, 0))

    def reads(self, k: int, later: bool) -> Floats:
        """P(read as | true category), [K, K], rows less than 1 by what is unread."""
        errs, unread = (np.resize(rates[later], k)[:, None] for rates in (self.errs, self.abstains))
        right = np.eye(k)
        return np.asarray((1 - unread) * ((1 - errs) * right + errs * np.roll(right, 1, axis=1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicates:
    """How many a seed has, and the share of seeds in which they all come out alike."""

    number: int
    alike: float = 0.0


DRIFTS = {
    "even, none": Drift(baseline=(0.5, 0.5), later=(0.5, 0.5), kept=0.6),
    "rare, none": Drift(baseline=(0.05, 0.95), later=(0.05, 0.95), kept=0.6),
    ".005, none": Drift(baseline=(0.005, 0.995), later=(0.005, 0.995)),
    "five, none": Drift(baseline=SKEW, later=SKEW, kept=0.4),
    "0 to .01": Drift(baseline=(0.0, 1.0), later=(0.01, 0.99)),
    ".02 to .05": Drift(baseline=(0.02, 0.98), later=(0.05, 0.95)),
    ".5 to .6": Drift(baseline=(0.5, 0.5), later=(0.75, 0.25), kept=0.6),
    ".98 to .95": Drift(baseline=(0.98, 0.02), later=(0.95, 0.05)),
    ".3 to .9": Drift(baseline=(0.3, 0.7), later=(0.9, 0.1)),
    "0 to 1": Drift(baseline=(0.0, 1.0), later=(1.0, 0.0)),
    "five, moved": Drift(baseline=SKEW, later=(0.2, 0.2, 0.2, 0.2, 0.2), kept=0.7),
}
INSTRUMENTS = {
    "faultless": Instrument(),
    "steady errors": Instrument(abstains=((0.05, 0.2), (0.05, 0.2)), errs=((0.1, 0.03), (0.1, 0.03))),
    "changing errors": Instrument(abstains=((0.02, 0.1), (0.25, 0.1)), errs=((0.03, 0.06), (0.1, 0.02))),
}
REPLICATES = {
    "1 replicate": Replicates(number=1),
    "4 replicates": Replicates(number=4),
    "4, three in ten seeds alike": Replicates(number=4, alike=0.3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    drift: Drift
    instrument: Instrument
    replicates: Replicates

    @property
    def chances(self) -> tuple[Floats, Floats]:
        """P(read as | true category at the baseline) of a picture at the baseline and later, each [K, K]."""
        k = len(self.drift.baseline)
        return self.instrument.reads(k, later=False), self.drift.step @ self.instrument.reads(k, later=True)

    def truth(self) -> tuple[Floats, Floats]:
        """Share later and shift, [K] each, over all seeds there could be, as the analysis defines them.

        A seed counts if any of its replicates was read, and its mean over those that were expects the same whatever
        their number.
        """
        first, second = self.chances
        start = np.array(self.drift.baseline)
        read_first, read = first.sum(axis=1), second.sum(axis=1)
        number, alike = self.replicates.number, self.replicates.alike
        counts = alike * read + (1 - alike) * (1 - (1 - read) ** number)
        given_first, given = first / read_first[:, None], second / read[:, None]
        share = (start * counts) @ given / (start @ counts)
        both = start * counts * read_first
        return share, both @ (given - given_first) / both.sum()

    def draw(self, n_seeds: int, repetitions: int, draws: np.random.Generator) -> tuple[Floats, Floats]:
        """Mean readings of seeds at the baseline and later, two arrays [n_seeds, repetitions, K], NaN where unread."""
        first, second = (np.column_stack([part, 1 - part.sum(axis=1)]).clip(0, 1) for part in self.chances)
        shape = (n_seeds, repetitions)
        start = draws.choice(len(self.drift.baseline), shape, p=self.drift.baseline)
        number = self.replicates.number
        later = draws.multinomial(number, second[start])
        if self.replicates.alike:
            alike = draws.random(shape) < self.replicates.alike
            later[alike] = number * draws.multinomial(1, second[start[alike]])
        return _means(draws.multinomial(1, first[start])), _means(later)


def _means(counts: Ints) -> Floats:
    """Of what was read; the last category is unread."""
    read = counts[..., :-1]
    total = read.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(read, total, out=np.full(read.shape, np.nan), where=total > 0))


def cases(repetitions: int) -> Iterator[Case]:
    """Every drift, instrument and number of replicates at every size."""
    for n_seeds, drift, instrument, replicates in product(SIZES, DRIFTS, INSTRUMENTS, REPLICATES):
        world = World(drift=DRIFTS[drift], instrument=INSTRUMENTS[instrument], replicates=REPLICATES[replicates])
        name = f"{n_seeds} seeds; {drift}; {instrument}; {replicates}"
        yield Case(name=name, check=partial(outcomes, world, n_seeds, repetitions, rng.derive(0, "readings", name)))


def outcomes(world: World, n_seeds: int, repetitions: int, seed: int) -> Iterator[Outcome]:
    """Of two categories the first, for the other mirrors it; of more, each."""
    early, late = world.draw(n_seeds, repetitions, rng.generator(seed))
    share, shift = world.truth()
    members = group("all", np.arange(n_seeds))
    for k in range(1 if share.size == 2 else share.size):
        of = "" if share.size == 2 else f" {k + 1}"
        yield from _category(early[..., k], late[..., k], float(share[k]), float(shift[k]), members, of)
    if share.size > 2:
        some = slice(0, max(1, repetitions // OMNIBUS))
        null = bool(np.abs(shift).max() < 1e-12)
        yield rejects("omnibus test", n_seeds, _omnibus(early[:, some], late[:, some], members, seed), null=null)


def _category(early: Floats, late: Floats, share: float, shift: float, members: Group, of: str) -> Iterator[Outcome]:
    n_seeds = len(early)
    low, high = share_limits(moments(late, members))
    there = np.isfinite(low)
    yield covers(f"share{of}", n_seeds, holds(low, high, share)[there], (high - low)[there])
    parts = changes(late - early, members)
    low, high = shift_limits(*parts)
    there = np.isfinite(low)
    yield covers(f"shift{of}", n_seeds, holds(low, high, shift)[there], (high - low)[there])
    yield rejects(f"test{of}", n_seeds, category_rejections(*parts)[there], null=abs(shift) < 1e-12)


def _omnibus(early: Floats, late: Floats, members: Group, seed: int) -> Bools:
    """Whether the omnibus test of each repetition rejects."""
    difference = late - early
    parts = changes(difference, members)
    p_values = category_p_values(*parts).reshape(difference.shape[1:])
    whole = np.asarray(np.isinf(parts[2].dof).reshape(difference.shape[1:]).all(axis=1))
    found = np.zeros(len(p_values), np.bool_)
    for i, of_categories in enumerate(p_values):
        units = unit_differences(difference[:, i], members)
        swapped = swapped_sums(units, SWAPS, rng.derive(seed, i))
        found[i] = margins_test(units, swapped, of_categories, whole=bool(whole[i])).p_value <= 0.05
    return found
